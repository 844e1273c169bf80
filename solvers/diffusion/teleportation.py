"""Gaussian teleportation: where noise is large the flow of any data is nearly that of a Gaussian, whose ODE is solved in
closed form."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ...core.arguments import count, real_array
from ...core.arrays import AnyArray


class Gaussian(eqx.Module):
    """A Gaussian with mean m and covariance C = Σ_k c_k φ_k φ_kᵀ: the model of the data over which `sample(teleport=…)` jumps.

    Along every φ_k the flow from level s to t is y − m ↦ √((c_k + t²)/(c_k + s²)) (y − m) (Wang and Vastola 2024). Sampling
    then starts at the time at which the grid starts, so that no evaluation is spent on higher levels. The jump is exact for
    Gaussian data; for other data its error grows as t falls to the size of the data.

    **Arguments:**

    - `mean`: m, `(*shape)`.
    - `variances`: c_k ≥ 0, `(r,)`, or `(*shape)` for a diagonal covariance without modes.
    - `modes`: φ_k, `(r, *shape)`, orthonormal; None for a diagonal covariance. Directions beyond them have no variance.

    **Example:**

        >>> sx.diffusion.Gaussian(jnp.zeros(4), jnp.ones(4)).mean.shape
        (4,)
    """

    mean: Float[Array, "*shape"]
    variances: Float[Array, "..."]
    modes: Float[Array, "r *shape"] | None

    def __init__(self, mean: AnyArray, variances: AnyArray, modes: AnyArray | None = None):
        self.mean = jnp.asarray(real_array("Gaussian", "mean", mean), float)
        self.variances = jnp.asarray(real_array("Gaussian", "variances", variances), float)
        self.modes = None if modes is None else jnp.asarray(real_array("Gaussian", "modes", modes), float)
        expected = self.mean.shape if self.modes is None else self.modes.shape[:1]
        if self.variances.shape != expected or (self.modes is not None and self.modes.shape[1:] != self.mean.shape):
            raise ValueError(
                f"Gaussian: mean {self.mean.shape}, variances {self.variances.shape}"
                f"{'' if self.modes is None else f', modes {self.modes.shape}'}: expected variances {expected} "
                "and modes (r, *shape)"
            )

        if not isinstance(self.variances, Tracer) and bool((self.variances < 0).any()):
            raise ValueError("Gaussian(variances=…): variances must not be negative")

    @classmethod
    def fit(cls, data: AnyArray, rank: int | None = None) -> "Gaussian":
        """The mean and covariance of samples `(n, *shape)`, with the `rank` largest variances (all by default)."""
        data = np.asarray(real_array("Gaussian.fit", "data", data), np.float64)
        if data.ndim < 2 or len(data) < 2 or not np.isfinite(data).all():
            raise ValueError(f"Gaussian.fit: expected two or more finite samples (n, *shape), got {data.shape}")
        flat = data.reshape(len(data), -1)
        mean = flat.mean(0)
        _, singular, modes = np.linalg.svd(flat - mean, full_matrices=False)
        kept = min(len(data) - 1, flat.shape[1], count("Gaussian.fit", "rank", rank) if rank is not None else flat.size)
        variances = singular[:kept] ** 2 / (len(data) - 1)
        shape = data.shape[1:]
        return cls(mean.reshape(shape), variances, modes[:kept].reshape(kept, *shape))

    def jump(self, v: Float[Array, "*shape"], level: float, target: float) -> Float[Array, "*shape"]:
        """v = y/√(1 + s²) at the level `target` from v at `level`, which may be infinite."""
        mean, scale = self.mean.astype(v.dtype), 1 / np.sqrt(1 + target**2)
        if self.modes is None:
            stretch, shrink = _factors(self.variances.astype(v.dtype), level, target)
            return (mean + stretch * v - shrink * mean) * scale
        modes = self.modes.astype(v.dtype)
        stretch, shrink = _factors(self.variances.astype(v.dtype), level, target)
        outside, outside_shrink = _factors(jnp.zeros((), v.dtype), level, target)
        axes = v.ndim
        along = jnp.tensordot(modes, v, axes, precision="highest") * (stretch - outside)
        along -= jnp.tensordot(modes, mean, axes, precision="highest") * (shrink - outside_shrink)
        y = mean + outside * v - outside_shrink * mean + jnp.tensordot(along, modes, 1, precision="highest")
        return y * scale


def _factors(variances: Any, level: float, target: float) -> tuple[Any, Any]:
    """The factors of v and of m in y_t − m = √((c + t²)/(c + s²)) (y_s − m)."""
    reached = jnp.sqrt(variances + target**2)
    if np.isinf(level):
        return reached, jnp.zeros_like(reached)
    left = jnp.sqrt(variances + level**2)
    return reached / left * np.sqrt(1 + level**2), reached / left
