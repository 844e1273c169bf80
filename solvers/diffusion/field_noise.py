"""Gaussian random fields as the noise of diffusion models of fields."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import kind
from ...core.domains import Grid
from ...core.storage import register
from ..random import AbstractGaussianLaw
from .coloured_noise import AbstractColouredNoise


@register("FieldNoise")
class FieldNoise(AbstractColouredNoise):
    """Noise drawn from a law of Gaussian fields at the points of a grid, every channel by itself.

        noise = sx.diffusion.FieldNoise(sx.random.Matern(0.1), grid)
        sx.diffusion.sample(denoise, …, shape=(*grid.shape, 2), noise=noise)

    One key is one function on every grid, so that a denoiser that is an operator samples at resolutions it has not seen. In
    Fourier (or cosine) space the noise levels of a wave are s times its standard deviation: waves that the noise has little of
    must have little variance in the data too.

    **Arguments:** `law`: such as `Matern(0.1)`, of about unit variance. `grid`: the points of the samples.

    **Raises:** `ValueError` for a periodic law on a grid that has points on both ends of an axis.

    **Source:** Lim et al. 2023; Yao et al. 2025 (FunDPS).

    **Example:**

        >>> noise = sx.diffusion.FieldNoise(sx.random.Matern(0.2), sx.Grid.unit(16, 1, "periodic"))
        >>> type(noise).__name__
        'FieldNoise'
    """

    law: AbstractGaussianLaw = eqx.field(static=True)
    grid: Grid = eqx.field(static=True)

    def __init__(self, law: Any, grid: Any):
        kind(
            "FieldNoise",
            "law",
            law,
            AbstractGaussianLaw,
            "pass a law of Gaussian fields, such as sx.random.Matern(0.1)",
        )
        kind("FieldNoise", "grid", grid, Grid, "pass the grid of the samples")
        if law.spectrum(grid)["boundary"] == "periodic" and "nodes" in grid.layouts:
            raise ValueError(
                f"FieldNoise: fields of {law} are periodic, but {grid!r} has points on both ends of an axis, where such noise is "
                "always equal and no sample could differ; use a law that is not periodic, such as Matern(0.1)"
            )
        self.law, self.grid = law, grid

    def __call__(self, key: Array, shape: tuple[int, ...]) -> Float[Array, "*shape"]:
        self._check(shape)
        if len(shape) == self.grid.ndim:
            return self.law.sample(jax.random.fold_in(key, 0), self.grid)
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(shape[-1]))
        return jax.vmap(lambda k: self.law.sample(k, self.grid), out_axes=-1)(keys)

    def covariance(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        self._check(x.shape)
        if x.ndim == self.grid.ndim:
            return self.law.covariance(x, self.grid)
        return jax.vmap(lambda c: self.law.covariance(c, self.grid), -1, -1)(x)

    def _check(self, shape: tuple[int, ...]) -> None:
        n = self.grid.ndim
        if shape[:n] != self.grid.shape or len(shape) > n + 1:
            raise ValueError(
                f"FieldNoise: samples on {self.grid!r} have the shape {self.grid.shape} or one axis of channels more, "
                f"got {shape}"
            )
