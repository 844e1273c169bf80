"""Layers on fields of any dimension, channels last: convolution, pooling, interpolation."""

import math
from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...solvers.kernels.stencil import pad_axis


def convolve(x: Float[Array, "*n a"], kernel: Float[Array, "..."]) -> Float[Array, "*n b"]:
    """Convolution of a field with zeros outside; channels last, kernel `(*window, a, b)`."""
    spatial = "DHW"[-(x.ndim - 1) :]
    numbers = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    out = jax.lax.conv_general_dilated(
        x[None], kernel, (1,) * (x.ndim - 1), "SAME", dimension_numbers=numbers, precision="highest"
    )
    return out[0]


def pooled(x: Float[Array, "..."], axes: Iterable[int]) -> Float[Array, "..."]:
    """Means over blocks of two points along `axes`; an odd side is filled up with a zero."""
    for axis in axes:
        x = pad_axis(x, axis, 0, x.shape[axis] % 2)
        x = x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :]).mean(axis + 1)
    return x


def interpolated(x: Float[Array, "*m c"], shape: tuple[int, ...]) -> Float[Array, "*n c"]:
    """Linear interpolation from block centres back to the points of `shape`, zero beyond the last block."""
    for axis, n in enumerate(shape):
        m = x.shape[axis]
        before, after = pad_axis(x, axis, 1, -1), pad_axis(x, axis, -1, 1)
        x = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = x.reshape(*x.shape[:axis], 2 * m, *x.shape[axis + 2 :])
        x = jax.lax.slice_in_dim(x, 0, n, axis=axis)
    return x


def repeated(x: Float[Array, "*m c"], shape: tuple[int, ...]) -> Float[Array, "*n c"]:
    """Every point twice per axis, cut to `shape` (nearest-neighbour upsampling)."""
    for axis, n in enumerate(shape):
        x = jax.lax.slice_in_dim(jnp.repeat(x, 2, axis), 0, n, axis=axis)
    return x


def initial_kernel(key: Array, *shape: int) -> Float[Array, "..."]:
    """Normal weights `(*window, a, b)` that keep the variance of their inputs."""
    return jax.random.normal(key, shape) / math.sqrt(math.prod(shape[:-1]))
