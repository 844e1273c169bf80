"""Collocation points for training without data."""

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
    """`init(key, box)` makes the first population; `update(key, points, residual, box)` the next, of the same size."""

    def init(self, key: Array, box: Box) -> Points: ...

    def update(self, key: Array, points: Points, residual: Float[Array, " n"], box: Box) -> Points: ...


class UniformSampler(eqx.Module):
    """Fresh uniform points at every step."""

    n: int = eqx.field(static=True)

    def init(self, key, box):
        return uniform_points(key, box, self.n)

    def update(self, key, points, residual, box):
        return uniform_points(key, box, self.n)


class R3(eqx.Module):
    """Retain, resample, release (Daw et al., ICML 2023): points whose |residual| exceeds the mean stay, all others are
    replaced by fresh uniform ones, at every step.

    **Arguments:** `n`, the size of the population; 1000 to 10000.
    """

    n: int = eqx.field(static=True)

    def init(self, key, box):
        return uniform_points(key, box, self.n)

    def update(self, key, points, residual, box):
        fitness = jnp.abs(residual)
        retained = fitness > fitness.mean()
        return jnp.where(retained[:, None], points, uniform_points(key, box, self.n))


def uniform_points(key: Array, box: Box, n: int) -> Points:
    lower, extent = np.array(box.lower), np.array(box.extent)
    return jnp.asarray(lower, jnp.float32) + jax.random.uniform(key, (n, len(lower))) * jnp.asarray(extent, jnp.float32)
