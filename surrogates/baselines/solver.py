"""`SolverSurrogate`: a problem's own solver as a surrogate."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ...core.domains import Grid
from ...solvers.kernels.interpolate import apply_along_axes
from ...solvers.pde.declaration import Problem
from ..batching import Batch
from ..resampling import interpolation, resample
from ..surrogate import AbstractBatchFirst, Capabilities
from ..task.task import Fields, Place, Task
from ..unsolved import warn_of_unsolved


class SolverSurrogate(AbstractBatchFirst):
    """Predicts by the problem's own solver, on a grid of its own. Inputs are interpolated to this grid, the solution back.

    A grid finer than that of the data does not help where inputs jump: between two points the solver cannot know where, and
    interpolated jumps are worse than those of the data (Darcy given at 29²: 1.4 % on 29², 1.7 % on 57², 2.1 % on 113²).

    With a coarse grid and a loose tolerance it is the classical competitor of a surrogate at equal error. For an autoregressive
    task, `Problem.step` advances the last given frame by the task's time step, once per predicted frame. It holds functions and
    cannot be saved. `predict`, `rollout` and `evaluate` warn of samples that the solver did not solve to `rtol`; of one sample,
    `problem.solve` has the status.

    **Arguments:**

    - `problem`: a problem that declares `solve` (and `step` for an autoregressive task).
    - `grid`: points per axis of the solve, or a `Grid` on the problem's box.
    - `rtol`: relative tolerance of the solver.
    - `task`: by default the steady task from all random inputs of the problem to its unknowns. An autoregressive task must
      have all unknowns as inputs and targets, and all random inputs as inputs, except those that hold the initial value.

    **Raises:** `ValueError` for a task that the problem cannot serve. One example is an autoregressive task whose future depends
    on more than the unknowns, so that the problem declares no `step`.

    **Example:**

        >>> solver = sx.SolverSurrogate(sx.problem("poisson", f=sx.random.GaussianField()), grid=17)
        >>> solver.predict({"f": np.ones((1, 17, 17))})["u"].shape
        (1, 17, 17)
    """

    task: Task
    problem: Problem = eqx.field(static=True)
    grid: Grid = eqx.field(static=True)
    rtol: float = eqx.field(static=True)

    def __init__(
        self,
        problem: Problem,
        grid: int | tuple[int, ...] | Grid,
        rtol: float = 1e-3,
        *,
        task: Task | None = None,
    ):
        problem.needs("solve", "SolverSurrogate")
        self.grid = problem.box.grid(grid)
        self.task = Task.of(problem, self.grid) if task is None else task
        self.problem, self.rtol = problem, rtol
        given, starts = {*self.task.inputs, *self.task.parameters}, set()
        if self.task.mode.rolls_out:
            problem.needs("step", "SolverSurrogate on an autoregressive task")
            if self.task.dt is None:
                raise ValueError(f"SolverSurrogate: {self.task!r} knows no time step; fit it on evenly spaced instants")
            starts = set(problem.initial.values())
            given -= set(problem.unknowns)
        elif problem.time is not None:
            raise ValueError(f"SolverSurrogate: {problem!r} is in time; give an autoregressive task=…")
        if set(self.task.targets) != set(problem.unknowns) or given - starts != problem.laws.keys() - starts:
            raise ValueError(
                f"SolverSurrogate needs a task from the inputs {sorted(problem.laws.keys() - starts)} to the unknowns "
                f"{problem.unknowns} of {problem!r}; got {self.task!r}"
            )

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(resolution_free=True, savable=False, autoregressive=self.task.mode.rolls_out)

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        return self._solved(fields, at)[0]

    def call_batch(self, batch: Batch, at: Place | None = None) -> dict[str, Array]:
        found, status = jax.vmap(lambda fields, _: self._solved(fields, at))(batch.fields, batch.numbers)
        warn_of_unsolved(f"SolverSurrogate of {self.problem!r} to rtol={self.rtol:g}", status, batch.numbers)
        return found

    def _solved(self, fields: Fields, at: Place | None) -> tuple[dict[str, Array], Int[Array, ""]]:
        """The prediction for one sample, and the `Status` of its solve."""
        own = (self.task.domain_of(fields) if at is None else at).as_grid("SolverSurrogate")
        there = resample(self.task, fields, self.grid)
        inputs = {name: there[name] for name in self.problem.laws if name in there}
        if self.task.mode.rolls_out:
            last = {name: there[name][self.task.mode.history - 1] for name in self.problem.unknowns}
            solution, status = self._steps(last, inputs)
        else:
            solved = self.problem.solve(inputs, self.grid, rtol=self.rtol)
            solution, status = solved.fields, solved.status
        first = 0 if self.task.mode.single else 1
        matrices = interpolation(self.grid, own)
        return {k: apply_along_axes(solution[k], matrices, first) for k in self.task.targets}, status

    def _steps(self, last: Fields, inputs: Fields) -> tuple[dict[str, Array], Int[Array, ""]]:
        """The frames of one prediction, from the last given frame, and the worst status of their steps."""
        dt = self.task.dt
        assert dt is not None  # checked when it was made

        def step(fields, _):
            solved = self.problem.step(fields, inputs, self.grid, dt, rtol=self.rtol)
            fields = dict(solved.fields)
            return fields, (fields, solved.status)

        last = {name: jnp.asarray(u) for name, u in last.items()}
        _, (frames, status) = jax.lax.scan(step, last, length=self.task.mode.ahead)
        return {name: self.task.mode.named(u) for name, u in frames.items()}, status.max()
