"""Gram matrices of many long rows, accumulated in a precision of its own without a converted copy of the rows."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .compile_platform import target_platform

# Entries of a chunk: on a CPU it should stay in the cache, elsewhere be large enough to fill the device.
_CHUNK = {"cpu": 2**19}
_CHUNK_ELSEWHERE = 2**25
_SMALL = 128  # rows whose product is not worth halving


def gram(
    rows: Float[Array, "n points"],
    weights: Float[Array, " points"] | None = None,
    duals: Float[Array, "n points"] | None = None,
    rotation: Float[Array, "p n"] | None = None,
    *,
    dtype=None,
    axis_name: str | None = None,
) -> Float[Array, "q q"]:
    """R S M (R S)ᵀ `(p, p)` for rows S, R the identity without `rotation`; M the identity, diag(`weights`), or given by
    `duals` = S M.

    One pass over the rows, in chunks of points that are converted to `dtype` (by default that of the rows), rotated and
    multiplied while in the cache; products of different rows are formed once.

    **Arguments:** `axis_name`: inside `shard_map`, the mesh axis over which the points are distributed.

    Entries have an absolute error of about ε(dtype) times the largest, so that singular values below √ε of the first are
    lost in it: 1.5e-8 for float64, 3e-4 for float32.
    """
    dtype = rows.dtype if dtype is None else dtype

    def product(part, w, dual):
        x = part.astype(dtype) if rotation is None else _matmul(rotation.astype(dtype), part.astype(dtype))
        y = x
        if dual is not None:
            y = dual.astype(dtype) if rotation is None else _matmul(rotation.astype(dtype), dual.astype(dtype))
        return _symmetric(x, y if w is None else y * w.astype(dtype))

    def chunk(i, sums):
        window = [None if a is None else _window(a, i * size, size) for a in (rows, weights, duals)]
        return jax.tree.map(jnp.add, sums, product(*window))

    size, count = chunks(*rows.shape)
    rest = [None if a is None else a[..., count * size :] for a in (rows, weights, duals)]
    total = _joined(lax.fori_loop(0, count, chunk, product(*rest)))
    return total if axis_name is None else lax.psum(total, axis_name)


def _symmetric(x, y):
    """The symmetric x yᵀ as nested blocks (upper left, lower left, lower right), of which the lower left is formed once."""
    half = len(x) // 2
    if len(x) < _SMALL:
        return _matmul(x, y.T)
    return _symmetric(x[:half], y[:half]), _matmul(x[half:], y[:half].T), _symmetric(x[half:], y[half:])


def _joined(blocks):
    if not isinstance(blocks, tuple):
        return blocks
    upper, lower, last = _joined(blocks[0]), blocks[1], _joined(blocks[2])
    return jnp.block([[upper, lower.T], [lower, last]])


def cross_gram(
    rows: Float[Array, "n points"],
    others: Float[Array, "r points"],
    weights: Float[Array, " points"] | None = None,
    *,
    dtype=None,
    axis_name: str | None = None,
) -> Float[Array, "n r"]:
    """S M Oᵀ for rows S and other rows O, in chunks as `gram`."""
    dtype = rows.dtype if dtype is None else dtype

    def product(part, other, w):
        other = other.astype(dtype)
        return _matmul(part.astype(dtype), (other if w is None else other * w.astype(dtype)).T)

    def chunk(i, total):
        return total + product(*[None if a is None else _window(a, i * size, size) for a in arrays])

    arrays = (rows, others, weights)
    size, count = chunks(*rows.shape)
    total = lax.fori_loop(0, count, chunk, product(*[None if a is None else a[..., count * size :] for a in arrays]))
    return total if axis_name is None else lax.psum(total, axis_name)


def combine(matrix: Float[Array, "p n"], rows: Float[Array, "n points"], *, dtype=None) -> Float[Array, "p points"]:
    """`matrix @ rows` in `dtype`, converting a chunk of the rows at a time."""
    dtype = rows.dtype if dtype is None else dtype
    matrix = matrix.astype(dtype)
    size, count = chunks(*rows.shape)

    # A square matrix overwrites the rows chunk by chunk, so that XLA needs no second array for them.
    square = matrix.shape[0] == rows.shape[0] and rows.dtype == dtype

    def chunk(i, out):
        part = _matmul(matrix, _window(out if square else rows, i * size, size).astype(dtype))
        return lax.dynamic_update_slice_in_dim(out, part, i * size, 1)

    rest = _matmul(matrix, rows[:, count * size :].astype(dtype))
    out = rows if square else jnp.zeros((matrix.shape[0], rows.shape[1]), dtype)
    out = lax.dynamic_update_slice_in_dim(out, rest, count * size, 1)
    return lax.fori_loop(0, count, chunk, out)


def chunks(n: int, points: int) -> tuple[int, int]:
    """Points per chunk and number of whole chunks."""
    size = min(points, max(128, _CHUNK.get(target_platform(), _CHUNK_ELSEWHERE) // max(n, 1)))
    return size, points // size


def _window(array, start, size: int):
    return lax.dynamic_slice_in_dim(array, start, size, array.ndim - 1)


def _matmul(a, b):
    return jnp.matmul(a, b, precision="highest")
