"""Matrices by rows of equal length (ELL): products by gathers, without a scatter unless rows are long.

A matrix of n unknowns is `values` and `columns`, both `(w, n + m)`: row i < n holds w entries of row i of the matrix, short
rows are filled up with zeros in their own column. A row of the matrix longer than w goes on in the extra rows n … n + m − 1;
`owners` `(m,)` says whose they are.
"""

from typing import cast

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from ...core.arrays import AnyArray

# Unrolled gathers fuse into one loop; a sum over an axis of gathered values took 2 to 24 times as long (CPU). Wider rows
# would compile slowly, so they are split.
_WIDEST = 32

# Rows from which the faster product is worth its compilation.
_LARGE = 10_000

# Cost of adding an extra row to its owner (a scatter), in gathered entries.
_SCATTER = 8


def apply_rows(
    x: Float[Array, " n"],
    values: Float[Array, "w rows"],
    columns: Int[Array, "w rows"],
    owners: Int[Array, " m"],
) -> Float[Array, " rows-m"]:
    """y_i = Σ_k values[k, i] x[columns[k, i]], plus the sums of the extra rows that i owns.

    Columns must lie in 0 … n − 1 (not checked). The matrix need not be square.
    """
    n = values.shape[1] - owners.shape[0]
    sums = jnp.zeros(values.shape[1], x.dtype)
    for value, column in zip(values, columns, strict=True):
        sums += value * x.at[column].get(mode="promise_in_bounds")
    return _with_extra(sums, n, owners)


def _with_extra(sums: Float[Array, " rows"], n: int, owners: Int[AnyArray, " m"]) -> Float[Array, " n"]:
    """The sums of the first n rows and those of the extra rows that they own."""
    if not owners.size:
        return sums
    return sums[:n].at[owners].add(sums[n:], mode="promise_in_bounds", indices_are_sorted=True)


class RowPattern(eqx.Module):
    """The places of the entries of an m × n matrix that is stored by rows; NumPy makes them on the host."""

    columns: Int[AnyArray, "..."]
    owners: Int[AnyArray, " extra"]
    slots: Int[AnyArray, " nnz"]
    size: int = eqx.field(static=True)
    large: bool = eqx.field(static=True)

    @classmethod
    def of(cls, rows: Int[np.ndarray, " nnz"], cols: Int[np.ndarray, " nnz"], shape: tuple[int, int]) -> "RowPattern":
        """For at least one entry, sorted by row."""
        columns, owners, slots = row_layout(rows, cols, *shape)
        large = shape[0] >= _LARGE
        if not large:
            k, row = np.divmod(slots, columns.shape[1])
            columns, slots = columns.T, (row * len(columns) + k).astype(np.int32)
        return cls(columns, owners, slots, int(shape[0]), bool(large))

    def with_values(self, values: Float[AnyArray, " nnz"]) -> "RowMatrix":
        storage = jnp.zeros(self.columns.size, values.dtype).at[self.slots].set(values, unique_indices=True)
        return RowMatrix(storage.reshape(self.columns.shape), self)


class RowMatrix(eqx.Module):
    """A matrix by rows as a map on arrays, not square in general.

    Large ones are stored as `apply_rows` needs them. Others row by row, and a product is one reduction: about half as fast per
    entry, but compiled in a fraction of the time, which counts where many small matrices are in one program.
    """

    values: Float[Array, "..."]
    pattern: RowPattern

    @classmethod
    def from_scipy(cls, matrix: sp.csr_array, dtype: DTypeLike) -> "RowMatrix":
        """Of a matrix with at least one entry; host code."""
        matrix = sp.csr_array(matrix)
        matrix.sum_duplicates()  # sorts
        rows, cols = matrix.tocoo().coords
        pattern = RowPattern.of(rows, cols, cast(tuple[int, int], matrix.shape))
        values = np.zeros(pattern.columns.shape, dtype)
        values.ravel()[pattern.slots] = matrix.data
        return cls(jnp.asarray(values), pattern)

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " m"]:
        pattern = self.pattern
        if pattern.large:
            return apply_rows(x, self.values, jnp.asarray(pattern.columns), jnp.asarray(pattern.owners))
        sums = (self.values * x.at[pattern.columns].get(mode="promise_in_bounds")).sum(-1)
        return _with_extra(sums, pattern.size, pattern.owners)


def row_layout(
    rows: Int[np.ndarray, " nnz"], cols: Int[np.ndarray, " nnz"], n: int, n_cols: int | None = None
) -> tuple[Int[np.ndarray, "w rows"], Int[np.ndarray, " m"], Int[np.ndarray, " nnz"]]:
    """`columns`, `owners` and the place of each entry in the flattened `values`, for entries sorted by row. Host code.

    `n` rows and `n_cols` columns, as many as rows by default.

    The width w is the one with the least work: w (n + m) products and 8 units per extra row, at most 32.
    """
    lengths = np.bincount(rows, minlength=n)
    widths = np.arange(1, min(_WIDEST, lengths.max()) + 1)
    extra = [np.maximum(-(-lengths // w) - 1, 0) for w in widths]
    work = [w * (n + e.sum()) + _SCATTER * e.sum() for w, e in zip(widths, extra, strict=True)]
    best = int(np.argmin(work))
    width, extra = int(widths[best]), extra[best]
    owners = np.repeat(np.arange(n), extra)
    position = np.arange(len(rows)) - (np.cumsum(lengths) - lengths)[rows]
    part, k = np.divmod(position, width)
    first_extra = n + np.cumsum(extra) - extra
    row = np.where(part == 0, rows, first_extra[rows] + part - 1)
    own = np.minimum(np.concatenate([np.arange(n), owners]), (n if n_cols is None else n_cols) - 1)
    columns = np.tile(own, (width, 1))
    columns[k, row] = cols
    return columns.astype(np.int32), owners.astype(np.int32), (k * columns.shape[1] + row).astype(np.int32)
