"""`SolverSource`: online training, in which every batch is drawn from the laws of a problem and solved in the training loop."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree

from ...core.arguments import checked, count, random_key
from ...core.domains import Grid
from ...solvers.pde.declaration import Problem
from ..task.statistics import time_step
from ..task.task import Fields, Task
from ..unsolved import raise_if_unsolved
from .batches import AbstractChunk, Whole


@dataclass(frozen=True, eq=False)
class SolverSource:
    """Training data that a solver computes in the training loop: `fit(model, SolverSource(problem, 64, key), …)`.

    No sample is seen twice. Sample i depends on `fold_in(key, i)` only, and every step takes the next `batch_size` numbers.

    **Arguments:**

    - `problem`: a problem that declares `solve` and the laws of its inputs.
    - `grid`: points per axis, or a `Grid` on the problem's box.
    - `key`: random key of the samples.
    - `times`: instants of the trajectories, for time-dependent problems: exactly as many as one training sample needs, which is
      `task.mode.window()` without unrolling.
    - `round`: number of steps between two validations.

    **Raises:** `ValueError` for a problem without `solve`. Training ends with an error that names the sample if the solver
    does not converge for one.

    **Example:**

        >>> source = sx.SolverSource(sx.problem("poisson", f=sx.random.GaussianField()), grid=17, key=key)
        >>> source.round
        100
    """

    problem: Problem
    grid: Grid
    key: Array
    times: np.ndarray | None = None
    round: int = 100

    @checked
    def __init__(
        self,
        problem: Problem,
        grid: int | tuple[int, ...] | Grid,
        key: Array,
        *,
        times: np.ndarray | None = None,
        round: int = 100,
    ):
        problem.needs("solve", "SolverSource")
        key, round = random_key("SolverSource", key), count("SolverSource", "round", round)
        object.__setattr__(self, "problem", problem)
        object.__setattr__(self, "grid", problem.box.grid(grid))
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "times", None if times is None else np.asarray(times, np.float64))
        object.__setattr__(self, "round", round)

    def batches(self, task: Task, batch_size: int, calls: int) -> Whole:
        """The batches for a task, for `calls` predictions in a row.

        **Raises:** `ValueError` if the grid or the number of instants does not suit the task.
        """
        if not task.domain.matches(self.grid):
            raise ValueError(f"the task lives on {task.domain!r}, the SolverSource on {self.grid}")
        instants = 0 if self.times is None else len(self.times)
        if instants != task.mode.window(calls):
            raise ValueError(
                f"SolverSource has {instants} instants; one training sample of {task!r} has {task.mode.window(calls)}"
            )
        step = time_step(self.times)
        if task.dt is not None and step is not None and abs(step - task.dt) > 1e-3 * abs(task.dt):
            raise ValueError(f"the task has instants {task.dt:g} apart, those of the SolverSource are {step:g} apart")
        return Whole(Solved(self, batch_size), self.round, batch_size)

    def samples(self, numbers: Int[Array, " n"]) -> Fields:
        """Inputs and solutions of the samples with these numbers, by name, with a leading sample axis."""

        def one(number):
            inputs = self.problem.sample_inputs(jax.random.fold_in(self.key, number), self.grid, self.times)
            solved = self.problem.solve(inputs, self.grid, times=self.times)
            return {**inputs, **solved.fields}, solved.status

        fields, status = jax.vmap(one)(numbers)
        raise_if_unsolved(f"SolverSource of {self.problem!r}", status, numbers)
        return fields


class Solved(AbstractChunk):
    """Batches of a `SolverSource`. A row holds the numbers of the samples of a step."""

    source: SolverSource = eqx.field(static=True)
    batch_size: int = eqx.field(static=True)

    def rows(self, key: Array, done: Int[Array, ""], count: int) -> Int[Array, "count batch"]:
        steps = done + jnp.arange(count)
        return steps[:, None] * self.batch_size + jnp.arange(self.batch_size)

    def batch(self, row: PyTree) -> Fields:
        return self.source.samples(row)

    def misplaced(self) -> Bool[Array, ""]:
        return jnp.asarray(False)
