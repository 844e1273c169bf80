"""Multilinear interpolation between uniform grids, as one small dense matrix per axis."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def linear_matrix(source: np.ndarray, target: np.ndarray, period: float | None = None) -> np.ndarray:
    """`(len(target), len(source))` matrix of linear interpolation from sorted coordinates `source` to `target`.

    With `period` the source repeats; without, points outside the source take the nearest end's linear continuation.
    """
    if period is not None:
        source = np.append(source, source[0] + period)
        target = source[0] + np.mod(target - source[0], period)
    left = np.clip(np.searchsorted(source, target, side="right") - 1, 0, len(source) - 2)
    t = (target - source[left]) / (source[left + 1] - source[left])
    t = np.where(np.abs(t - np.round(t)) < 1e-9, np.round(t), t)
    matrix = np.zeros((len(target), len(source)))
    rows = np.arange(len(target))
    matrix[rows, left] += 1 - t
    matrix[rows, left + 1] += t
    if period is not None:
        matrix[:, 0] += matrix[:, -1]
        matrix = matrix[:, :-1]
    return matrix


def apply_along_axes(u: Float[Array, "..."], matrices: list[np.ndarray], first: int = 0) -> Float[Array, "..."]:
    """Multiply axis `first + i` of `u` by `matrices[i]` (out × in), in turn."""
    for axis, matrix in enumerate(matrices, start=first):
        m = jnp.asarray(matrix, u.dtype)
        u = jnp.moveaxis(jnp.tensordot(m, u, axes=(1, axis), precision="highest"), 0, axis)
    return u
