"""Scaling of fields and numbers by the statistics of the training data."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..solvers.storage import register


@register("Normalizer")
class Normalizer(eqx.Module):
    """z = (x − mean) / std per component. Statistics are buffers: no optimiser moves them."""

    mean: Float[Array, " c"]
    std: Float[Array, " c"]

    @classmethod
    def fit(cls, values: np.ndarray, components: int, valid: np.ndarray | None = None) -> "Normalizer":
        """Mean and standard deviation over samples, times and points (`valid` of them), accumulated in float64."""
        rows = np.asarray(values).reshape(*values.shape[: values.ndim - (components > 0)], max(components, 1))
        rows = rows[valid] if valid is not None else rows.reshape(-1, max(components, 1))
        mean, std = rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64)
        return cls(jnp.asarray(mean, jnp.float32), jnp.asarray(np.where(std > 0, std, 1.0), jnp.float32))

    def encode(self, x):
        return (x - self.mean) / self.std

    def decode(self, z):
        return z * self.std + self.mean
