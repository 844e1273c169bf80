"""What defines each real transform of `trigonometric`: matrix, products by symmetry, form by a real FFT, weights."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .stencil import pad_axis


class Transform(NamedTuple):
    """One transform of n points along the last axis: its matrix, a product with it that uses its symmetry, the same by a real
    FFT of some length, and the weights (before, after) that make it orthogonal."""

    matrix: Callable[[int], np.ndarray]
    product: Callable[[np.ndarray, Array, Callable], Array]
    fft: Callable[[Array], Array]
    length: Callable[[int], int]
    weights: Callable[[int], tuple[np.ndarray, np.ndarray]]


def split(matrix: np.ndarray, x: Array, dense: Callable) -> tuple[Array, Array]:
    """The even and the odd outputs for W_{k, n−1−j} = (−1)^k W_{k, j}: even ones need the sums x_j + x_{n−1−j}, odd ones the
    differences."""
    n, last = x.shape[-1], x.ndim - 1
    front, back = x[..., : (n + 1) // 2], x[..., ::-1][..., : n // 2]
    even = dense(front + pad_axis(back, last, 0, n % 2), matrix[::2, : (n + 1) // 2])
    return even, dense(front[..., : n // 2] - back, matrix[1::2, : n // 2])


def join(matrix: np.ndarray, even: Array, odd: Array, dense: Callable) -> Array:
    """The product from the even and the odd inputs for the transposed symmetry, W_{n−1−k, j} = (−1)^j W_{k, j}."""
    n, last = len(matrix), even.ndim - 1
    even, odd = dense(even, matrix[: (n + 1) // 2, ::2]), dense(odd, matrix[: n // 2, 1::2])
    return jnp.concatenate([even + pad_axis(odd, last, 0, n % 2), (even[..., : n // 2] - odd)[..., ::-1]], -1)


def _fold_inputs(matrix: np.ndarray, x: Array, dense: Callable) -> Array:
    return dense(x, matrix) if x.shape[-1] == 1 else _interleave(*split(matrix, x, dense))


def _fold_outputs(matrix: np.ndarray, x: Array, dense: Callable) -> Array:
    return dense(x, matrix) if x.shape[-1] == 1 else join(matrix, x[..., ::2], x[..., 1::2], dense)


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


DST1 = Transform(
    _dst1_matrix, _fold_inputs, _dst1_fft, lambda n: 2 * (n + 1), _uniform(lambda n: (2 * (n + 1)) ** -0.5)
)
DCT1 = Transform(_dct1_matrix, _fold_inputs, _dct1_fft, lambda n: 2 * (n - 1), _dct1_weights)
# The last three need a real FFT of n points; 2n counts the passes over memory that reorder as well.
DCT2 = Transform(_dct2_matrix, _fold_inputs, _dct2_fft, lambda n: 2 * n, _dct2_weights)
DCT3 = Transform(_dct3_matrix, _fold_outputs, _dct3_fft, lambda n: 2 * n, _dct3_weights)
DHT = Transform(_dht_matrix, _dht_product, _dht_fft, lambda n: 2 * n, _uniform(lambda n: n**-0.5))
