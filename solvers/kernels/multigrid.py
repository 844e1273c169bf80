"""Black box multigrid on grids (Dendy 1982): interpolation from the matrix, Galerkin coarse matrices, polynomial smoothing.

Along every axis that is coarsened the points 1, 3, 5, … are kept. The others are interpolated so that A e = 0 holds with
couplings across the interpolation direction lumped into the centre. So weights follow jumps of the coefficient, and nothing is
interpolated through an obstacle or a wall.
"""

import itertools
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Shaped

from .stencil import pad_axis
from .stencil_matrix import Offset, StencilMatrix, half_offsets, halo

# β of the optimised fourth-kind Chebyshev polynomials of degree 1, 2, 3 (Lottes 2023, table 1).
_BETA = (
    (1.12500000000000,),
    (1.02387287570313, 1.26408905371085),
    (1.00842544782028, 1.08867839208730, 1.33753125909618),
)


class Interpolation(eqx.Module):
    """u_fine = P u_coarse. Fine points form classes by the axes along which they lie between two coarse ones.

    **Fields:**

    - `weights`: per class, and per choice of a left (0) or right (1) coarse neighbour along each of its axes, the weight at
      the points of the class.
    - `fine`, `axes`, `periodic`: fine shape, coarsened axes, rings. The fine size of a coarsened axis is odd, that of a ring
      even.
    """

    weights: dict[tuple[int, ...], dict[tuple[int, ...], Float[Array, "..."]]]
    fine: tuple[int, ...] = eqx.field(static=True)
    axes: tuple[int, ...] = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)

    @property
    def coarse(self) -> tuple[int, ...]:
        return tuple(n // 2 if a in self.axes else n for a, n in enumerate(self.fine))

    def __call__(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """P u."""
        parts = {(): u}
        for between, choices in self.weights.items():
            parts[between] = sum(w * self._neighbour(u, between, sides) for sides, w in choices.items())
        for axis in reversed(self.axes):
            done = {b for b in parts if axis not in b}
            parts = {b: _interleave(parts[(*b, axis)], parts[b], axis) for b in done}
        return parts[()]

    def transpose(self, r: Float[Array, "..."]) -> Float[Array, "..."]:
        """Pᵀ r."""
        result = self.part(r, ())
        for between, choices in self.weights.items():
            values = self.part(r, between)
            result += sum(self._adjoint(w * values, between, sides) for sides, w in choices.items())
        return result

    def energy(self, diagonal: Float[Array, "..."]) -> Float[Array, "..."]:
        """The diagonal of Pᵀ D P."""
        squared = {b: {s: w**2 for s, w in choices.items()} for b, choices in self.weights.items()}
        return eqx.tree_at(lambda p: p.weights, self, squared).transpose(diagonal)

    def part(self, fine: Float[Array, "..."], between: tuple[int, ...]) -> Float[Array, "..."]:
        """The points of one class."""
        for axis in self.axes:
            start = 0 if axis in between else 1
            fine = lax.slice_in_dim(fine, start, fine.shape[axis], 2, axis)
        return fine

    def _neighbour(self, u, between, sides):
        for axis, side in zip(between, sides, strict=True):
            u = neighbour(u, axis, side, self.periodic[axis])
        return u

    def _adjoint(self, y, between, sides):
        for axis, side in zip(between, sides, strict=True):
            if not self.periodic[axis]:
                y = pad_axis(y, axis, side - 1, -side)
            elif side == 0:
                n = y.shape[axis]
                y = lax.concatenate([lax.slice_in_dim(y, 1, n, axis=axis), lax.slice_in_dim(y, 0, 1, axis=axis)], axis)
        return y


def neighbour(u, axis: int, side: int, ring: bool):
    """The coarse value left (0) or right (1) of every point between two coarse ones; zero beyond a wall."""
    if not ring:
        return pad_axis(u, axis, 1 - side, side)
    if side:
        return u
    n = u.shape[axis]
    return lax.concatenate([lax.slice_in_dim(u, n - 1, n, axis=axis), lax.slice_in_dim(u, 0, n - 1, axis=axis)], axis)


def interpolation(matrix: StencilMatrix, axes: tuple[int, ...]) -> Interpolation:
    """Weights from the rows of `matrix`: w_σ = −c_σ / c_0 with c_σ = Σ a_δ over all δ that equal σ along the class's axes."""
    empty = Interpolation({}, matrix.shape, axes, matrix.periodic)
    entries = [((0,) * len(matrix.shape), matrix.diagonal), *((delta, c) for delta, _, c in matrix.entries())]
    weights: dict = {(): {(): None}}
    for count in range(1, len(axes) + 1):
        for between in itertools.combinations(axes, count):
            lumped: dict = {}
            for delta, c in entries:
                sigma = tuple(delta[a] for a in between)
                lumped[sigma] = lumped.get(sigma, 0) + empty.part(c, between)
            centre = lumped.pop((0,) * count)
            # At least −Σ c_σ, so that weights never exceed 1 in sum, and no small remainder of a row that has cancelled.
            total = -sum(lumped.values())
            size = sum(abs(c) for c in lumped.values())
            centre = jnp.maximum(jnp.maximum(centre, total), size / 8)
            inverse = jnp.where(centre > 0, 1 / jnp.where(centre > 0, centre, 1), 0)
            found: dict = {}
            for sigma, c in lumped.items():
                inner = tuple(a for a, s in zip(between, sigma, strict=True) if s == 0)
                for sides, w in weights[inner].items():
                    weight = -c * inverse
                    if w is not None:
                        for axis, s in zip(between, sigma, strict=True):
                            if s:
                                w = neighbour(w, axis, int(s > 0), matrix.periodic[axis])
                        weight = weight * w
                    chosen = dict(zip(inner, sides, strict=True))
                    key = tuple(chosen.get(a, int(s > 0)) for a, s in zip(between, sigma, strict=True))
                    found[key] = found.get(key, 0) + weight
            weights[between] = lax.optimization_barrier(found)
    del weights[()]
    return Interpolation(weights, matrix.shape, axes, matrix.periodic)


def galerkin(matrix: StencilMatrix, transfer: Interpolation) -> StencilMatrix:
    """Pᵀ A P, read off its products with vectors that are 1 on points at least three apart."""
    shape, periodic = transfer.coarse, transfer.periodic
    colours = [_colours(n, ring) for n, ring in zip(shape, periodic, strict=True)]
    masks = [jnp.asarray(c[:, None] == np.arange(c.max() + 1), matrix.diagonal.dtype).T for c in colours]
    count = [len(m) for m in masks]

    def product(index):
        vector = jnp.ones(shape, matrix.diagonal.dtype)
        for axis, mask in enumerate(masks):
            row = mask[index[axis]]
            vector = vector * row.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        return transfer.transpose(matrix(transfer(vector)))

    indices = jnp.stack([x.ravel() for x in jnp.meshgrid(*map(jnp.arange, count), indexing="ij")], -1)
    products = lax.map(product, indices).reshape(*count, *shape)

    def entry(delta: Offset):
        """Row i, column i + δ: row i of the product with the colour of i + δ."""
        result = products
        for axis, (colour, d, n) in enumerate(zip(colours, delta, shape, strict=True)):
            wanted = np.roll(colour, -d)
            inside = np.ones(n, bool) if periodic[axis] else (np.arange(n) + d >= 0) & (np.arange(n) + d < n)
            # Leading axes are the colours of the axes still to do. A sum written out: XLA's CPU backend gives wrong values
            # for a reduction of a reduction over such short leading axes (jax 0.10.2, from 127² points on).
            along = [-1 if a == axis else 1 for a in range(len(shape))]
            picks = [jnp.asarray((wanted == c) & inside, result.dtype).reshape(along) for c in range(count[axis])]
            result = sum(part * pick for part, pick in zip(result, picks, strict=True))
        return result

    offsets = tuple(d for d in half_offsets(len(shape)))
    upper = tuple(halo(entry(d), periodic) for d in offsets)
    return StencilMatrix(entry((0,) * len(shape)), upper, offsets, periodic)


def _colours(n: int, ring: bool) -> np.ndarray:
    """Numbers per point that differ between points less than three apart."""
    colours = np.arange(n) % 3
    if ring and n % 3:
        colours[-(n % 3) :] = 3 + np.arange(n % 3)
    return colours


def _interleave(even: Array, odd: Array, axis: int) -> Array:
    """even_0, odd_0, even_1, … along an axis."""
    n = even.shape[axis] + odd.shape[axis]
    config = lambda low, high: [(low, high, 1) if a == axis else (0, 0, 0) for a in range(even.ndim)]  # noqa: E731
    zero = jnp.zeros((), even.dtype)
    spread = lax.pad(even, zero, config(0, n - 2 * even.shape[axis] + 1))
    return spread + lax.pad(odd, zero, config(1, n - 2 * odd.shape[axis]))


class Level(eqx.Module):
    """One grid: its matrix (padded to a size that can be coarsened), D⁻¹ over the bound of the spectrum, and P."""

    matrix: StencilMatrix
    scaled_inverse: Float[Array, "*n"]
    transfer: Interpolation


class Hierarchy(eqx.Module):
    """Levels from fine to coarse, and the dense inverse of the coarsest matrix."""

    levels: tuple[Level, ...]
    inverse: Float[Array, "N N"]
    shape: tuple[int, ...] = eqx.field(static=True)


def hierarchy(matrix: StencilMatrix, spacing: Sequence[float], coarsest: int = 81) -> Hierarchy:
    """The set-up phase. Axes are coarsened where the spacing is less than twice the smallest, so that the couplings of the
    next level are of one size, until at most `coarsest` unknowns are left."""
    shape, spacing, levels = matrix.shape, list(spacing), []
    while matrix.diagonal.size > coarsest and (axes := _coarsened(matrix, spacing)):
        matrix = padded(matrix, axes)
        transfer = interpolation(matrix, axes)
        levels.append(Level(matrix, inverse_diagonal(matrix) / matrix.gershgorin(), transfer))
        matrix = _without_null_points(galerkin(matrix, transfer), transfer.energy(matrix.diagonal))
        for axis in axes:
            spacing[axis] *= 2
    if matrix.diagonal.size > 4 * coarsest:
        raise ValueError(
            f"multigrid: {matrix.shape} cannot be coarsened further; a periodic axis needs a size with many factors of two, "
            f"the grid has {shape}"
        )
    return Hierarchy(tuple(levels), generalised_inverse(matrix.dense()), shape)


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
    """p(A) r by the optimised fourth-kind Chebyshev polynomial of D⁻¹ A (Lottes 2023, algorithm 2)."""
    inverse = omega * level.scaled_inverse
    z = 4 / 3 * inverse * r
    beta = _BETA[degree - 1]
    x = beta[0] * z
    for k in range(2, degree + 1):
        r = r - level.matrix(z)
        z = (2 * k - 3) / (2 * k + 1) * z + (8 * k - 4) / (2 * k + 1) * inverse * r
        x = x + beta[k - 1] * z
    return x


def inverse_diagonal(matrix: StencilMatrix) -> Float[Array, "*n"]:
    """1 / a_ii, and 0 at points without equation (a_ii = 0): closed pockets between obstacles."""
    return jnp.where(matrix.diagonal > 0, 1 / jnp.where(matrix.diagonal > 0, matrix.diagonal, 1), 0)


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
    floor = 10 * a.shape[0] * jnp.finfo(a.dtype).eps * jnp.diagonal(a)

    def sweep(k, a):
        pivot = a[k, k]
        row = a[k]
        swept = a - jnp.outer(row, row) / pivot
        swept = swept.at[k].set(row / pivot).at[:, k].set(row / pivot).at[k, k].set(-1 / pivot)
        dropped = a.at[k].set(0).at[:, k].set(0)
        return jnp.where(pivot > floor[k], swept, dropped)

    return -lax.fori_loop(0, a.shape[0], sweep, a)


def _coarsened(matrix: StencilMatrix, spacing: Sequence[float]) -> tuple[int, ...]:
    can = [a for a, n in enumerate(matrix.shape) if (n % 2 == 0 and n >= 6 if matrix.periodic[a] else n >= 4)]
    finest = min((spacing[a] for a in can), default=0.0)
    return tuple(a for a in can if spacing[a] < 2 * finest)
