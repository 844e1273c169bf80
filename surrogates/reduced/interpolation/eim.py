"""Empirical interpolation: functions approximated in a small space by their values at a few points."""

import warnings
from collections.abc import Sequence
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Inexact, Int, Shaped

from ....core.arguments import checked
from ....core.arrays import AnyArray
from ....core.precision import in_double
from ....core.storage import register


@register("EIM")
class EIM(eqx.Module):
    """Interpolation f ≈ Σ_m β_m f_m in d functions by the values of f at d points: Σ_m β_m f_m(x_l) = f(x_l).

    The functions are kept factorised, f_m = Σ_k q_k U_km with q_k(x_l) = L_lk, L unit lower and U upper triangular, so
    that β = U⁻¹ L⁻¹ f(x) costs two triangular solves. The matrix L U has the condition number of the functions, which
    grows like the inverse of the error, but the interpolant stays accurate to rounding times `lebesgue`, in float32 too.
    Methods take one f and work under jit, vmap and grad.

    **Fields:** `points` `(d,)` indices of x_l; `snapshots` `(d,)` indices of f_m among what was given; `basis`
    `(points, d)` the q_k; `lower`, `upper` `(d, d)`; `lebesgue` max_x Σ_l |ℓ_l(x)| with ℓ_l(x_k) = δ_lk: errors of
    the values are multiplied by at most that, and the error is at most 1 + `lebesgue` times the best one in the space;
    `errors` `(d + 1,)` largest |f − interpolant| over the given functions with 0 … d of them in use (empty for modes).

    **Example:**

        >>> family = 1 / (1 + np.linspace(0, 4, 30)[:, None] * np.linspace(0, 1, 60))
        >>> rule = sx.reduced.eim(family, rank=4)
        >>> rule.basis.shape, rule.points.shape
        ((60, 4), (4,))
    """

    points: Int[AnyArray, " d"]
    snapshots: Int[AnyArray, " d"]
    basis: Inexact[AnyArray, "points d"]
    lower: Inexact[AnyArray, "d d"]
    upper: Inexact[AnyArray, "d d"]
    lebesgue: float | Float[AnyArray, ""]
    errors: Float[AnyArray, " steps"]

    def __call__(self, values: Inexact[AnyArray, " d"]) -> Inexact[Array, " points"]:
        """The interpolant of the f with these values at `points`."""
        return jnp.matmul(current(self.basis), self._newton(values), precision="highest")

    def interpolate(self, values: Inexact[AnyArray, " d"]) -> Inexact[Array, " d"]:
        """Coefficients β in the chosen functions (or modes) of the f with these values at `points`."""
        return solve_triangular(current(self.upper), self._newton(values))

    def _newton(self, values):
        return solve_triangular(current(self.lower), current(values), lower=True, unit_diagonal=True)


@checked
def eim(
    functions: Shaped[AnyArray, "n points"] | Sequence,
    *,
    rank: int | None = None,
    rtol: float | None = None,
    relative: bool = False,
) -> EIM:
    """Empirical interpolation of a family of functions, real or complex, a row each.

    Greedy: the function with the largest residual r = f − interpolant anywhere joins the space, the place of its largest
    |r| joins the points, and q = r / r(x). With these two maxima it is Gaussian elimination with complete pivoting of
    the matrix of functions, and as stable: interpolating the originals anew at every step gains nothing.

    **Arguments:**

    - `rank`: largest number of functions; fewer are returned when the rest is rounding or zero.
    - `rtol`: stop at a residual of `rtol` times the largest value of all; by default, and at least, 100 times the
      rounding unit of the functions (2.2e-14 in float64, 1.2e-5 in float32).
    - `relative`: compare residuals (and report `errors`) relative to the largest value of each function, for families
      whose members differ by orders of magnitude.

    **Raises:** `ValueError` for NaN or infinity, if all functions are zero, and for `rank < 1`.

    Source: Barrault, Maday, Nguyen, Patera (2004), An 'empirical interpolation' method.

    **Example:**

        >>> family = 1 / (1 + np.linspace(0, 4, 30)[:, None] * np.linspace(0, 1, 60))         # a row each
        >>> sx.reduced.eim(family, rank=5).points.shape
        (5,)
    """
    functions, floor = _checked(functions, "eim")
    if rank is not None and rank < 1:
        raise ValueError(f"eim: rank must be at least 1, got {rank}")
    rank = min(*functions.shape, functions.shape[0] if rank is None else rank)
    size = np.abs(functions).max(1, keepdims=True)
    scaled = functions / np.where(size > 0, size, 1) if relative else functions
    capacity = min(*functions.shape, -(-rank // 32) * 32)  # one compilation serves all ranks up to it
    count, points, snapshots, basis, errors = _eliminate(scaled, rank, max(rtol or 0.0, floor), capacity)
    d = int(count)
    points, snapshots = points[:d], snapshots[:d]
    return _assembled(points, snapshots, basis[:d].T, functions[snapshots].T, errors[: d + 1])


@checked
def deim(modes: Shaped[AnyArray, "points d"] | Sequence) -> EIM:
    """Discrete empirical interpolation: in the span of given modes, in their order.

    Point l + 1 is where mode l + 1 differs most from its interpolant by the modes before. These are the pivots of an LU
    factorisation with partial pivoting of `modes`, and computed so (of complex modes LAPACK compares |Re| + |Im|).

    **Raises:** `ValueError` for NaN or linearly dependent modes.

    Source: Chaturantabut and Sorensen (2010), Nonlinear model reduction via discrete empirical interpolation.

    **Example:**

        >>> basis = sx.reduced.pod(np.exp(-np.linspace(1, 5, 20)[:, None] * np.linspace(0, 1, 50)), rank=3)
        >>> len(set(sx.reduced.deim(basis.modes).points.tolist()))
        3
    """
    modes, floor = checked_modes(modes, "deim")
    return _of_modes(modes, np.arange(len(modes)), floor, "deim")


@checked
def q_deim(modes: Shaped[AnyArray, "points d"] | Sequence) -> EIM:
    """Discrete empirical interpolation with the points of a column-pivoted QR factorisation of modesᴴ.

    The points depend on the span alone, not on the basis or its order (for orthonormal modes), and `lebesgue` is usually
    smaller than that of `deim`.

    **Raises:** `ValueError` for NaN or linearly dependent modes.

    Source: Drmač and Gugercin (2016), A new selection operator for the discrete empirical interpolation method.

    **Example:**

        >>> basis = sx.reduced.pod(np.exp(-np.linspace(1, 5, 20)[:, None] * np.linspace(0, 1, 50)), rank=3)
        >>> len(set(sx.reduced.q_deim(basis.modes).points.tolist()))
        3
    """
    modes, floor = checked_modes(modes, "q_deim")
    pivots = scipy.linalg.qr(modes.T, mode="r", pivoting=True)[1]
    return _of_modes(modes, pivots[: modes.shape[1]], floor, "q_deim")


def current(x: AnyArray) -> Array:
    """`x` as a JAX array, float64 while x64 is on, else float32. The explicit type is needed: a NumPy constant that one
    compilation has met with x64 on stays in float64 for a later one with x64 off, and fails there (jax 0.10)."""
    return jnp.asarray(x, jax.dtypes.canonicalize_dtype(x.dtype))


# Offline, in float64 ---------------------------------------------------------------------------------------------------


@in_double
def _eliminate(functions, rank, rtol, capacity: int):
    """Complete pivoting: (count, points, snapshots, basis as rows, errors), padded to `capacity`."""
    return _compiled(functions, rank, rtol, capacity)


@partial(jax.jit, static_argnums=3)
def _compiled(functions, rank, rtol, capacity: int):
    m = functions.shape[1]

    def worst(residual, k, errors):
        size = jnp.abs(residual)
        flat = jnp.argmax(size)
        return flat // m, flat % m, errors.at[k].set(size.max())

    def unfinished(state):
        k, *_, errors = state
        return (k < rank) & (errors[k] > rtol * errors[0])

    def step(state):
        k, row, point, residual, points, snapshots, basis, errors = state
        # Exactly 1 at the point: there all residuals become exactly 0, and it cannot be chosen again.
        q = (residual[row] / residual[row, point]).at[point].set(1)
        residual = residual - residual[:, point, None] * q
        points, snapshots, basis = points.at[k].set(point), snapshots.at[k].set(row), basis.at[k].set(q)
        row, point, errors = worst(residual, k + 1, errors)
        return k + 1, row, point, residual, points, snapshots, basis, errors

    none = jnp.full(capacity, -1)
    row, point, errors = worst(functions, 0, jnp.zeros(capacity + 1))
    start = 0, row, point, functions, none, none, jnp.zeros((capacity, m), functions.dtype), errors
    k, *_, points, snapshots, basis, errors = jax.lax.while_loop(unfinished, step, start)
    return k, points, snapshots, basis, errors


def _of_modes(modes, candidates, floor: float, caller: str) -> EIM:
    """The interpolation by modes at d of the candidate points, the pivots of modes = Pᵀ L U at the candidates."""
    d = modes.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)  # a zero pivot is reported below
        factors, swaps = scipy.linalg.lu_factor(modes[candidates])
    points = np.array(candidates)
    for k, swap in enumerate(swaps):
        points[[k, swap]] = points[[swap, k]]
    upper = np.triu(factors[:d])
    dependent = np.flatnonzero(~(np.abs(np.diagonal(upper)) > floor * np.abs(modes).max(0)))
    if dependent.size:
        raise ValueError(f"{caller}: mode {dependent[0]} depends linearly on those before it; truncate the basis")
    basis = scipy.linalg.solve_triangular(upper, modes.T, trans=1).T
    return _assembled(points[:d], np.arange(d), basis, modes, np.zeros(0))


def _assembled(points, snapshots, basis, functions, errors) -> EIM:
    """The `EIM` of points and basis, with the triangular factors of the functions (columns) and the Lebesgue constant."""
    lower = np.tril(basis[points])
    upper = np.triu(scipy.linalg.solve_triangular(lower, functions[points], lower=True, unit_diagonal=True))
    nodal = scipy.linalg.solve_triangular(lower, basis.T, lower=True, unit_diagonal=True, trans=1)
    return EIM(points, snapshots, basis, lower, upper, float(np.abs(nodal).sum(0).max()), errors)


def checked_modes(modes, caller: str) -> tuple[np.ndarray, float]:
    """Modes `(points, d)` in double precision, and 100 times the rounding unit that they were given in.

    **Raises:** `ValueError`, which begins with `caller`, for NaN, zeros only, or more modes than points."""
    modes, floor = _checked(modes, caller)
    if modes.shape[1] > len(modes):
        raise ValueError(f"{caller}: {modes.shape[1]} modes on {len(modes)} points are dependent; modes are columns")
    return modes, floor


def _checked(functions, caller: str) -> tuple[np.ndarray, float]:
    """The functions in double precision, and 100 times the rounding unit that they were given in."""
    functions = np.asarray(functions)
    if functions.dtype.kind not in "biufc":
        raise TypeError(f"{caller}: values of type {functions.dtype}; expected numbers")
    if functions.ndim != 2 or not functions.size:
        raise ValueError(
            f"{caller}: an array of shape {functions.shape}; expected two axes, with at least one entry each"
        )
    functions = functions.astype(np.float64) if functions.dtype.kind in "biu" else functions
    if not np.isfinite(functions).all():
        raise ValueError(f"{caller}: the functions hold NaN or infinity; leave those snapshots out")
    if not functions.any():
        raise ValueError(f"{caller}: all functions are zero, nothing can be interpolated")
    return functions.astype(np.result_type(functions, np.float64)), 100 * float(jnp.finfo(functions.dtype).eps)
