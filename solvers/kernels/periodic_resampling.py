"""Samples of periodic functions on another number of points, by their Fourier series."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from .differentiation import fourier_matrix


def resampling_matrix(n: int, m: int) -> Float[np.ndarray, "m n"]:
    """The matrix `(m, n)` that takes n uniform samples of a period to m, both from the same point on, float64.

    Up (m > n) it evaluates the trigonometric polynomial through the samples, in which the wave that alternates from point to
    point is a cosine. Down it keeps the frequencies that m points can hold; m/2 and −m/2 look alike there and are added. It is
    real, so that real and imaginary parts of complex data do not meet, and down after up is the identity.
    """
    if m >= n:
        return fourier_matrix(np.arange(n) / n, np.arange(m) / m, 1.0, 0)
    spectrum = np.fft.rfft(np.eye(n), axis=0)[: m // 2 + 1] * (m / n)
    if m % 2 == 0:
        spectrum[-1] *= 2
    return np.fft.irfft(spectrum, m, axis=0)


def resample_periodic(
    values: Inexact[Array | np.ndarray, "..."], shape: int | Sequence[int], *, first: int = 0
) -> Inexact[Array, "..."]:
    """Values of periodic functions on another uniform grid of the same period, exact for what both grids hold.

    **Arguments:** `values`, real or complex; `shape`, the number of points along the axes `first`, `first` + 1, …, odd or even,
    more or fewer than there are.

    **Raises:** `ValueError` for more axes than there are, and for fewer than one point.

    **Example:**

        >>> x = np.arange(9) / 9
        >>> fine = sx.pde.resample_periodic(np.exp(2j * np.pi * x), 16)
        >>> bool(np.allclose(fine, np.exp(2j * np.pi * np.arange(16) / 16), atol=1e-5))
        True
    """
    wanted = (shape,) if isinstance(shape, int) else tuple(shape)
    if not 0 <= first <= values.ndim - len(wanted) or min(wanted, default=1) < 1:
        raise ValueError(
            f"resample_periodic: {wanted} points along the axes from {first} on of an array {values.shape}"
        )
    found = jnp.asarray(values)
    for axis, m in enumerate(wanted, start=first):
        matrix = jnp.asarray(resampling_matrix(found.shape[axis], m), found.dtype)
        found = jnp.moveaxis(jnp.tensordot(matrix, found, axes=(1, axis), precision="highest"), 0, axis)
    return found
