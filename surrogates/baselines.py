"""Surrogates every other one must beat: the mean, persistence, a linear spectral map, and the solver itself."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.domains import Grid
from ..core.precision import in_double
from ..core.storage import register
from ..datasets.dataset import Dataset
from ..solvers.kernels.fourier import multiply, truncated_irfft, truncated_rfft
from ..solvers.kernels.interpolate import apply_along_axes
from ..solvers.pde.declaration import Problem
from .surrogate import AbstractSurrogate, Capabilities, interpolation, resample
from .task.task import Fields, Task
from .trainable import Buffer
from .training.result import DirectFit


@register("MeanField")
class MeanField(AbstractSurrogate):
    """The mean of the training targets, whatever the input; steady tasks on grids. Needs no fit."""

    task: Task
    capabilities = Capabilities(resolution_free=True, needs_input=False, differentiable=False)

    def __check_init__(self):
        _steady_on_grid(self.task, "MeanField")
        if not self.task.means:
            raise ValueError("MeanField needs a task from Task.fit, which keeps the mean of the targets")

    def __call__(self, fields: Fields, at: Grid | None = None) -> dict[str, Array]:
        matrices = interpolation(self.task.uniform_grid, at or self.task.grid_of(fields))
        return {k: apply_along_axes(v, matrices) for k, v in self.task.means.items()}


@register("Persistence")
class Persistence(AbstractSurrogate):
    """The next frame is the last one; autoregressive tasks. Needs no fit."""

    task: Task

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(resolution_free=self.task.grid is not None, autoregressive=True)

    def __check_init__(self):
        if not self.task.history:
            raise ValueError("Persistence needs an autoregressive task (history ≥ 1)")

    def __call__(self, fields: Fields, at: Grid | None = None) -> dict[str, Array]:
        fields = resample(self.task, fields, at)
        return {name: jnp.asarray(fields[name])[self.task.history - 1] for name in self.task.targets}


class LinearSpectral(DirectFit):
    """û_k = M_k â_k + c_k per frequency k ≤ `modes`, by ridge regression on the training set; steady tasks on grids.

    The best translation-invariant linear map: on problems near a constant-coefficient linear one it is hard to beat, and a
    nonlinear operator that does not beat it has learned nothing.

    **Arguments:** `modes` per axis and sign; `ridge`, relative to the mean square of the inputs' coefficients.
    """

    task: Task
    modes: int = eqx.field(static=True, default=12)
    ridge: float = eqx.field(static=True, default=1e-6)

    def fitted(self, train: Dataset, val: Dataset | None = None) -> "FittedLinearSpectral":
        self.task.check(train)
        _steady_on_grid(self.task, "LinearSpectral")
        if not self.task.inputs:
            raise ValueError("LinearSpectral needs input fields")
        kept = (*(2 * self.modes,) * (self.task.ndim - 1), self.modes)
        data = train.read(self.task.names())

        @in_double
        @jax.jit
        def regress(data, ridge):
            def spectra(fields):
                a = _with_one(truncated_rfft(_fields(self.task, fields), kept))
                u = truncated_rfft(self.task.encode_targets(self.task.pack_targets(fields)), kept)
                return (*a, *u)

            a_re, a_im, u_re, u_im = jax.vmap(spectra)(data)
            # Complex least squares as a real one: rows (re, im) of sample, unknowns (Re M, Im M).
            rows = jnp.concatenate([jnp.concatenate([a_re, -a_im], -1), jnp.concatenate([a_im, a_re], -1)])
            values = jnp.concatenate([u_re, u_im])
            gram = jnp.einsum("n...i,n...j->...ij", rows, rows)
            right = jnp.einsum("n...i,n...o->...io", rows, values)
            scale = ridge * jnp.trace(gram, axis1=-2, axis2=-1).mean() / gram.shape[-1]
            return jnp.linalg.solve(gram + scale * jnp.eye(gram.shape[-1]), right)

        m = regress(data, np.asarray(self.ridge))
        half = m.shape[-2] // 2
        weight = np.stack([m[..., :half, :], m[..., half:, :]]).astype(np.float32)
        return FittedLinearSpectral(self.task, Buffer(jnp.asarray(weight)))


@register("FittedLinearSpectral")
class FittedLinearSpectral(AbstractSurrogate):
    """See `LinearSpectral`; the fitted numbers are `weight` `(2, *kept, in + 1, out)`."""

    task: Task
    weight: Buffer
    capabilities = Capabilities(resolution_free=True)

    def __call__(self, fields: Fields, at: Grid | None = None) -> dict[str, Array]:
        fields = resample(self.task, fields, at)
        x = _fields(self.task, fields)
        weight = self.weight.value
        coefficients = _with_one(truncated_rfft(x, weight.shape[1:-2]))
        return self.task.unpack(truncated_irfft(multiply(coefficients, weight), x.shape[:-1]), fields)


class SolverSurrogate(AbstractSurrogate):
    """The problem's own solver on a grid of its own, as a surrogate: inputs interpolated to it, the solution back.

    Coarse grids with a loose tolerance are the classical competitor at equal error. With an autoregressive task it advances
    the last frame that it is given by one time step, as `Problem.step` does. It holds functions and cannot be saved.

    **Arguments:**

    - `grid`: points per axis of the solve, or a `Grid`.
    - `rtol`: of the solver.
    - `task`: by default the steady task from all random inputs of the problem to its unknowns. An autoregressive task must
      have all unknowns among its inputs and targets, and every random input except those that hold the initial value.
    - `dt`: time between two frames of an autoregressive task; None for a steady one.

    **Raises:** `ValueError` for a task that the problem cannot serve; in particular an autoregressive one where the future
    depends on more than the unknowns (the problem declares no `step`).
    """

    task: Task
    problem: Problem = eqx.field(static=True)
    grid: Grid = eqx.field(static=True)
    rtol: float = eqx.field(static=True)
    dt: float | None = eqx.field(static=True)

    def __init__(
        self,
        problem: Problem,
        grid: int | tuple[int, ...] | Grid,
        rtol: float = 1e-3,
        *,
        task: Task | None = None,
        dt: float | None = None,
    ):
        problem.needs("solve", "SolverSurrogate")
        self.grid = grid if isinstance(grid, Grid) else problem.box.grid(grid)
        self.task = Task.of(problem, self.grid) if task is None else task
        self.problem, self.rtol, self.dt = problem, rtol, dt
        given, starts = {*self.task.inputs, *self.task.parameters}, set()
        if self.task.history:
            problem.needs("step", "SolverSurrogate on an autoregressive task")
            if dt is None or not dt > 0:
                raise ValueError(f"SolverSurrogate: dt={dt}; an autoregressive task needs the time between two frames")
            starts = set(problem.initial.values())
            given -= set(problem.unknowns)
        elif dt is not None:
            raise ValueError(f"SolverSurrogate: dt={dt} has no meaning for a steady task")
        elif problem.time is not None:
            raise ValueError(f"SolverSurrogate: {problem!r} is in time; give an autoregressive task=… and its dt=…")
        if set(self.task.targets) != set(problem.unknowns) or given - starts != problem.laws.keys() - starts:
            raise ValueError(
                f"SolverSurrogate needs a task from the inputs {sorted(problem.laws.keys() - starts)} to the unknowns "
                f"{problem.unknowns} of {problem!r}; got {self.task!r}"
            )

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(resolution_free=True, savable=False, autoregressive=bool(self.task.history))

    def __call__(self, fields: Fields, at: Grid | None = None) -> dict[str, Array]:
        own = self.task.grid_of(fields)
        there = resample(self.task, fields, self.grid)
        inputs = {name: there[name] for name in self.problem.laws if name in there}
        if self.dt is None:
            solution = self.problem.solve(inputs, self.grid, rtol=self.rtol)
        else:
            last = {name: there[name][self.task.history - 1] for name in self.problem.unknowns}
            solution = self.problem.step(last, inputs, self.grid, self.dt, rtol=self.rtol)
        return {k: apply_along_axes(solution[k], interpolation(self.grid, at or own)) for k in self.task.targets}


def _fields(task: Task, fields: Fields) -> Array:
    packed = task.pack(fields).fields
    assert packed is not None  # LinearSpectral is not made without input fields
    return packed


def _with_one(coefficients):
    """A further channel that is 1 at every frequency, for the constant term."""
    re, im = coefficients
    return jnp.concatenate([re, jnp.ones_like(re[..., :1])], -1), jnp.concatenate([im, jnp.zeros_like(im[..., :1])], -1)


def _steady_on_grid(task: Task, name: str):
    if task.grid is None or task.history:
        raise ValueError(f"{name} serves steady tasks on grids")
