"""Real fields on a periodic box as the Fourier coefficients that products do not alias, in one to three dimensions.

A product of d fields with modes |k| ≤ m has modes up to d m; on n points those beyond n − m come back as modes below m. So with
(d + 1) m < n, the 2/3 rule for d = 2 and the 1/2 rule for d = 3, the modes |k| ≤ m of the product are right. Solvers step these
alone, as one block: centred frequencies −m, …, m on every axis but the last, where the field being real leaves 0, …, m. All
other modes of a field, the waves that alternate from point to point included, are the `rest`, an array in the order of `rfftn`
that is zero on the block.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Float, Inexact

from .fourier import cheaper_method, fft_operations, plain_waves

Symbol = Inexact[Array, "..."] | Inexact[np.ndarray, "..."]


@dataclass(frozen=True)
class PeriodicModes:
    """The coefficients of fields of `shape` on a box of the given `extent`, for products of `degree` factors.

    Coefficients are those of `numpy.fft.rfftn`, not scaled. Further axes of arrays stand in front.
    """

    shape: tuple[int, ...]
    extent: tuple[float, ...]
    degree: int = 2

    @property
    def kept(self) -> tuple[int, ...]:
        """m of every axis."""
        return tuple((n - 1) // (self.degree + 1) for n in self.shape)

    @property
    def wavenumbers(self) -> tuple[Float[np.ndarray, "..."], ...]:
        """2πk/L of the block, one array per axis that broadcasts against it."""
        *leading, last = self.kept
        return self._scaled([*(np.arange(-m, m + 1) for m in leading), np.arange(last + 1)])

    @property
    def all_wavenumbers(self) -> tuple[Float[np.ndarray, "..."], ...]:
        """The same of all modes, in the order of `rfftn`; n/2 counts as negative on every axis but the last."""
        return self._scaled(self._all_modes)

    def symbol(self, of: Callable[[tuple[np.ndarray, ...]], Symbol]) -> Symbol:
        """A symbol on all modes, in the order of `rfftn`. Where an even axis cannot tell k = n/2 from −n/2 it is the mean of
        both, so that odd derivatives vanish there."""
        signs = list(itertools.product(*[(1, -1) if n % 2 == 0 else (1,) for n in self.shape]))

        def turned(sign):
            axes = zip(self._all_modes, self.shape, sign, strict=True)
            return of(self._scaled([np.where(2 * abs(k) == n, s * k, k) for k, n, s in axes]))

        total = turned(signs[0])
        for sign in signs[1:]:
            total = total + turned(sign)
        return total / len(signs)

    def whole(self, u: Float[Array, "..."]) -> Complex[Array, "..."]:
        """All coefficients of real fields, in the order of `rfftn`."""
        return jnp.fft.rfftn(u, axes=self._axes)

    def fields(self, whole: Complex[Array, "..."]) -> Float[Array, "..."]:
        """The real fields with all these coefficients."""
        return jnp.fft.irfftn(whole, self.shape, axes=self._axes)

    def split(self, u: Float[Array, "..."]) -> tuple[Complex[Array, "..."], Complex[Array, "..."]]:
        """The block and the rest of real fields."""
        whole = self.whole(u)
        return self._block(whole), jnp.where(self._is_rest, whole, 0)

    def block(self, u: Float[Array, "..."]) -> Complex[Array, "..."]:
        """The block alone."""
        return self._block(self.whole(u))

    def values(self, v: Complex[Array, "..."], rest: Complex[Array, "..."] | None = None) -> Float[Array, "..."]:
        """The real fields with these coefficients."""
        whole = self._spread(v, (*self.shape[:-1], self.shape[-1] // 2 + 1), self._axes[:-1])
        return self.fields(whole if rest is None else whole + rest)

    def pair(self, v: Complex[Array, "..."], w: Complex[Array, "..."]) -> Complex[Array, "..."]:
        """The complex field whose real and imaginary parts have the blocks `v` and `w`: one complex transform, which is about 1.5
        times as fast as two real ones on a CPU."""
        both = self.mirrored(v) + 1j * self.mirrored(w)
        return jnp.fft.ifftn(self._spread(both, self.shape, self._axes), axes=self._axes)

    def square(self, v: Complex[Array, "..."]) -> Complex[Array, "..."]:
        """The block of u², from that of u.

        In one dimension on up to about 300 points (half that in float64) by real matrices instead of two FFTs. With u = e +
        o at x and e − o at −x, e being the cosines and o the sines, the even part of u² is e² + o² and the odd one 2 e o:
        half of the points suffice.
        """
        if len(self.shape) > 1 or self._square_method(v.real.dtype.itemsize) == "fft":
            return self.block(self.values(v) ** 2)
        cosines, sines, copies = _half_waves(self.shape[0], self.kept[0])
        even = _dense(v.real, copies[:, None] * cosines / self.shape[0])
        odd = _dense(v.imag, -copies[:, None] * sines / self.shape[0])
        points = np.where((sines == 0).all(0), 1, 2)
        real = _dense(even**2 + odd**2, (points * cosines).T)
        return lax.complex(real, _dense(2 * even * odd, -(points * sines).T))

    def _square_method(self, itemsize: int) -> str:
        """Of 4 bytes, or of 8, in which matrix products are half as fast and FFTs hardly slower."""
        (n,), (m,) = self.shape, self.kept
        return cheaper_method(2 * fft_operations(self.shape), 2 * itemsize * (m + 1) * (n // 2 + 1))

    def mirrored(self, v: Complex[Array, "..."]) -> Complex[Array, "..."]:
        """All modes −m, …, m of a block on the last axis too: v(−k) is the conjugate of v(k)."""
        ndim = len(self.shape)
        below = jnp.conj(jnp.flip(v[..., 1:], tuple(range(-ndim, 0))))
        return jnp.concatenate([below, v], -1)

    def _block(self, whole):
        whole = whole[..., : self.kept[-1] + 1]
        for axis, n, m in zip(self._axes[:-1], self.shape, self.kept, strict=False):
            ends = [_cut(whole, axis, n - m, n), _cut(whole, axis, 0, m + 1)]
            whole = jnp.concatenate(ends, axis)
        return whole

    def _spread(self, v, shape: tuple[int, ...], centred: tuple[int, ...]):
        """Frequencies in the order of the FFT, zeros between them; `centred` are the axes of v whose frequencies are. The
        corners are written into one array, which is faster than concatenation on a CPU."""
        lead = v.ndim - len(shape)
        whole = jnp.zeros((*v.shape[:lead], *shape), v.dtype)
        for ends in itertools.product((True, False), repeat=len(centred)):
            corner, at = v, [0] * v.ndim
            for axis, first in zip(centred, ends, strict=True):
                n, m = self.shape[axis], self.kept[axis]
                corner = _cut(corner, axis, m, 2 * m + 1) if first else _cut(corner, axis, 0, m)
                at[axis] = 0 if first else n - m
            whole = lax.dynamic_update_slice(whole, corner, at)
        return whole

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self.shape), 0))

    @property
    def _is_rest(self) -> np.ndarray:
        outside = np.zeros((), bool)
        for k, m in zip(self._all_modes, self.kept, strict=True):
            outside = outside[..., None] | (abs(k) > m)
        return outside

    @property
    def _all_modes(self) -> list[np.ndarray]:
        return [np.fft.fftfreq(n, 1 / n) for n in self.shape[:-1]] + [np.arange(self.shape[-1] // 2 + 1.0)]

    def _scaled(self, modes: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        along = [2 * np.pi / length * k for k, length in zip(modes, self.extent, strict=True)]
        return tuple(np.meshgrid(*along, indexing="ij", sparse=True))


def _half_waves(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """cos and sin of 2πkj/n for k = 0 … m and j = 0 … n//2, `(k, j)`, and how often k stands for itself and −k."""
    cosines, sines = plain_waves(n, np.arange(m + 1))
    half = slice(n // 2 + 1)
    return cosines[:, half], sines[:, half], np.where(np.arange(m + 1) == 0, 1, 2)


def _dense(x: Array, matrix: np.ndarray) -> Array:
    return jnp.matmul(x, jnp.asarray(matrix, x.dtype), precision="highest")


def square(k: tuple[np.ndarray, ...]) -> np.ndarray:
    """|k|², the symbol of −Δ."""
    return sum((k_i**2 for k_i in k[1:]), k[0] ** 2)


def _cut(x: Array, axis: int, start: int, stop: int) -> Array:
    index = [slice(None)] * x.ndim
    index[axis] = slice(start, stop)
    return x[tuple(index)]
