"""`SolverMatching`: the training of a learned solver on fine solutions of its own ODE."""

from typing import Any, Literal, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import check_fields, checked, count, number, random_key
from ..task.task import Fields
from ..training.objective import AbstractObjective, Outcome
from .learned_solver import LearnedSolver, walks
from .probability_flow import Paths, ProbabilityFlow


class SolverMatching(AbstractObjective):
    """The error of a learned solver against fine solutions of the same ODE from the same noise.

    Before the first step `pool` solutions are made; every step sees `samples` of them, drawn at random. With the root mean
    square e_i of the error of a sample in y at the end, the loss is

    - "log": mean of log(e_i + 1e-6): the geometric mean, which a few samples between two modes do not decide;
    - "rms": mean of e_i;
    - "mse": mean of e_i².

    `trajectory` adds as much of the mean squared error, in v = y/√(1 + s²), at the points on the way.

    **Arguments:**

    - `samples`: 64 to 512.
    - `pool`: number of fine solutions, 1024.
    - `teacher`: network evaluations of each, 64 or more.
    - `loss`, `trajectory`: as above.

    **Example:**

        >>> sx.learned_solvers.SolverMatching(samples=32, teacher=32).loss
        'log'
    """

    samples: int = eqx.field(static=True, default=256)
    pool: int = eqx.field(static=True, default=1024)
    teacher: int = eqx.field(static=True, default=64)
    loss: Literal["log", "rms", "mse"] = eqx.field(static=True, default="log")
    trajectory: float = eqx.field(static=True, default=0.0)
    flow: ProbabilityFlow | None = None

    def __check_init__(self):
        check_fields(self)
        for name in ("samples", "pool", "teacher"):
            count("SolverMatching", name, vars(self)[name])
        number("SolverMatching", "trajectory", self.trajectory, least=0)

    def on(self, model: LearnedSolver) -> "SolverMatching":
        """The objective for the denoiser of a model. **Raises:** `ValueError` for a model without anything to train."""
        form = model.form
        if not (model.weights.shape[1] or form.trains_levels or form.trains_network_levels):
            raise ValueError(
                f"SolverMatching: a LearnedSolver with {type(form).__name__} has nothing to train; it is found as it is"
            )
        model.fine("SolverMatching", self.teacher)
        return eqx.tree_at(lambda o: o.flow, self, model.training(), is_leaf=lambda x: x is None)

    @property
    def calls(self) -> int:
        return 1

    def init(self, key: Array) -> Paths:
        assert self.flow is not None
        return eqx.filter_jit(lambda flow, key: flow.paths(key, self.pool, self.teacher))(self.flow, key)

    def draw(self, state: Paths, batch: None, key: Array) -> Paths:
        return state[jax.random.choice(key, self.pool, (min(self.samples, self.pool),), replace=False)]

    def value(self, model: Any, points: Paths) -> tuple[Float[Array, ""], Outcome]:
        assert self.flow is not None
        found, _, levels = walks(model, self.flow, points.starts)
        squares = end_errors(found[:, -1], points.ends, levels[-1])
        loss = {
            "log": lambda e: jnp.log(jnp.sqrt(e + 1e-14) + 1e-6),
            "rms": lambda e: jnp.sqrt(e + 1e-14),
            "mse": lambda e: e,
        }[self.loss](squares).mean()
        if self.trajectory:
            on_the_way = jax.vmap(points.at, out_axes=1)(-jnp.log(levels[1:-1]))
            loss += self.trajectory * jnp.mean((found[:, 1:-1] - on_the_way) ** 2)
        spent = len(squares) * model.steps
        return loss, Outcome(state=jax.lax.stop_gradient(model.state + spent))

    def update(self, state: Paths, points: Paths, outcome: Outcome, key: Array) -> Paths:
        return state

    def validate(self, model: Any, batch: Fields) -> NoReturn:
        raise TypeError("learned solvers are validated by a measure: fit(…, val=EndError.of(solver, key))")


class EndError(eqx.Module):
    """The median over samples of the root mean square error at the end, on noise of its own: for `fit(val=…)` and for tests.

    `EndError.of(solver, key)` makes the fine solutions; calling it with a learned solver gives the error.

    **Fields:** `flow`; `paths`.
    """

    flow: ProbabilityFlow
    paths: Paths

    @classmethod
    @checked
    def of(cls, model: LearnedSolver, key: Any, *, samples: int = 256, teacher: int = 100) -> "EndError":
        """On `samples` starts, with `teacher` network evaluations each."""
        flow, key = model.training(), random_key("EndError.of", key)
        samples, teacher = count("EndError.of", "samples", samples), model.fine("EndError.of", teacher)
        return cls(flow, eqx.filter_jit(lambda flow, key: flow.paths(key, samples, teacher))(flow, key))

    def __call__(self, model: LearnedSolver) -> float:
        first, _, last = self.flow.levels
        if model.ends != (first, last):
            raise ValueError(
                f"EndError: its fine solutions go from the noise level {first:.4g} to {last:.4g}, {model!r}; make one with "
                "EndError.of(solver, key) for this solver"
            )
        levels, network, points = model.unrolled()
        table = jnp.asarray(points, float), jnp.asarray(network, float)
        return float(_median_error(self.flow, self.paths, *table, jnp.asarray(levels[-1], float)))


@eqx.filter_jit
def _median_error(flow: ProbabilityFlow, paths: Paths, points, network, level) -> Float[Array, ""]:
    ends = jax.vmap(lambda v: flow.walk(v, points, network)[0][-1])(paths.starts)
    return jnp.median(jnp.sqrt(end_errors(ends, paths.ends, level)))


def end_errors(found: Array, exact: Array, level: Any) -> Float[Array, " n"]:
    """Mean squares over the entries of every sample, in y."""
    return (1 + level**2) * jnp.mean((found - exact).reshape(len(found), -1) ** 2, 1)
