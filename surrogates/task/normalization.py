"""Scaling of fields and numbers by the statistics of the training data."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.storage import register


@register("Normalizer")
class Normalizer(eqx.Module):
    """z = (x − mean) / std per component. Statistics are buffers: no optimiser moves them."""

    mean: Float[Array, " c"]
    std: Float[Array, " c"]

    def encode(self, x):
        return (x - self.mean) / self.std

    def decode(self, z):
        return z * self.std + self.mean


class Moments:
    """Mean and standard deviation per component of values that come in blocks, in float64 (Chan, Golub & LeVeque 1979)."""

    def __init__(self, components: int):
        self.components = components  # 0 for values without an axis of components
        self.count, self.mean, self.squares = 0, np.zeros(max(components, 1)), np.zeros(max(components, 1))

    def add(self, values: np.ndarray, valid: np.ndarray | None = None):
        """Values `(…[, component])` at all samples, times and points, or at the `valid` ones."""
        rows = values.reshape(*values.shape[: values.ndim - (self.components > 0)], max(self.components, 1))
        rows = rows.reshape(-1, rows.shape[-1]) if valid is None else rows[valid]
        if not len(rows):
            return
        mean = rows.mean(0, dtype=np.float64)
        step, self.count = mean - self.mean, self.count + len(rows)
        self.mean = self.mean + step * (len(rows) / self.count)
        self.squares = self.squares + rows.var(0, dtype=np.float64) * len(rows) + step * (mean - self.mean) * len(rows)

    def normalizer(self) -> Normalizer:
        std = np.sqrt(self.squares / max(self.count, 1))
        return Normalizer(jnp.asarray(self.mean, jnp.float32), jnp.asarray(np.where(std > 0, std, 1.0), jnp.float32))
