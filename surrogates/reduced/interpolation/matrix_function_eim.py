"""Inverses, log-determinants and powers of parametrised matrices, A(μ) = Σ_i α_i(μ) A_i, separated like matrices.

Each is a function f of the matrix. `matrix_eim` interpolates the scalar function λ ↦ f(Σ_i α_i(μ) λ_i), or its monomials, in the
parameter, and the same coefficients combine the values f(A(μ_m)), which the user's own code computes.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ....core.arguments import checked
from .eim import AnyArray
from .matrix_eim import Coefficient, MatrixEIM, matrix_eim


@checked
def inverse_eim(
    alpha: Callable[[PyTree], Float[Array, " terms"]],
    spectrum: Float[AnyArray, "samples terms"],
    parameters: PyTree,
    inverse: Callable[[PyTree], Any],
    *,
    rank: int | None = None,
    rtol: float | None = None,
) -> MatrixEIM:
    """A(μ)⁻¹ ≈ Σ_m β_m(μ) A(μ_m)⁻¹ for symmetric A(μ) = Σ_i α_i(μ) A_i, by interpolating 1 / Σ_i α_i(μ) λ_i.

    - Two terms, α_1 K + α_2 M with M positive definite: `spectrum` has rows (λ, 1) with λ over the eigenvalues of M⁻¹K,
      and ‖M^½ (A⁻¹ − Σβ A_m⁻¹) M^½‖₂ is at most the largest interpolation error there.
    - A_i that commute: rows (λ_1, …, λ_Q) over the joint eigenvalues (or the box of them): the same bound with M = 1.
    - Otherwise rows over the box Π_i [λ_min(A_i), λ_max(A_i)]. Then f(Σ α_i A_i) is an operator-valued distribution
      supported in that box, applied to λ ↦ f(Σ α_i λ_i) (Weyl calculus): errors that are small with their derivatives
      stay small, but there is no constant. Check some inverses.

    **Arguments:** `alpha`, `μ -> (α_1, …, α_Q)`; `spectrum`, see `spectral_box`; `inverse`, `μ -> A(μ)⁻¹`, as a matrix, a
    function b ↦ A(μ)⁻¹ b, or the solution for one right-hand side. Σ_i α_i λ_i must not vanish.

    Source of the method: Casenave, Nonintrusive approximation of parametrized limits of matrix power algorithms, which
    interpolates the monomials of a power series (see `power_eim`). To interpolate the resolvent is ours, for conditioning.

    **Example:**

        >>> alpha, k = lambda mu: jnp.array([mu, 1.0]), np.linspace(1, 10, 20)                # A(μ) = μ K + 1
        >>> found = sx.reduced.inverse_eim(alpha, np.stack([k, np.ones(20)], 1), np.linspace(1, 3, 30),
        ...                                lambda mu: np.diag(1 / (mu * k + 1)), rank=5)
        >>> bool(np.abs(found(2.2) - np.diag(1 / (2.2 * k + 1))).max() < 1e-3)
        True
    """
    resolvent = Coefficient(lambda mu, x: 1 / (alpha(mu) @ x), spectrum)
    return matrix_eim(resolvent, parameters, inverse, rank=rank, rtol=rtol, relative=True)


@checked
def logdet_eim(
    alpha: Callable[[PyTree], Float[Array, " terms"]],
    spectrum: Float[AnyArray, "samples terms"],
    parameters: PyTree,
    logdet: Callable[[PyTree], Any],
    *,
    rank: int | None = None,
    rtol: float | None = None,
) -> MatrixEIM:
    """log det A(μ) ≈ Σ_m β_m(μ) log det A(μ_m) for A as in `inverse_eim`, positive definite, by interpolating
    log Σ_i α_i(μ) λ_i together with the constant 1.

    For two terms log det A(μ) = log det M + Σ_k log(α_1 λ_k + α_2): the error is at most n times that of the first plus
    |log det M| times that of the constant. **Arguments:** as there; `logdet`, `μ -> log det A(μ)`.

    **Example:**

        >>> alpha, k = lambda mu: jnp.array([mu, 1.0]), np.linspace(1, 10, 20)                # A(μ) = μ K + 1
        >>> found = sx.reduced.logdet_eim(alpha, np.stack([k, np.ones(20)], 1), np.linspace(1, 3, 30),
        ...                               lambda mu: np.log(mu * k + 1).sum(), rank=5)
        >>> bool(abs(found(2.2) - np.log(2.2 * k + 1).sum()) < 1e-2)
        True
    """

    def function(mu, x):
        return jnp.log(alpha(mu) @ x) * jnp.array([1, 0]) + jnp.array([0, 1])

    return matrix_eim(Coefficient(function, spectrum), parameters, logdet, rank=rank, rtol=rtol)


@checked
def power_eim(
    alpha: Callable[[PyTree], Float[Array, " terms"]],
    norms: Float[AnyArray, " terms"],
    exponent: int,
    parameters: PyTree,
    power: Callable[[PyTree], Any],
    *,
    rank: int | None = None,
    rtol: float | None = None,
) -> MatrixEIM:
    """A(μ)^p ≈ Σ_m β_m(μ) A(μ_m)^p for any square A(μ) = Σ_i α_i(μ) A_i, by interpolating the monomials of degree p.

    A^p = Σ_γ α^γ B_γ over all |γ| = p with ‖B_γ‖ ≤ p!/γ! Π ‖A_i‖^γ_i = c_γ, whether the A_i commute or not. The functions
    are c_γ α^γ(μ), so that ‖A^p − Σβ A_m^p‖ is at most the sum of their errors. All (p + Q − 1 over p) functions make it
    exact. A power series of A with remainder ε has the same form with all |γ| ≤ p, which gives inverses and logarithms
    where it converges.

    **Arguments:** `alpha` as in `inverse_eim`; `norms`, ‖A_i‖ or estimates of it; `exponent` p; `power`, `μ -> A(μ)^p`, or
    A(μ)^p applied to a vector.

    Source: Casenave, Nonintrusive approximation of parametrized limits of matrix power algorithms.

    **Example:**

        >>> alpha, k = lambda mu: jnp.array([mu, 1.0]), np.linspace(1, 10, 20)                # A(μ) = μ K + 1
        >>> found = sx.reduced.power_eim(alpha, np.array([10.0, 1.0]), 2, np.linspace(1, 3, 30),
        ...                              lambda mu: np.diag((mu * k + 1) ** 2), rank=3)
        >>> bool(np.abs(found(2.2) - np.diag((2.2 * k + 1) ** 2)).max() < 1e-2)
        True
    """
    if exponent < 0:
        raise ValueError(f"power_eim: the exponent must not be negative, got {exponent}; use inverse_eim")
    norms = np.asarray(norms, np.float64)
    gammas = [g for g in itertools.product(range(exponent + 1), repeat=len(norms)) if sum(g) == exponent]
    sizes = [math.factorial(exponent) / math.prod(map(math.factorial, g)) * np.prod(norms**g) for g in gammas]

    def monomial(mu, row):
        base = jnp.where(row[1:] == 0, 1, alpha(mu))  # 0⁰ has no derivative
        return row[0] * jnp.prod(base ** row[1:])

    rows = Coefficient(monomial, np.column_stack([sizes, gammas]), weight=1 / float(max(sizes)))
    return matrix_eim(rows, parameters, power, rank=rank, rtol=rtol, relative=True)


@checked
def spectral_box(lower: Sequence[float], upper: Sequence[float], count: int) -> Float[np.ndarray, "samples terms"]:
    """Points λ in Π_i [lower_i, upper_i], 0 < lower_i ≤ upper_i, evenly spaced in log λ: `count` (20 to 200) along each
    axis, one where lower_i = upper_i."""
    if not all(0 < a <= b for a, b in zip(lower, upper, strict=True)):
        raise ValueError(f"spectral_box needs 0 < lower <= upper, got {lower} and {upper}")
    axes = [np.geomspace(a, b, count if b > a else 1) for a, b in zip(lower, upper, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
