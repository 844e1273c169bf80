"""Priors: distributions of the fields of a task that are known by a denoiser, and their posteriors."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx

from ...core.arguments import checked, random_key
from ...core.domains import Grid
from ...solvers.diffusion import (
    EDM,
    AbstractColouredNoise,
    AbstractDenoiser,
    AbstractEvidence,
    AbstractFixedSolver,
    AbstractGrid,
    AbstractGuidance,
    AbstractSchedule,
    AbstractSolver,
    Constraint,
    Event,
    LogLikelihood,
    MomentMatched,
    as_denoiser,
)
from ..surrogate import AbstractConditionable
from ..task.task import Task
from .conditioned import Conditioned, conditioned
from .field_prior import AbstractFieldPrior, FieldsOf, OfFields
from .observe import Observe, listed
from .posterior import Posterior


class AbstractPrior(AbstractFieldPrior, AbstractConditionable):
    """A distribution of the target fields of a task with posteriors: write `denoiser_on`, `noise_on`, `any_grid` and
    `usual_guidance`.

    **Example:**

        >>> issubclass(sx.Prior, sx.generative.AbstractPrior)
        True
    """

    @abc.abstractmethod
    def usual_guidance(self, evidence: AbstractEvidence) -> AbstractGuidance:
        """The guidance by evidence where none is asked for."""

    def given(self, evidence, grid, fields, guidance):
        guidance = self.usual_guidance(evidence) if guidance is None else guidance
        return guidance(self.denoiser_on(grid), evidence, noise=self.noise_on(grid)), fields or None

    @checked
    def posterior(
        self,
        obs: Observe | Sequence[Observe] | Event | LogLikelihood,
        *,
        guidance: AbstractGuidance | None = None,
        solver: AbstractSolver | AbstractFixedSolver | str = "auto",
        steps: int | AbstractGrid = 20,
        n: int = 64,
        key: Any,
        fields: Mapping[str, Any] | None = None,
        constraint: Constraint | None = None,
        at: Grid | None = None,
    ) -> Posterior:
        """Draw n samples of the fields given observations.

            obs = sx.Observe("u", at=xy, values=y, std=0.01)
            post = prior.posterior(obs, guidance=sx.diffusion.MomentMatched(), steps=18, n=256, key=key)
            post.mean["a"], post.std["a"]

        **Arguments:**

        - `obs`: one `Observe` or several with independent errors; or an `Event` or a `LogLikelihood`, functions of the fields by
          name in physical units.
        - `guidance`: `MomentMatched()` by default, which is the calibrated one for exact denoisers; `PriorCovariance` for a
          joint `Denoiser` with a Gaussian law.
        - `solver`, `steps`: as `solver` and `times` of `diffusion.sample`.
        - `n`, `key`: number of samples, random key. Sample i depends on the key and i alone (but for `EnKG`).
        - `fields`: the inputs of the task, for a conditional prior.
        - `constraint`: what the fields meet exactly, such as `Constraint(OnField("u", …))`.
        - `at`: a grid to sample on, if the prior is one of functions; the grid of training by default.

        **Raises:** `ValueError` for fields or points that the prior does not have; `FloatingPointError` if the denoiser or the
        forward model returns NaN. **Warns** if the samples stay far from the observations: wrong units, a wrong place, a
        `std` below what the prior can resolve, or fields that the prior holds for impossible.
        """
        fields, key = dict(fields or {}), random_key("posterior", key)
        grid = self.grid(fields, at)
        if isinstance(obs, Event | LogLikelihood):
            evidence = type(obs)(OfFields(obs.function, FieldsOf(self.task, fields)))
        else:
            evidence = self.evidence(listed("posterior", obs), grid, fields)
        return self.answer(
            evidence, grid, fields, n=n, key=key, guidance=guidance, solver=solver, steps=steps, constraint=constraint
        )

    @checked
    def conditioned(
        self,
        obs: Observe | Sequence[Observe],
        *,
        guidance: AbstractGuidance | None = None,
        solver: AbstractSolver | AbstractFixedSolver | str = "auto",
        steps: int | AbstractGrid = 20,
        n: int = 32,
        key: Any = None,
        constraint: Constraint | None = None,
        noisy: bool = True,
    ) -> Conditioned:
        """The posterior as a surrogate, which reads the values of the observations from each sample of a dataset.

            edm = prior.conditioned(sx.Observe("u", at=xy, std=0.01))
            sx.evaluate({"EDM": edm}, test, metrics=["rel_l2", "crps", "coverage_90", "data_misfit"])

        **Arguments:**

        - `obs`: one `Observe` or several, without values.
        - `guidance`, `solver`, `steps`, `constraint`: as of `posterior`.
        - `n`: samples whose mean is the prediction. `samples` and metrics draw their own.
        - `key`: of the errors and of the prediction's samples.
        - `noisy`: add errors of the `std` of the observations to the exact values of a dataset; False if the data have them.

        **Raises:** `ValueError` for observations with values, for fields that the prior does not have, and for tasks in time.
        """
        return conditioned(
            self, obs, guidance=guidance, solver=solver, steps=steps, n=n, key=key, constraint=constraint, noisy=noisy
        )


class Prior(AbstractPrior):
    """A denoiser of one's own as a prior of the fields of a task: a network from elsewhere, a Gaussian in closed form.

        prior = sx.Prior(task, lambda x, sigma, condition: …)

    **Arguments:**

    - `task`: of the target fields, on a grid. `Task.of(problem)` does not normalise.
    - `denoise`: `denoise(x, sigma, condition)` of one sample `(*grid, c)` in the normalised units of the task.
    - `schedule`: `EDM()` by default.
    - `noise`: coloured noise that knows its covariance; None: white.
    - `any_grid`: whether `denoise` works on grids other than that of the task.

    **Example:**

        >>> prior = sx.Prior(sx.Task.fit(ds, targets="u"), denoise)
        >>> post = prior.posterior(sx.Observe("u", at=np.array([[0.25]]), values=[1.0], std=0.1), n=4, steps=6, key=key)
        >>> post.samples["u"].shape
        (4, 16)
    """

    task: Task
    denoiser: AbstractDenoiser
    schedule: AbstractSchedule = eqx.field(static=True)
    noise: AbstractColouredNoise | None
    any_grid: bool = eqx.field(static=True)

    @checked
    def __init__(
        self,
        task: Task,
        denoise: Any,
        *,
        schedule: AbstractSchedule = EDM(),  # noqa: B008 (frozen)
        noise: AbstractColouredNoise | None = None,
        any_grid: bool = False,
    ):
        self.task, self.denoiser, self.schedule = task, as_denoiser(denoise), schedule
        self.noise, self.any_grid = noise, any_grid

    def denoiser_on(self, grid):
        return self.denoiser

    def noise_on(self, grid):
        return self.noise

    def usual_guidance(self, evidence):
        return MomentMatched()
