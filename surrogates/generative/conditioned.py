"""`Conditioned`: a prior with an observation operator as a surrogate that reads each sample's observations."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ...core.arguments import count, random_key
from ...solvers.diffusion import AbstractGrid, AbstractGuidance, Constraint
from ..surrogate import AbstractObserving, Capabilities
from ..task.modes import Steady
from ..task.task import Fields, Place, Task
from .field_prior import AbstractFieldPrior, FieldsOf
from .observe import Observe, listed, together


class Conditioned(AbstractObserving):
    """The posterior of the fields given what is observed of each sample; `prior.conditioned(…)` makes it.

    Its inputs are the fields that are observed, from which it takes the values at the sensors alone, and to which it adds errors
    of the `std` of the observations: predictions and metrics are those of a measurement. The errors of a sample depend on its
    values and the key, not on batches. `__call__` is the mean of some samples.

    **Example:**

        >>> prior = sx.Prior(sx.Task.fit(ds, targets="u"), denoise)
        >>> type(prior.conditioned(sx.Observe("u", at=np.array([[0.25]]), std=0.1))).__name__
        'Conditioned'
    """

    prior: AbstractFieldPrior
    observations: tuple[Observe, ...]
    guidance: AbstractGuidance | None
    constraint: Constraint | None
    key: Array
    task: Task
    solver: Any = eqx.field(static=True)
    steps: int | AbstractGrid = eqx.field(static=True)
    n: int = eqx.field(static=True)
    noisy: bool = eqx.field(static=True)

    @property
    def capabilities(self) -> Capabilities:
        # White noise on another grid is another function.
        coloured = self.prior.noise_on(self.prior.task.domain.as_grid("Conditioned")) is not None
        return Capabilities(
            resolution_free=self.prior.any_grid and coloured,
            has_samples=True,
            savable=False,
            differentiable=not self.noisy,  # another input has other errors
        )

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        return jax.tree.map(lambda x: x.mean(0), self.samples(fields, self.n, key=self.key, at=at))

    def samples(self, fields: Fields, n: int, *, key: Array, at: Place | None = None) -> dict[str, Array]:
        inputs, grid = self._inputs(fields, at)
        fields_of = FieldsOf(self.prior.task, inputs)
        evidence = self._observation(fields, fields_of, grid)
        x = self.prior.drawn(
            evidence, grid, inputs, n=n, key=key, guidance=self.guidance, solver=self.solver, steps=self.steps,
            constraint=self.constraint,
        )  # fmt: skip
        return jax.vmap(fields_of)(x)

    def misfit(self, fields: Fields, draws: dict[str, Array], at: Place | None = None) -> Float[Array, " n"]:
        inputs, grid = self._inputs(fields, at)
        task = self.prior.task
        evidence = self._observation(fields, FieldsOf(task, inputs), grid)
        return jax.vmap(lambda draw: evidence.misfit(task.encode_targets(task.join(draw))[0]))(draws)

    def _inputs(self, fields: Fields, at: Place | None):
        """The inputs of the prior, and the grid of its samples: that of the observed fields by default."""
        inputs = {name: fields[name] for name in self.prior.task.inputs + self.prior.task.parameters}
        own = self.task.domain_of(fields).as_grid("Conditioned")
        return inputs, self.prior.grid(inputs, own if at is None else at)

    def _observation(self, fields: Fields, fields_of, grid):
        """The observations of one sample, with errors."""
        own = self.task.mode.domain(self.task.domain_of(fields), self.task.dt).as_grid("Conditioned")
        parts = []
        for number, observe in enumerate(self.observations):
            own_fields = {name: jnp.asarray(fields[name]) for name in self._observed(observe)}
            exact = observe.seen(own_fields, own)
            bare = observe.observation(fields_of, grid, exact)
            if self.noisy:
                key = jax.random.fold_in(jax.random.fold_in(self.key, number), _bits(own_fields))
                exact = bare.with_errors(jax.random.normal(key, exact.shape, exact.dtype))
                bare = observe.observation(fields_of, grid, exact)
            parts.append(bare)
        return together(parts)

    def _observed(self, observe: Observe) -> tuple[str, ...]:
        return self.prior.task.targets if observe.field is None else (observe.field,)


def _bits(fields: Fields) -> Array:
    """A number of all bits of some fields. Whole numbers have the same sum in every batch, which would round otherwise."""
    each = [lax.bitcast_convert_type(values.astype(jnp.float32), jnp.uint32) for values in fields.values()]
    return sum((jnp.sum(bits, dtype=jnp.uint32) for bits in each), jnp.zeros((), jnp.uint32))


def conditioned(
    prior: AbstractFieldPrior,
    obs: Any,
    *,
    guidance: AbstractGuidance | None,
    solver: Any,
    steps: int | AbstractGrid,
    n: int,
    key: Any,
    constraint: Constraint | None,
    noisy: bool,
) -> Conditioned:
    """See `AbstractPrior.conditioned`."""
    parts = listed("conditioned", obs)
    task = prior.task
    if not isinstance(task.mode, Steady):
        raise ValueError("conditioned: the task must be steady; use prior.posterior for fields in time")
    for part in parts:
        part.check(task.targets, task.domain.as_grid("conditioned"))
        if part.values is not None:
            raise ValueError("conditioned: observations are read from each sample, leave values=… out of Observe")
    whole = any(part.field is None for part in parts)
    read = task.targets if whole else tuple(dict.fromkeys(part.field for part in parts if part.field is not None))
    return Conditioned(
        prior=prior,
        observations=parts,
        guidance=guidance,
        constraint=constraint,
        key=jax.random.key(0) if key is None else random_key("conditioned", key),
        task=dataclasses.replace(task, inputs=task.inputs + read),
        solver=solver,
        steps=steps,
        n=count("conditioned", "n", n, 2),
        noisy=noisy,
    )
