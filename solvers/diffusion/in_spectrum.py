"""Denoisers of fields in the spectrum, where statistics and weights belong to wavenumbers."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .denoiser import AbstractDenoiser, Level


def hartley(x: Float[Array, "*shape"], axes: tuple[int, ...]) -> Float[Array, "*shape"]:
    """The discrete Hartley transform along `axes`, Re F − Im F of the orthonormal Fourier transform F.

    It is real, orthonormal and its own inverse; white noise stays white noise.

    **Example:**

        >>> x = jnp.arange(8.0)
        >>> bool(jnp.allclose(sx.diffusion.hartley(sx.diffusion.hartley(x, (0,)), (0,)), x, atol=1e-4))    # its own inverse
        True
    """
    spectrum = jnp.fft.fftn(x, axes=axes, norm="ortho")
    return spectrum.real - spectrum.imag


class InSpectrum(AbstractDenoiser):
    """A denoiser of periodic fields as one of their spectra z = `hartley(x)`: z ↦ H D(H z).

    Solvers with weights per entry (`DPMSolverV3`) then have weights per wavenumber. White noise has the same distribution in
    both, so that `sample(InSpectrum(denoiser, (0, 1)), …)` draws spectra; `hartley` makes fields of them.

    **Arguments:** `denoiser`: of fields, such as `NoisePrediction(…)` or `as_denoiser(function)`. `axes`: the space axes.

    **Example:**

        >>> model = sx.diffusion.InSpectrum(sx.diffusion.as_denoiser(denoise), (0,))
        >>> isinstance(model, sx.diffusion.AbstractDenoiser)
        True
    """

    denoiser: AbstractDenoiser
    axes: tuple[int, ...] = eqx.field(static=True)

    def at(self, v: Float[Array, "*shape"], level: Level, condition: Any) -> Float[Array, "*shape"]:
        return hartley(self.denoiser.at(hartley(v, self.axes), level, condition), self.axes)

    def __call__(self, x: Float[Array, "*shape"], sigma: Any, condition: Any = None) -> Float[Array, "*shape"]:
        return hartley(self.denoiser(hartley(x, self.axes), sigma, condition), self.axes)
