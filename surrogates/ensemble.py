"""Several surrogates of one task as one probabilistic surrogate."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.arguments import check_fields
from ..core.storage import register
from .batching import Batch
from .surrogate import (
    AbstractBatchFirst,
    AbstractGenerative,
    AbstractProbabilistic,
    AbstractRelative,
    AbstractSurrogate,
    Capabilities,
    about_origin,
)
from .task.task import Fields, Place, Task


@register("Ensemble")
class Ensemble(AbstractBatchFirst, AbstractRelative, AbstractProbabilistic, AbstractGenerative):
    """Several surrogates of one task as one surrogate.

    Its prediction is the mean of the members' predictions, its `std` their standard deviation (with Bessel's correction). Its
    `samples` are predictions of the members in random order, each member equally often.

    **Arguments:** `members`: two or more surrogates with the same targets, mode and form of fields, for example
    `fit(…, seeds=5).members`.

    **Raises:** `ValueError` for fewer than two members or members of different tasks.

    **Example:**

        >>> members = tuple(sx.FNO(task, width=4, modes=4, depth=1, key=k) for k in jax.random.split(key, 3))
        >>> sx.Ensemble(members).capabilities.has_std
        True
    """

    members: tuple[AbstractSurrogate, ...]

    def __check_init__(self):
        check_fields(self)
        if len(self.members) < 2:
            raise ValueError(f"Ensemble needs two members or more, got {len(self.members)}")
        first = self.task
        for member in self.members[1:]:
            same = (member.task.targets, member.task.mode, member.task.specs) == (
                first.targets,
                first.mode,
                first.specs,
            )
            same = same and dict(member.task.domains) == dict(first.domains)
            if not same:
                raise ValueError(f"the members of an Ensemble need one task, got {first!r} and {member.task!r}")

    @property
    def task(self) -> Task:
        return self.members[0].task

    @property
    def capabilities(self) -> Capabilities:
        each = [member.capabilities for member in self.members]
        return Capabilities(
            resolution_free=all(c.resolution_free for c in each),
            any_points=all(c.any_points for c in each),
            needs_input=any(c.needs_input for c in each),
            has_std=True,
            has_samples=True,
            autoregressive=all(c.autoregressive for c in each),
            differentiable=all(c.differentiable for c in each),
            savable=all(c.savable for c in each),
            self_contained=all(c.self_contained for c in each),
        )

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        return jax.tree.map(lambda x: x.mean(0), self._all(fields, at))

    def call_batch(self, batch: Batch, at: Place | None = None) -> dict[str, Array]:
        predictions = [member.on_batch(batch, at) for member in self.members]
        return jax.tree.map(lambda *xs: sum(xs[1:], xs[0]) / len(xs), *predictions)

    def std(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        return jax.tree.map(lambda x: x.std(0, ddof=1), self._all(fields, at))

    def samples(self, fields: Fields, n: int, *, key: Array, at: Place | None = None) -> dict[str, Array]:
        # Each round uses every member once, so that the spread of the samples is that of the members.
        rounds = math.ceil(n / len(self.members))
        order = jax.vmap(lambda k: jax.random.permutation(k, len(self.members)))(jax.random.split(key, rounds))
        return jax.tree.map(lambda x: x[order.ravel()[:n]], self._all(fields, at))

    def about_origin(self) -> "Ensemble":
        members = tuple(about_origin(member) for member in self.members)
        # Only one origin can be subtracted: members of several ones, fitted on other parts of the data, see physical values.
        one = all(member.task.origins == self.task.origins for member in self.members)
        return replace(self, members=members) if one and not any(m.task.origins for m in members) else self

    def _all(self, fields: Fields, at: Place | None) -> dict[str, Array]:
        """The predictions of all members, with a leading member axis on every array."""
        return jax.tree.map(lambda *xs: jnp.stack(xs), *(member(fields, at) for member in self.members))
