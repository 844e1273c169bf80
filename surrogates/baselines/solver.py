"""A problem's own solver as a surrogate."""

import equinox as eqx
from jaxtyping import Array

from ...core.domains import Grid
from ...solvers.kernels.interpolate import apply_along_axes
from ...solvers.pde.problem import Problem
from ..resampling import interpolation, resample
from ..surrogate import AbstractSurrogate, Capabilities
from ..task.task import Fields, Place, Task


class SolverSurrogate(AbstractSurrogate):
    """The problem's own solver on a grid of its own, as a surrogate: inputs interpolated to it, the solution back.

    Coarse grids with a loose tolerance are the classical competitor at equal error. It holds functions and cannot be saved.

    **Arguments:** `grid`, points per axis of the solve or a `Grid`; `rtol`, of the solver.
    """

    task: Task
    problem: Problem = eqx.field(static=True)
    grid: Grid = eqx.field(static=True)
    rtol: float = eqx.field(static=True)
    capabilities = Capabilities(resolution_free=True, savable=False)

    def __init__(self, problem: Problem, grid: int | Grid, rtol: float = 1e-3):
        problem.needs("solve", "SolverSurrogate")
        self.task = Task.of(problem, grid)
        self.problem, self.grid, self.rtol = problem, self.task.domain.as_grid("SolverSurrogate"), rtol

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        own = (self.task.domain_of(fields) if at is None else at).as_grid("SolverSurrogate")
        there = resample(self.task, fields, self.grid)
        inputs = {name: there[name] for name in self.problem.parameters}
        solution, _ = self.problem.solve(inputs, self.grid, self.rtol)
        return {k: apply_along_axes(solution[k], interpolation(self.grid, own)) for k in self.task.targets}
