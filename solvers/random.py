"""Distributions of PDE parameters: random fields on a grid and random numbers.

Each is a frozen dataclass with `sample(key, grid)`: an array `(*grid.shape)` for a field, `()` for a number. A field
depends on the key alone, not on the resolution (see `kernels.gaussian_field`).
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.domains import Boundary, Grid
from .kernels import gaussian_field


@runtime_checkable
class Distribution(Protocol):
    """What `generate` samples parameters from. `is_field`: sampled on the grid, or one number per sample."""

    is_field: bool

    def sample(self, key: jax.Array, grid: Grid) -> Array: ...


@dataclass(frozen=True)
class GaussianField:
    """μ ~ N(0, σ² τ^(2α−d) (−Δ + τ²)^(−α)) on the unit box, without the constant mode unless `mean_mode`.

    The covariance of the Fourier neural operator papers: their Darcy data is α=2, τ=3, Neumann; the Burgers data α=2,
    τ=5, σ=25·5^(−1.5) periodic. Realisations have about α − d/2 derivatives; 2π/τ is the correlation length.
    """

    alpha: float = 2.0
    tau: float = 3.0
    sigma: float = 1.0
    boundary: Boundary = "neumann"
    mean_mode: bool = False
    is_field = True

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        amplitude = self.sigma * self.tau ** (self.alpha - grid.ndim / 2)

        def std(eigenvalue):
            s = amplitude * (eigenvalue + self.tau**2) ** (-self.alpha / 2)
            return s if self.mean_mode else np.where(eigenvalue == 0, 0.0, s)

        return gaussian_field.sample(key, grid, self.boundary, std)


@dataclass(frozen=True)
class Threshold:
    """Two-valued field: `upper` where a Gaussian field is ≥ 0, `lower` elsewhere (FNO paper, Darcy: 12 and 3)."""

    upper: float = 12.0
    lower: float = 3.0
    field: GaussianField = GaussianField()
    is_field = True
    smooth = False

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        return jnp.where(self.field.sample(key, grid) >= 0, float(self.upper), float(self.lower))


@dataclass(frozen=True)
class Lognormal:
    """exp(scale · μ) of a Gaussian field; positive and smooth, contrast about e^(6·scale·std)."""

    scale: float = 1.0
    field: GaussianField = GaussianField()
    is_field = True
    smooth = True

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        return jnp.exp(self.scale * self.field.sample(key, grid))


@dataclass(frozen=True)
class Uniform:
    """A number, uniform on [low, high)."""

    low: float = 0.0
    high: float = 1.0
    is_field = False

    def sample(self, key: jax.Array, grid: Grid | None = None) -> Float[Array, ""]:
        return jax.random.uniform(key, dtype=jnp.float32, minval=self.low, maxval=self.high)


@dataclass(frozen=True)
class LogUniform:
    """A positive number whose logarithm is uniform, low ≤ x < high."""

    low: float = 0.1
    high: float = 10.0
    is_field = False

    def sample(self, key: jax.Array, grid: Grid | None = None) -> Float[Array, ""]:
        exponent = jax.random.uniform(key, dtype=jnp.float32)
        return self.low * (self.high / self.low) ** exponent


@dataclass(frozen=True)
class Beta:
    """A number, shift + scale · Beta(a, b)."""

    a: float = 2.0
    b: float = 6.0
    scale: float = 1.0
    shift: float = 0.0
    is_field = False

    def sample(self, key: jax.Array, grid: Grid | None = None) -> Float[Array, ""]:
        return self.shift + self.scale * jax.random.beta(key, self.a, self.b, dtype=jnp.float32)


@dataclass(frozen=True)
class TruncatedNoise:
    """White noise conditioned on its norm: independent N(0, 1) at the n unknowns of the grid, drawn again until ‖b‖₂ ≤ √n.

    About every second draw is accepted. On Dirichlet sides, which hold no unknowns, it is zero. Unlike the fields above
    it has no limit on finer grids. The right-hand sides of Khodak et al., Learning to Relax (ICLR 2024).
    """

    is_field = True

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        known = [int(b == "dirichlet") for b in grid.box.boundaries]
        shape = tuple(n - 2 * k for n, k in zip(grid.shape, known, strict=True))

        def draw(carry):
            key, part = jax.random.split(carry[0])
            return key, jax.random.normal(part, shape, jnp.float32)

        def too_large(carry):
            return jnp.sum(carry[1] ** 2) > math.prod(shape)

        _, noise = jax.lax.while_loop(too_large, draw, draw((key, None)))
        return jnp.pad(noise, [(k, k) for k in known])
