"""`Posterior`: samples of fields, and what they say."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import checked, number, real_array
from ...core.arrays import AnyArray
from ...core.domains import Grid
from .posterior_plot import plot_posterior


class Posterior(eqx.Module):
    """Samples of the fields given observations, in physical units.

    **Fields:**

    - `samples`: arrays `(n, [frames], *space, [component])` by name.
    - `misfit` `(n,)`: of every sample, the mean square of the residuals in units of their errors: about 1 or a little more where
      prior and observations agree. None where the evidence has no residuals.
    - `grid`: the points of the fields.
    - `vectors`: names of the fields with components.

    **Example:**

        >>> prior = sx.Prior(sx.Task.fit(ds, targets="u"), denoise)
        >>> post = prior.posterior(sx.Observe("u", at=np.array([[0.25]]), values=[1.0], std=0.1), n=4, steps=6, key=key)
        >>> len(post), post.mean["u"].shape
        (4, (16,))
    """

    samples: dict[str, Array]
    misfit: Float[Array, " n"] | None
    grid: Grid = eqx.field(static=True)
    vectors: tuple[str, ...] = eqx.field(static=True, default=())

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

    @checked
    def plot(self, truth: Mapping[str, Any] | None = None, at: AnyArray | Sequence | None = None):
        """A matplotlib figure of every field: mean, standard deviation and one sample; in 1D one panel with mean ± 2 deviations.

            post.plot(test[0], at=xy)

        Of time and one axis of space it shows the plane, of time and more axes the last instant, in 3D the middle slice.

        **Arguments:** `truth`: the true fields by name, such as a sample of a dataset, to draw beside them. `at`: places of the
        sensors, `(m, d)`, to mark; in a space-time task time comes first, as in `Observe`.

        **Raises:** `ValueError` for one sample, which has no deviation, for a truth that lacks a field or has another shape, and
        for places of another shape or outside of the grid.
        """
        if len(self) < 2:
            raise ValueError("plot: one sample has no standard deviation; draw n=2 or more")
        for name, values in self.samples.items():
            found = values.shape[1:] if truth is None else np.shape(truth[name]) if name in truth else "absent"
            if found != values.shape[1:]:
                raise ValueError(f"plot: truth[{name!r}] is {found}, the samples are {values.shape[1:]}")
        places = None if at is None else np.asarray(real_array("plot", "at", at))
        if places is not None and (places.ndim != 2 or places.shape[1] != self.grid.ndim):
            raise ValueError(
                f"plot: at has shape {places.shape}; expected points (m, {self.grid.ndim}) of {self.grid!r}"
            )
        if places is not None and (outside := self.grid.outside(places)).any():
            raise ValueError(
                f"plot: {outside.sum()} of {len(places)} points are outside of {self.grid!r}, the first is {places[outside][0]}"
            )
        return plot_posterior(self.samples, self.grid, self.vectors, truth, places)

    def __len__(self) -> int:
        return len(next(iter(self.samples.values())))

    def __repr__(self) -> str:
        return f"Posterior({len(self)} samples of {', '.join(self.samples)} on {self.grid!r})"
