"""Samples of periodic functions on another number of points, by their Fourier series."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Inexact, Num

from ...core.arguments import checked
from .interpolate import apply_along_axes


def resampling_matrix(n: int, m: int) -> Float[np.ndarray, "m n"]:
    """The matrix `(m, n)` that takes n uniform samples of a period to m, both from the same point on, float64.

    Up (m > n) it evaluates the trigonometric polynomial through the samples, in which the wave that alternates from point to
    point is a cosine. Down it keeps the frequencies that m points can hold; m/2 and −m/2 look alike there and are added. It is
    real, so that real and imaginary parts of complex data do not meet, and down after up is the identity.
    """
    spectrum = np.fft.rfft(np.eye(n), axis=0)[: m // 2 + 1] * (m / n)
    if m < n and m % 2 == 0:
        spectrum[-1] *= 2
    if m > n and n % 2 == 0:
        spectrum[-1] /= 2
    return np.fft.irfft(spectrum, m, axis=0)


@checked
def resample_periodic(
    values: Num[ArrayLike, "..."], shape: int | Sequence[int], *, first: int = 0
) -> Inexact[Array, "..."]:
    """Values of periodic functions on another uniform grid of the same period, exact for what both grids hold.

    **Arguments:** `values`, real or complex (whole numbers become floating ones); `shape`, the number of points along the axes
    `first`, `first` + 1, …, odd or even, more or fewer than there are.

    **Raises:** `TypeError` for a shape of other than whole numbers; `ValueError` for more axes than there are, and for fewer than
    one point before or after.

    **Example:**

        >>> x = np.arange(9) / 9
        >>> fine = sx.pde.resample_periodic(np.exp(2j * np.pi * x), 16)
        >>> bool(np.allclose(fine, np.exp(2j * np.pi * np.arange(16) / 16), atol=1e-5))
        True
    """
    found, wanted = jnp.asarray(values), (shape,) if isinstance(shape, int) else tuple(shape)
    axes = range(first, first + len(wanted))
    if first < 0 or axes.stop > found.ndim or min((*wanted, *(found.shape[axis] for axis in axes)), default=1) < 1:
        raise ValueError(f"resample_periodic: {wanted} points along the axes from {first} on of an array {found.shape}")
    if not jnp.issubdtype(found.dtype, jnp.inexact):
        found = found.astype(float)
    matrices = [resampling_matrix(found.shape[axis], m) for axis, m in zip(axes, wanted, strict=True)]
    return apply_along_axes(found, matrices, first)
