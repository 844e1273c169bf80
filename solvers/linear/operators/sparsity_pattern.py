"""The sparsity pattern of a symmetric matrix, and the entries of an operator on it."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Int

from ....core.arrays import AnyArray
from ...kernels import stencil
from .diffusion import Diffusion
from .field_operator import untagged
from .laplacian import Laplacian
from .sparse import Sparse


class SymmetricPattern(eqx.Module):
    """Where a symmetric matrix of n unknowns may differ from zero: its diagonal and m places (i, j), j < i, below it, each with
    its mirror image.

    Values on the whole pattern are one array `(n + 2m,)`: the diagonal, the places below it in the order of `rows`, their
    mirror images in the same order. Values on the lower triangle alone are `(n + m,)`.

    `neighbours` `(n, k)` lists the columns of the entries of each row, without the diagonal. `entries` `(n, k)` are the positions
    of these entries among the 2m values off the diagonal. Short rows are padded: with the row itself in `neighbours`, with 2m
    in `entries`. `slots` `(2m,)` is the inverse of `entries`: value v is at position `slots[v]` of the flattened `entries`.

    **Arguments:** made on the host from `rows`, `columns` of the places below the diagonal (others raise `ValueError`).
    """

    rows: Int[AnyArray, " m"]
    columns: Int[AnyArray, " m"]
    neighbours: Int[AnyArray, "n k"]
    entries: Int[AnyArray, "n k"]
    slots: Int[AnyArray, " edges"]

    def __init__(self, rows, columns, size: int):
        rows, columns = np.asarray(rows, np.int32), np.asarray(columns, np.int32)
        if rows.size and not (columns.min() >= 0 and (columns < rows).all() and rows.max() < size):
            raise ValueError(
                f"SymmetricPattern: needs 0 ≤ column < row < {size} at every place; give the lower triangle"
            )
        if np.unique(rows.astype(np.int64) * size + columns).size != rows.size:
            raise ValueError("SymmetricPattern: a place is listed twice; sum duplicates first")
        self.rows, self.columns = rows, columns
        self.entries = grouped(np.concatenate([rows, columns]), size)
        others = np.append(np.concatenate([columns, rows]), np.int32(-1))[self.entries]
        self.neighbours = np.where(others < 0, np.arange(size, dtype=np.int32)[:, None], others)
        self.slots = np.argsort(self.entries, axis=None, kind="stable")[: 2 * rows.size].astype(np.int32)

    @property
    def size(self) -> int:
        return self.neighbours.shape[0]

    @property
    def places(self) -> int:
        """m, the number of places below the diagonal."""
        return self.rows.shape[0]

    def by_rows(self, lower: Float[Array, " m"], upper: Float[Array, " m"]) -> Float[Array, "n k"]:
        """Values at the `neighbours` of each row, zero where it is filled up."""
        return jnp.concatenate([lower, upper, jnp.zeros(1, lower.dtype)])[self.entries]

    def multiply(
        self, diagonal: Float[Array, " n"], by_rows: Float[Array, "n k"], x: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        """The product with a vector: gathers and sums along rows, no scatter."""
        return diagonal * x + (by_rows * x[self.neighbours]).sum(-1)


class SymmetricEntries(NamedTuple):
    """The values of a symmetric matrix on its pattern: the `diagonal` `(n,)` and the entries below it, `lower` `(m,)`."""

    pattern: SymmetricPattern
    diagonal: Float[Array, " n"]
    lower: Float[Array, " m"]

    def normalised(self) -> Float[Array, " m"]:
        """a_ij / √(a_ii a_jj) below the diagonal, which becomes 1."""
        scale = 1 / jnp.sqrt(self.diagonal)
        return self.lower * scale[self.pattern.rows] * scale[self.pattern.columns]


def symmetric_entries(operator) -> SymmetricEntries:
    """The entries of a symmetric `Diffusion`, `Laplacian` or `Sparse`; unknowns are counted in C order.

    A `Diffusion` may be traced: its pattern depends on shape and boundaries alone. Faces that an obstacle closed stay in the
    pattern with the value zero.

    **Raises:** `TypeError` for other operators, `ValueError` for a `Sparse` that is not symmetric.
    """
    operator = untagged(operator)
    if isinstance(operator, Laplacian):
        operator = operator.as_diffusion()
    if isinstance(operator, Diffusion):
        return _diffusion_entries(operator)
    if not isinstance(operator, Sparse):
        raise TypeError(
            f"symmetric_entries: needs a Diffusion, Laplacian or Sparse operator, got {type(operator).__name__}"
        )
    if not operator.symmetric:
        raise ValueError("symmetric_entries: the Sparse operator is not symmetric")
    rows, columns = operator.rows, operator.cols
    below = np.flatnonzero(rows > columns).astype(np.int32)
    pattern = SymmetricPattern(rows[below], columns[below], operator.in_structure().size)
    return SymmetricEntries(pattern, operator.diagonal().ravel(), operator.values[below])


def square_matrix(pattern: SymmetricPattern, values: Float[Array, " entries"], shape: tuple[int, ...]) -> Sparse:
    """The matrix with the `(n + 2m,)` values on the pattern, not symmetric in general; the pattern must not be traced."""
    n = pattern.size
    rows = np.concatenate([np.arange(n), pattern.rows, pattern.columns])
    columns = np.concatenate([np.arange(n), pattern.columns, pattern.rows])
    with jax.ensure_compile_time_eval():
        zeros = scipy.sparse.coo_array((np.zeros(len(rows), values.dtype), (rows, columns)), shape=(n, n))
        template = Sparse.from_scipy(zeros, shape, symmetric=False)
    return template.with_values(values[np.lexsort((columns, rows)).astype(np.int32)])


def _diffusion_entries(operator: Diffusion) -> SymmetricEntries:
    n = operator.in_structure().size
    rows, _, axes = _grid_places(operator.shape, operator.boundaries)
    lower = jnp.zeros(len(rows), operator.in_structure().dtype)
    for axis, places in enumerate(axes):
        faces = operator.faces[axis]
        if operator.boundaries[axis] == "dirichlet":
            faces = stencil.pad_axis(faces, axis, -1, -1)
        if places.size:
            lower = lower.at[places].add(-faces.ravel() / operator.spacing[axis] ** 2)
    return SymmetricEntries(_grid_pattern(operator.shape, operator.boundaries), operator.diagonal().reshape(n), lower)


def grouped(keys: AnyArray, groups: int) -> Int[np.ndarray, "groups k"]:
    """The positions of every key 0 … groups − 1 in `keys`, in order, filled up with `len(keys)`."""
    counts = np.bincount(keys, minlength=groups)
    order = np.argsort(keys, kind="stable")
    slot = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((groups, max(counts.max(initial=0), 1)), len(keys), np.int32)
    table[keys[order], slot] = order
    return table


@functools.lru_cache(maxsize=32)
def _grid_pattern(shape, boundaries) -> SymmetricPattern:
    rows, columns, _ = _grid_places(shape, boundaries)
    return SymmetricPattern(rows, columns, int(np.prod(shape)))


@functools.lru_cache(maxsize=32)
def _grid_places(shape, boundaries) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Places below the diagonal of a stencil matrix, and per axis the place of every inner face (two faces share one where
    a periodic axis has two points)."""
    number = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    pairs = []
    for axis, boundary in enumerate(boundaries):
        n = shape[axis]
        left, right = number, np.roll(number, -1, axis)
        if boundary != "periodic":
            left, right = (np.take(x, np.arange(n - 1), axis) for x in (left, right))
        elif n == 1:
            left, right = number[..., :0], number[..., :0]
        pairs.append(np.stack([np.maximum(left, right).ravel(), np.minimum(left, right).ravel()]))
    unique, place = np.unique(np.concatenate(pairs, axis=1), axis=1, return_inverse=True)
    cuts = np.cumsum([p.shape[1] for p in pairs])[:-1]
    return unique[0], unique[1], np.split(place.ravel().astype(np.int32), cuts)
