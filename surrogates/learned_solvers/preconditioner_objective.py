"""`PreconditionerObjective`: losses for training a `GraphPreconditioner` on systems with one sparsity pattern.

Systems are normalised: Â = D^(−1/2) A D^(−1/2) has a diagonal of ones. It is given by `pattern` and `lower` `(m,)`, its entries
below the diagonal.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...solvers.linear.operators.sparsity_pattern import SymmetricEntries, SymmetricPattern, symmetric_entries
from ...solvers.linear.preconditioners.triangular_factor import TriangularPattern
from ..task.task import Fields
from ..training.objective import AbstractObjective, Outcome
from .graph_preconditioner import GraphPreconditioner, GraphSystem

LossName = Literal["solution", "frobenius", "inverse"]


def factor_product(pattern: SymmetricPattern, values: Float[Array, " entries"], x: Float[Array, " n"]):
    """L Lᵀ x, where `values` `(n + m,)` are the diagonal of L and its entries below the diagonal."""
    diagonal, lower = values[: pattern.size], values[pattern.size :]
    zero = jnp.zeros_like(lower)
    y = pattern.multiply(diagonal, pattern.by_rows(zero, lower), x)
    return pattern.multiply(diagonal, pattern.by_rows(lower, zero), y)


def inverse_product(
    pattern: SymmetricPattern, factors: Float[Array, "factors entries"], shift: float, x: Float[Array, " n"]
):
    """(G Gᵀ + shift) x for G = G_1 … G_K. A row of `factors` `(K, n + 2m)` holds the diagonal of one G_k, then its entries below
    the diagonal, then those above."""
    n, m, y = pattern.size, pattern.places, x
    for values in factors:
        y = pattern.multiply(values[:n], pattern.by_rows(values[n + m :], values[n : n + m]), y)
    for values in factors[::-1]:
        y = pattern.multiply(values[:n], pattern.by_rows(values[n : n + m], values[n + m :]), y)
    return y + shift * x


def matrix_product(pattern: SymmetricPattern, lower: Float[Array, " m"], x: Float[Array, " n"]):
    """Â x."""
    return pattern.multiply(jnp.ones(pattern.size, x.dtype), pattern.by_rows(lower, lower), x)


def solution_loss(pattern, lower, values, x):
    """‖L Lᵀ x − b‖² / ‖b‖² with b = Â x (NeuralPCG, eq. 7, on normalised systems).

    For smooth x the loss is large if M is wrong on the eigenvectors of A with small eigenvalues, which decide the number of
    iterations.
    """
    b = matrix_product(pattern, lower, x)
    return ((factor_product(pattern, values, x) - b) ** 2).sum() / (b**2).sum()


def frobenius_loss(pattern, lower, values, z):
    """‖(L Lᵀ − Â) z‖² / ‖z‖². For white noise z it estimates the squared Frobenius norm of L Lᵀ − Â, divided by n (NeuralIF,
    Häusner et al. 2024)."""
    return ((factor_product(pattern, values, z) - matrix_product(pattern, lower, z)) ** 2).sum() / (z**2).sum()


def inverse_loss(pattern, lower, factors, z, shift: float):
    """‖((G Gᵀ + shift) Â − I) z‖² / ‖z‖² (arXiv 2510.27517).

    The loss is a mean over all eigenvalues, while the number of iterations depends on the extreme ones. Measured on 32² points,
    starting from `PolynomialInverse`, with white noise z: training two factors took CG from 32 iterations to 28, training one
    factor from 43 to 58 (to 73 with solutions z = Â⁻¹ w; unchanged with z = Â^(−1/2) w). Jacobi needed 118.
    """
    error = inverse_product(pattern, factors, shift, matrix_product(pattern, lower, z)) - z
    return (error**2).sum() / (z**2).sum()


class PreconditionerObjective(AbstractObjective):
    """The mean loss of a `GraphPreconditioner` over a family of systems with one pattern. Every step uses all systems.

    `fit(preconditioner, operators=…, vectors=…, optimizer=…, steps=300)` makes it, by `of`, and trains with it.

    **Fields:** `pattern`, which all systems share; `systems`, the network's inputs for all systems; `vectors`
    `(systems, samples, n)`, the vectors x or z of the losses for the normalised systems; `loss`, "solution", "frobenius" or
    "inverse".
    """

    pattern: SymmetricPattern
    systems: GraphSystem
    vectors: Float[Array, "systems samples n"]
    loss: LossName = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        preconditioner: GraphPreconditioner,
        operators: Sequence,
        vectors: Float[Array, "systems samples *n"],
        loss: LossName | None = None,
    ) -> "PreconditionerObjective":
        """The objective of a preconditioner on some systems.

        **Arguments:**

        - `preconditioner`: the model to be trained.
        - `operators`: `Diffusion` or `Sparse` operators with one pattern. 16 systems of 32² points are enough for one family of
          coefficients.
        - `vectors`: one or more vectors per system: for the loss "solution" solutions x = A⁻¹ b of typical right-hand sides, for
          the others white noise z. They are multiplied by D^(1/2), for the normalised system.
        - `loss`: "solution" (the default) or "frobenius" for a factor, "inverse" for an inverse.

        A good optimiser is `optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3))`, for 200 to 500 steps.

        **Raises:** `ValueError` for a loss that does not fit the form or systems of different patterns.
        """
        loss = _DEFAULT_LOSS[preconditioner.form] if loss is None else loss
        if (preconditioner.form == "inverse") != (loss == "inverse") or loss not in _LOSSES:
            raise ValueError(f"PreconditionerObjective: loss {loss!r} is not for the form {preconditioner.form!r}")
        pattern, diagonals, lowers = stacked_entries(operators)
        levels = TriangularPattern(pattern) if preconditioner.form == "factor" else None
        scaled = vectors.reshape(*vectors.shape[:2], pattern.size) * jnp.sqrt(diagonals)[:, None]

        @jax.jit
        def prepare(diagonals, lowers):
            def one(diagonal, lower):
                return preconditioner.system(SymmetricEntries(pattern, diagonal, lower), levels)

            return jax.vmap(one)(diagonals, lowers)

        return cls(pattern, prepare(diagonals, lowers), scaled, loss)

    @property
    def calls(self) -> int:
        return 1

    def init(self, key: Array) -> None:
        return None

    def draw(self, state: None, batch: None, key: Array) -> None:
        return None

    def value(self, model: GraphPreconditioner, points: None) -> tuple[Float[Array, ""], Outcome]:
        def one(system, vectors):
            values = model.values(self.pattern, system)
            loss = _LOSSES[self.loss]
            return jax.vmap(lambda x: loss(self.pattern, system.lower, values, x, model.shift))(vectors).mean()

        return jax.vmap(one)(self.systems, self.vectors).mean(), Outcome()

    def update(self, state: None, points: None, outcome: Outcome, key: Array) -> None:
        return None

    def validate(self, model: GraphPreconditioner, batch: Fields) -> NoReturn:
        raise TypeError(
            "preconditioners are validated by a measure: fit(…, val=measure), a function of the preconditioner"
        )


def stacked_entries(operators: Sequence) -> SymmetricEntries:
    """The entries of systems with one pattern: diagonals `(systems, n)`, and entries below the diagonal `(systems, m)`.

    **Raises:** `ValueError` for systems with different patterns.
    """
    entries = [symmetric_entries(operator) for operator in operators]
    pattern = entries[0].pattern
    for other in entries[1:]:
        same = other.pattern.size == pattern.size and np.array_equal(other.pattern.entries, pattern.entries)
        if not (same and np.array_equal(other.pattern.columns, pattern.columns)):
            raise ValueError("stacked_entries: the systems have different patterns")
    return SymmetricEntries(pattern, jnp.stack([e.diagonal for e in entries]), jnp.stack([e.lower for e in entries]))


_DEFAULT_LOSS: dict[str, LossName] = {"factor": "solution", "inverse": "inverse"}
_LOSSES: dict[str, Callable] = {
    "solution": lambda pattern, lower, values, x, _: solution_loss(pattern, lower, values, x),
    "frobenius": lambda pattern, lower, values, z, _: frobenius_loss(pattern, lower, values, z),
    "inverse": inverse_loss,
}
