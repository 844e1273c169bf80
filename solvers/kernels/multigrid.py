"""Multigrid on grids: levels of Galerkin matrices, the V-cycle, polynomial smoothing."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Shaped

from . import polynomial_smoothing
from .grid_transfer import Interpolation, galerkin, interpolation
from .stencil import pad_axis
from .stencil_matrix import StencilMatrix

# A coarsest grid may have this many times the unknowns that are aimed at, before the dense inverse is too slow.
_LARGEST = 4


class Level(eqx.Module):
    """One grid: its matrix (padded to a size that can be coarsened), the scaling of the smoother, and P."""

    matrix: StencilMatrix
    scaled_inverse: Float[Array, "*n"]
    transfer: Interpolation


class Hierarchy(eqx.Module):
    """Levels from fine to coarse, and the dense pseudo-inverse of the coarsest matrix."""

    levels: tuple[Level, ...]
    inverse: Float[Array, "N N"]
    shape: tuple[int, ...] = eqx.field(static=True)


def hierarchy(matrix: StencilMatrix, spacing: Sequence[float], coarsest: int = 81) -> Hierarchy:
    """The set-up phase. Axes are coarsened where the spacing is less than twice the smallest, so that the couplings of the
    next level are of one size, until at most `coarsest` unknowns are left."""
    shape, spacing, levels = matrix.shape, list(spacing), []
    while matrix.diagonal.size > coarsest and (axes := _coarsened(matrix.shape, spacing, matrix.periodic)):
        matrix = padded(matrix, axes)
        transfer = interpolation(matrix, axes)
        levels.append(Level(matrix, smoother_scaling(matrix), transfer))
        matrix = _without_null_points(galerkin(matrix, transfer), transfer.energy(matrix.diagonal))
        for axis in axes:
            spacing[axis] *= 2
    if matrix.diagonal.size > _LARGEST * coarsest:
        raise ValueError(
            f"multigrid: {matrix.shape} cannot be coarsened further; a periodic axis needs a size with many factors of two, "
            f"the grid has {shape}"
        )
    return Hierarchy(tuple(levels), pseudo_inverse(matrix.dense()), shape)


def can_be_coarsened(
    shape: tuple[int, ...], spacing: Sequence[float], periodic: tuple[bool, ...], coarsest: int = 81
) -> bool:
    """Whether `hierarchy` comes to a grid small enough for a dense inverse."""
    spacing = list(spacing)
    while math.prod(shape) > coarsest and (axes := _coarsened(shape, spacing, periodic)):
        shape = tuple(n // 2 if axis in axes else n for axis, n in enumerate(shape))
        for axis in axes:
            spacing[axis] *= 2
    return math.prod(shape) <= _LARGEST * coarsest


def cycle(
    levels: Hierarchy, r: Float[Array, "*n"], degree: int, omega: Float[Array, ""] | float = 1.0
) -> Float[Array, "*n"]:
    """One V-cycle for A x = r from x = 0, with optimised fourth-kind Chebyshev smoothing of `degree` before and after,
    whose bound of the spectrum is divided by `omega`."""

    def descend(depth: int, r):
        if depth == len(levels.levels):
            return jnp.matmul(levels.inverse, r.ravel(), precision="highest").reshape(r.shape)
        level = levels.levels[depth]
        size = r.shape
        r = fit(r, level.matrix.shape)
        x = smooth(level, r, degree, omega)
        coarse = descend(depth + 1, level.transfer.transpose(r - level.matrix(x)))
        x = x + level.transfer(fit(coarse, level.transfer.coarse))
        return fit(x + smooth(level, r - level.matrix(x), degree, omega), size)

    return descend(0, r)


def smooth(level: Level, r: Float[Array, "*n"], degree: int, omega) -> Float[Array, "*n"]:
    """Polynomial smoothing with the scaling of the level."""
    return polynomial_smoothing.smooth(level.matrix, omega * level.scaled_inverse, r, degree)


def smoother_scaling(matrix: StencilMatrix) -> Float[Array, "*n"]:
    """S_i = 1 / Σ_j |a_ij|, so that the spectrum of S A ends at 1 whatever the rows (Baker et al. 2011, l1-Jacobi); 0 at points
    without equation (a_ii = 0): closed pockets between obstacles."""
    rows, present = matrix.row_sums(), matrix.diagonal > 0
    return jnp.where(present, 1 / jnp.where(present, rows, 1), 0)


def _without_null_points(coarse: StencilMatrix, scale: Float[Array, "..."]) -> StencilMatrix:
    """a_ii set to 0 where it is what rounding has left of cancelling entries of size `scale`: a pocket without inflow or
    outflow has become one point."""
    null = coarse.diagonal <= 4 * jnp.finfo(scale.dtype).eps * scale
    return eqx.tree_at(lambda m: m.diagonal, coarse, jnp.where(null, 0, coarse.diagonal))


def fit(u: Shaped[Array, "..."], shape: tuple[int, ...]) -> Shaped[Array, "..."]:
    """Zeros at the far ends, or cut there."""
    for axis, n in enumerate(shape):
        if n != u.shape[axis]:
            u = pad_axis(u, axis, 0, n - u.shape[axis])
    return u


def padded(matrix: StencilMatrix, axes: tuple[int, ...]) -> StencilMatrix:
    """With a decoupled point more at the end of each of `axes` of even size."""
    shape = tuple(n + (a in axes and n % 2 == 0 and not matrix.periodic[a]) for a, n in enumerate(matrix.shape))
    if shape == matrix.shape:
        return matrix
    new = ~fit(jnp.ones(matrix.shape, bool), shape)
    upper = tuple(fit(c, tuple(n + 2 for n in shape)) for c in matrix.upper)
    return StencilMatrix(jnp.where(new, 1, fit(matrix.diagonal, shape)), upper, matrix.offsets, matrix.periodic)


def generalised_inverse(a: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """A symmetric g-inverse (A G A = A) of a symmetric positive semidefinite matrix by the sweep operator; pivots that
    cancelled to rounding are left out."""
    floor = _pivot_floor(a)

    def sweep(k, a):
        pivot = a[k, k]
        row = a[k]
        swept = a - jnp.outer(row, row) / pivot
        swept = swept.at[k].set(row / pivot).at[:, k].set(row / pivot).at[k, k].set(-1 / pivot)
        dropped = a.at[k].set(0).at[:, k].set(0)
        return jnp.where(pivot > floor[k], swept, dropped)

    return -lax.fori_loop(0, a.shape[0], sweep, a)


def _pivot_floor(a: Float[Array, "N N"]) -> Float[Array, " N"]:
    """What rounding may leave of a pivot that is zero."""
    return 10 * a.shape[0] * jnp.finfo(a.dtype).eps * jnp.diagonal(a)


def pseudo_inverse(a: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """Of a symmetric positive semidefinite matrix: (I − P) G (I − P) with its `generalised_inverse` G and the orthogonal
    projection P onto its null space. G alone would gather what has no preimage in the unknowns that it leaves out.

    A unit vector of an unknown that G leaves out minus G times its column of A is a null vector, and these are a basis.
    """
    g = generalised_inverse(a)
    identity = jnp.eye(a.shape[0], dtype=a.dtype)
    product = lambda x, y: jnp.matmul(x, y, precision="highest")  # noqa: E731
    null = jnp.where(jnp.diagonal(g) == 0, identity - product(g, a), 0)
    # A negative pivot, of a matrix that is not semidefinite, is left out by G too.
    null = jnp.where(jnp.abs((null * product(a, null)).sum(0)) <= 2 * _pivot_floor(a), null, 0)
    off = identity - product(null, product(generalised_inverse(product(null.T, null)), null.T))
    return product(off, product(g, off.T))


def _coarsened(shape: tuple[int, ...], spacing: Sequence[float], periodic: tuple[bool, ...]) -> tuple[int, ...]:
    can = [a for a, n in enumerate(shape) if (n % 2 == 0 and n >= 6 if periodic[a] else n >= 4)]
    finest = min((spacing[a] for a in can), default=0.0)
    return tuple(a for a in can if spacing[a] < 2 * finest)
