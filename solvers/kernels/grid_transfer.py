"""Transfers between grids by black box multigrid (Dendy 1982): interpolation from the matrix, Galerkin coarse matrices.

Along every axis that is coarsened the points 1, 3, 5, … are kept. The others are interpolated so that A e = 0 holds with
couplings across the interpolation direction lumped into the centre. So weights follow jumps of the coefficient, and nothing is
interpolated through an obstacle or a wall.
"""

import itertools
from functools import reduce
from operator import add

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .stencil import pad_axis
from .stencil_matrix import Offset, StencilMatrix, half_offsets, halo


class Interpolation(eqx.Module):
    """u_fine = P u_coarse.

    A fine point is between two coarse points along some of the coarsened axes, and on a coarse point along the others. The
    axes along which it is between form its class: `()` for points that are coarse points, `(0, 1)` for centres of cells.

    **Fields:**

    - `weights`: for every class a dictionary. Its keys choose the left (0) or the right (1) coarse neighbour along each axis of
      the class; its values are the weights of that neighbour at the points of the class.
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
        parts: dict[tuple[int, ...], Array] = {(): u}
        for between, choices in self.weights.items():
            terms = (w * self._neighbour(u, between, sides) for sides, w in choices.items())
            parts[between] = reduce(add, terms)
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
            result = reduce(add, (part * pick for part, pick in zip(result, picks, strict=True)))
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
