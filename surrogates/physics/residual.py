"""Training without data, on the strong residual of a problem at collocation points."""

from typing import Any, Literal, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, count, kind, number
from ...core.precision import in_double
from ...solvers.pde.conditions import BoundaryCondition
from ...solvers.pde.declaration import Problem
from ...solvers.pde.pointwise_derivatives import Jet, Jets
from ..networks.network_surrogate import NetworkSurrogate
from ..task.task import Fields
from ..trainable import is_double
from ..training.objective import AbstractByRows, Outcome, Rows
from .collocation import Collocation, Points, ResidualState, on_sides, with_numbers
from .observations import Observations
from .sampling import Sampler, uniform_points
from .solution_scales import points_per_wave, trial_size
from .trial_surrogate import TrialSurrogate
from .weights import AbstractWeights

Model = NetworkSurrogate | TrialSurrogate
_SMALLEST = 1e-20  # of the factors: residuals are divided by their roots to be shown


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
    - `sampler`: chooses the points inside: `UniformSampler`, `FixedPoints`, `R3`, `CausalR3`, `RAD` or `RAR`. It sees the
      residuals of a step when it chooses the points of the next one.
    - `penalty`: the weight λ of the conditions, 1 to 1000.
    - `boundary_points`: number of points per condition, and at the initial time.
    - `independent`: number of points on which the residual is measured beside the training, so many that some lie where the
      solution is steep.
    - `weights`: factors that adapt to the training, one or several, which are multiplied: `GradientNorm`, `TangentKernel`,
      `Causal`, `Attention`.
    - `observations`: values of the unknowns at points, for inverse problems: of `fit` a dataset of one sample, in which NaN
      stands for what is not known. The loss gets `observation_weight` times the mean squared difference; 100 for exact values, 1
      or less for noisy ones, which should not bend the solution.
    - `gradient_penalty`: a number λ_r adds λ_r mean ‖∇r‖², the gradient of the residuals along the coordinates (double
      backpropagation), 1e-4 to 1e-2 where the points are few; it makes a step two to four times as long.
    - `dtype`: "float32" or "float64"; by default float64 with optimisers of second order, float32 with others.

    **Metrics:** "residual", Σ mean r² at the points of the step; "independent_residual", the same at uniform points on which the
    model is not trained. A model may fulfil the equation at its points alone: if the second number exceeds the first one much,
    take more points. R3, RAD and RAR raise the first one on purpose. "points_per_wave", of n uniform points in d dimensions those
    along one wave of the model, (n ∏ 2π / (k L))^(1/d) with k² = mean u_x² / var u along an axis of length L; below 5 or so the
    solution is not seen. With weights or a gate "weight", the mean factor of the equations.

    **Raises:** `ValueError` for a problem without residual or with random fields among its inputs.

    **Example:**

        >>> line = sx.Problem("u", sx.Box(x=(0, 1)), residual=lambda u, p: u.xx + 2)
        >>> sx.Residual(line, sx.UniformSampler(200)).penalty
        100.0
    """

    problem: Problem = eqx.field(static=True)
    sampler: Sampler
    penalty: float = eqx.field(static=True, default=100.0)
    boundary_points: int = eqx.field(static=True, default=64)
    independent: int = eqx.field(static=True, default=1000)
    dtype: Literal["float32", "float64"] | None = eqx.field(static=True, default=None)
    weights: AbstractWeights | tuple[AbstractWeights, ...] = ()
    observations: Observations | None = None
    observation_weight: float = eqx.field(static=True, default=100.0)
    gradient_penalty: float = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        check_fields(self)
        number("Residual", "gradient_penalty", self.gradient_penalty, least=0)
        number("Residual", "observation_weight", self.observation_weight, above=0)
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

    @property
    def _weights(self) -> tuple[AbstractWeights, ...]:
        return self.weights if isinstance(self.weights, tuple) else (self.weights,)

    def init(self, key: Array) -> ResidualState:
        box, kinds = self.problem.space_time, len(self.problem.boundary) + 3
        states = tuple(w.init(kinds, self.sampler, box) for w in self._weights)
        return ResidualState(self.sampler.init(key, box), states)

    def draw(self, state: ResidualState, batch: Fields | None, key: Array) -> Points:
        problem, box = self.problem, self.problem.space_time
        k_inside, k_sides, k_start = jax.random.split(key, 3)
        sides = [
            [with_numbers(problem, points, k) for points in on_sides(c.sides, box, k, self.boundary_points)]
            for k, c in zip(jax.random.split(k_sides, len(problem.boundary)), problem.boundary, strict=True)
        ]
        start = None
        if problem.time is not None:
            points = uniform_points(k_start, box, self.boundary_points).at[:, -1].set(problem.time.start)
            start = with_numbers(problem, points, k_start)
        k_independent = jax.random.fold_in(k_inside, 1)
        others = uniform_points(k_independent, box, max(self.independent, self.sampler.pool))
        inside, population = with_numbers(problem, state.population.points, k_inside), state.population
        rows = [inside, *(held[0] for held in sides), *([start] if start is not None else [])]
        factors = [self._factor(state.weights, i, row.points) for i, row in enumerate(rows)]
        if self.observations is not None:
            rows = self.observations.rows()[0]
            factors.append(self._factor(state.weights, len(problem.boundary) + 2, rows))
        factors[0] = jnp.maximum(factors[0] * population.factors**2, _SMALLEST)
        return Points(
            inside, sides, start, with_numbers(problem, others, k_independent), factors, state.weights,
            population.memory is not None,
        )  # fmt: skip

    def _factor(self, states: tuple[PyTree, ...], kind: int, points: Float[Array, "n d"]) -> Float[Array, " n"]:
        factor = jnp.ones(len(points), points.dtype)
        for weights, state in zip(self._weights, states, strict=True):
            factor = factor * weights.factor(state, kind, points, self.problem.space_time)
        return factor

    def terms(self, model: Model, points: Points) -> tuple[Rows, ...]:
        places = len(self.problem.boundary) + 2
        found = [
            _weighted(rows, points.factors[kind if kind < places else -1])
            for kind, rows in self._numbered(model, points)
        ]
        if self.gradient_penalty:
            steep = _scaled(self._slopes, 2 * self.gradient_penalty / len(points.inside.points))
            found.append(_weighted(Rows(steep, points.inside), points.factors[0]))
        return tuple(found)

    def _numbered(self, model: Model, points: Points) -> list[tuple[int, Rows]]:
        """The residuals of all terms without adaptive factors, numbered as for `AbstractWeights`."""
        problem = self.problem
        self._check(model)
        boundary, initial = problem.boundary, problem.initial
        if isinstance(model, TrialSurrogate):
            boundary, initial = model.split.boundary, {u: problem.initial[u] for u in model.split.initial}
        # ½‖r‖² is then the mean of squares, with the penalty on the conditions.
        terms = [(0, Rows(_scaled(self._equations, 2 / len(points.inside.points)), points.inside))]
        weight = 2 * self.penalty / self.boundary_points
        for kind_, (condition, held) in enumerate(zip(problem.boundary, points.sides, strict=True), 1):
            if condition in boundary:
                terms.append((kind_, Rows(_scaled(self._condition(condition), weight), held)))
        if points.start is not None and initial:
            terms.append((len(problem.boundary) + 1, Rows(_scaled(self._start(tuple(initial)), weight), points.start)))
        if self.observations is not None:
            share = 2 * self.observation_weight / self.observations.number
            rows = Rows(_scaled(self._difference, share), self.observations.rows())
            terms.append((len(problem.boundary) + 2, rows))
        return [(kind_, term) for kind_, term in terms if eqx.filter_eval_shape(term.values, model).size]

    def outcome(self, model: Model, points: Points, values: list[Array]) -> Outcome:
        fixed = _fixed(model)
        inside = (values[0] ** 2).sum(-1) * (len(values[0]) / 2) / points.factors[0]
        outside = (Rows(_scaled(self._equations, 1.0), points.independent).values(fixed) ** 2).sum(-1)
        metrics = {"residual": inside.mean(), "independent_residual": outside.mean()}
        rows = jax.tree.map(lambda x: x[: self.independent], points.independent)
        number, box = len(points.inside.points), self.problem.space_time
        metrics["points_per_wave"] = points_per_wave(lambda row: self._jets(fixed, row), rows, number, box)
        if self._weights or points.gated:
            metrics["weight"] = points.factors[0].mean()
        sizes = jax.lax.stop_gradient((jnp.sqrt(inside), jnp.sqrt(outside)))
        terms = self._numbered(model, points) if self._weights else []
        measured = tuple(w.measure(s, model, terms) for w, s in zip(self._weights, points.weights, strict=True))
        return Outcome(model.state, (*sizes, measured), metrics)

    def update(self, state: ResidualState, points: Points, outcome: Outcome, key: Array) -> ResidualState:
        inside, outside, measured = outcome.memory
        box, others = self.problem.space_time, points.independent.points
        population = self.sampler.update(key, state.population, inside, others, outside, box)
        before = state.population.points
        kept = (population.points == before).all(-1)
        weights = tuple(
            w.update(s, m, before, inside**2, kept, box)
            for w, s, m in zip(self._weights, state.weights, measured, strict=True)
        )
        return ResidualState(population, weights)

    def validate(self, model: Model, batch: Fields) -> NoReturn:
        raise TypeError("Residual has no use for validation data; give fit(…, val=measure), a function of the model")

    def _equations(self, model: Model, row: Collocation) -> Float[Array, " m"]:
        """The residuals of all equations at one point."""
        found = jax.tree.leaves(self.problem.residual(self._jets(model, row), self._inputs(model, row)))
        if not found:
            raise ValueError(f"the residual of {self.problem!r} returns nothing, expected one number per equation")
        found = [jnp.asarray(r) for r in found]
        if wrong := [r for r in found if r.shape or jnp.iscomplexobj(r) or r.dtype == bool]:
            what = f"has the shape {wrong[0].shape}" if wrong[0].shape else f"is {wrong[0].dtype.name}"
            raise ValueError(
                f"the residual of {self.problem!r} {what} at one point, expected one real number per equation"
            )
        return jnp.stack([r.astype(row.points.dtype) for r in found])

    def _slopes(self, model: Model, row: Collocation) -> Float[Array, "m d"]:
        """The derivatives of all residuals along the coordinates at one point."""
        return jax.jacfwd(lambda points: self._equations(model, Collocation(points, row.numbers)))(row.points)

    def _difference(self, model: Model, row: tuple[Array, Array, Array]) -> Float[Array, " c"]:
        """The unknowns minus what was observed at one point; 0 for what is not known."""
        points, values, known = row
        jets = self._jets(model, Collocation(points, {}))
        names = self.observations.names if self.observations is not None else ()
        return known * (jnp.stack([jets[name].value for name in names]) - values)

    def _condition(self, condition: BoundaryCondition):
        def residual(model: Model, rows: list[Collocation]) -> Array:
            found = condition.residual([self._jets(model, row) for row in rows], self._inputs(model, rows[0]))
            return _stacked(jax.tree.leaves(found))

        return residual

    def _start(self, names: tuple[str, ...]):
        def residual(model: Model, row: Collocation) -> Array:
            found = self.problem.initial_residual(self._jets(model, row), self._inputs(model, row))
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
        """About how large the trial function must be, see `trial_size`."""
        return (in_double(self._size) if is_double(model) else self._size)(model)

    def _size(self, model: TrialSurrogate) -> float:
        key = jax.random.key(0)
        rows = with_numbers(self.problem, uniform_points(key, self.problem.space_time, 64), key)
        return trial_size(lambda scaled: jax.vmap(lambda row: self._equations(scaled, row))(rows), model)

    def _inputs(self, model: Model, row: Collocation) -> Jets:
        learned = model.learned if isinstance(model, TrialSurrogate) else {}
        return self.problem.input_jets({**learned, **row.numbers})

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


def _weighted(rows: Rows, factors: Float[Array, " n"]) -> Rows:
    """Residuals times the roots of factors, one per row."""
    return Rows(lambda model, row: jnp.sqrt(row[1]) * rows.function(model, row[0]), (rows.rows, factors))


def _stacked(residuals: list[Array]) -> Array:
    return jnp.stack([jnp.asarray(r) for r in residuals]) if residuals else jnp.zeros(0)
