"""Training without data, on the strong residual of a problem at collocation points."""

from typing import Any, Literal, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import check_fields, count, kind, number
from ...core.domains import Box
from ...solvers.pde.conditions import BoundaryCondition, Side
from ...solvers.pde.declaration import Problem
from ...solvers.pde.pointwise_derivatives import Jet, Jets
from ..networks.network_surrogate import NetworkSurrogate
from ..task.task import Fields
from ..training.objective import AbstractByRows, Outcome, Rows
from .sampling import Sampler, uniform_points
from .trial_functions import Multiple
from .trial_surrogate import TrialSurrogate

Model = NetworkSurrogate | TrialSurrogate


class Collocation(eqx.Module):
    """Points of space and time, each with its own random parameters.

    **Fields:** `points` `(n, d)`, in the order of `Problem.coordinates` (time last); `numbers`, the problem's random numbers by
    name, `(n,)` each. A row of it is one point.
    """

    points: Float[Array, "*n d"]
    numbers: dict[str, Float[Array, "*n"]]


class Points(eqx.Module):
    """The points of a step: inside, on the sides of every condition, at the start (None for a steady problem), and independent
    ones, on which the model is not trained."""

    inside: Collocation
    sides: list[list[Collocation]]
    start: Collocation | None
    independent: Collocation


class Residual(AbstractByRows):
    """Objective that trains a model on a PDE instead of data: `fit(model, objective=Residual(problem, R3(1000)), …)`.

    The loss is Σ mean r² over the equations of the problem, plus λ Σ mean c² over its boundary and initial conditions. r is the
    residual of an equation at the sampled points. c is the residual of a condition at random points of its side or at the
    initial time: values on Dirichlet sides, fluxes on Neumann sides, equal values and slopes on periodic sides, initial values.
    Conditions that the model fulfils by construction (`PINN`) are left out.

    If the problem has random numbers as inputs, every point gets new ones in every step, so that one network learns the whole
    family. The model is a `PINN`, `PIG` or `RandomFeatures`, or a network that predicts at any points (ability `any_points`).

    **Arguments:**

    - `problem`: a problem that declares `residual`.
    - `sampler`: chooses the points inside: `UniformSampler`, `R3`, `RAD` or `RAR`. It sees the residuals of a step when it
      chooses the points of the next one.
    - `penalty`: the weight λ of the conditions, 1 to 1000.
    - `boundary_points`: number of points per condition, and at the initial time.
    - `independent`: number of points on which the residual is measured beside the training.
    - `dtype`: "float32" or "float64"; by default float64 with optimisers of second order, float32 with others.

    **Metrics:** "residual", Σ mean r² at the points of the step; "independent_residual", the same at uniform points on which the
    model is not trained. A model may fulfil the equation at its points alone: if the second number exceeds the first one much,
    take more points. R3, RAD and RAR raise the first one on purpose.

    **Raises:** `ValueError` for a problem without residual or with random fields among its inputs.
    """

    problem: Problem = eqx.field(static=True)
    sampler: Sampler
    penalty: float = eqx.field(static=True, default=100.0)
    boundary_points: int = eqx.field(static=True, default=64)
    independent: int = eqx.field(static=True, default=256)
    dtype: Literal["float32", "float64"] | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        check_fields(self)
        kind("Residual", "sampler", self.sampler, Sampler, "pass for example UniformSampler(2000)")
        number("Residual", "penalty", self.penalty, least=0)
        count("Residual", "boundary_points", self.boundary_points)
        count("Residual", "independent", self.independent)
        self.problem.needs("residual", "Residual")
        if fields := [name for name, law in self.problem.laws.items() if law.is_field]:
            raise ValueError(f"Residual draws numbers; the inputs {fields} of {self.problem!r} are random fields")

    @property
    def calls(self) -> int:
        return 1

    def init(self, key: Array) -> Float[Array, "n d"]:
        return self.sampler.init(key, self.problem.space_time)

    def draw(self, state: Float[Array, "n d"], batch: Fields | None, key: Array) -> Points:
        problem, box = self.problem, self.problem.space_time
        k_inside, k_sides, k_start = jax.random.split(key, 3)
        sides = [
            [self._with_numbers(points, k) for points in _moved(c.sides, box, k, self.boundary_points)]
            for k, c in zip(jax.random.split(k_sides, len(problem.boundary)), problem.boundary, strict=True)
        ]
        start = None
        if problem.time is not None:
            points = uniform_points(k_start, box, self.boundary_points).at[:, -1].set(problem.time.start)
            start = self._with_numbers(points, k_start)
        k_independent = jax.random.fold_in(k_inside, 1)
        others = uniform_points(k_independent, box, max(self.independent, self.sampler.pool))
        return Points(self._with_numbers(state, k_inside), sides, start, self._with_numbers(others, k_independent))

    def terms(self, model: Model, points: Points) -> tuple[Rows, ...]:
        problem = self.problem
        self._check(model)
        boundary, initial = problem.boundary, problem.initial
        if isinstance(model, TrialSurrogate):
            boundary, initial = model.split.boundary, {u: problem.initial[u] for u in model.split.initial}
        # ½‖r‖² is then the mean of squares, with the penalty on the conditions.
        terms = [Rows(_scaled(self._equations, 2 / len(points.inside.points)), points.inside)]
        weight = 2 * self.penalty / self.boundary_points
        for condition, held in zip(problem.boundary, points.sides, strict=True):
            if condition in boundary:
                terms.append(Rows(_scaled(self._condition(condition), weight), held))
        if points.start is not None and initial:
            terms.append(Rows(_scaled(self._start(tuple(initial)), weight), points.start))
        return tuple(term for term in terms if eqx.filter_eval_shape(term.values, model).size)

    def outcome(self, model: Model, points: Points, values: list[Array]) -> Outcome:
        inside = (values[0] ** 2).sum(-1) * (len(values[0]) / 2)
        outside = (Rows(self._equations, points.independent).values(_fixed(model)) ** 2).sum(-1)
        metrics = {"residual": inside.mean(), "independent_residual": outside.mean()}
        sizes = jax.lax.stop_gradient((jnp.sqrt(inside), jnp.sqrt(outside)))
        return Outcome(model.state, sizes, metrics)

    def update(self, state: Float[Array, "n d"], points: Points, outcome: Outcome, key: Array) -> Float[Array, "n d"]:
        inside, outside = outcome.memory
        others = points.independent.points
        return self.sampler.update(key, state, inside, others, outside, self.problem.space_time)

    def validate(self, model: Model, batch: Fields) -> NoReturn:
        raise TypeError("Residual has no use for validation data; give fit(…, val=measure), a function of the model")

    def _equations(self, model: Model, row: Collocation) -> Float[Array, " m"]:
        """The residuals of all equations at one point."""
        found = jax.tree.leaves(self.problem.residual(self._jets(model, row), self._inputs(row)))
        if wrong := [r.shape for r in map(jnp.asarray, found) if r.shape]:
            raise ValueError(
                f"the residual of {self.problem!r} has the shape {wrong[0]} at one point, expected one number per equation"
            )
        return jnp.stack([jnp.asarray(r, row.points.dtype) for r in found])

    def _condition(self, condition: BoundaryCondition):
        def residual(model: Model, rows: list[Collocation]) -> Array:
            found = condition.residual([self._jets(model, row) for row in rows], self._inputs(rows[0]))
            return _stacked(jax.tree.leaves(found))

        return residual

    def _start(self, names: tuple[str, ...]):
        def residual(model: Model, row: Collocation) -> Array:
            found = self.problem.initial_residual(self._jets(model, row), self._inputs(row))
            return _stacked([found[name] for name in names])

        return residual

    def _check(self, model: Any) -> None:
        """`ValueError` for a model that cannot be asked for the problem's unknowns at single points of its box."""
        task = model.task
        if isinstance(model, NetworkSurrogate) and not model.network.abilities.any_points:
            raise ValueError(
                f"Residual asks at single points, where {type(model.network).__name__} cannot answer (any_points)"
            )
        if set(task.labels) != set(self.problem.unknowns):
            raise ValueError(f"Residual: the task predicts {task.labels}, the unknowns of {self.problem!r} are others")
        if task.domain.as_grid("Residual").box != self.problem.box:
            raise ValueError(f"Residual: the task lives on {task.domain!r}, {self.problem!r} on {self.problem.box}")

    def size(self, model: TrialSurrogate) -> float:
        """About how large the trial function N must be: its size when it changes the residual by as much as the residual is at
        N = 0. Waves that N does not have at first make this too large, by a factor of their number to the order of the equation.
        0 if the residual vanishes there, infinite if N does not change it."""
        key = jax.random.key(0)
        rows = self._with_numbers(uniform_points(key, self.problem.space_time, 64), key)

        def residual(factor):
            scaled = eqx.tree_at(lambda m: m.function, model, Multiple(model.function, factor))
            return jax.vmap(lambda row: self._equations(scaled, row))(rows)

        start, slope = jax.jit(lambda: jax.jvp(residual, (jnp.zeros(()),), (jnp.ones(()),)))()
        at_zero, along = (float(np.linalg.norm(np.asarray(x, np.float64))) for x in (start, slope))
        return at_zero / along if along else float("inf")

    def _with_numbers(self, points: Float[Array, "n d"], key: Array) -> Collocation:
        grid, names = self.problem.box.grid(2), enumerate(self.problem.laws.items())
        keys = jax.random.split(jax.random.fold_in(key, 1), len(points))
        return Collocation(
            points,
            {
                name: jax.vmap(lambda k, i=i, law=law: law.draw(jax.random.fold_in(k, i), grid, None))(keys)
                for i, (name, law) in names
            },
        )

    def _inputs(self, row: Collocation) -> Jets:
        return self.problem.input_jets(row.numbers)

    def _jets(self, model: Model, row: Collocation) -> Jets:
        """The jets (values and derivatives) of the unknowns at one point."""
        if isinstance(model, TrialSurrogate):
            return model.jets(row.points, row.numbers)
        problem, labels = self.problem, model.task.labels

        def unknown(channel: int):
            def value(point):
                # In a task time is the first coordinate and is counted from the start of the interval.
                at = point
                if problem.time is not None:
                    at = jnp.concatenate([point[-1:] - problem.time.start, point[:-1]])
                return model.at_points(row.numbers, at[None])[0, channel]

            return value

        names = problem.coordinates
        return Jets({u: Jet.of(unknown(labels.index(u)), row.points, names) for u in problem.unknowns})


def _fixed(model: Model) -> Model:
    """The model, of which nothing is differentiated."""
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)
    return eqx.combine(jax.lax.stop_gradient(arrays), rest)


def _scaled(function, weight: float):
    """Residuals times the root of a weight."""
    return lambda model, row: jnp.sqrt(weight) * function(model, row)


def _stacked(residuals: list[Array]) -> Array:
    return jnp.stack([jnp.asarray(r) for r in residuals]) if residuals else jnp.zeros(0)


def _moved(sides: tuple[Side, ...], box: Box, key: Array, n: int) -> list[Float[Array, "n d"]]:
    """Random points of the box, moved to each of `sides` along the axis of the side."""
    points = uniform_points(key, box, n)
    return [points.at[:, box.names.index(side.axis)].set(side.position) for side in sides]
