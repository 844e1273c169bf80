"""Multilinear interpolation: between uniform grids, as one small dense matrix per axis, and at single points."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact


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


def apply_along_axes(
    u: Inexact[Array, "..."], matrices: Sequence[Array | np.ndarray], first: int = 0
) -> Inexact[Array, "..."]:
    """Multiply axis `first + i` of `u` by `matrices[i]` (out × in), in turn."""
    for axis, matrix in enumerate(matrices, start=first):
        m = jnp.asarray(matrix, u.dtype)
        u = jnp.moveaxis(jnp.tensordot(m, u, axes=(1, axis), precision="highest"), 0, axis)
    return u


def interpolate_at(
    values: Float[Array, "*n c"], positions: Float[Array, "*p d"], periodic: Sequence[bool]
) -> Float[Array, "*p c"]:
    """Multilinear interpolation of `values` at single points.

    `positions` count grid points along every axis: 0 is the first point, n − 1 the last. A `periodic` axis repeats after n;
    beyond the ends of another axis the last piece is continued linearly. An axis with one point is constant.
    """
    shape, channels = values.shape[:-1], values.shape[-1]
    lead = positions.shape[:-1]
    index, share = jnp.zeros((1, *lead), jnp.int32), jnp.ones((1, *lead), positions.dtype)
    for axis, (n, wrap) in enumerate(zip(shape, periodic, strict=True)):
        x = positions[..., axis]
        left = jnp.floor(x)
        left = left if wrap else jnp.clip(left, 0, max(n - 2, 0))
        t = x - left
        left = left.astype(jnp.int32)
        ends = jnp.stack([left % n, (left + 1) % n] if wrap else [left, jnp.minimum(left + 1, n - 1)])
        index = (index[:, None] * n + ends).reshape(-1, *lead)
        share = (share[:, None] * jnp.stack([1 - t, t])).reshape(-1, *lead)
    corners = values.reshape(-1, channels).at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)
    return (share[..., None].astype(values.dtype) * corners).sum(0)
