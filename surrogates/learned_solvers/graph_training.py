"""Training of `GraphPreconditioner` on a family of systems with one pattern."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from ...core.minimize import minimize
from ...solvers.linear.operators.sparsity_pattern import SymmetricEntries, SymmetricPattern, symmetric_entries
from ...solvers.linear.preconditioners.triangular_factor import TriangularPattern
from ..trainable import trainable
from .graph_preconditioner import GraphPreconditioner

LossName = Literal["solution", "frobenius", "inverse"]


def factor_product(pattern: SymmetricPattern, values: Float[Array, " entries"], x: Float[Array, " n"]):
    """L Lᵀ x for the values `(n + m,)` of L."""
    diagonal, lower = values[: pattern.size], values[pattern.size :]
    zero = jnp.zeros_like(lower)
    y = pattern.multiply(diagonal, pattern.by_rows(zero, lower), x)
    return pattern.multiply(diagonal, pattern.by_rows(lower, zero), y)


def inverse_product(
    pattern: SymmetricPattern, factors: Float[Array, "factors entries"], shift: float, x: Float[Array, " n"]
):
    """(G Gᵀ + shift) x for G = G_1 … G_K with the values `(K, n + 2m)`."""
    n, m, y = pattern.size, pattern.places, x
    for values in factors:
        y = pattern.multiply(values[:n], pattern.by_rows(values[n + m :], values[n : n + m]), y)
    for values in factors[::-1]:
        y = pattern.multiply(values[:n], pattern.by_rows(values[n : n + m], values[n + m :]), y)
    return y + shift * x


def matrix_product(pattern: SymmetricPattern, lower: Float[Array, " m"], x: Float[Array, " n"]):
    """Â x for the entries `(m,)` below a diagonal of ones."""
    return pattern.multiply(jnp.ones(pattern.size, x.dtype), pattern.by_rows(lower, lower), x)


def solution_loss(pattern, lower, values, x):
    """‖L Lᵀ x − b‖² / ‖b‖² with b = Â x (NeuralPCG, eq. 7, on normalised systems). With smooth x it asks for small errors of
    M where A is small, which is what decides about iterations."""
    b = matrix_product(pattern, lower, x)
    return ((factor_product(pattern, values, x) - b) ** 2).sum() / (b**2).sum()


def frobenius_loss(pattern, lower, values, z):
    """‖(L Lᵀ − Â) z‖² / ‖z‖², for white noise z an estimate of the squared Frobenius norm (NeuralIF, Häusner et al. 2024)."""
    return ((factor_product(pattern, values, z) - matrix_product(pattern, lower, z)) ** 2).sum() / (z**2).sum()


def inverse_loss(pattern, lower, factors, z, shift: float):
    """‖((G Gᵀ + shift) Â − I) z‖² / ‖z‖² (arXiv 2510.27517).

    A mean over eigenvalues, where iterations depend on the extreme ones. Trained from `PolynomialInverse` on 32² points with
    white noise z, two factors went from 32 iterations to 28 but one from 43 to 58, beside 118 of Jacobi (to 73 with solutions
    z = Â⁻¹ w; it stayed at 43 with z = Â^(−1/2) w).
    """
    error = inverse_product(pattern, factors, shift, matrix_product(pattern, lower, z)) - z
    return (error**2).sum() / (z**2).sum()


class Training(NamedTuple):
    """**Fields:** `preconditioner` after the last step, `losses` before each step `(steps,)`."""

    preconditioner: GraphPreconditioner
    losses: Float[Array, " steps"]


def train_preconditioner(
    preconditioner: GraphPreconditioner,
    operators: Sequence,
    vectors: Float[Array, "systems samples *n"],
    *,
    loss: LossName | None = None,
    optimizer: optax.GradientTransformation,
    steps: int,
) -> Training:
    """Minimise the mean loss over all systems and vectors, all of them in every step.

    **Arguments:**

    - `operators`: `Diffusion`s or `Sparse`s with one pattern. 16 systems of 32² points are enough for one family of
      coefficients.
    - `vectors`: per system one or more solutions x = A⁻¹ b of typical right-hand sides (loss "solution"), or white noise z; the
      losses take D^(1/2) times them.
    - `loss`: "solution" (default for a factor), "frobenius" for a factor, "inverse" for an inverse.
    - `optimizer`: for example `optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3))`, for 200 to 500 `steps`.

    **Raises:** `ValueError` for a loss that does not fit the form or systems of different patterns; `FloatingPointError` when the
    loss is no longer finite.
    """
    loss = _DEFAULT_LOSS[preconditioner.form] if loss is None else loss
    if (preconditioner.form == "inverse") != (loss == "inverse") or loss not in _LOSSES:
        raise ValueError(f"train_preconditioner: loss {loss!r} is not for the form {preconditioner.form!r}")
    pattern, diagonals, lowers = stacked_entries(operators)
    levels = TriangularPattern(pattern) if preconditioner.form == "factor" else None
    vectors = vectors.reshape(*vectors.shape[:2], pattern.size) * jnp.sqrt(diagonals)[:, None]

    @jax.jit
    def prepare(diagonals, lowers):
        def one(diagonal, lower):
            return preconditioner.system(SymmetricEntries(pattern, diagonal, lower), levels)

        return jax.vmap(one)(diagonals, lowers)

    systems = prepare(diagonals, lowers)
    arrays, rest = eqx.partition(preconditioner, trainable(preconditioner))

    @jax.jit
    def run(arrays, systems, vectors):
        def one(model, system, vectors):
            values = model.values(pattern, system)
            return jax.vmap(lambda x: _LOSSES[loss](pattern, system.lower, values, x, model.shift))(vectors).mean()

        def mean(arrays):
            return jax.vmap(one, in_axes=(None, 0, 0))(eqx.combine(arrays, rest), systems, vectors).mean()

        return minimize(mean, arrays, optimizer, steps)

    arrays, losses = run(arrays, systems, vectors)
    if not bool(jnp.isfinite(losses).all()):
        raise FloatingPointError(
            f"train_preconditioner: the loss is not finite from step {int(jnp.isfinite(losses).argmin())} on; lower the learning "
            "rate or clip gradients (optax.clip_by_global_norm(1.0))"
        )
    return Training(eqx.combine(arrays, rest), losses)


def stacked_entries(operators: Sequence) -> SymmetricEntries:
    """The entries of systems with one pattern: diagonals `(systems, n)`, entries below them `(systems, m)`."""
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
