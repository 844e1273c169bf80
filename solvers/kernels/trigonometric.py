"""Discrete sine, cosine and Hartley transforms over chosen axes: the real bases that diagonalise the 1D Laplacian.

Conventions are those of `scipy.fft`. With norm=None (for n points along an axis)

    DST-I    y_k = 2 Σ_j x_j sin(π (j+1)(k+1) / (n+1))
    DCT-I    y_k = x_0 + (-1)^k x_{n-1} + 2 Σ_{0<j<n-1} x_j cos(π j k / (n-1))
    DCT-II   y_k = 2 Σ_j x_j cos(π k (2j+1) / 2n)
    DCT-III  y_k = x_0 + 2 Σ_{j>0} x_j cos(π j (2k+1) / 2n)
    DHT      y_k = Σ_j x_j (cos(2π j k / n) + sin(2π j k / n))

and with norm="ortho" each is scaled to an orthogonal matrix. Then DST-I, DCT-I and DHT are their own inverse and
DCT-III is the inverse of DCT-II. The Hartley transform, the real twin of the Fourier transform, is not in scipy.

`method`: "fft" pads, extends or reorders the input for a real FFT; "dft" multiplies by the dense real matrix (built in
float64, stored as a constant of the program; no complex dtype), whose symmetry halves the products; "auto" compares their
costs per axis (`fourier.cheaper_method`). Along the last axis neither moves data. `precision` is that of the products; the
default keeps float32 from being rounded to TF32 or bfloat16. Half precision is handled as in `fourier`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from .fourier import Method, cheaper_method
from .stencil import Boundary, pad_axis

Norm = Literal["ortho"] | None
Axes = int | Sequence[int]


def dst1(
    x: Float[Array, "*n"],
    axes: Axes,
    *,
    norm: Norm = None,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*n"]:
    """DST-I along `axes`: zero at the points -1 and n, the basis of interior nodes with Dirichlet boundaries."""
    return _apply(_DST1, x, axes, norm, method, precision)


def dct1(
    x: Float[Array, "*n"],
    axes: Axes,
    *,
    norm: Norm = None,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*n"]:
    """DCT-I along `axes`: even about the first and last node (Chebyshev-Lobatto points). Needs at least two points."""
    return _apply(_DCT1, x, axes, norm, method, precision)


def dct2(
    x: Float[Array, "*n"],
    axes: Axes,
    *,
    norm: Norm = None,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*n"]:
    """DCT-II along `axes`: even about the outer faces, the basis of cell centres with Neumann boundaries."""
    return _apply(_DCT2, x, axes, norm, method, precision)


def dct3(
    x: Float[Array, "*n"],
    axes: Axes,
    *,
    norm: Norm = None,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*n"]:
    """DCT-III along `axes`: the transpose of DCT-II up to scaling, its inverse with norm="ortho"."""
    return _apply(_DCT3, x, axes, norm, method, precision)


def dht(
    x: Float[Array, "*n"],
    axes: Axes,
    *,
    norm: Norm = None,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*n"]:
    """Discrete Hartley transform along each of `axes`: the real basis of periodic points, in the order of the FFT."""
    return _apply(_DHT, x, axes, norm, method, precision)


def laplacian_eigenvalues(n: int, spacing: float, boundary: Boundary) -> Float[np.ndarray, " n"]:
    """Eigenvalues of the 1D matrix of `stencil.apply_laplacian`, 4 sin²(θ_k) / h², as a float64 constant.

    - "dirichlet": θ_k = π (k+1) / 2(n+1), in the order of `dst1`.
    - "neumann": θ_k = π k / 2n, in the order of `dct2`; the first is exactly 0.
    - "periodic": θ_k = π k / n for k = 0, …, n-1, in the order of `dht` and of the full FFT (pairs k, n-k are equal);
        the first n//2 + 1 belong to the real FFT.

    Raises `ValueError` for an unknown boundary.
    """
    k = np.arange(n)
    if boundary == "dirichlet":
        angles = np.pi * (k + 1) / (2 * (n + 1))
    elif boundary == "neumann":
        angles = np.pi * k / (2 * n)
    elif boundary == "periodic":
        angles = np.pi * np.minimum(k, n - k) / n
    else:
        raise ValueError(f"boundary must be 'dirichlet', 'neumann' or 'periodic', got {boundary!r}")
    return (2 * np.sin(angles) / spacing) ** 2


class _Transform(NamedTuple):
    """One transform of n points along the last axis: its matrix, a product with it that uses its symmetry, the same by a real
    FFT of some length, and the weights (before, after) that make it orthogonal."""

    matrix: Callable[[int], np.ndarray]
    product: Callable[[np.ndarray, Array, Callable], Array]
    fft: Callable[[Array], Array]
    length: Callable[[int], int]
    weights: Callable[[int], tuple[np.ndarray, np.ndarray]]


def _apply(
    transform: _Transform, x: Array, axes: Axes, norm: str | None, method: str, precision: lax.PrecisionLike
) -> Array:
    if norm not in (None, "ortho"):
        raise ValueError(f"norm must be None or 'ortho', got {norm!r}")
    if method not in ("auto", "fft", "dft"):
        raise ValueError(f"method must be 'auto', 'fft' or 'dft', got {method!r}")
    working = jnp.promote_types(x.dtype, jnp.float32)

    def dense(x, matrix):
        return jnp.tensordot(x, matrix.astype(x.dtype), (-1, 1), precision=precision, preferred_element_type=working)

    for axis in (axes,) if isinstance(axes, int) else axes:
        n = x.shape[axis]
        before, after = transform.weights(n) if norm == "ortho" else (np.ones(n), np.ones(n))
        # Dense: the half products have n² operations, but break even (CPU, n from 63 to 2048) where 6n² would.
        chosen = cheaper_method(_fft_operations(transform.length(n)), 6.0 * n**2) if method == "auto" else method
        y = jnp.moveaxis(x, axis, -1)
        if chosen == "dft":
            y = transform.product(after[:, None] * transform.matrix(n) * before, y, dense)
        else:
            y = transform.fft(y.astype(working) * before.astype(working)) * after.astype(working)
        x = jnp.moveaxis(y, -1, axis).astype(x.dtype)
    return x


def _fft_operations(n: int) -> float:
    """Real operations of a real FFT of n points: 2.5 n Σ p/2 over the prime factors p of n, which is 2.5 n log₂n for powers of
    two, and at most those of Bluestein's algorithm (complex FFTs of about 2n points)."""
    total, rest, p = 0.0, n, 2
    while rest > 1:
        while rest % p == 0:
            total, rest = total + p / 2, rest // p
        p = p + 1 if p * p <= rest else rest
    return min(2.5 * n * max(total, 1), 12 * n * math.log2(2 * n))


def _fold_inputs(matrix: np.ndarray, x: Array, dense: Callable) -> Array:
    """Product for W_{k, n−1−j} = (−1)^k W_{k, j}: even outputs need the sums x_j + x_{n−1−j}, odd ones the differences."""
    n, last = x.shape[-1], x.ndim - 1
    if n == 1:
        return dense(x, matrix)
    front, back = x[..., : (n + 1) // 2], x[..., ::-1][..., : n // 2]
    even = dense(front + pad_axis(back, last, 0, n % 2), matrix[::2, : (n + 1) // 2])
    odd = dense(front[..., : n // 2] - back, matrix[1::2, : n // 2])
    return _interleave(even, odd)


def _fold_outputs(matrix: np.ndarray, x: Array, dense: Callable) -> Array:
    """Product for the transposed symmetry, W_{n−1−k, j} = (−1)^j W_{k, j}."""
    n, last = x.shape[-1], x.ndim - 1
    if n == 1:
        return dense(x, matrix)
    even = dense(x[..., ::2], matrix[: (n + 1) // 2, ::2])
    odd = dense(x[..., 1::2], matrix[: n // 2, 1::2])
    return jnp.concatenate([even + pad_axis(odd, last, 0, n % 2), (even[..., : n // 2] - odd)[..., ::-1]], -1)


def _interleave(even: Array, odd: Array) -> Array:
    """even_0, odd_0, even_1, …; as many odd ones or one fewer. Padding fuses, a strided scatter does not."""
    n, zero, keep = even.shape[-1] + odd.shape[-1], jnp.zeros((), even.dtype), [(0, 0, 0)] * (even.ndim - 1)
    return lax.pad(even, zero, [*keep, (0, 1 - n % 2, 1)]) + lax.pad(odd, zero, [*keep, (1, n % 2, 1)])


def _half_turns(products: np.ndarray, n: int) -> np.ndarray:
    """The angles π products / n, reduced in integers to one turn so that they are exact at any size."""
    return np.pi / n * (products % (2 * n))


def _dst1_matrix(n: int) -> np.ndarray:
    j = np.arange(1, n + 1)
    return 2 * np.sin(_half_turns(np.outer(j, j), n + 1))


def _dst1_fft(x: Array) -> Array:
    # Zeros in place of the odd extension give twice the sine sum as well, and cost no reversal.
    n = x.shape[-1]
    return -2 * jnp.fft.rfft(pad_axis(x, x.ndim - 1, 1, n + 1)).imag[..., 1:-1]


def _dct1_matrix(n: int) -> np.ndarray:
    if n < 2:
        raise ValueError(f"DCT-I needs at least 2 points, got {n}")
    j = np.arange(n)
    copies = np.where((j == 0) | (j == n - 1), 1, 2)
    return copies * np.cos(_half_turns(np.outer(j, j), n - 1))


def _dct1_fft(x: Array) -> Array:
    if x.shape[-1] < 2:
        raise ValueError(f"DCT-I needs at least 2 points, got {x.shape[-1]}")
    even = jnp.concatenate([x, x[..., -2:0:-1]], -1)
    return jnp.fft.rfft(even).real


def _dct1_weights(n: int) -> tuple[np.ndarray, np.ndarray]:
    ends = np.ones(n)
    ends[[0, -1]] = 2**0.5
    return ends, 1 / ends / (2 * (n - 1)) ** 0.5


def _dct2_matrix(n: int) -> np.ndarray:
    return 2 * np.cos(_half_turns(np.outer(np.arange(n), 2 * np.arange(n) + 1), 2 * n))


def _dct2_fft(x: Array) -> Array:
    # Makhoul (1980): even samples, then odd ones backwards, so that an FFT of length n suffices.
    n = x.shape[-1]
    z = jnp.fft.rfft(jnp.concatenate([x[..., ::2], x[..., 1::2][..., ::-1]], -1))
    z = z * np.exp(-0.5j * np.pi / n * np.arange(n // 2 + 1)).astype(z.dtype)
    return _mirror(2 * z.real, -2 * z.imag, n)


def _dct2_weights(n: int) -> tuple[np.ndarray, np.ndarray]:
    after = np.full(n, (2 * n) ** -0.5)
    after[0] = n**-0.5 / 2
    return np.ones(n), after


def _dct3_matrix(n: int) -> np.ndarray:
    matrix = _dct2_matrix(n).T
    matrix[:, 0] = 1
    return matrix


def _dct3_fft(x: Array) -> Array:
    # The steps of `_dct2_fft` undone.
    n = x.shape[-1]
    mirrored = jnp.concatenate([jnp.zeros_like(x[..., :1]), x[..., :0:-1]], -1)
    z = lax.complex(x, -mirrored)[..., : n // 2 + 1]
    z = z * np.exp(0.5j * np.pi / n * np.arange(n // 2 + 1)).astype(z.dtype)
    y = jnp.fft.irfft(z, n, norm="forward")
    even, odd = y[..., : (n + 1) // 2], y[..., (n + 1) // 2 :][..., ::-1]
    return _interleave(even, odd) if n > 1 else even


def _dct3_weights(n: int) -> tuple[np.ndarray, np.ndarray]:
    before = np.full(n, (2 * n) ** -0.5)
    before[0] = n**-0.5
    return before, np.ones(n)


def _dht_matrix(n: int) -> np.ndarray:
    angles = _half_turns(2 * np.outer(np.arange(n), np.arange(n)), n)
    return np.cos(angles) + np.sin(angles)


def _dht_product(matrix: np.ndarray, x: Array, dense: Callable) -> Array:
    """Cosines see x_j + x_{n−j}, sines x_j − x_{n−j}; the frequencies k and n − k are their sum and difference."""
    n, last, half, pairs = x.shape[-1], x.ndim - 1, x.shape[-1] // 2 + 1, (x.shape[-1] - 1) // 2
    mirrored = matrix[-np.arange(half) % n]
    cosines, sines = (matrix[:half] + mirrored) / 2, (matrix[:half] - mirrored) / 2
    back = x[..., ::-1][..., :pairs]
    even = dense(x[..., :half] + pad_axis(back, last, 1, half - 1 - pairs), cosines[:, :half])
    if pairs == 0:
        return _mirror(even, even, n)
    odd = dense(x[..., 1 : pairs + 1] - back, sines[:, 1 : pairs + 1])
    return _mirror(even + odd, even - odd, n)


def _dht_fft(x: Array) -> Array:
    z = jnp.fft.rfft(x)
    return _mirror(z.real - z.imag, z.real + z.imag, x.shape[-1])


def _mirror(front: Array, back: Array, n: int) -> Array:
    """Entries k of `front` and n - k of `back`, both given for the n//2 + 1 frequencies of a real FFT."""
    return jnp.concatenate([front, back[..., 1 : (n + 1) // 2][..., ::-1]], -1)


def _uniform(scale: Callable[[int], float]) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    return lambda n: (np.ones(n), np.full(n, scale(n)))


_DST1 = _Transform(
    _dst1_matrix, _fold_inputs, _dst1_fft, lambda n: 2 * (n + 1), _uniform(lambda n: (2 * (n + 1)) ** -0.5)
)
_DCT1 = _Transform(_dct1_matrix, _fold_inputs, _dct1_fft, lambda n: 2 * (n - 1), _dct1_weights)
# The last three need a real FFT of n points; 2n counts the passes over memory that reorder as well.
_DCT2 = _Transform(_dct2_matrix, _fold_inputs, _dct2_fft, lambda n: 2 * n, _dct2_weights)
_DCT3 = _Transform(_dct3_matrix, _fold_outputs, _dct3_fft, lambda n: 2 * n, _dct3_weights)
_DHT = _Transform(_dht_matrix, _dht_product, _dht_fft, lambda n: 2 * n, _uniform(lambda n: n**-0.5))
