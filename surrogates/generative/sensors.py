"""`Sensors`: which observations a model meets in training, and `ObservedSet`: some observations as a network reads them."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ...core.arguments import check_fields, count, number
from ...core.domains import Grid
from ...core.storage import register
from ...solvers.diffusion import AbstractObservation, JointObservation, Observation
from ..task.task import Fields, Task
from .observe import Observe, Seen


@register("Sensors")
@dataclass(frozen=True)
class Sensors:
    """Sensors of one field, drawn anew for every sample in every step of training: their number is uniform from 0 to `most`,
    their places are uniform in the box, and the deviation of their errors is uniform in the logarithm between the two `std`,
    for half of the draws one for all sensors, for the others each its own.

    **Arguments:**

    - `field`: the name of a target of the task. A vector is observed in all components.
    - `most`: number of sensors that is never exceeded. Attention costs its square.
    - `std`: smallest and largest standard deviation of the errors, in physical units as in `Observe`; or one number.

    **Raises:** `ValueError` for numbers that are not above 0 or out of order.

    **Example:**

        >>> sx.generative.Sensors("u", most=32, std=(0.01, 0.1)).most
        32
    """

    field: str
    most: int
    std: float | tuple[float, float]

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        check_fields(self)
        count("Sensors", "most", self.most)
        for end in self.ends:
            number("Sensors", "std", end, above=0)
        if self.ends[0] > self.ends[1]:
            raise ValueError(f"Sensors(std={self.std}): the smallest comes first")

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest standard deviation."""
        return self.std if isinstance(self.std, tuple) else (self.std, self.std)

    def drawn(self, fields: Fields, grid: Grid, task: Task, key: Array) -> "ObservedSet":
        """Observations of one sample, with errors."""
        where, how_many, law, size, errors = jax.random.split(key, 5)
        shares = jax.random.uniform(where, (self.most, grid.ndim))
        places = jnp.asarray(grid.box.lower, shares.dtype) + shares * jnp.asarray(grid.box.extent, shares.dtype)
        common = jax.random.bernoulli(law)
        level = jax.random.uniform(size, (self.most,))
        low, high = np.log(self.ends)
        std = jnp.exp(low + (high - low) * jnp.where(common, level[0], level))
        there = jnp.arange(self.most) < jax.random.randint(how_many, (), 0, self.most + 1)
        # Any value and std will do here: they are replaced.
        observe = Observe(self.field, at=places, std=1.0)
        exact = observe.seen(fields, grid)
        wide = jnp.broadcast_to(std.reshape(-1, *(1,) * (exact.ndim - 1)), exact.shape)
        values = exact + wide * jax.random.normal(errors, exact.shape, exact.dtype)
        return _entries(task, grid, self.field, places, values, wide, there)


class ObservedSet(eqx.Module):
    """Numbers that were observed of one sample, in any order: `places` `(m, d)` in [0, 1], `values` and `std` of their errors in
    normalised units, `channel`, the number of the channel of the targets, and `mask`, False where there is none."""

    places: Float[Array, "m d"]
    values: Float[Array, " m"]
    std: Float[Array, " m"]
    channel: Int[Array, " m"]
    mask: Bool[Array, " m"]

    @classmethod
    def of(cls, evidence: AbstractObservation, task: Task, grid: Grid) -> "ObservedSet":
        """The observations that `Observe` made, each of values of one field at places with independent errors."""
        parts = evidence.parts if isinstance(evidence, JointObservation) else (evidence,)
        return cls.joined([_entries_of(part, task, grid) for part in parts])

    @classmethod
    def joined(cls, sets: "list[ObservedSet]") -> "ObservedSet":
        return jax.tree.map(lambda *parts: jnp.concatenate(parts), *sets)

    @classmethod
    def empty(cls, capacity: int, ndim: int) -> "ObservedSet":
        nothing = jnp.zeros(capacity)
        return cls(jnp.zeros((capacity, ndim)), nothing, nothing + 1, nothing.astype(jnp.int32), nothing > 0)

    def canonical(self, capacity: int) -> "ObservedSet":
        """The same set in an order that depends on its members alone, filled up to the capacity: networks then return the same
        bits for it, whatever the order was, and whatever stood where nothing was observed."""
        ndim, spare = self.places.shape[1], capacity - len(self.mask)
        blank = ObservedSet.empty(len(self.mask), ndim)
        known = jax.tree.map(
            lambda own, none: jnp.where(self.mask.reshape(-1, *(1,) * (own.ndim - 1)), own, none.astype(own.dtype)),
            self,
            blank,
        )
        order = jnp.lexsort((known.std, known.values, known.channel, *known.places.T, ~known.mask))
        known = jax.tree.map(lambda x: x[order], known)
        return known if not spare else ObservedSet.joined([known, ObservedSet.empty(spare, ndim)])


def _entries_of(part: AbstractObservation, task: Task, grid: Grid) -> ObservedSet:
    assert isinstance(part, Observation) and isinstance(part.operator, Seen)
    observe = part.operator.observe
    assert observe.field is not None
    places = jnp.asarray(grid.points.reshape(-1, grid.ndim), float) if observe.at is None else observe.at
    lead = grid.shape if observe.at is None else (len(places),)
    mask = jnp.ones(part.values.shape, bool) if part.mask is None else part.mask

    def by_place(x):
        return x.reshape(len(places), *x.shape[len(lead) :])

    return _entries(
        task, grid, observe.field, places, by_place(part.values), by_place(1 / part.inverse_std), by_place(mask)
    )


def _entries(task: Task, grid: Grid, field: str, places: Array, values: Array, std: Array, mask: Array) -> ObservedSet:
    """`values` and `std` `(places, [component])` in physical units, `mask` of this shape or one per place."""
    channels = next(part for name, part, _ in task.target_parts() if name == field)
    components = channels.stop - channels.start
    values, std = values.reshape(len(places), -1), std.reshape(len(places), -1)
    mask = jnp.broadcast_to(mask.reshape(len(places), -1), values.shape)

    def encoded(x):
        spread = jnp.zeros((len(x), task.target_channels), x.dtype).at[:, channels].set(x)
        return task.encode_targets(spread)[:, channels]

    return ObservedSet(
        jnp.repeat(task.scaled(grid, places), components, 0).astype(values.dtype),
        encoded(values).ravel(),
        (encoded(std) - encoded(jnp.zeros_like(std))).ravel(),
        jnp.tile(jnp.arange(channels.start, channels.stop, dtype=jnp.int32), len(places)),
        mask.ravel(),
    )
