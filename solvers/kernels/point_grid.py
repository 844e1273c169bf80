"""Integrals over neighbourhoods between scattered points and the nodes of a uniform grid, in chunks of points.

The neighbours of a point are the nodes in a ball around it. They lie in a window of nodes whose place follows from the
coordinates of the point, so that nothing is searched, no neighbour is lost and all shapes are static.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PyTree


class Lattice(NamedTuple):
    """The nodes (i h − margin) with h = (1 + 2 margin)/(n − 1), 0 ≤ i < n, along each of `ndim` axes; balls have the radius
    `reach` · h."""

    ndim: int
    n: int
    reach: int
    margin: float

    @property
    def spacing(self) -> float:
        return (1 + 2 * self.margin) / (self.n - 1)

    @property
    def nodes(self) -> Float[np.ndarray, "*space d"]:
        x = self.spacing * np.arange(self.n) - self.margin
        return np.stack(np.meshgrid(*(x,) * self.ndim, indexing="ij"), -1)


class Neighbours(NamedTuple):
    """Nodes near points: their numbers `(m, k)` in the flattened grid, their offsets from the points in radii `(m, k, d)`, and
    weights (1 − |offset|²)² `(m, k)`, zero outside of the ball and beyond the grid."""

    number: Int[Array, "m k"]
    offset: Float[Array, "m k d"]
    weight: Float[Array, "m k"]


def neighbours(lattice: Lattice, points: Float[Array, "m d"]) -> Neighbours:
    """The nodes in the window of 2 · reach nodes per axis around every point, which holds its ball. A point beyond the grid has
    the neighbours of the nearest place in it."""
    n, reach, h = lattice.n, lattice.reach, lattice.spacing
    place = jnp.clip((points + lattice.margin) / h, 0, n - 1)
    first = jnp.floor(lax.stop_gradient(place)).astype(jnp.int32) - (reach - 1)
    steps = np.stack(np.meshgrid(*(np.arange(2 * reach),) * lattice.ndim, indexing="ij"), -1).reshape(-1, lattice.ndim)
    index = first[:, None] + steps
    offset = (index.astype(points.dtype) - place[:, None]) / reach
    known = ((index >= 0) & (index < n)).all(-1)
    near = jnp.maximum(1 - (offset**2).sum(-1), 0) ** 2
    strides = n ** np.arange(lattice.ndim)[::-1]
    number = (jnp.clip(index, 0, n - 1) * strides).sum(-1)
    return Neighbours(number, offset, jnp.where(known, near, 0))


Kernel = Callable[[Float[Array, "m d"], Float[Array, "m k d"]], Float[Array, "m k c"]]


def to_grid(
    lattice: Lattice,
    kernel: Kernel,
    points: Float[Array, "n d"],
    weights: Float[Array, " n"],
    values: Float[Array, "n c"],
    chunk: int,
) -> tuple[Float[Array, "*space c"], Float[Array, "*space"]]:
    """Means over the points y in the ball around every node x, and the density of points there.

    v(x) = Σ_y w(x, y) κ(y, x) ⊙ v(y) / Σ_y w(x, y),   ρ(x) = Σ_y w(x, y) / r^d

    with w = ω_y (1 − |x − y|²/r²)², the quadrature weights ω and the radius r. Where no point is near both are zero. `chunk`
    points at a time are in memory with their neighbours, also in the derivative.
    """
    shape, channels = (lattice.n,) * lattice.ndim, values.shape[-1]

    @jax.checkpoint
    def part(points, weights, values):
        near = neighbours(lattice, points)
        w = near.weight * weights[:, None]
        moved = w[..., None] * kernel(points, near.offset) * values[:, None]
        both = jnp.concatenate([moved, w[..., None]], -1).reshape(-1, channels + 1)
        return jnp.zeros((lattice.n**lattice.ndim, channels + 1), values.dtype).at[near.number.reshape(-1)].add(both)

    sums, _ = lax.scan(
        lambda total, xs: (total + part(*xs), None),
        jnp.zeros((lattice.n**lattice.ndim, channels + 1), values.dtype),
        _chunks((points, weights, values), chunk),
    )
    ball = (lattice.reach * lattice.spacing) ** lattice.ndim
    density = sums[:, -1] / ball
    mean = sums[:, :-1] / ball / (density + 1e-6)[:, None]
    return mean.reshape(*shape, channels), density.reshape(shape)


def to_points(
    lattice: Lattice, kernel: Kernel, points: Float[Array, "n d"], values: Float[Array, "*space c"], chunk: int
) -> Float[Array, "n c"]:
    """Means over the nodes in the ball around every point, v(x) = Σ_y w κ(x, y) ⊙ v(y) / Σ_y w with w = (1 − |x − y|²/r²)²."""
    flat = values.reshape(-1, values.shape[-1])

    @jax.checkpoint
    def part(points):
        near = neighbours(lattice, points)
        sums = jnp.einsum("mk,mkc,mkc->mc", near.weight, kernel(points, near.offset), flat[near.number])
        return sums / (near.weight.sum(-1) + 1e-6)[:, None]

    found = lax.map(lambda xs: part(*xs), _chunks((points,), chunk))
    return found.reshape(-1, values.shape[-1])[: len(points)]


def _chunks(arrays: PyTree, size: int) -> PyTree:
    """Arrays `(n, …)` as `(chunks, size, …)`, filled up with zeros."""
    n = len(jax.tree.leaves(arrays)[0])
    size = min(size, n)
    number = -(-n // size)
    return jax.tree.map(
        lambda x: jnp.pad(x, [(0, number * size - n), *[(0, 0)] * (x.ndim - 1)]).reshape(number, size, *x.shape[1:]),
        arrays,
    )
