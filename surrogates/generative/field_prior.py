"""What samplers need of a distribution of fields."""

import abc
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ...core.arguments import count
from ...core.domains import Grid
from ...solvers.diffusion import (
    AbstractColouredNoise,
    AbstractDenoiser,
    AbstractGrid,
    AbstractGuidance,
    AbstractObservation,
    AbstractSchedule,
    Constraint,
    LogSNR,
    sample,
)
from ...solvers.diffusion.automatic import automatic_ends
from ..task.task import Fields, Place, Task
from .field_conditions import on_task
from .observe import Observe, together
from .posterior import Posterior

_FAR = 25.0  # mean squares of the residuals, in units of their errors, at which samples miss the observations


class AbstractFieldPrior(eqx.Module):
    """A distribution of the target fields of a task, known by its denoiser.

    Samples are arrays `(*grid, c)`, `(frames, *space, c)` in a space-time task, in the normalised units of the task.
    """

    task: eqx.AbstractVar[Task]
    schedule: eqx.AbstractVar[AbstractSchedule]
    any_grid: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def denoiser_on(self, grid: Grid) -> AbstractDenoiser:
        """The denoiser of one sample on a grid. Its condition are the inputs of the task by name, in physical units."""

    @abc.abstractmethod
    def noise_on(self, grid: Grid) -> AbstractColouredNoise | None:
        """The noise of samples on a grid; None: white."""

    @abc.abstractmethod
    def given(
        self, evidence: Any, grid: Grid, fields: Fields, guidance: AbstractGuidance | None
    ) -> tuple[AbstractDenoiser, Any]:
        """The denoiser of normalised samples given evidence on them, and its condition."""

    def grid(self, fields: Fields, at: Place | None = None) -> Grid:
        """The grid of the targets of one sample, with the axis of time in a space-time task."""
        place = self.task.domain_of(fields) if at is None else at
        return self.task.mode.domain(place, self.task.dt).as_grid(type(self).__name__)

    def shape(self, grid: Grid) -> tuple[int, ...]:
        """Of the normalised targets `(*grid, c)`."""
        return (*grid.shape, self.task.target_channels)

    def decoded(self, x: Float[Array, "*space c"], fields: Fields) -> dict[str, Array]:
        """The targets by name in physical units, from normalised ones."""
        return self.task.split(self.task.decode(x, fields))

    def evidence(self, parts: Sequence[Observe], grid: Grid, fields: Fields) -> AbstractObservation:
        """Observations of the fields as one of normalised samples. **Raises:** `ValueError` for fields and points that the prior
        does not have."""
        for part in parts:
            part.check(self.task.targets, grid)
        return together([part.observation(FieldsOf(self.task, dict(fields)), grid) for part in parts])

    def drawn(
        self, evidence: Any, grid: Grid, fields: Fields, *, n: int, key: Array, guidance: AbstractGuidance | None = None,
        solver: Any = "auto", steps: int | AbstractGrid = 20, constraint: Constraint | None = None,
    ) -> Float[Array, "n *space c"]:  # fmt: skip
        """Normalised samples `(n, *grid, c)` given evidence on them."""
        denoiser, condition = self.given(evidence, grid, fields, guidance)
        infinite = not np.isfinite(self.schedule.level(np.float64(self.schedule.start)))
        if infinite and isinstance(steps, int) and solver != "auto":
            steps = LogSNR(count("posterior", "steps", steps), *automatic_ends(self.schedule))
        drawn = sample(
            denoiser, solver, schedule=self.schedule, times=steps, shape=self.shape(grid), n=n, key=key,
            noise=self.noise_on(grid), condition=condition, constraint=on_task(constraint, self.task),
        )  # fmt: skip
        assert isinstance(drawn, Array)
        return drawn

    def answer(self, evidence: Any, grid: Grid, fields: Fields, **how: Any) -> Posterior:
        """Samples `drawn` with these options as a `Posterior`. **Warns** of samples that miss the observations."""
        x = self.drawn(evidence, grid, fields, **how)
        misfit = _misfits(evidence, x) if isinstance(evidence, AbstractObservation) else None
        if misfit is not None and not isinstance(misfit, Tracer) and float(jnp.median(misfit)) > _FAR:
            warnings.warn(
                f"posterior: the samples miss the observations by {math.sqrt(float(jnp.median(misfit))):.3g} of their standard "
                "deviations: see whether units and places are right, whether std is too small, and whether such fields are in "
                "the training data",
                stacklevel=6,  # whoever called `posterior`
            )
        vectors = tuple(name for name in self.task.targets if self.task.spec(name).components)
        return Posterior(jax.vmap(FieldsOf(self.task, dict(fields)))(x), misfit, grid, vectors)


class FieldsOf(eqx.Module):
    """The fields by name, in physical units, of a normalised sample."""

    task: Task
    given: dict[str, Any]

    def __call__(self, x):
        return self.task.split(self.task.decode(x, self.given))


class OfFields(eqx.Module):
    """A function of the fields by name as one of normalised samples."""

    function: Callable
    fields_of: FieldsOf

    def __call__(self, x):
        return self.function(self.fields_of(x))


@eqx.filter_jit
def _misfits(evidence: AbstractObservation, x: Float[Array, "n *shape"]) -> Float[Array, " n"]:
    return jax.vmap(evidence.misfit)(x)
