"""Spectral convolution of a batch without a transposition: the layout in which neural operators on grids compute.

Fields are stored as (n_d, …, n_1, batch, channels): space in reversed order in front, the last axis first. Every transform is
then a product of a small constant matrix from the left, with batch and channels as long rows, the product with the weights one
batched product per frequency, and 1×1 convolutions are products from the right: no operand is ever copied into another order.
Batch 8, 64², 32 channels, (32, 17) kept, float32 on two cores: 5.4 ms; with space behind the batch 7.4 (channels first) to
8.1 (channels last).

Same frequencies, conventions and results as `truncated_rfft`, `multiply` and `truncated_irfft` with norm="forward".
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .fourier import Method, accumulator, complex_product, resolve, truncated_irfft, truncated_rfft, waves
from .mesh_axes import SPACE, devices_along


def spectral_convolution(
    v: Float[Array, "*reversed b i"],
    weight: Float[Array, "*kept i 2 o"],
    *,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*reversed b o"]:
    """Σ_k e^{2πi k·x} R_k v̂_k over the kept frequencies k.

    **Arguments:**

    - `v`: fields, space reversed in front.
    - `weight`: R_k, real parts `weight[..., 0, :]` and imaginary parts `weight[..., 1, :]`, frequencies reversed as well: the
      axis of k = 0, 1, … comes first.
    - `method`, `precision`: as for `truncated_rfft`.
    """
    kept, shape = weight.shape[:-3], v.shape[:-2]
    if devices_along(SPACE) > 1:
        return _divided(v, weight, precision)
    if resolve(shape[::-1], kept[::-1], "forward", method) == "fft":
        return _by_fft(v, weight)
    return _inverse(_product(_forward(v, kept, precision), weight), shape, precision)


def _forward(v, kept: tuple[int, ...], precision):
    """(*kept, 2, batch, channels): real and imaginary part behind the frequencies."""
    z = v.reshape(1, v.shape[0], -1)
    for axis, (n, m) in enumerate(zip(v.shape, kept, strict=False)):
        z = z.reshape(math.prod(kept[:axis]), n * (1 if axis == 0 else 2), -1)
        z = _from_left(_forward_matrix(n, m, axis == 0), z, precision)
    return z.reshape(*kept, 2, *v.shape[-2:])


def _inverse(z, shape: tuple[int, ...], precision):
    *kept, _, batch, channels = z.shape
    for axis in reversed(range(len(shape))):
        matrix = _inverse_matrix(shape[axis], kept[axis], axis == 0)
        z = _from_left(matrix, z.reshape(math.prod(kept[:axis]), matrix.shape[1], -1), precision)
    return z.reshape(*shape, batch, channels)


def _divided(v, weight, precision):
    """The same where every device holds a part of the last space axis stored, the first one of space: transforms along
    the others, an exchange of all with all after which every device holds all points of a part of the frequencies, the
    transform along the last one; and back."""
    *others, part, batch, channels = v.shape
    *kept, m = weight.shape[:-3]
    devices = devices_along(SPACE)
    n = part * devices
    if not kept or kept[0] % devices:
        raise ValueError(
            f"a spectral convolution on {devices} devices along space needs two or more axes and a multiple of {devices} "
            f"frequencies along the last one, got {(*kept, m)[::-1]}"
        )
    z = _forward(v.reshape(*others, part * batch, channels), tuple(kept), precision)
    z = z.reshape(*kept, 2, part, -1)
    z = lax.all_to_all(z, SPACE, 0, len(kept) + 1, tiled=True)
    mine = (kept[0] // devices, *kept[1:])
    z = _from_left(_forward_matrix(n, m, False), z.reshape(math.prod(mine), 2 * n, -1), precision)
    weight = lax.dynamic_slice_in_dim(weight, lax.axis_index(SPACE) * mine[0], mine[0])
    z = _product(z.reshape(*mine, m, 2, batch, channels), weight)
    z = _from_left(_inverse_matrix(n, m, False), z.reshape(math.prod(mine), 2 * m, -1), precision)
    z = lax.all_to_all(z.reshape(*mine, 2, n, -1), SPACE, len(kept) + 1, 0, tiled=True)
    z = _inverse(z.reshape(*kept, 2, part * batch, -1), tuple(others), precision)
    return z.reshape(*others, part, batch, -1)


def _forward_matrix(n: int, m: int, first: bool) -> np.ndarray:
    """Rows (frequency, re or im), columns the points of the first axis, or (re or im, point) of another one."""
    cos, sin = waves(n, m, is_last=first)
    if first:
        return np.stack([cos, -sin], 1).reshape(2 * m, n) / n
    return np.moveaxis(complex_product(cos, -sin), 0, 1).reshape(2 * m, 2 * n) / n


def _inverse_matrix(n: int, m: int, first: bool) -> np.ndarray:
    cos, sin = waves(n, m, is_last=first)
    if first:
        frequencies = np.arange(m)[:, None]
        copies = np.where((frequencies == 0) | (2 * frequencies == n), 1, 2)
        return np.stack([copies * cos, -copies * sin], 1).reshape(2 * m, n).T
    return np.moveaxis(complex_product(cos.T, sin.T), 2, 3).reshape(2 * n, 2 * m)


def _from_left(matrix: np.ndarray, z: Float[Array, "p q r"], precision) -> Float[Array, "p s r"]:
    left, working = jnp.asarray(matrix, z.dtype), accumulator(z)
    if z.shape[0] == 1:
        product = jnp.matmul(left, z[0], precision=precision, preferred_element_type=working)[None]
    else:
        # Broadcast before the product: as a free index the batch would have to move behind the rows.
        left, axes = jnp.broadcast_to(left, (z.shape[0], *left.shape)), (((2,), (1,)), ((0,), (0,)))
        product = lax.dot_general(left, z, axes, precision=precision, preferred_element_type=working)
    return product.astype(z.dtype)


def _product(z, weight):
    """R_k v̂_k by one real product per frequency, of (parts · batch, i) and (i, parts · o)."""
    *kept, _, batch, n_in = z.shape
    n_out = weight.shape[-1]
    rows, columns = z.reshape(-1, 2 * batch, n_in), weight.reshape(-1, n_in, 2 * n_out)
    p = jnp.matmul(rows, columns).reshape(*kept, 2, batch, 2, n_out)
    real = p[..., 0, :, 0, :] - p[..., 1, :, 1, :]
    imaginary = p[..., 0, :, 1, :] + p[..., 1, :, 0, :]
    return jnp.stack([real, imaginary], -3)


def _by_fft(v, weight):
    """The same by FFTs of one sample at a time."""
    kept = weight.shape[:-3]
    ndim = len(kept)
    sample = lambda x: jnp.transpose(x, (*range(ndim)[::-1], ndim))  # noqa: E731

    def transform(x):
        return jnp.stack([sample(part) for part in truncated_rfft(sample(x), kept[::-1], method="fft")], ndim)

    def back(z):
        re, im = (sample(lax.index_in_dim(z, k, ndim, keepdims=False)) for k in (0, 1))
        return sample(truncated_irfft((re, im), v.shape[:-2][::-1], method="fft"))

    z = jax.vmap(transform, -2, -2)(v)
    return jax.vmap(back, -2, -2)(_product(z, weight))
