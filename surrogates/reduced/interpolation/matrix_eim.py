"""Nonintrusive separation of parametrised matrices, A(μ) ≈ Σ_m β_m(μ) A(μ_m), by empirical interpolation."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Inexact, PyTree, Shaped

from ....core.precision import in_double
from ..parameter_range import training_range, warn_outside
from .eim import EIM, AnyArray, current, eim


class MatrixEIM(eqx.Module):
    """A(μ) ≈ Σ_m β_m(μ) A(μ_m) with Σ_m β_m(μ) g_l(μ_m) = g_l(μ) for d scalar functions g_l of the parameter, on which A
    depends linearly.

    Everything is computed from g and from A(μ_m) as the user's own code returns it. In float32 β carries its rounding;
    `in_double(m.coefficients)(mu)` gives it in float64 on the host.

    **Fields:** `parameters`, the μ_m, with leading axis d; `matrices`, the d values of `assemble(μ_m)`: dense, scipy
    sparse, lineax operators, functions v ↦ A v, vectors or numbers; `eim`, its `errors` and `lebesgue` in g; `evaluate`,
    μ ↦ (g_1(μ), …, g_d(μ)); `lower`, `upper`, the training range.
    """

    parameters: PyTree
    matrices: tuple
    eim: EIM
    evaluate: Callable
    lower: PyTree
    upper: PyTree

    def coefficients(self, mu: PyTree) -> Inexact[Array, " d"]:
        """β(μ), at a cost that does not depend on the size of A; works under jit, vmap and grad if g does. Σ|β| (compare
        it to 1) multiplies the errors of the A(μ_m).

        **Warns** outside jit when a parameter lies outside the range of the training values: the error is unknown there.
        """
        warn_outside(mu, self.lower, self.upper, "compare the result with A(μ) itself")
        return self.eim.interpolate(self.evaluate(mu))

    def __call__(self, mu: PyTree):
        """Σ_m β_m(μ) A(μ_m): an array (traceable), a scipy sparse matrix, or a function v ↦ A v for operators."""
        beta, first = self.coefficients(mu), self.matrices[0]
        if scipy.sparse.issparse(first):
            return sum(b * matrix for b, matrix in zip(np.asarray(beta), self.matrices, strict=True))
        if callable(first) or hasattr(first, "mv"):
            products = [getattr(operator, "mv", operator) for operator in self.matrices]
            return lambda v: sum(b * product(v) for b, product in zip(beta, products, strict=True))
        return jnp.tensordot(beta, jnp.stack([current(np.asarray(m)) for m in self.matrices]), 1, precision="highest")


class Coefficient(eqx.Module):
    """A function g(μ, x) that A(μ) depends on linearly, as a stiffness matrix does on a diffusion coefficient.

    **Arguments:**

    - `function`: `(μ, x) -> g`, a number or a vector of several terms, in JAX, for one point. It is traced with x64 on and
      off; NumPy arrays that it needs belong into `points` (jax 0.10 confuses the types of those that it closes over).
    - `points`: the x to interpolate at, along the first axis: the quadrature points of the assembly, or enough to resolve g.
    - `weight`: a number, or one for each term, that balances terms against each other; by default 1 / max |g|.
    """

    function: Callable
    points: Shaped[AnyArray, "points ..."]
    weight: float | Float[AnyArray, " terms"] | None = None


def matrix_eim(
    coefficients: Coefficient | Sequence[Coefficient],
    parameters: PyTree,
    assemble: Callable[[PyTree], Any],
    *,
    rank: int | None = None,
    rtol: float | None = None,
    relative: bool = False,
) -> MatrixEIM:
    """A(μ) ≈ Σ_m β_m(μ) A(μ_m) for A that depends linearly on coefficient functions g_s(μ, x).

    The rows (s, x) of all coefficients are interpolated together, so that one set of μ_m serves all of them. The error of
    the matrix is that of A applied to the error of g: ‖A(μ) − Σβ_m A(μ_m)‖ ≤ C max_s,x |g_s − Σβ_m g_s(μ_m)|.

    **Arguments:**

    - `parameters`: training values, an array or a tree of arrays with the samples along the first axis (100 to 1000).
    - `assemble`: `μ -> A(μ)` (or a right-hand side), called for the chosen μ_m alone; a black box.
    - `rank`, `rtol`, `relative`: see `eim`, of which the functions are the weighted g(μ, ·).

    **Raises:** `ValueError` as `eim` does.

    Source: Casenave, Ern, Lelièvre, A nonintrusive method to approximate linear systems with nonlinear parameter
    dependence; A nonintrusive reduced basis method applied to aeroacoustic simulations.
    """
    coefficients = [coefficients] if isinstance(coefficients, Coefficient) else list(coefficients)
    tables = [_table(c, parameters) for c in coefficients]
    weights = [_weight(c, table) for c, table in zip(coefficients, tables, strict=True)]
    samples = [(w * table).reshape(len(table), -1) for w, table in zip(weights, tables, strict=True)]
    starts = np.cumsum([0] + [s.shape[1] for s in samples])

    def at(rows):
        parts = []
        for c, weight, table, start, stop in zip(coefficients, weights, tables, starts, starts[1:], strict=False):
            (order,) = np.nonzero((rows >= start) & (rows < stop))
            points, terms = np.divmod(rows[order] - start, table.shape[2])
            if order.size:
                parts.append(_Rows(c.function, np.asarray(c.points)[points], terms, weight[terms], order))
        return _Evaluation(tuple(parts))

    interpolation = eim(np.concatenate(samples, axis=1), rank=rank, rtol=rtol, relative=relative)
    return _separate(interpolation, at, parameters, assemble)


def matrix_eim_from_entries(
    entries: Callable[[PyTree, np.ndarray], Inexact[AnyArray, " k"]],
    positions: Shaped[AnyArray, "samples ..."],
    parameters: PyTree,
    assemble: Callable[[PyTree], Any],
    *,
    rank: int | None = None,
    rtol: float | None = None,
) -> MatrixEIM:
    """A(μ) ≈ Σ_m β_m(μ) A(μ_m) for a black box of which single entries can be computed.

    **Arguments:** `entries`, `(μ, positions (k, …)) -> (k,)`, in NumPy, or in JAX if `coefficients` is to be traced;
    `positions`, the entries to interpolate, for example index pairs `(samples, 2)`: all of the pattern or a random part
    (a few hundred), as errors of the other entries are not seen; the rest as in `matrix_eim`.
    """
    positions = np.asarray(positions)
    samples = np.stack([entries(mu, positions) for mu in _each(parameters)])
    interpolation = eim(samples, rank=rank, rtol=rtol)
    return _separate(interpolation, lambda rows: lambda mu: entries(mu, positions[rows]), parameters, assemble)


# Functions of a matrix ---------------------------------------------------------------------------------------------------


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

    Source of the method: Casenave, Nonintrusive approximation of parametrized limits of matrix power algorithms, where
    β comes from the monomials of a power series (see `power_eim`); the resolvent instead is ours, for conditioning.
    """
    resolvent = Coefficient(lambda mu, x: 1 / (alpha(mu) @ x), spectrum)
    return matrix_eim(resolvent, parameters, inverse, rank=rank, rtol=rtol, relative=True)


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
    """

    def function(mu, x):
        return jnp.log(alpha(mu) @ x) * jnp.array([1, 0]) + jnp.array([0, 1])

    return matrix_eim(Coefficient(function, spectrum), parameters, logdet, rank=rank, rtol=rtol)


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


def spectral_box(lower: Sequence[float], upper: Sequence[float], count: int) -> Float[np.ndarray, "samples terms"]:
    """Points λ in Π_i [lower_i, upper_i], 0 < lower_i ≤ upper_i, evenly spaced in log λ: `count` (20 to 200) along each
    axis, one where lower_i = upper_i."""
    if not all(0 < a <= b for a, b in zip(lower, upper, strict=True)):
        raise ValueError(f"spectral_box needs 0 < lower <= upper, got {lower} and {upper}")
    axes = [np.geomspace(a, b, count if b > a else 1) for a, b in zip(lower, upper, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


# Parts of the above ------------------------------------------------------------------------------------------------------


class _Rows(eqx.Module):
    """The chosen rows of one coefficient: its function at their points, the term that each of them takes, its weight."""

    function: Callable
    points: AnyArray
    terms: np.ndarray
    weights: AnyArray
    order: np.ndarray

    def __call__(self, mu):
        values = jax.vmap(self.function, (None, 0))(mu, current(self.points))
        return current(self.weights) * values.reshape(len(self.terms), -1)[np.arange(len(self.terms)), self.terms]


class _Evaluation(eqx.Module):
    parts: tuple[_Rows, ...]

    def __call__(self, mu):
        values = jnp.concatenate([part(mu) for part in self.parts])
        return values[np.argsort(np.concatenate([part.order for part in self.parts]))]


def _separate(interpolation: EIM, evaluation, parameters, assemble) -> MatrixEIM:
    chosen = jax.tree.map(lambda x: np.asarray(x)[interpolation.snapshots], parameters)
    matrices = tuple(assemble(mu) for mu in _each(chosen))
    return MatrixEIM(chosen, matrices, interpolation, evaluation(interpolation.points), *training_range(parameters))


def _each(parameters) -> list:
    count = len(jax.tree.leaves(parameters)[0])
    return [jax.tree.map(lambda x: np.asarray(x)[i], parameters) for i in range(count)]  # noqa: B023


def _table(coefficient: Coefficient, parameters) -> Inexact[np.ndarray, "n points terms"]:
    """g at all training values and points, in float64."""

    @in_double
    def evaluate(parameters, points):
        return jax.lax.map(lambda mu: jax.vmap(coefficient.function, (None, 0))(mu, points), parameters)

    parameters = jax.tree.map(np.asarray, parameters)
    table = evaluate(parameters, np.asarray(coefficient.points))
    return table.reshape(*table.shape[:2], -1)


def _weight(coefficient: Coefficient, table) -> np.ndarray:
    if coefficient.weight is None:
        largest = np.abs(table).max((0, 1))
        return 1 / np.where(largest > 0, largest, 1)
    return np.broadcast_to(np.asarray(coefficient.weight, np.float64), table.shape[2:])
