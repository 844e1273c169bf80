"""Samplers of collocation points for training without data."""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.domains import Box

Points = Float[Array, "n d"]


@runtime_checkable
class Sampler(Protocol):
    """Chooses the points `(n, d)` of every training step in a box; their number n is fixed."""

    def init(self, key: Array, box: Box) -> Points:
        """The points of the first step."""
        ...

    def update(self, key: Array, points: Points, residual: Float[Array, " n"], box: Box) -> Points:
        """The points of the next step, from those of this step and the size of the `residual` there."""
        ...


class UniformSampler(eqx.Module):
    """Draws new uniform points in every step. **Arguments:** `n`, the number of points; 1000 to 10000."""

    n: int = eqx.field(static=True)

    def init(self, key, box):
        return uniform_points(key, box, self.n)

    def update(self, key, points, residual, box):
        return uniform_points(key, box, self.n)


class R3(eqx.Module):
    """Retain, resample, release (Daw et al., ICML 2023).

    In every step the points whose |residual| exceeds the mean are kept, and all others are replaced by new uniform ones. Points
    so accumulate where the residual is large.

    **Arguments:** `n`, the number of points; 1000 to 10000.
    """

    n: int = eqx.field(static=True)

    def init(self, key, box):
        return uniform_points(key, box, self.n)

    def update(self, key, points, residual, box):
        fitness = jnp.abs(residual)
        retained = fitness > fitness.mean()
        return jnp.where(retained[:, None], points, uniform_points(key, box, self.n))


def uniform_points(key: Array, box: Box, n: int) -> Points:
    """`n` uniform random points in a box, `(n, d)`."""
    lower, extent = np.array(box.lower), np.array(box.extent)
    return jnp.asarray(lower, jnp.float32) + jax.random.uniform(key, (n, len(lower))) * jnp.asarray(extent, jnp.float32)
