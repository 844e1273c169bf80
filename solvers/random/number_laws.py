"""Random numbers, one per sample."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.domains import Grid
from .laws import Distribution


@dataclass(frozen=True)
class Uniform(Distribution):
    """A number, uniform on [low, high).

    **Example:**

        >>> value = sx.random.Uniform(2.0, 3.0).sample(key, sx.Grid.unit_square(9))
        >>> value.shape, 2 <= float(value) <= 3
        ((), True)
    """

    low: float = 0.0
    high: float = 1.0
    is_field, isotropic, smooth = False, True, True

    def sample(self, key: jax.Array, grid: Grid | None = None) -> Float[Array, ""]:
        return jax.random.uniform(key, dtype=jnp.float32, minval=self.low, maxval=self.high)


@dataclass(frozen=True)
class LogUniform(Distribution):
    """A positive number whose logarithm is uniform, low ≤ x < high.

    **Example:**

        >>> value = sx.random.LogUniform(1e-3, 1e-1).sample(key, sx.Grid.unit_square(9))
        >>> 1e-3 <= float(value) <= 1e-1
        True
    """

    low: float = 0.1
    high: float = 10.0
    is_field, isotropic, smooth = False, True, True

    def sample(self, key: jax.Array, grid: Grid | None = None) -> Float[Array, ""]:
        exponent = jax.random.uniform(key, dtype=jnp.float32)
        return self.low * (self.high / self.low) ** exponent


@dataclass(frozen=True)
class Beta(Distribution):
    """A number, shift + scale · Beta(a, b).

    **Example:**

        >>> value = sx.random.Beta(2, 6, scale=0.6, shift=-0.15).sample(key, sx.Grid.unit_square(9))
        >>> -0.15 <= float(value) <= 0.45
        True
    """

    a: float = 2.0
    b: float = 6.0
    scale: float = 1.0
    shift: float = 0.0
    is_field, isotropic, smooth = False, True, True

    def sample(self, key: jax.Array, grid: Grid | None = None) -> Float[Array, ""]:
        return self.shift + self.scale * jax.random.beta(key, self.a, self.b, dtype=jnp.float32)
