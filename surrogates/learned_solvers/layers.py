"""Layers on fields of any dimension, channels last: convolution, pooling, interpolation."""

import itertools
import math
from collections.abc import Iterable
from functools import reduce
from operator import add

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...solvers.kernels.stencil import pad_axis


def convolve(x: Float[Array, "*n a"], kernel: Float[Array, "..."]) -> Float[Array, "*n b"]:
    """Convolution of a field with zeros outside; channels last, kernel `(*window, a, b)` of odd sides.

    One product: the neighbours along all axes but the first lie side by side in the channels of its left factor, the shifts
    along the first axis in the columns of its result. XLA's convolution takes three times as long on a CPU in 2D (256², 4
    channels), 8 to 30 times in 3D.
    """
    *window, n_in, n_out = kernel.shape
    padded = jnp.pad(x, [(w // 2, w // 2) for w in window] + [(0, 0)])
    rows, *shape, _ = x.shape
    neighbours = []
    for offset in itertools.product(*map(range, window[1:])):
        ends = [o + n for o, n in zip(offset, shape, strict=True)]
        neighbours.append(jax.lax.slice(padded, (0, *offset, 0), (padded.shape[0], *ends, n_in)))
    columns = jnp.moveaxis(kernel.reshape(window[0], -1, n_out), 0, 1).reshape(-1, window[0] * n_out)
    y = jnp.matmul(jnp.concatenate(neighbours, -1), columns, precision="highest").reshape(-1, *shape, window[0], n_out)
    return reduce(add, (y[shift : shift + rows, ..., shift, :] for shift in range(window[0])))


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
