"""Coarse levels of a diffusion on a grid that follow its connected parts: mazes, spirals, rooms, porous media.

Two points per coarsened axis make a block, and every connected component of a block becomes an unknown of its own in one of the
`slots` of the block. So points on two sides of a wall are never averaged, however thin the wall is. A coarse level is again a
graph on blocks in which only neighbouring blocks are coupled.

Interpolation is constant on components. Galerkin's couplings along a coarsened axis are halved, because the distance has doubled
(the overcorrection of Braess, Towards algebraic multigrid for elliptic problems of second order, Computing 55, 1995).
"""

import itertools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .stencil import pad_axis


class ComponentLevel(eqx.Module):
    """A symmetric graph with k slots on every block of a grid `(*n)`.

    (A u)_i = (shift_i + Σ_j c_ij) u_i − Σ_j c_ij u_j over the slots j of the neighbouring blocks.

    **Fields:**

    - `couplings`: per axis c `(*n, k, k)` between the slots of block i (rows) and of block i + 1 (columns). The last block of a
      ring is coupled with the first, that of another axis with none.
    - `shift`: `(*n, k)`.
    - `size`: number of points of the finest grid in every slot `(*n, k)`.
    - `periodic`: which axes are rings.
    """

    couplings: tuple[Float[Array, "*n k k"], ...]
    shift: Float[Array, "*n k"]
    size: Float[Array, "*n k"]
    periodic: tuple[bool, ...] = eqx.field(static=True)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.shift.shape[:-1]

    def neighbours(self, u: Float[Array, "*n k"]) -> Float[Array, "*n k"]:
        """Σ_j c_ij u_j."""
        # Without the barrier XLA recomputes u, and what u was computed from, once per neighbour.
        u, result = lax.optimization_barrier(u), jnp.zeros_like(u)
        for axis, c in enumerate(self.couplings):
            result += (c * _ahead(u, axis, self.periodic[axis])[..., None, :]).sum(-1)
            result += _behind((c * u[..., :, None]).sum(-2), axis, self.periodic[axis])
        return result

    def open(self) -> Float[Array, "*n k"]:
        """Σ_j c_ij."""
        return self.neighbours(jnp.ones_like(self.shift))

    def count(self) -> Float[Array, "*n k"]:
        """The number of neighbours j."""
        graph = eqx.tree_at(lambda g: g.couplings, self, tuple((c > 0).astype(c.dtype) for c in self.couplings))
        return graph.open()

    def scaled_couplings(self, scale: Float[Array, "*n k"]) -> tuple[Float[Array, "*n k k"], ...]:
        """s_i c_ij s_j."""
        return tuple(
            scale[..., :, None] * c * _ahead(scale, axis, self.periodic[axis])[..., None, :]
            for axis, c in enumerate(self.couplings)
        )

    def dense(self, diagonal: Float[Array, "*n k"]) -> Float[Array, "N N"]:
        """The matrix with this diagonal and −c_ij beside it."""
        eye = jnp.eye(diagonal.size, dtype=diagonal.dtype).reshape(-1, *diagonal.shape)
        return jax.vmap(lambda e: (diagonal * e - self.neighbours(e)).ravel())(eye)


class Components(eqx.Module):
    """The transfer between a level and the next: q points of a block belong to k slots.

    **Fields:** `weights` `(*m, q, k)`; `axes`, the coarsened ones; `fine`, the shape `(*n)` of the finer level.
    """

    weights: Float[Array, "*m q k"]
    axes: tuple[int, ...] = eqx.field(static=True)
    fine: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, u: Float[Array, "*m k"]) -> Float[Array, "*n p"]:
        """From slots to their points."""
        return _unblocked((self.weights * u[..., None, :]).sum(-1), self.fine, self.axes)

    def transpose(self, r: Float[Array, "*n p"]) -> Float[Array, "*m k"]:
        """Sums over the points of every slot."""
        blocks = _flat(_blocked(r, self.fine, self.axes), len(self.fine), len(self.axes) + 1)
        return (self.weights * blocks[..., :, None]).sum(-2)

    def scaled(self, fine: Float[Array, "*n p"], coarse: Float[Array, "*m k"]) -> "Components":
        """The transfer u ↦ fine · P (coarse · u)."""
        blocks = _flat(_blocked(fine, self.fine, self.axes), len(self.fine), len(self.axes) + 1)
        return Components(self.weights * blocks[..., :, None] * coarse[..., None, :], self.axes, self.fine)


def coarsened(level: ComponentLevel, axes: Sequence[int], slots: int) -> tuple[ComponentLevel, Components]:
    """The next level, with blocks of two along `axes`, and the transfer to it, with weights 1 and 0.

    Of more components than slots the smallest share the last slot. A point without a neighbour belongs to none. The shift of
    points at a wall u = 0 grows less than Galerkin's: by what the distance of the wall from the centre of the block asks.
    """
    axes, dim, shape = tuple(axes), len(level.shape), level.shape
    members, points = _members(level, axes, slots)
    transfer = Components(members, axes, shape)
    bits = members.reshape(*members.shape[:dim], *(2,) * len(axes), points, slots)
    couplings = []
    for axis, c in enumerate(level.couplings):
        ring, c = level.periodic[axis], _blocked(c, shape, axes)
        if axis in axes:
            c, _ = _crossing(c, level, axes, axis)
            leaving, _ = _crossing(bits, level, axes, axis)
            entering = jnp.take(bits, 0, dim + axes.index(axis))
        else:
            leaving = entering = bits
        ends = [_flat(x, dim, x.ndim - dim - 2) for x in (leaving, c, _ahead(entering, axis, ring))]
        found = jnp.einsum("...okp,...okl,...olq->...pq", *ends, precision="highest")
        alone = members.shape[axis] == 1
        couplings.append(found * (0.0 if alone else 0.5 if axis in axes else 1.0))
    coarse = ComponentLevel(
        tuple(couplings), transfer.transpose(level.shift), transfer.transpose(level.size), level.periodic
    )
    count = coarse.count()
    mean = coarse.open() / jnp.maximum(count, 1)
    # A wall at distance 1/g from the centre of a point is at (1/g + 1/2)/2 of twice the spacing from that of a block.
    growth = 1 + 0.25 * coarse.shift / jnp.where(count > 0, mean, 1)
    return eqx.tree_at(lambda g: g.shift, coarse, coarse.shift / jnp.where(count > 0, growth, 1)), transfer


def _members(level: ComponentLevel, axes: tuple[int, ...], slots: int) -> tuple[Float[Array, "*m q k"], int]:
    """Which slot every point of a block belongs to, and the number of slots of the finer level."""
    dim, points = len(level.shape), level.shift.shape[-1]
    many = 2 ** len(axes) * points
    blocks = tuple(-(-n // 2) if a in axes else n for a, n in enumerate(level.shape))
    reach = jnp.zeros((*blocks, *(2,) * len(axes), points, *(2,) * len(axes), points), bool)
    for k, axis in enumerate(axes):
        _, inner = _crossing(_blocked(level.couplings[axis], level.shape, axes), level, axes, axis)
        for other in itertools.product((0, 1), repeat=len(axes) - 1):
            low, high = (*other[:k], 0, *other[k:]), (*other[:k], 1, *other[k:])
            link = inner[(..., *other, slice(None), slice(None))] > 0
            reach = reach.at[(..., *low, slice(None), *high, slice(None))].set(link)
            reach = reach.at[(..., *high, slice(None), *low, slice(None))].set(jnp.swapaxes(link, -1, -2))
    reach = (reach.reshape(*blocks, many, many) | jnp.eye(many, dtype=bool)).astype(jnp.float32)
    for _ in range((many - 1).bit_length()):
        reach = (jnp.matmul(reach, reach) > 0).astype(jnp.float32)
    flat = lambda u: _flat(_blocked(u, level.shape, axes), dim, len(axes) + 1)  # noqa: E731
    present = flat(level.count()) > 0
    size = jnp.matmul(reach, flat(level.size).astype(jnp.float32)[..., None], precision="highest")[..., 0]
    first = jnp.argmax(reach, -1)
    leads = present & (first == jnp.arange(many))
    ahead = (size[..., None, :] > size[..., :, None]) | (
        (size[..., None, :] == size[..., :, None]) & (first[..., None, :] < first[..., :, None])
    )
    slot = jnp.minimum((ahead & leads[..., None, :]).sum(-1), slots - 1)
    members = (slot[..., None] == jnp.arange(slots)) & present[..., None]
    return members.astype(level.shift.dtype), points


def _crossing(u: Array, level: ComponentLevel, axes: tuple[int, ...], axis: int) -> tuple[Array, Array]:
    """The values at the last and at the first point of every block along `axis`.

    A face leads from the last point to the next block, and from the first point to the second. The last block of a ring of odd
    size has one point, whose face leads to the first block.
    """
    dim = len(level.shape)
    low, high = (jnp.take(u, i, dim + axes.index(axis)) for i in (0, 1))
    if level.shape[axis] % 2 and level.periodic[axis]:
        n = low.shape[axis]
        last = (jnp.arange(n) == n - 1).reshape([-1 if a == axis else 1 for a in range(low.ndim)])
        return jnp.where(last, low, high), jnp.where(last, 0, low)
    return high, low


def _blocked(u: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """`(*n, …)` as `(*m, 2, …, 2, …)`: the points of a block behind the blocks. Odd sides get a row of zeros."""
    dim, rest = len(shape), u.shape[len(shape) :]
    for axis in axes:
        u = pad_axis(u, axis, 0, shape[axis] % 2)
    split = [size for a in range(dim) for size in ((u.shape[a] // 2, 2) if a in axes else (u.shape[a],))]
    outer = [a + sum(b < a for b in axes) for a in range(dim)]
    inner = [outer[a] + 1 for a in axes]
    order = [*outer, *inner, *range(len(split), len(split) + len(rest))]
    return u.reshape(*split, *rest).transpose(order)


def _unblocked(u: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """`(*m, q)` with the points of a block in one axis as `(*n, p)`."""
    dim = len(shape)
    u = u.reshape(*u.shape[:dim], *(2,) * len(axes), -1)
    order = [x for a in range(dim) for x in ((a, dim + axes.index(a)) if a in axes else (a,))]
    u = u.transpose(*order, u.ndim - 1).reshape(*(n + n % 2 if a in axes else n for a, n in enumerate(shape)), -1)
    return lax.slice(u, (0,) * u.ndim, (*shape, u.shape[-1]))


def _flat(u: Array, start: int, count: int) -> Array:
    """`count` axes from `start` on as one."""
    return u.reshape(*u.shape[:start], -1, *u.shape[start + count :])


def _ahead(u: Array, axis: int, ring: bool) -> Array:
    """u_{i+1}; behind the last block 0, or the first block of a ring."""
    return jnp.roll(u, -1, axis) if ring else pad_axis(u, axis, -1, 1)


def _behind(u: Array, axis: int, ring: bool) -> Array:
    """u_{i−1}; before the first block 0, or the last block of a ring."""
    return jnp.roll(u, 1, axis) if ring else pad_axis(u, axis, 1, -1)
