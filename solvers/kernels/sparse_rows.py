"""Matrices by rows of equal length (ELL): products by gathers, without a scatter unless rows are long.

A matrix of n unknowns is `values` and `columns`, both `(w, n + m)`: row i < n holds w entries of row i of the matrix, short
rows are filled up with zeros in their own column. A row of the matrix longer than w goes on in the extra rows n … n + m − 1;
`owners` `(m,)` says whose they are.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

# Unrolled gathers fuse into one loop; a sum over an axis of gathered values took 2 to 24 times as long (CPU). Wider rows
# would compile slowly, so they are split.
_WIDEST = 32

# Cost of adding an extra row to its owner (a scatter), in gathered entries.
_SCATTER = 8


def apply_rows(
    x: Float[Array, " n"],
    values: Float[Array, "w rows"],
    columns: Int[Array, "w rows"],
    owners: Int[Array, " m"],
) -> Float[Array, " n"]:
    """y_i = Σ_k values[k, i] x[columns[k, i]], plus the sums of the extra rows that i owns.

    Columns must lie in 0 … n − 1 (not checked).
    """
    n = x.shape[0]
    sums = jnp.zeros(values.shape[1], x.dtype)
    for value, column in zip(values, columns, strict=True):
        sums += value * x.at[column].get(mode="promise_in_bounds")
    if owners.size:
        sums = sums[:n].at[owners].add(sums[n:], mode="promise_in_bounds", indices_are_sorted=True)
    return sums


def row_layout(
    rows: Int[np.ndarray, " nnz"], cols: Int[np.ndarray, " nnz"], n: int
) -> tuple[Int[np.ndarray, "w rows"], Int[np.ndarray, " m"], Int[np.ndarray, " nnz"]]:
    """`columns`, `owners` and the place of each entry in the flattened `values`, for entries sorted by row. Host code.

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
    columns = np.tile(np.concatenate([np.arange(n), owners]), (width, 1))
    columns[k, row] = cols
    return columns.astype(np.int32), owners.astype(np.int32), (k * columns.shape[1] + row).astype(np.int32)
