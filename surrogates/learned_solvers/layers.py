"""Layers on fields of any dimension with channels last: convolution, pooling, upsampling."""

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
    """Convolution of a field with a kernel `(*window, a, b)` with odd sides. The field is zero outside its array.

    It is computed by one matrix product. Its left factor holds the neighbours along all axes but the first as further channels;
    the columns of its result are the shifts along the first axis. On a CPU, XLA's own convolution takes three times as long in
    2D (256², 4 channels) and 8 to 30 times as long in 3D.
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
    """Means over blocks of two points along `axes`. An axis of odd length is padded with one zero."""
    for axis in axes:
        x = pad_axis(x, axis, 0, x.shape[axis] % 2)
        x = x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :]).mean(axis + 1)
    return x


def repeated(x: Float[Array, "*m c"], shape: tuple[int, ...]) -> Float[Array, "*n c"]:
    """Nearest-neighbour upsampling: every point is repeated twice along every axis, and the result is cut to `shape`."""
    for axis, n in enumerate(shape):
        x = jax.lax.slice_in_dim(jnp.repeat(x, 2, axis), 0, n, axis=axis)
    return x


def initial_kernel(key: Array, *shape: int) -> Float[Array, "..."]:
    """A random normal kernel of `shape` `(*window, a, b)`, scaled so that outputs have the variance of the inputs."""
    return jax.random.normal(key, shape) / math.sqrt(math.prod(shape[:-1]))
