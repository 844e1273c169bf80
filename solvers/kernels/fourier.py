"""Truncated real Fourier transforms of one sample, by FFT or by real matrix products.

Neural operators keep a few low frequencies of a field. An FFT computes all of them and throws most away; two real
matrices (cosines and sines) compute only those kept, need no complex dtype and run in bfloat16. Both formulations give
the same numbers; `choose_method` says which is expected to be faster.

Frequencies. For m kept modes every axis but the last holds the centred frequencies k = -(m//2), …, (m-1)//2 in
increasing order (fftshift, then centre crop) and the last axis holds k = 0, …, m-1: the field is real, so the other
half is redundant. A grid of n points knows -(n//2), …, (n-1)//2, and 0, …, n//2 on the last axis; kept frequencies that
it does not know are zero going forward and ignored going back, so that one set of modes serves grids of any size.

Nyquist. An even grid cannot tell k = n/2 from -n/2. As in `numpy.fft`, its coefficient sits at -n/2 on the leading axes
and at n/2 on the last one, and is passed on unscaled. On the grid it came from the inverse restores it exactly; on a
finer grid a Nyquist wave comes back with twice its amplitude along the last axis and as one half of a conjugate pair
along the others (as zero-padding before `irfftn` does). Keep m <= n//2 on the last axis and an odd m or m < n on the
others where fields are resampled.
"""

import math
from typing import Literal, cast

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Inexact

from .compile_platform import target_platform
from .stencil import pad_axis

Method = Literal["auto", "fft", "dft"]
Norm = Literal["forward", "backward", "ortho"]

# Time of one FFT operation over time of one operation of the dense products, both counted as below.
# cpu: `benchmarks/fourier_transforms.py`, round trip and gradient under jit and vmap on 2 shared cores, jax 0.10.2:
#   dense products won or tied below 13 and lost 2.5 times at 41.
# tpu: 100 x 1024² complex FFTs take 3.16 times as long as dense products on TPU7x (vllm-project/tpu-inference #2967).
# gpu: not measured; a guess from float32 peak over the memory-bound rate of cuFFT. Other platforms count as a CPU.
FFT_COST_RATIO = {"cpu": 12.0, "gpu": 30.0, "tpu": 500.0}

# A transform over n points is scaled by n to this power.
FORWARD_POWER = {"forward": -1.0, "backward": 0.0, "ortho": -0.5}
INVERSE_POWER = {"forward": 0.0, "backward": -1.0, "ortho": -0.5}


def truncated_rfft(
    x: Float[Array, "*space c"],
    kept: tuple[int, ...],
    *,
    norm: Norm = "forward",
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> tuple[Float[Array, "*kept c"], Float[Array, "*kept c"]]:
    """Real and imaginary part of the low-frequency Fourier coefficients of a real field.

    X_k = s Σ_j x_j exp(-2πi Σ_a k_a j_a / n_a) at the kept frequencies k (see the module's docstring), equal to
    `numpy.fft.rfftn(x, norm=norm)` wherever both hold k.

    **Arguments:**

    - `x`: one sample with 1 to 3 space axes and channels last. `vmap` over a batch.
    - `kept`: number of frequencies per space axis.
    - `norm`: s = 1/Πn ("forward": coefficients do not depend on the resolution), 1 ("backward") or 1/√Πn ("ortho").
    - `method`: "fft", "dft" (real matrix products, no complex dtype) or "auto", see `choose_method`. "dft" stores its
        matrices, 2·n·m numbers per axis (4 times that on leading axes), as constants of the compiled program.
    - `precision`: of the matrix products. The default keeps GPUs and TPUs from rounding float32 to TF32 or bfloat16.

    Half-precision input: "dft" rounds the matrices to its dtype and accumulates in float32, "fft" computes in float32;
    both return the dtype of `x`.

    Raises `ValueError` for a wrong number of axes, fewer than one kept mode, or an unknown `norm` or `method`.
    """
    *shape, _ = x.shape
    method = resolve(tuple(shape), kept, norm, method)
    last = len(shape) - 1
    if method == "fft":
        z = jnp.fft.rfft(x.astype(accumulator(x)), axis=last, norm=norm)
        z = pad_axis(z, last, 0, kept[last] - z.shape[last])
        for axis in reversed(range(last)):
            z = _fft_order_to_centred(jnp.fft.fft(z, axis=axis, norm=norm), axis, kept[axis])
        return z.real.astype(x.dtype), z.imag.astype(x.dtype)

    # z: (re or im, kept axes done so far, space axes to do, c). `contract` puts its result in front, so going from the
    # last space axis to the first leaves the axes in their order and never transposes between two products.
    z = contract(shape[last] ** FORWARD_POWER[norm] * forward_matrix(shape[last], kept[last]), x, last, precision)
    for axis in reversed(range(last)):
        cos, sin = waves(shape[axis], kept[axis], is_last=False)
        matrix = shape[axis] ** FORWARD_POWER[norm] * complex_product(cos, -sin)
        z = contract(matrix, z, (0, last + 1), precision)
    return z[0], z[1]


def truncated_irfft(
    coefficients: tuple[Float[Array, "*kept c"], Float[Array, "*kept c"]],
    shape: tuple[int, ...],
    *,
    norm: Norm = "forward",
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*shape c"]:
    """Real field on a grid of `shape` from the coefficients of `truncated_rfft`; the grid may be finer or coarser.

    x_j = s Σ_k X_k exp(2πi Σ_a k_a j_a / n_a), the sum completed by the conjugates of the coefficients with last
    frequency 0 < k < n/2. Equal to `numpy.fft.irfftn` of the zero-padded or truncated coefficients: once the leading
    axes are transformed, the imaginary parts at the last axis' k = 0 and Nyquist frequency are ignored.

    **Arguments:** as for `truncated_rfft`, with s = 1 ("forward"), 1/Πn ("backward") or 1/√Πn ("ortho").

    Raises `ValueError` for a wrong number of axes, a size below one, or an unknown `norm` or `method`.
    """
    re, im = coefficients
    *kept, _ = re.shape
    method = resolve(shape, tuple(kept), norm, method)
    last = len(shape) - 1
    if method == "fft":
        working = accumulator(re)
        z = lax.complex(re.astype(working), im.astype(working))
        for axis in reversed(range(last)):
            z = jnp.fft.ifft(_centred_to_fft_order(z, axis, shape[axis]), axis=axis, norm=norm)
        # cuFFT does not promise to ignore these imaginary parts, so they are removed.
        twice = 2 * np.arange(kept[last])[:, None]
        z = lax.complex(z.real, jnp.where((twice == 0) | (twice == shape[last]), 0, z.imag))
        return jnp.fft.irfft(z, shape[last], axis=last, norm=norm).astype(re.dtype)

    # As in `truncated_rfft`, but only the last product, which removes the (re or im) axis, can restore the order.
    z = jnp.stack([re, im])
    for axis in reversed(range(last)):
        cos, sin = waves(shape[axis], kept[axis], is_last=False)
        matrix = shape[axis] ** INVERSE_POWER[norm] * complex_product(cos.T, sin.T)
        z = contract(matrix, z, (0, last), precision)
    matrix = shape[last] ** INVERSE_POWER[norm] * inverse_matrix(shape[last], kept[last])
    return jnp.moveaxis(contract(matrix, z, (0, last + 1), precision), 0, last)


def multiply(
    coefficients: tuple[Float[Array, "*kept i"], Float[Array, "*kept i"]], multipliers: Float[Array, "2 *kept i o"]
) -> tuple[Float[Array, "*kept o"], Float[Array, "*kept o"]]:
    """Σ_i X_ki M_kio per frequency, of coefficients X as pairs and complex matrices M given as their real and imaginary
    part."""
    (re, im), (m_re, m_im) = coefficients, multipliers

    def product(x, m):
        return jnp.einsum("...i,...io->...o", x, m)

    return product(re, m_re) - product(im, m_im), product(re, m_im) + product(im, m_re)


def choose_method(shape: tuple[int, ...], kept: tuple[int, ...], platform: str | None = None) -> Literal["fft", "dft"]:
    """The formulation expected to be faster for grids of `shape` with `kept` frequencies.

    "dft" where `dft_operations` <= c · `fft_operations` with c the `FFT_COST_RATIO` of the platform. Channels and batch
    scale both sides alike, so they do not enter.

    `platform`: a JAX platform name; None is the one that is traced for, see `target`.
    """
    return cheaper_method(fft_operations(shape), dft_operations(shape, kept), platform)


def cheaper_method(fft_count: float, dft_count: float, platform: str | None = None) -> Literal["fft", "dft"]:
    """The rule of `choose_method` for any pair of operation counts."""
    platform = target_platform() if platform is None else platform
    platform = "gpu" if platform in ("cuda", "rocm") else platform
    ratio = FFT_COST_RATIO.get(platform, FFT_COST_RATIO["cpu"])
    return "dft" if dft_count <= ratio * fft_count else "fft"


def fft_operations(shape: tuple[int, ...]) -> float:
    """Real operations of one real FFT of N points in all: 2.5 N log₂N."""
    size = math.prod(shape)
    return 2.5 * size * math.log2(size)


def dft_operations(shape: tuple[int, ...], kept: tuple[int, ...]) -> float:
    """Real operations of the dense products of one channel.

    4 m per point for the last axis (reals to m complex numbers), then 8 m per complex entry for each leading axis.
    """
    size, count = math.prod(shape), 0
    for axis in reversed(range(len(shape))):
        count += (4 if axis == len(shape) - 1 else 8) * size * kept[axis]
        size = size // shape[axis] * kept[axis]
    return float(count)


def contract(
    matrix: np.ndarray, x: Inexact[Array, "..."], axes: int | tuple[int, ...], precision: lax.PrecisionLike = "highest"
) -> Inexact[Array, "..."]:
    """Product of a constant float64 matrix with `x` over its trailing axes and `axes` of `x`, new axes in front.

    The matrix is rounded to the dtype of `x`; the sum accumulates in at least float32 and is returned in that dtype.
    """
    axes = (axes,) if isinstance(axes, int) else axes
    trailing = tuple(range(matrix.ndim - len(axes), matrix.ndim))
    product = jnp.tensordot(
        matrix.astype(x.dtype), x, (trailing, axes), precision=precision, preferred_element_type=accumulator(x)
    )
    return product.astype(x.dtype)


def resolve(shape: tuple[int, ...], kept: tuple[int, ...], norm: str, method: str) -> Literal["fft", "dft"]:
    """The method to use, "auto" resolved by `choose_method`; raises `ValueError` for sizes, a norm or a method that is none."""
    if not 1 <= len(shape) <= 3 or len(kept) != len(shape):
        raise ValueError(f"need 1 to 3 space axes and as many kept sizes, got shape {shape} and kept {kept}")
    if min(shape) < 1 or min(kept) < 1:
        raise ValueError(f"every axis needs at least one point and one kept mode, got shape {shape} and kept {kept}")
    if norm not in ("forward", "backward", "ortho"):
        raise ValueError(f"norm must be 'forward', 'backward' or 'ortho', got {norm!r}")
    if method not in ("auto", "fft", "dft"):
        raise ValueError(f"method must be 'auto', 'fft' or 'dft', got {method!r}")
    return choose_method(shape, kept) if method == "auto" else cast(Literal["fft", "dft"], method)


def accumulator(x: Array) -> jnp.dtype:
    """The dtype in which products of `x` are summed: its own, or float32 for a half precision."""
    return jnp.promote_types(x.dtype, jnp.float32)


def forward_matrix(n: int, m: int) -> np.ndarray:
    """From n real points to the frequencies 0 … m−1: (re or im, frequency, point), not scaled."""
    cos, sin = waves(n, m, is_last=True)
    return np.stack([cos, -sin])


def inverse_matrix(n: int, m: int) -> np.ndarray:
    """From the frequencies 0 … m−1 to n real points, the conjugates of the others added: (point, re or im, frequency)."""
    cos, sin = waves(n, m, is_last=True)
    frequencies = np.arange(m)[:, None]
    copies = np.where((frequencies == 0) | (2 * frequencies == n), 1, 2)
    return np.stack([(copies * cos).T, -(copies * sin).T], axis=1)


def waves(n: int, m: int, is_last: bool) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of 2πkj/n, each (m frequencies, n points), with zero rows for frequencies the grid does not know."""
    k = np.arange(m) if is_last else np.arange(m) - m // 2
    known = 2 * k <= n if is_last else knows(n, m)
    cos, sin = plain_waves(n, k)
    return known[:, None] * cos, known[:, None] * sin


def knows(n: int, m: int) -> np.ndarray:
    """Which of the centred frequencies −(m//2), …, (m−1)//2 a grid of n points knows."""
    k = np.arange(m) - m // 2
    return (-n <= 2 * k) & (2 * k < n)


def plain_waves(n: int, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of 2πkj/n, each (frequencies, n points)."""
    turns = np.outer(k, np.arange(n)) % n  # reduced in integers: exact phases at any size
    cos = np.cos(2 * np.pi / n * turns)
    return cos, np.where(2 * turns % n == 0, 0.0, np.sin(2 * np.pi / n * turns))  # exact zeros at Nyquist


def complex_product(re: np.ndarray, im: np.ndarray) -> np.ndarray:
    """Multiplication by the complex matrix re + i im as a real one, (2, rows, 2, columns)."""
    return np.stack([np.stack([re, -im], axis=1), np.stack([im, re], axis=1)])


def _fft_order_to_centred(z: Array, axis: int, m: int) -> Array:
    n = z.shape[axis]
    negative, positive = min(m // 2, n // 2), min((m + 1) // 2, (n + 1) // 2)
    halves = [lax.slice_in_dim(z, n - negative, n, axis=axis), lax.slice_in_dim(z, 0, positive, axis=axis)]
    return pad_axis(jnp.concatenate(halves, axis), axis, m // 2 - negative, (m + 1) // 2 - positive)


def _centred_to_fft_order(z: Array, axis: int, n: int) -> Array:
    zero = z.shape[axis] // 2
    negative, positive = min(zero, n // 2), min(z.shape[axis] - zero, (n + 1) // 2)
    front = lax.slice_in_dim(z, zero, zero + positive, axis=axis)
    back = lax.slice_in_dim(z, zero - negative, zero, axis=axis)
    return jnp.concatenate([pad_axis(front, axis, 0, n - positive - negative), back], axis)
