"""Inner products ⟨u, v⟩ = uᵀ M v of fields that are rows of an array."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Array, Float

Product = Any
"""M: None (Euclidean), weights `(points,)`, a symmetric positive definite matrix `(points, points)` (dense or scipy sparse), or a
function that applies it to columns `(points, k)`."""


def metric(product: Product, rows: Float[Array | np.ndarray, "n points"]):
    """`(weights, duals)` as `solvers.kernels.gram` takes them: M as weights, or S M of the rows; each may be None.

    **Raises:** `ValueError` if the size of M is not that of the rows, weights are negative, or M is seen not to be symmetric and
    positive (a matrix by its diagonal, a matrix or function by two random vectors).
    """
    points = rows.shape[1]
    if product is None:
        return None, None
    if getattr(product, "ndim", None) == 1:
        if product.shape != (points,):
            raise ValueError(f"product: {product.shape[0]} weights for {points} points")
        if not (np.asarray(product) >= 0).all():
            raise ValueError("product: weights must be non-negative numbers")
        return product, None
    if getattr(product, "shape", (points, points)) != (points, points):
        raise ValueError(f"product: a matrix of shape {product.shape} for {points} points")
    a, b = np.random.default_rng(0).standard_normal((2, points))
    image = np.asarray(apply(product, np.stack([a, b], 1)))
    if image.shape != (points, 2):
        raise ValueError(f"product: maps columns of shape ({points}, 2) to {image.shape}")
    there, back = b @ image[:, 0], a @ image[:, 1]
    if not abs(there - back) <= 1e-6 * np.linalg.norm(image) * np.sqrt(points):
        raise ValueError(f"product: not symmetric, bᵀMa = {there:.6g} and aᵀMb = {back:.6g}")
    diagonal = product.diagonal() if hasattr(product, "diagonal") else image[:, 0] @ a
    if not (np.asarray(diagonal) > 0).all() or a @ image[:, 0] <= 0 or b @ image[:, 1] <= 0:
        raise ValueError("product: not positive definite, it gives some vectors a square that is not positive")
    return None, np.ascontiguousarray(np.asarray(apply(product, np.asarray(rows).T)).T)


def apply(product: Product, columns: Float[np.ndarray, "points k"]):
    """M times the columns."""
    if product is None:
        return columns
    if getattr(product, "ndim", None) == 1:
        return np.asarray(product)[:, None] * columns
    return product(columns) if isinstance(product, Callable) else product @ columns
