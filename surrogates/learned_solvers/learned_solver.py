"""`LearnedSolver`: a sampler of a diffusion model whose coefficient table is trained."""

import os
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from ...core import storage
from ...core.arguments import checked, count, number, random_key
from ...core.storage import register
from ...solvers.diffusion import AbstractFixedSolver, AbstractGrid, AbstractSchedule, Table, from_unrolled
from ...solvers.diffusion.automatic import automatic_grid
from ...solvers.diffusion.denoiser import as_denoiser
from ..trainable import AbstractTrainable, Buffer
from .probability_flow import ProbabilityFlow
from .solver_forms import AbstractForm, FreeTable


@register("LearnedSolver")
class LearnedSolver(AbstractTrainable, AbstractFixedSolver):
    """A sampler with N network evaluations whose noise levels and weights are trained for one denoiser, which stays as it is.

        start = LearnedSolver(denoise, schedule, steps=5, shape=(8,)).least_squares(key)
        solver = fit(start, optimizer=optax.adam(optax.cosine_decay_schedule(1e-3, 2000)), steps=2000).best
        sample(denoise, solver, schedule=schedule, times=5, shape=(8,), n=100, key=key)

    All points are linear combinations of the first state and of earlier evaluations: one lower-triangular matrix, together with
    the noise levels of the points and of the network. `form` says which of them are free. `least_squares` starts the weights in
    closed form; `fit` then minimises the error at the end against fine solutions (`SolverMatching`). `save` and `sx.load` keep
    the solver without the denoiser.

    The result is for this denoiser, its guidance and N evaluations. On other data its error is that of no theory.

    **Arguments:**

    - `denoise`: `denoise(x, sigma, condition)` of one sample, or a network as `NoisePrediction`, …
    - `schedule`: of its training.
    - `steps`: N, 3 to 20.
    - `shape`: of one sample.
    - `form`: `FreeTable()`, all of the table; or a restriction of it: `DODE()`, `IIA()`, `SolverSearch()`, `TimeAlignment()`.
    - `grid`: the noise levels at the start of training, with `steps` evaluations; by default those of `solver="auto"`. Its first
      level must be finite.
    - `condition`: handed to the denoiser.

    **Raises:** `ValueError` for a grid with another number of evaluations or with infinite noise.

    **Example:**

        >>> fast = sx.LearnedSolver(denoise, sx.diffusion.EDM(), 4, shape=(4,)).least_squares(key, samples=16, teacher=16)
        >>> sx.diffusion.sample(denoise, fast, schedule=sx.diffusion.EDM(), times=4, shape=(4,), n=2, key=key).shape
        (2, 4)
    """

    gaps: Any
    shifts: Any
    weights: Float[Array, "N columns"]
    start: Buffer
    units: Buffer
    state: Int[Array, ""]
    flow: ProbabilityFlow | None
    form: AbstractForm = eqx.field(static=True)
    ends: tuple[float, float] = eqx.field(static=True)
    network_range: tuple[float, float] = eqx.field(static=True)

    @checked
    def __init__(
        self,
        denoise: Any,
        schedule: AbstractSchedule,
        steps: int,
        *,
        shape: tuple[int, ...],
        form: AbstractForm = FreeTable(),  # noqa: B008
        grid: AbstractGrid | None = None,
        condition: Any = None,
    ):
        steps = count("LearnedSolver", "steps", steps)
        shape = tuple(count("LearnedSolver", "shape", side) for side in shape)
        grid = automatic_grid(schedule, steps, field=len(shape) > 1) if grid is None else grid
        if grid.evaluations != steps:
            raise ValueError(f"LearnedSolver(steps={steps}, grid=…): the grid has {grid.evaluations} evaluations")
        levels = grid.levels(schedule, steps)[1]
        if not np.isfinite(levels[0]):
            raise ValueError(
                f"LearnedSolver: {type(schedule).__name__} starts at infinite noise; give the grid a later start, for example "
                f"grid=UniformTime({steps}, start=0.999)"
            )
        last = levels[-1]
        if last == 0:  # the teacher goes on to where the schedule ends, or to hardly any noise
            last = min(levels[-2], max(float(schedule.level(np.float64(schedule.end))), 1e-3))
        self.flow = ProbabilityFlow(
            Buffer((as_denoiser(denoise), condition)),
            schedule,
            shape,
            (float(levels[0]), float(last), float(levels[-1])),
        )
        angles = np.arctan(levels)
        gaps = jnp.asarray(np.log((angles[:-1] - angles[1:]) / (angles[0] - angles[-1])), float)
        self.gaps = gaps if form.trains_levels else Buffer(gaps)
        self.shifts = jnp.zeros(steps) if form.trains_network_levels else Buffer(jnp.zeros(steps))
        columns = form.columns(steps)
        self.weights = jnp.zeros((steps, columns))
        self.start = Buffer(jnp.zeros((steps, columns)))
        self.units = Buffer(jnp.broadcast_to(jnp.eye(columns), (steps, columns, columns)))
        self.state = jnp.zeros((), jnp.int32)
        self.form, self.ends = form, (float(levels[0]), float(levels[-1]))
        known = schedule.level(np.array([schedule.end, schedule.start]))
        self.network_range = float(known[0]), float(known[1])

    def __repr__(self) -> str:
        first, last = self.ends
        return f"LearnedSolver({self.steps} evaluations, {self.form!r}, noise levels {first:.4g} to {last:.4g})"

    @property
    def steps(self) -> int:
        """N, the number of network evaluations of a sample."""
        return self.weights.shape[0]

    @property
    def evaluations(self) -> int:
        """Network evaluations of single samples that `least_squares` (its teacher included), `searched` and the steps of `fit`
        have cost so far. Not counted: the fine solutions of `fit`, `pool` times `teacher` of `SolverMatching` once, and a
        vector-Jacobian product for each evaluation of its steps."""
        return int(self.state)

    def objective(self, data: None = None, **options: Any):
        """The default objective of `fit`: `SolverMatching` with these options."""
        from .solver_objective import SolverMatching  # it evaluates learned solvers

        return SolverMatching(**options).on(self)

    def renewed(self, key: Array) -> "LearnedSolver":
        """The same solver: its start is not random."""
        return self

    @checked
    def least_squares(self, key: Any, *, samples: int = 512, teacher: int = 64, ridge: float = 1e-8) -> "LearnedSolver":
        """Weights in closed form, step by step: those whose step from the points so far comes closest, in the sum over
        samples, to the fine solution at the next noise level. No derivative of the network is needed.

        **Arguments:** `samples`: number of fine solutions; several times the number of weights per step. `teacher`: their
          evaluations each. `ridge`: added to the normal equations, relative to their largest diagonal entry.
        """
        from .least_squares import least_squares  # it evaluates learned solvers

        samples, teacher = count("least_squares", "samples", samples), self.fine("least_squares", teacher)
        ridge = number("least_squares", "ridge", ridge, least=0)
        return least_squares(self, random_key("least_squares", key), samples, teacher, ridge)

    @checked
    def searched(
        self, key: Any, *, samples: int = 128, teacher: int = 64, population: int = 64, generations: int = 12
    ) -> "LearnedSolver":
        """The solver whose steps and time grid an evolutionary search chooses from the classical ones (`StepChoices`), in the
        manner of the unified sampling framework (Liu et al. 2023), by the error at the end itself.

        **Arguments:** `samples`, `teacher`: as in `least_squares`. `population`, `generations`: of candidates; all candidates of
          a generation are run at once.
        """
        from .step_search import searched  # it evaluates learned solvers

        samples, teacher = count("searched", "samples", samples), self.fine("searched", teacher)
        population = count("searched", "population", population, 8)
        generations = count("searched", "generations", generations)
        return searched(self, random_key("searched", key), samples, teacher, population, generations)

    def training(self) -> ProbabilityFlow:
        """The ODE that it is trained on. **Raises:** `ValueError` for a solver that was loaded from a file."""
        if self.flow is None:
            raise ValueError(
                "this LearnedSolver was loaded from a file, which holds no denoiser: it samples, and cannot be trained on; "
                "make a new one with LearnedSolver(denoise, schedule, …)"
            )
        return self.flow

    def fine(self, call: str, teacher: Any) -> int:
        """`teacher`, the evaluations of a fine solution. **Raises:** `ValueError` for fewer than three times its own N."""
        if count(call, "teacher", teacher) < 3 * self.steps:
            raise ValueError(
                f"{call}(teacher={teacher}): a reference for {self.steps} evaluations needs {3 * self.steps} or more"
            )
        return count(call, "teacher", teacher)

    def levels(self, xp: Any = np) -> tuple[Any, Any]:
        """Noise levels of the points `(N + 1,)` and of the network `(N,)`; `xp` is `numpy` (in float64) or `jax.numpy`."""
        gaps, shifts = (_values(x.value if isinstance(x, Buffer) else x, xp) for x in (self.gaps, self.shifts))
        raised = xp.exp(gaps - gaps.max())
        first, last = np.arctan(self.ends)
        # Summed from the clean end, where angles are small.
        inner = last + (first - last) * xp.cumsum((raised / raised.sum())[::-1])[::-1][1:]
        levels = xp.concatenate([xp.asarray(self.ends[:1]), xp.tan(inner), xp.asarray(self.ends[1:])])
        return levels, xp.clip(levels[:-1] * xp.exp(-shifts), *self.network_range)

    def unrolled(self, xp: Any = np) -> tuple[Any, Any, Any]:
        """Noise levels of points and network, and the points as a triangular matrix `(N + 1, N + 1)` (`diffusion.unrolled`)."""
        levels, network = self.levels(xp)
        start, units, weights = (_values(a, xp) for a in (self.start.value, self.units.value, self.weights))
        total = start + (units @ weights[..., None])[..., 0]
        return levels, network, self.form.points(total, levels, network, xp)

    def fixed_table(self) -> Table:
        levels, network, points = self.unrolled()
        return from_unrolled(points, network, float(levels[0]), float(levels[-1]))

    def save(self, path: str | os.PathLike) -> None:
        """Write the solver to a file that `sx.load` reads, without the denoiser."""
        storage.save(path, eqx.tree_at(lambda s: s.flow, self, None, is_leaf=lambda x: x is None))


def _values(array: Any, xp: Any) -> Any:
    if xp is np and isinstance(array, Tracer):
        raise TypeError(
            "LearnedSolver: its table is made of its numbers, which jit and grad hide; close over the solver instead"
        )
    return np.asarray(array, np.float64) if xp is np else array


def walks(model: LearnedSolver, flow: ProbabilityFlow, starts: Array) -> tuple[Array, Array, Array]:
    """The points `(n, N + 1, *shape)` of a learned solver from the states v `(n, *shape)`, the evaluations, and its noise
    levels `(N + 1,)`."""
    levels, network, points = model.unrolled(jnp)
    found, denoised = jax.vmap(lambda v: flow.walk(v, points, network))(starts)
    return found, denoised, levels
