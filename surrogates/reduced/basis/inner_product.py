"""Inner products ⟨u, v⟩ = uᵀ M v of fields, which are rows of an array.

Users pass what they have to `pod` and its relatives; `inner_product` turns it once, at the edge, into one of four types:

- `Euclidean`: M = I.
- `Weights`: M = diag(w), quadrature weights for example.
- `MatrixProduct`: M dense or scipy sparse, a mass or stiffness matrix for example.
- `OperatorProduct`: M known by what it does to columns.
"""

import abc
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse
from jax.core import Tracer
from jaxtyping import Array, Float, Num

from ....core.storage import register


class MeasuredRows(NamedTuple):
    """Rows S `(n, points)` with what the Gram kernels (`solvers.kernels.gram`) need to know of M: nothing for M = I, the
    `weights` `(points,)` of a diagonal M, or the `duals` S M `(n, points)` of any other."""

    rows: Float[Array, "n points"]
    weights: Float[Array, " points"] | None = None
    duals: Float[Array, "n points"] | None = None

    def squared_norms(self, dtype=None) -> Float[Array, " n"]:
        """⟨s, s⟩ of every row, summed in `dtype`, by default that of the rows."""
        other = self.rows if self.duals is None else self.duals
        terms = self.rows.astype(self.rows.dtype if dtype is None else dtype) * other
        return (terms if self.weights is None else terms * self.weights).sum(1)

    @property
    def dual(self) -> Float[Array, "n points"]:
        """S M."""
        if self.duals is not None:
            return self.duals
        return self.rows if self.weights is None else self.rows * self.weights


Back = Callable[[Float[np.ndarray, "points r"], Float[np.ndarray, "n r"]], Float[np.ndarray, "points r"]]


class AbstractInnerProduct(eqx.Module):
    """⟨u, v⟩ = uᵀ M v with a symmetric positive definite M `(points, points)`."""

    @abc.abstractmethod
    def check(self, points: int) -> None:
        """**Raises:** `ValueError` if M is not of size `points`, or is seen not to be symmetric positive definite: weights by
        their signs, a matrix by its diagonal and two random vectors, a function by two random vectors."""

    @abc.abstractmethod
    def apply(self, columns: Float[np.ndarray, "points k"]) -> Float[np.ndarray, "points k"]:
        """M times the columns, on the host."""

    def of_modes(self, modes: Float[Array | np.ndarray, "points r"]) -> Float[Array, "points r"]:
        """M times the columns, for coefficients of fields; modes may be traced for `Euclidean` and `Weights`."""
        return self.measured(modes.T).dual.T

    @abc.abstractmethod
    def measured(self, rows: Float[Array | np.ndarray, "n points"]) -> MeasuredRows:
        """The rows in the form that the kernels take, without a check of M; NumPy arrays become float64 while x64 is on.
        Works on traced rows for `Euclidean` and `Weights`.

        **Raises:** `ValueError` for traced rows under another product, which needs the host."""

    def checked(self, rows: Float[Array | np.ndarray, "n points"]) -> MeasuredRows:
        """`measured`, after a check of M against the rows."""
        self.check(rows.shape[1])
        return self.measured(rows)

    @abc.abstractmethod
    def isometric(self, rows: Float[Array | np.ndarray, "n points"]) -> tuple[Float[Array, "n points"], "Back"]:
        """`(S L, back)` with M = L Lᵀ: rows whose Euclidean products are the products of `rows`, and the way back.

        `back(W, C)` gives the modes Φ = L⁻ᵀ W `(points, r)` of orthonormal columns W, so that Φᵀ M Φ = I. Where M is
        singular, at points of weight zero, it continues them by the same combinations C `(n, r)` of the rows that they
        are elsewhere, Φ = Sᵀ C."""

    def dual(self, rows: Float[Array | np.ndarray, "n points"]) -> Float[np.ndarray, "n points"]:
        """S M in float64 on the host."""
        return np.asarray(self.apply(np.asarray(rows, np.float64).T)).T

    def norms(self, rows: Float[Array | np.ndarray, "n points"]) -> Float[np.ndarray, " n"]:
        """√⟨s, s⟩ of every row, in float64 on the host."""
        return np.sqrt(np.maximum(np.sum(rows * self.dual(rows), axis=1), 0))

    def normalized(self, rows: Float[Array | np.ndarray, "n points"]) -> Float[np.ndarray, "n points"]:
        """Rows of norm one; rows of zeros stay zero."""
        norms = self.norms(rows)[:, None]
        return np.asarray(rows) / np.where(norms > 0, norms, 1)


@register("Euclidean")
class Euclidean(AbstractInnerProduct):
    """⟨u, v⟩ = uᵀ v."""

    def check(self, points):
        return

    def apply(self, columns):
        return columns

    def measured(self, rows):
        return MeasuredRows(jnp.asarray(rows))

    def isometric(self, rows):
        return rows, lambda directions, combinations: directions


@register("Weights")
class Weights(AbstractInnerProduct):
    """⟨u, v⟩ = Σ_p w_p u_p v_p with weights w ≥ 0 `(points,)`; points of weight zero do not count."""

    values: Num[Array | np.ndarray, " points"]

    def check(self, points):
        if self.values.shape != (points,):
            raise ValueError(f"product: {self.values.shape[0]} weights for {points} points")
        if not (np.asarray(self.values) >= 0).all():
            raise ValueError("product: weights must be non-negative numbers")

    def apply(self, columns):
        return np.asarray(self.values)[:, None] * columns

    def measured(self, rows):
        return MeasuredRows(jnp.asarray(rows), weights=jnp.asarray(self.values))

    def isometric(self, rows):
        def back(directions, combinations):
            root = np.sqrt(np.asarray(self.values, np.float64))
            modes = directions / np.where(root > 0, root, 1)[:, None]
            (unseen,) = np.nonzero(root == 0)
            if unseen.size:
                modes[unseen] = np.asarray(rows[:, unseen], np.float64).T @ combinations
            return modes

        return rows * jnp.sqrt(jnp.asarray(self.values)), back


@register("MatrixProduct")
class MatrixProduct(AbstractInnerProduct):
    """⟨u, v⟩ = uᵀ M v with a dense or scipy sparse matrix. A dense one can be saved."""

    matrix: Num[Array | np.ndarray, "_ _"] | scipy.sparse.sparray | scipy.sparse.spmatrix

    def check(self, points):
        shape = self.matrix.shape  # pyright: ignore[reportAttributeAccessIssue]
        if shape != (points, points):
            raise ValueError(f"product: a matrix of shape {shape} for {points} points")
        _check_by_vectors(self.apply, points)
        _check_positive(self.matrix.diagonal())  # pyright: ignore[reportAttributeAccessIssue]

    def apply(self, columns):
        return self.matrix @ columns

    def measured(self, rows):
        return _with_duals(self.apply, rows)

    def isometric(self, rows):
        return _by_cholesky(self.apply, rows)


@register("OperatorProduct")
class OperatorProduct(AbstractInnerProduct):
    """⟨u, v⟩ = uᵀ M v with a function that multiplies columns `(points, k)` by M on the host. It cannot be saved."""

    function: Callable

    def check(self, points):
        _check_by_vectors(self.apply, points)

    def apply(self, columns):
        return self.function(columns)

    def measured(self, rows):
        return _with_duals(self.apply, rows)

    def isometric(self, rows):
        return _by_cholesky(self.apply, rows)


Product = AbstractInnerProduct | Array | np.ndarray | scipy.sparse.sparray | scipy.sparse.spmatrix | Callable | None
"""What users may pass for M: None (Euclidean), weights `(points,)`, a symmetric positive definite matrix `(points, points)`
(dense or scipy sparse), a function that applies it to columns `(points, k)`, or an inner product of this file."""


def inner_product(product: Product) -> AbstractInnerProduct:
    """The inner product that the user means: None, weights, a matrix, a function, or an inner product, returned as it is."""
    if isinstance(product, AbstractInnerProduct):
        return product
    if product is None:
        return Euclidean()
    if isinstance(product, scipy.sparse.sparray | scipy.sparse.spmatrix):
        return MatrixProduct(product)
    if callable(product):
        return OperatorProduct(product)
    if not isinstance(product, np.ndarray | jax.Array):
        raise TypeError(
            f"product: {type(product).__name__}; expected weights `(points,)` or a matrix as an array, or a function of columns"
        )
    if product.ndim not in (1, 2) or jnp.iscomplexobj(product):
        raise ValueError(
            f"product: an array of shape {product.shape} and type {product.dtype}; expected real weights or a real matrix"
        )
    if product.ndim == 1:
        return Weights(product)
    return MatrixProduct(product if isinstance(product, Tracer) else np.asarray(product))


def _with_duals(apply: Callable, rows) -> MeasuredRows:
    if isinstance(rows, Tracer):
        raise ValueError("pod: under jit, vmap or grad the product is None or weights")
    duals = np.ascontiguousarray(np.asarray(apply(np.asarray(rows).T)).T)
    return MeasuredRows(jnp.asarray(rows), duals=jnp.asarray(duals))


def _by_cholesky(apply: Callable, rows):
    factor = np.linalg.cholesky(np.asarray(apply(np.eye(rows.shape[1]))))

    def back(directions, combinations):
        return scipy.linalg.solve_triangular(factor, directions, lower=True, trans=1)

    return rows @ factor, back


def _check_by_vectors(apply: Callable, points: int) -> None:
    """Two random vectors a and b must have bᵀMa = aᵀMb, aᵀMa > 0 and bᵀMb > 0."""
    pair = np.random.default_rng(0).standard_normal((2, points))
    image = np.asarray(apply(np.stack([*pair], 1)))
    if image.shape != (points, 2):
        raise ValueError(f"product: maps columns of shape ({points}, 2) to {image.shape}")
    squares, (there, back) = np.einsum("kp,pk->k", pair, image), (pair[1] @ image[:, 0], pair[0] @ image[:, 1])
    if not abs(there - back) <= 1e-6 * np.linalg.norm(image) * np.sqrt(points):
        raise ValueError(f"product: not symmetric, bᵀMa = {there:.6g} and aᵀMb = {back:.6g}")
    _check_positive(squares)


def _check_positive(squares) -> None:
    if not (np.asarray(squares) > 0).all():
        raise ValueError("product: not positive definite, it gives some vectors a square that is not positive")
