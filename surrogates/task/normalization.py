"""Scaling of fields and parameters by the mean and standard deviation of the training data."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.storage import register

# Single precision resolves 6e-8 of a mean: a deviation that is this many times smaller is then known to 1e-4.
_LARGE = 1e3


@register("Normalizer")
class Normalizer(eqx.Module):
    """z = (x − mean) / std, per component. `mean` and `std` are `(c,)`; they are not trained."""

    mean: Float[Array, " c"]
    std: Float[Array, " c"]

    def encode(self, x):
        """Normalised values of `x` `(…, c)`, given in physical units."""
        return (x - self.mean) / self.std

    def decode(self, z):
        """Physical values of `z` `(…, c)`, given normalised."""
        return z * self.std + self.mean


class Moments:
    """Accumulates mean and standard deviation per component over blocks of values, in float64 (Chan, Golub & LeVeque 1979)."""

    def __init__(self, components: int):
        self.components = components  # 0 for values without a component axis
        self.count, self.mean, self.squares = 0, np.zeros(max(components, 1)), np.zeros(max(components, 1))

    def add(self, values: np.ndarray, valid: np.ndarray | None = None):
        """Count a block of values, `(…, component)`, or `(…)` if `components` is 0. With `valid` `(…)`, a boolean array, only the
        values where it is True count."""
        rows = values.reshape(*values.shape[: values.ndim - (self.components > 0)], max(self.components, 1))
        rows = rows.reshape(-1, rows.shape[-1]) if valid is None else rows[valid]
        if not len(rows):
            return
        mean = rows.mean(0, dtype=np.float64)
        step, self.count = mean - self.mean, self.count + len(rows)
        self.mean = self.mean + step * (len(rows) / self.count)
        self.squares = self.squares + rows.var(0, dtype=np.float64) * len(rows) + step * (mean - self.mean) * len(rows)

    def normalizer(self) -> Normalizer:
        """The normaliser of all values counted so far, minus their `origin`. A constant component gets the standard deviation
        1."""
        std = np.where(self._constant, 1.0, self._std)
        return Normalizer(jnp.asarray(self.mean - self.origin, jnp.float32), jnp.asarray(std, jnp.float32))

    @property
    def origin(self) -> np.ndarray:
        """What to subtract from the values in double precision before they are rounded, per component: the mean, if it is so
        large that single precision would not resolve the deviations from it; else 0."""
        return np.where((np.abs(self.mean) > _LARGE * self._std) & ~self._constant, self.mean, 0.0)

    @property
    def _std(self) -> np.ndarray:
        return np.sqrt(self.squares / max(self.count, 1))

    @property
    def _constant(self) -> np.ndarray:
        # Of a constant in double precision the deviation is rounding, far below what single precision resolves.
        return self._std <= 1e-13 * np.abs(self.mean)
