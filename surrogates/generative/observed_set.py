"""`ObservedSet`: some observations of a sample as a network reads them."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ...core.domains import Grid
from ...solvers.diffusion import AbstractObservation, JointObservation, Observation
from ..task.task import Task
from .observe import Seen


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
        return cls.joined([_of_part(part, task, grid) for part in parts])

    @classmethod
    def of_field(
        cls, task: Task, grid: Grid, field: str, places: Array, values: Array, std: Array, mask: Array
    ) -> "ObservedSet":
        """Observations of one field at `places` `(m, d)`; `values` and `std` `(m, [component])` in physical units, `mask` of this
        shape or one per place."""
        channels = next(part for name, part, _ in task.target_parts() if name == field)
        components = channels.stop - channels.start
        values, std = values.reshape(len(places), -1), std.reshape(len(places), -1)
        mask = jnp.broadcast_to(mask.reshape(len(places), -1), values.shape)

        def encoded(x):
            spread = jnp.zeros((len(x), task.target_channels), x.dtype).at[:, channels].set(x)
            return task.encode_targets(spread)[:, channels]

        return cls(
            jnp.repeat(task.scaled(grid, places), components, 0).astype(values.dtype),
            encoded(values).ravel(),
            (encoded(std) - encoded(jnp.zeros_like(std))).ravel(),
            jnp.tile(jnp.arange(channels.start, channels.stop, dtype=jnp.int32), len(places)),
            mask.ravel(),
        )

    @classmethod
    def joined(cls, sets: "list[ObservedSet]") -> "ObservedSet":
        return jax.tree.map(lambda *parts: jnp.concatenate(parts), *sets)

    @classmethod
    def empty(cls, capacity: int, ndim: int) -> "ObservedSet":
        nothing = jnp.zeros(capacity)
        return cls(jnp.zeros((capacity, ndim)), nothing, nothing + 1, nothing.astype(jnp.int32), nothing > 0)

    def filled(self, capacity: int) -> "ObservedSet":
        """The same set with places for as many numbers as the capacity."""
        spare = capacity - len(self.mask)
        return self if not spare else ObservedSet.joined([self, ObservedSet.empty(spare, self.places.shape[1])])

    def canonical(self) -> "ObservedSet":
        """The same set in an order that depends on its members alone: networks then return the same bits for it, whatever the
        order was, and whatever stood where nothing was observed."""
        blank = ObservedSet.empty(len(self.mask), self.places.shape[1])
        known = jax.tree.map(
            lambda own, none: jnp.where(self.mask.reshape(-1, *(1,) * (own.ndim - 1)), own, none.astype(own.dtype)),
            self,
            blank,
        )
        order = jnp.lexsort((known.std, known.values, known.channel, *known.places.T, ~known.mask))
        return jax.tree.map(lambda x: x[order], known)


def _of_part(part: AbstractObservation, task: Task, grid: Grid) -> ObservedSet:
    assert isinstance(part, Observation) and isinstance(part.operator, Seen)
    observe = part.operator.observe
    assert observe.field is not None
    places = jnp.asarray(grid.points.reshape(-1, grid.ndim), float) if observe.at is None else observe.at
    lead = grid.shape if observe.at is None else (len(places),)
    mask = jnp.ones(part.values.shape, bool) if part.mask is None else part.mask

    def by_place(x):
        return x.reshape(len(places), *x.shape[len(lead) :])

    return ObservedSet.of_field(
        task, grid, observe.field, places, by_place(part.values), by_place(1 / part.inverse_std), by_place(mask)
    )
