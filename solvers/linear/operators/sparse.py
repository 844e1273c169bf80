"""Sparse matrices from elsewhere (scipy, `jax.experimental.sparse`) as operators."""

import hashlib
import math
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from ...kernels import sparse_diagonals as diagonals
from ...kernels import sparse_rows as ell
from .field_operator import AbstractFieldOperator

# Diagonals are kept as such if they are few and at least half of their entries are in the pattern.
_MOST_DIAGONALS = 32
_LEAST_FILL = 0.5


class Sparse(AbstractFieldOperator):
    """A square sparse matrix with a fixed pattern, made by `Sparse.from_scipy` or `Sparse.from_bcoo`.

    The storage is chosen at import: a matrix with at most 32 diagonals that are at least half full is kept as diagonals
    (`kernels.diagonals`, no index arrays), any other as rows of equal length (`kernels.ell`, long rows split). Explicit zeros
    belong to the pattern.

    `rows`, `cols`, `values` `(nnz,)` are the entries sorted by row, then column (of a transpose: in the order of the original).
    A matrix whose values are computed, trained or batched enters as `operator.with_values(values)`, which works under
    `jit`, `grad` and `vmap`. Differentiate by `values`, not by the operator's own arrays, which hold places outside the pattern.
    The pattern itself is never traced, so that what is made from it, as `IncompleteCholesky`, is made inside `jit` too; another
    pattern is another compilation.

    **Example:**

        >>> import scipy.sparse as sp
        >>> M = sx.linear.Sparse.from_scipy(sp.diags([-1.0, 2.0, -1.0], [-1, 0, 1], shape=(5, 5), dtype=np.float32))
        >>> M.symmetric, sx.linear.solve(M, jnp.ones(5)).value.round(3).tolist()
        (True, [2.5, 4.0, 4.5, 4.0, 2.5])
    """

    storage: Float[Array, "width length"]
    layout: "_Diagonals | _Rows"
    slots: Int[Array, " nnz"]
    diagonal_slots: Int[Array, " n"]
    transposed: "tuple[_Rows, Int[Array, ' nnz']] | None"
    places: "Places" = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    symmetric: bool = eqx.field(static=True)
    positive_diagonal: bool = eqx.field(static=True)

    def __init__(self, *matrix, **fields):
        if matrix or fields.keys() != self.__dataclass_fields__.keys():
            raise TypeError("Sparse: make it by Sparse.from_scipy(matrix) or Sparse.from_bcoo(matrix)")
        for name, value in fields.items():
            setattr(self, name, value)

    @classmethod
    def from_scipy(cls, matrix, shape: tuple[int, ...] | None = None, *, symmetric: bool | None = None) -> "Sparse":
        """From a matrix or array of `scipy.sparse` in any format; duplicates are summed.

        **Arguments:**

        - `shape`: of the unknowns, `(n,)` by default; a field is numbered in C order.
        - `symmetric`: whether A = Aᵀ, also for later `with_values`; by default whether that holds now, up to rounding.

        **Raises:** `TypeError` for other types and complex matrices; `ValueError` for a matrix that is empty, not square or does
        not fit `shape`, or one that is said to be symmetric and is not.
        """
        if not hasattr(matrix, "tocoo"):
            raise TypeError(
                f"Sparse.from_scipy: needs a scipy.sparse array, got {type(matrix).__name__}; for a BCOO use from_bcoo, for a "
                "dense matrix lineax.MatrixLinearOperator"
            )
        coo = matrix.tocoo()
        rows, cols = coo.coords
        return _assemble(rows, cols, coo.data, coo.shape, shape, symmetric)

    @classmethod
    def from_bcoo(cls, matrix, shape: tuple[int, ...] | None = None, *, symmetric: bool | None = None) -> "Sparse":
        """From a `BCOO` or `BCSR` of `jax.experimental.sparse`; duplicates are summed, padding is dropped.

        Indices must be concrete. Data may be traced; then `symmetric` must be given. Arguments and errors as in `from_scipy`.
        """
        if hasattr(matrix, "to_bcoo"):
            matrix = matrix.to_bcoo()
        if not hasattr(matrix, "indices") or not hasattr(matrix, "n_sparse"):
            raise TypeError(f"Sparse.from_bcoo: needs a BCOO or BCSR, got {type(matrix).__name__}")
        if matrix.ndim != 2 or matrix.n_sparse != 2:
            raise ValueError(
                f"Sparse.from_bcoo: needs a matrix without batch or dense axes, got shape {matrix.shape} with "
                f"{matrix.n_batch} batch and {matrix.n_dense} dense axes; vmap with_values for a batch"
            )
        if isinstance(matrix.indices, Tracer):
            raise TypeError(
                "Sparse.from_bcoo: the pattern must be known before compilation, but the indices are traced"
            )
        indices = np.asarray(matrix.indices)
        inside = (indices < np.asarray(matrix.shape)).all(1)
        rows, cols = indices[inside].T
        return _assemble(rows, cols, matrix.data[inside], matrix.shape, shape, symmetric)

    @property
    def rows(self) -> Int[np.ndarray, " nnz"]:
        return self.places.rows

    @property
    def cols(self) -> Int[np.ndarray, " nnz"]:
        return self.places.cols

    @property
    def values(self) -> Float[Array, " nnz"]:
        return self.storage.ravel().at[self.slots].get(mode="promise_in_bounds")

    def with_values(self, values: Float[Array, " nnz"]) -> "Sparse":
        """The same pattern with other values, in the order of `rows` and `cols`. Those of a symmetric operator must stay
        symmetric (import with `symmetric=False` otherwise); that is not checked."""
        if values.shape != self.rows.shape:
            raise ValueError(
                f"with_values: the pattern has {self.rows.shape[0]} entries, values have shape {values.shape}"
            )
        storage = _scattered(values, self.slots, self.storage.shape)
        return eqx.tree_at(lambda operator: operator.storage, self, storage)

    def mv(self, vector):
        return self.layout.apply(vector.ravel(), self.storage).reshape(self.shape)

    def transpose(self) -> "Sparse":
        if self.symmetric:
            return self
        if isinstance(self.layout, _Diagonals):
            offsets = self.layout.offsets
            storage = diagonals.transpose_diagonals(self.storage, offsets)
            layout, slots = _Diagonals(tuple(-o for o in offsets)), self.slots + jnp.asarray(self.cols - self.rows)
            transposed = None
        else:
            layout, slots = self.transposed
            storage = _scattered(self.values, slots, layout.columns.shape)
            transposed = (self.layout, self.slots)
        on_diagonal = _diagonal_slots(self.places, slots, math.prod(self.shape), storage.size)
        return Sparse(
            storage=storage, layout=layout, slots=slots, diagonal_slots=on_diagonal,
            transposed=transposed, places=Places(self.cols, self.rows), shape=self.shape, symmetric=False,
            positive_diagonal=self.positive_diagonal,
        )  # fmt: skip

    def diagonal(self) -> Float[Array, "*n"]:
        return self.storage.ravel().at[self.diagonal_slots].get(mode="fill", fill_value=0).reshape(self.shape)

    def in_structure(self):
        return jax.ShapeDtypeStruct(self.shape, self.storage.dtype)


class Places:
    """Rows and columns `(nnz,)` of the entries of a matrix, on the host; equal and hashed by content, to be static."""

    rows: np.ndarray
    cols: np.ndarray

    def __init__(self, rows: np.ndarray, cols: np.ndarray):
        self.rows, self.cols = np.asarray(rows, np.int32), np.asarray(cols, np.int32)
        self._digest = hashlib.sha256(self.rows.tobytes() + self.cols.tobytes()).digest()

    def __hash__(self) -> int:
        return hash(self._digest)

    def __eq__(self, other) -> bool:
        return isinstance(other, Places) and self._digest == other._digest

    def __repr__(self) -> str:
        return f"{len(self.rows)} entries"


class _Diagonals(eqx.Module):
    offsets: tuple[int, ...] = eqx.field(static=True)

    def apply(self, x, storage):
        return diagonals.apply_diagonals(x, storage, self.offsets)


class _Rows(eqx.Module):
    columns: Int[Array, "w rows"]
    owners: Int[Array, " m"]

    def apply(self, x, storage):
        return ell.apply_rows(x, storage, self.columns, self.owners)


def _assemble(rows, cols, data, matrix_shape, shape, symmetric) -> Sparse:
    """The operator of the entries (rows, cols, data), in any order and with duplicates."""
    if len(matrix_shape) != 2 or matrix_shape[0] != matrix_shape[1]:
        raise ValueError(f"Sparse: the matrix must be square, got shape {tuple(matrix_shape)}")
    n = int(matrix_shape[0])
    if len(rows) == 0:
        raise ValueError(f"Sparse: the matrix of shape {tuple(matrix_shape)} has no entries")
    if jnp.issubdtype(data.dtype, jnp.complexfloating):
        raise TypeError(f"Sparse: complex matrices are not supported, got {data.dtype}")
    shape = (n,) if shape is None else tuple(shape)
    if math.prod(shape) != n:
        raise ValueError(f"Sparse: unknowns of shape {shape} do not number {n}, the size of the matrix")

    places, inverse = np.unique(np.asarray(rows, np.int64) * n + cols, return_inverse=True)
    rows, cols = np.divmod(places, n)
    if isinstance(data, np.ndarray):
        data = _rounded(data)
    elif not jnp.issubdtype(data.dtype, jnp.floating):
        data = data.astype(float)
    if isinstance(data, Tracer):
        values = jnp.zeros(len(places), data.dtype).at[inverse].add(data)
    else:  # on the host, so that a constant matrix may be imported inside a compiled function
        values = np.zeros(len(places), data.dtype)
        np.add.at(values, inverse, np.asarray(data))
    mirrored = cols * n + rows
    if symmetric is not False:
        symmetric = _checked_symmetry(places, mirrored, values, symmetric)

    offsets, band = np.unique(cols - rows, return_inverse=True)
    transposed = None
    if len(offsets) <= _MOST_DIAGONALS and len(places) >= _LEAST_FILL * len(offsets) * n:
        layout, slots, size = _Diagonals(tuple(map(int, offsets))), band * n + rows, (len(offsets), n)
    else:
        layout, slots = _row_layout(rows, cols, n)
        size = layout.columns.shape
        if not symmetric:
            order = np.argsort(mirrored)
            opposite, sorted_slots = _row_layout(cols[order], rows[order], n)
            transposed = (opposite, jnp.zeros_like(sorted_slots).at[order].set(sorted_slots))
    pattern, slots = Places(rows, cols), jnp.asarray(slots, jnp.int32)
    storage = _scattered(jnp.asarray(values), slots, size)
    known = None if isinstance(values, Tracer) else np.bincount(rows, np.where(rows == cols, values, 0), n)
    return Sparse(
        storage=storage, layout=layout, slots=slots, diagonal_slots=_diagonal_slots(pattern, slots, n, storage.size),
        transposed=transposed, places=pattern, shape=shape, symmetric=bool(symmetric),
        positive_diagonal=known is None or bool((known > 0).all()),
    )  # fmt: skip


def _diagonal_slots(places: Places, slots: Int[Array, " nnz"], n: int, missing: int) -> Int[Array, " n"]:
    """The index in the storage of every diagonal entry; `missing` for entries outside the pattern."""
    on = np.flatnonzero(places.rows == places.cols)
    return jnp.full(n, missing, jnp.int32).at[places.rows[on]].set(slots[on])


def _rounded(data: np.ndarray) -> np.ndarray:
    """Entries of another kind as numbers that JAX has: integers and longer floats as its default float."""
    default = jnp.result_type(float)
    if data.dtype == np.float64 and default == np.float32:
        warnings.warn(
            "Sparse: the float64 matrix is rounded to float32, because x64 is off; enable it with "
            "jax.config.update('jax_enable_x64', True), or say that float32 is meant: matrix.astype('float32')",
            stacklevel=4,
        )
    return data if data.dtype in (np.float16, np.float32, np.float64) else data.astype(default)


def _row_layout(rows, cols, n) -> tuple[_Rows, Int[Array, " nnz"]]:
    columns, owners, slots = map(jnp.asarray, ell.row_layout(rows, cols, n))
    return _Rows(columns, owners), slots


def _checked_symmetry(places, mirrored, values, claimed: bool | None) -> bool:
    if isinstance(values, Tracer):
        if claimed is None:
            raise TypeError("Sparse: the values are traced, so symmetric=True or False must be said")
        return claimed
    at = np.minimum(np.searchsorted(places, mirrored), len(places) - 1)
    difference = np.abs(values - np.where(places[at] == mirrored, values[at], 0))
    holds = not (difference > 10 * jnp.finfo(values.dtype).eps * np.abs(values).max()).any()
    if claimed and not holds:
        raise ValueError(f"Sparse: symmetric=True, but A and its transpose differ by up to {difference.max():.3g}")
    return holds


def _scattered(values, slots, shape):
    return jnp.zeros(math.prod(shape), values.dtype).at[slots].set(values, unique_indices=True).reshape(shape)
