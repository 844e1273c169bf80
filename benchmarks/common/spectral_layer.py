"""The transforms of a spectral layer."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from surrogax.solvers.kernels import fourier


def round_trip(kept: tuple[int, ...], method: str) -> Callable:
    """`(x (batch, *space, channels), weights (*kept, channels)) -> (loss, gradients)`: transform, weighting and inverse
    transform of every sample, by "fft" or "dft"."""

    def layer(x, weights):
        re, im = fourier.truncated_rfft(x, kept, method=method)
        return fourier.truncated_irfft((re * weights, im * weights), x.shape[:-1], method=method)

    def loss(x, weights):
        return jnp.sum(jax.vmap(layer, in_axes=(0, None))(x, weights) ** 2)

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
