"""`Posterior`: samples of fields, and what they say."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import checked, number
from ...core.domains import Grid


class Posterior(eqx.Module):
    """Samples of the fields given observations, in physical units.

    **Fields:**

    - `samples`: arrays `(n, [frames], *space, [component])` by name.
    - `misfit` `(n,)`: of every sample, the mean square of the residuals in units of their errors: about 1 or a little more where
      prior and observations agree. None where the evidence has no residuals.
    - `grid`: the points of the fields.
    """

    samples: dict[str, Array]
    misfit: Float[Array, " n"] | None
    grid: Grid = eqx.field(static=True)

    @property
    def mean(self) -> dict[str, Array]:
        """The mean of every field."""
        return {name: values.mean(0) for name, values in self.samples.items()}

    @property
    def std(self) -> dict[str, Array]:
        """The standard deviation of every field at every point."""
        return {name: values.std(0, ddof=1) for name, values in self.samples.items()}

    @checked
    def quantile(self, share: float) -> dict[str, Array]:
        """The values that this share of the samples does not exceed, at every point; 0.5 is the median."""
        share = number("quantile", "share", share, least=0)
        if share > 1:
            raise ValueError(f"quantile(share={share:g}): expected 0 to 1")
        return {name: jnp.quantile(values, share, axis=0) for name, values in self.samples.items()}

    def __len__(self) -> int:
        return len(next(iter(self.samples.values())))

    def __repr__(self) -> str:
        return f"Posterior({len(self)} samples of {', '.join(self.samples)} on {self.grid!r})"
