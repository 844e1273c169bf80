"""Spectral convolution of a batch without a transposition: the layout in which neural operators on grids compute.

Fields are stored as (n_d, …, n_1, batch, channels): space in reversed order in front, the last axis first. Every transform is
then a product of a small constant matrix from the left, with batch and channels as long rows, the product with the weights one
batched product per frequency, and 1×1 convolutions are products from the right: no operand is ever copied into another order.

Same frequencies, conventions and results as `truncated_rfft`, `multiply` and `truncated_irfft` with norm="forward".
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .fourier import (
    Method,
    accumulator,
    forward_matrix,
    inverse_matrix,
    knows,
    plain_waves,
    resolve,
    truncated_irfft,
    truncated_rfft,
)
from .mesh_axes import SPACE, devices_along
from .stencil import pad_axis


def spectral_convolution(
    v: Float[Array, "*reversed b i"],
    weight: Float[Array, "*kept i 2 o"],
    *,
    shape: tuple[int, ...] | None = None,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*out b o"]:
    """Σ_k e^{2πi k·x} R_k v̂_k over the kept frequencies k.

    **Arguments:**

    - `v`: fields, space reversed in front.
    - `weight`: R_k, real parts `weight[..., 0, :]` and imaginary parts `weight[..., 1, :]`, frequencies reversed as well: the
      axis of k = 0, 1, … comes first.
    - `shape`: the grid of the result, reversed; that of `v` by default.
    - `method`, `precision`: as for `truncated_rfft`.
    """
    kept = weight.shape[:-3]
    if devices_along(SPACE) > 1:
        if shape is not None and shape != v.shape[:-2]:
            raise ValueError("a spectral convolution to another grid cannot be divided along space")
        return _divided(v, weight, precision)
    return spectral_map(
        v, kept, lambda z: frequency_product(z, weight), shape=shape, method=method, precision=precision
    )


def spectral_map(
    v: Float[Array, "*reversed b i"],
    kept: tuple[int, ...],
    function: Callable[[Float[Array, "*kept 2 b i"]], Float[Array, "*kept 2 b o"]],
    *,
    shape: tuple[int, ...] | None = None,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*out b o"]:
    """The field whose coefficients are `function` of those of v; real and imaginary parts lie behind the frequencies.

    **Raises:** `ValueError` on several devices along space, which would hold a part of the frequencies each.
    """
    if devices_along(SPACE) > 1:
        raise ValueError("this spectral layer cannot be divided along space; use a mesh with the axis 'data' alone")
    shape = v.shape[:-2] if shape is None else shape
    if resolve(v.shape[:-2][::-1], kept[::-1], "forward", method) == "fft":
        return _by_fft(v, kept, function, shape)
    return _inverse(function(_forward(v, kept, precision)), shape, precision)


def one_product(z: Float[Array, "*kept 2 b i"], matrix: Float[Array, "i 2 o"]) -> Float[Array, "*kept 2 b o"]:
    """The same complex matrix for all frequencies, given as its real and imaginary part."""
    p = jnp.tensordot(z, matrix, 1)
    real = p[..., 0, :, 0, :] - p[..., 1, :, 1, :]
    imaginary = p[..., 0, :, 1, :] + p[..., 1, :, 0, :]
    return jnp.stack([real, imaginary], -3)


def _forward(v, kept: tuple[int, ...], precision):
    """(*kept, 2, batch, channels): real and imaginary part behind the frequencies."""
    z = _from_left(_first_matrix(v.shape[0], kept[0]), v.reshape(1, v.shape[0], -1), precision)
    for axis, (n, m) in enumerate(zip(v.shape[1 : len(kept)], kept[1:], strict=True), start=1):
        z = _forward_along(z.reshape(math.prod(kept[:axis]), 2, n, -1), m, precision)
    return z.reshape(*kept, 2, *v.shape[-2:])


def _inverse(z, shape: tuple[int, ...], precision):
    *kept, _, batch, channels = z.shape
    for axis in reversed(range(1, len(shape))):
        z = _inverse_along(z.reshape(math.prod(kept[:axis]), kept[axis], 2, -1), shape[axis], precision)
    z = _from_left(_last_matrix(shape[0], kept[0]), z.reshape(1, 2 * kept[0], -1), precision)
    return z.reshape(*shape, batch, channels)


def _divided(v, weight, precision):
    """The same where every device holds a part of the last space axis stored, the first one of space: transforms along
    the others, an exchange of all with all after which every device holds all points of a part of the frequencies, the
    transform along the last one; and back."""
    *others, part, batch, channels = v.shape
    *kept, m = weight.shape[:-3]
    devices = devices_along(SPACE)
    if not kept or kept[0] % devices:
        raise ValueError(
            f"a spectral convolution on {devices} devices along space needs two or more axes and a multiple of {devices} "
            f"frequencies along the last one, got {(*kept, m)[::-1]}"
        )
    mine = (kept[0] // devices, *kept[1:])
    z = _forward(v.reshape(*others, part * batch, channels), tuple(kept), precision)
    z = lax.all_to_all(z.reshape(*kept, 2, part, -1), SPACE, 0, len(kept) + 1, tiled=True)
    z = _forward_along(z.reshape(math.prod(mine), 2, part * devices, -1), m, precision)
    weight = lax.dynamic_slice_in_dim(weight, lax.axis_index(SPACE) * mine[0], mine[0])
    z = frequency_product(z.reshape(*mine, m, 2, batch, channels), weight)
    z = _inverse_along(z.reshape(math.prod(mine), m, 2, -1), part * devices, precision)
    z = lax.all_to_all(z.reshape(*mine, 2, part * devices, -1), SPACE, len(kept) + 1, 0, tiled=True)
    z = _inverse(z.reshape(*kept, 2, part * batch, -1), tuple(others), precision)
    return z.reshape(*others, part, batch, -1)


def _first_matrix(n: int, m: int) -> np.ndarray:
    """Real points to frequencies 0 … m−1, rows (frequency, re or im)."""
    return np.swapaxes(forward_matrix(n, m), 0, 1).reshape(2 * m, n) / n


def _last_matrix(n: int, m: int) -> np.ndarray:
    return np.swapaxes(inverse_matrix(n, m), 1, 2).reshape(n, 2 * m)


# Along the other axes the frequencies k and −k share their products: with C and S the sums of cos and sin over the points,
# X₊ₖ = C − iS and X₋ₖ = C + iS, and back. That halves the products; the sums of the parts cost little beside them.


def _forward_along(z: Float[Array, "p 2 n r"], m: int, precision) -> Float[Array, "p m 2 r"]:
    p, _, n, r = z.shape
    h, positive = m // 2, (m - 1) // 2
    sums = _from_left(_half_waves(n, m) / n, z.reshape(2 * p, n, r), precision).reshape(p, 2, 2 * h + 1, r)

    def part(cos, turned):
        """Real or imaginary part, with the same one of −iS."""
        above = cos[:, 1 : positive + 1] + turned[:, :positive]
        return jnp.concatenate([(cos[:, 1:] - turned)[:, ::-1], cos[:, :1], above], 1)

    cos, sin = sums[:, :, : h + 1], sums[:, :, h + 1 :]
    return _known(jnp.stack([part(cos[:, 0], sin[:, 1]), part(cos[:, 1], -sin[:, 0])], 2), n, m)


def _inverse_along(z: Float[Array, "p m 2 r"], n: int, precision) -> Float[Array, "p points r"]:
    p, m, _, r = z.shape
    h, positive = m // 2, (m - 1) // 2
    z = _known(z, n, m)
    below, above = z[:, :h][:, ::-1], pad_axis(z[:, h + 1 :], 1, 0, h - positive)
    even, odd = above + below, above - below
    real = jnp.concatenate([z[:, h : h + 1, 0], even[:, :, 0], -odd[:, :, 1]], 1)
    imaginary = jnp.concatenate([z[:, h : h + 1, 1], even[:, :, 1], odd[:, :, 0]], 1)
    sums = jnp.stack([real, imaginary], 1).reshape(2 * p, 2 * h + 1, r)
    return _from_left(_half_waves(n, m).T, sums, precision).reshape(p, 2 * n, r)


def _half_waves(n: int, m: int) -> np.ndarray:
    """cos of the frequencies 0 … m//2, then sin of 1 … m//2."""
    cos, sin = plain_waves(n, np.arange(m // 2 + 1))
    return np.concatenate([cos, sin[1:]])


def _known(z, n: int, m: int):
    """Zero at frequencies that a grid of n points does not know."""
    known = knows(n, m)
    return z if known.all() else z * jnp.asarray(known, z.dtype)[:, None, None]


def _from_left(matrix: np.ndarray, z: Float[Array, "p q r"], precision) -> Float[Array, "p s r"]:
    left, working = jnp.asarray(matrix, z.dtype), accumulator(z)
    if z.shape[0] == 1:
        product = jnp.matmul(left, z[0], precision=precision, preferred_element_type=working)[None]
    else:
        # Broadcast before the product: as a free index the batch would have to move behind the rows.
        left, axes = jnp.broadcast_to(left, (z.shape[0], *left.shape)), (((2,), (1,)), ((0,), (0,)))
        product = lax.dot_general(left, z, axes, precision=precision, preferred_element_type=working)
    return product.astype(z.dtype)


def frequency_product(
    z: Float[Array, "*kept 2 b i"], weight: Float[Array, "*kept i 2 o"]
) -> Float[Array, "*kept 2 b o"]:
    """R_k v̂_k by one real product per frequency, of (parts · batch, i) and (i, parts · o)."""
    *kept, _, batch, n_in = z.shape
    n_out = weight.shape[-1]
    rows, columns = z.reshape(-1, 2 * batch, n_in), weight.reshape(-1, n_in, 2 * n_out)
    p = jnp.matmul(rows, columns).reshape(*kept, 2, batch, 2, n_out)
    real = p[..., 0, :, 0, :] - p[..., 1, :, 1, :]
    imaginary = p[..., 0, :, 1, :] + p[..., 1, :, 0, :]
    return jnp.stack([real, imaginary], -3)


def product_of_parts(
    z: Float[Array, "*kept 2 b i"], weight: Float[Array, "*kept 2 i o"]
) -> Float[Array, "*kept 2 b o"]:
    """`frequency_product` for weights with their parts in front of the channels."""
    *kept, _, batch, n_in = z.shape
    rows = jnp.broadcast_to(z.reshape(-1, 1, 2 * batch, n_in), (math.prod(kept), 2, 2 * batch, n_in))
    p = jnp.matmul(rows, weight.reshape(-1, 2, n_in, weight.shape[-1])).reshape(*kept, 2, 2, batch, -1)
    real = p[..., 0, 0, :, :] - p[..., 1, 1, :, :]
    imaginary = p[..., 1, 0, :, :] + p[..., 0, 1, :, :]
    return jnp.stack([real, imaginary], -3)


def _by_fft(v, kept: tuple[int, ...], function, shape: tuple[int, ...]):
    """The same by FFTs of one sample at a time."""
    ndim = len(kept)
    sample = lambda x: jnp.transpose(x, (*range(ndim)[::-1], ndim))  # noqa: E731

    def transform(x):
        return jnp.stack([sample(part) for part in truncated_rfft(sample(x), kept[::-1], method="fft")], ndim)

    def back(z):
        re, im = (sample(lax.index_in_dim(z, k, ndim, keepdims=False)) for k in (0, 1))
        return sample(truncated_irfft((re, im), shape[::-1], method="fft"))

    z = jax.vmap(transform, -2, -2)(v)
    return jax.vmap(back, -2, -2)(function(z))
