"""Laws of functions of random fields."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.domains import Grid
from .gaussian_laws import GaussianField
from .laws import Distribution


@dataclass(frozen=True)
class Threshold(Distribution):
    """Two-valued field: `upper` where a Gaussian field is ≥ 0, `lower` elsewhere (FNO paper, Darcy: 12 and 3).

    **Example:**

        >>> np.unique(sx.random.Threshold(12, 3).sample(key, sx.Grid.unit_square(17))).tolist()
        [3.0, 12.0]
    """

    upper: float = 12.0
    lower: float = 3.0
    field: GaussianField = GaussianField()
    is_field, isotropic, smooth = True, True, False

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        return jnp.where(self.field.sample(key, grid) >= 0, float(self.upper), float(self.lower))


@dataclass(frozen=True)
class Lognormal(Distribution):
    """exp(scale · μ) of a Gaussian field; positive and smooth, contrast about e^(6·scale·std).

    **Example:**

        >>> bool((sx.random.Lognormal().sample(key, sx.Grid.unit_square(9)) > 0).all())
        True
    """

    scale: float = 1.0
    field: GaussianField = GaussianField()
    is_field, isotropic, smooth = True, True, True

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        return jnp.exp(self.scale * self.field.sample(key, grid))


@dataclass(frozen=True)
class UnitRange(Distribution):
    """A field of another law, scaled and shifted so that its values at the grid's points go from `low` to `high`.

    The extremes are those on the grid: on grids of other resolution the same field differs by their interpolation error.

    **Example:**

        >>> u = sx.random.UnitRange(sx.random.GaussianField(), 0.0, 1.0).sample(key, sx.Grid.unit_square(17))
        >>> round(float(u.min()), 5), round(float(u.max()), 5)
        (0.0, 1.0)
    """

    field: Distribution
    low: float = 0.0
    high: float = 1.0
    is_field, isotropic, smooth = True, True, True

    def __post_init__(self):
        law = self.field
        if not (isinstance(law, Distribution) and law.is_field and law.isotropic and law.smooth):
            raise TypeError(f"UnitRange({law!r}): expected a law of smooth isotropic fields, such as PeriodicGP(0.2)")

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        values = self.field.sample(key, grid)
        least, most = values.min(), values.max()
        return self.low + (self.high - self.low) * (values - least) / (most - least)
