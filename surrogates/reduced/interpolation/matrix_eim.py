"""Nonintrusive separation of parametrised matrices, A(μ) ≈ Σ_m β_m(μ) A(μ_m), by empirical interpolation."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, PyTree, Shaped

from ....core.arguments import checked
from ....core.precision import in_double
from ...parameter_range import ParameterRange
from .assembled_terms import AbstractTerms, assembled_terms
from .eim import EIM, AnyArray, current, eim


class MatrixEIM(eqx.Module):
    """A(μ) ≈ Σ_m β_m(μ) A(μ_m) with Σ_m β_m(μ) g_l(μ_m) = g_l(μ) for d scalar functions g_l of the parameter, on which A
    depends linearly.

    Everything is computed from g and from A(μ_m) as the user's own code returns it. In float32 β carries its rounding;
    `in_double(m.coefficients)(mu)` gives it in float64 on the host.

    **Fields:** `parameters`, the μ_m, with leading axis d; `terms`, the d values of `assemble(μ_m)` in a form that can be
    summed; `eim`, its `errors` and `lebesgue` in g; `evaluate`, μ ↦ (g_1(μ), …, g_d(μ)); `training_range` of μ.

    **Example:**

        >>> x = np.linspace(0, 1, 20)
        >>> g = sx.reduced.Coefficient(lambda mu, x: jnp.exp(-mu * x), x)
        >>> matrix = sx.reduced.matrix_eim(g, np.linspace(1, 3, 30), lambda mu: np.diag(np.exp(-mu * x)), rank=4)
        >>> matrix.coefficients(2.0).shape, len(matrix.matrices)
        ((4,), 4)
    """

    parameters: PyTree
    terms: AbstractTerms
    eim: EIM
    evaluate: Callable
    training_range: ParameterRange

    @property
    def matrices(self) -> tuple:
        """The d values of `assemble(μ_m)` as they were returned: dense or scipy sparse matrices, lineax operators, functions
        v ↦ A v, vectors or numbers."""
        return self.terms.values

    def coefficients(self, mu: PyTree) -> Inexact[Array, " d"]:
        """β(μ), at a cost that does not depend on the size of A; works under jit, vmap and grad if g does. Σ|β| (compare
        it to 1) multiplies the errors of the A(μ_m).

        **Warns** outside jit when a parameter is outside the range of the training values by more than 5 % of it: the
        error is unknown there.
        """
        self.training_range.warn_outside(mu, "compare the result with A(μ) itself")
        return self.eim.interpolate(self.evaluate(mu))

    def __call__(self, mu: PyTree):
        """Σ_m β_m(μ) A(μ_m): an array (traceable), a scipy sparse matrix, or a function v ↦ A v for operators."""
        return self.terms.combined(self.coefficients(mu))


class Coefficient(eqx.Module):
    """A function g(μ, x) that A(μ) depends on linearly, as a stiffness matrix does on a diffusion coefficient.

    **Arguments:**

    - `function`: `(μ, x) -> g`, a number or a vector of several terms, in JAX, for one point. It is traced with x64 on and
      off; NumPy arrays that it needs belong into `points` (jax 0.10 confuses the types of those that it closes over).
    - `points`: the x to interpolate at, along the first axis: the quadrature points of the assembly, or enough to resolve g.
    - `weight`: a number, or one for each term, that balances terms against each other; by default 1 / max |g|.

    **Example:**

        >>> x = np.linspace(0, 1, 20)
        >>> g = sx.reduced.Coefficient(lambda mu, x: jnp.exp(-mu * x), x)
        >>> matrix = sx.reduced.matrix_eim(g, np.linspace(1, 3, 30), lambda mu: np.diag(np.exp(-mu * x)), rank=4)
        >>> len(matrix.eim.points)
        4
    """

    function: Callable
    points: Shaped[AnyArray, "points ..."]
    weight: float | Float[AnyArray, " terms"] | None = None


@checked
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

    **Example:**

        >>> x = np.linspace(0, 1, 20)
        >>> assemble = lambda mu: np.diag(np.exp(-mu * x))                               # A(μ)
        >>> coefficient = sx.reduced.Coefficient(lambda mu, x: jnp.exp(-mu * x), x)
        >>> matrix = sx.reduced.matrix_eim(coefficient, np.linspace(1, 3, 30), assemble, rank=5)
        >>> bool(np.abs(matrix(2.2) - assemble(2.2)).max() < 1e-3)
        True
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


@checked
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

    **Example:**

        >>> x = np.linspace(0, 1, 20)
        >>> entries = lambda mu, rows: np.exp(-mu * x[rows])                                # of a diagonal matrix
        >>> matrix = sx.reduced.matrix_eim_from_entries(entries, np.arange(20), np.linspace(1, 3, 30),
        ...                                             lambda mu: np.diag(np.exp(-mu * x)), rank=5)
        >>> bool(np.abs(matrix(2.2) - np.diag(np.exp(-2.2 * x))).max() < 1e-3)
        True
    """
    positions = np.asarray(positions)
    samples = np.stack([entries(mu, positions) for mu in _each(parameters)])
    interpolation = eim(samples, rank=rank, rtol=rtol)
    return _separate(interpolation, lambda rows: lambda mu: entries(mu, positions[rows]), parameters, assemble)


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
    terms = assembled_terms(tuple(assemble(mu) for mu in _each(chosen)))
    evaluate = evaluation(interpolation.points)
    return MatrixEIM(chosen, terms, interpolation, evaluate, ParameterRange.of(parameters))


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
