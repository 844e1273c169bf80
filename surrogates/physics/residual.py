"""Training without data, on the strong residual of a problem at collocation points."""

from typing import NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ...core.domains import Box
from ...solvers.pde.conditions import Side
from ...solvers.pde.declaration import Problem
from ...solvers.pde.pointwise_derivatives import Jet, Jets
from ..networks.network_surrogate import NetworkSurrogate
from ..task.task import Fields
from ..training.objective import AbstractLeastSquares, Outcome
from .sampling import Sampler, uniform_points


class Collocation(eqx.Module):
    """Points of space and time, each with its own random parameters.

    **Fields:** `points` `(n, d)`, in the order of `Problem.coordinates` (time last); `numbers`, the problem's random numbers by
    name, `(n,)` each.
    """

    points: Float[Array, "n d"]
    numbers: dict[str, Float[Array, " n"]]


class Residual(AbstractLeastSquares):
    """Objective that trains a network on a PDE instead of data: `fit(model, objective=Residual(problem, R3(1000)), …)`.

    The loss is Σ mean r² over the equations of the problem, plus λ Σ mean c² over its boundary and initial conditions. r is the
    residual of an equation at the sampled points. c is the residual of a condition at random points of its side or at the
    initial time: values on Dirichlet sides, fluxes on Neumann sides, equal values and slopes on periodic sides, initial values.

    If the problem has random numbers as inputs, every point gets new ones in every step, so that one network learns the whole
    family. The network must predict at any points (ability `any_points`).

    **Arguments:**

    - `problem`: a problem that declares `residual`.
    - `sampler`: chooses the points inside: `R3` or `UniformSampler`. It sees the residuals at the points of a step when it
      chooses the points of the next one.
    - `penalty`: the weight λ of the conditions, 1 to 1000.
    - `boundary_points`: number of points per condition, and at the initial time.

    **Raises:** `ValueError` for a problem without residual or with random fields among its inputs.
    """

    problem: Problem = eqx.field(static=True)
    sampler: Sampler
    penalty: float = eqx.field(static=True, default=100.0)
    boundary_points: int = eqx.field(static=True, default=64)

    def __check_init__(self):
        self.problem.needs("residual", "Residual")
        if fields := [name for name, law in self.problem.laws.items() if law.is_field]:
            raise ValueError(f"Residual draws numbers; the inputs {fields} of {self.problem!r} are random fields")

    @property
    def calls(self) -> int:
        return 1

    def init(self, key: Array) -> Float[Array, "n d"]:
        return self.sampler.init(key, self.problem.space_time)

    def draw(self, state: Float[Array, "n d"], batch: Fields | None, key: Array) -> PyTree:
        """Points inside, points on every side, and points at the initial time (None for a steady problem)."""
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
        return self._with_numbers(state, k_inside), sides, start

    def residuals(self, model: NetworkSurrogate, points: PyTree) -> tuple[PyTree, Outcome]:
        problem, (inside, sides, start) = self.problem, points
        self._check(model)
        equations = jax.tree.leaves(problem.residual(*self._jets(model, inside)))
        conditions = [
            jax.tree.leaves(condition.residual([self._jets(model, c)[0] for c in held], self._inputs(held[0])))
            for condition, held in zip(problem.boundary, sides, strict=True)
        ]
        if start is not None:
            conditions.append(jax.tree.leaves(problem.initial_residual(*self._jets(model, start))))
        # ½‖r‖² is then the mean of squares, with the penalty on the conditions.
        roots = [jnp.sqrt(2 / r.size) * r for r in equations]
        roots += [jnp.sqrt(2 * self.penalty / r.size) * r for residuals in conditions for r in residuals]
        interior = jnp.asarray(sum((r**2 for r in equations[1:]), equations[0] ** 2))
        metrics = {"residual": interior.mean()}
        return roots, Outcome(model.state, jax.lax.stop_gradient(jnp.sqrt(interior)), metrics)

    def update(self, state: Float[Array, "n d"], points: PyTree, outcome: Outcome, key: Array) -> Float[Array, "n d"]:
        return self.sampler.update(key, state, outcome.memory, self.problem.space_time)

    def validate(self, model: NetworkSurrogate, batch: Fields) -> NoReturn:
        raise TypeError("Residual has no use for validation data; give fit(…, val=measure), a function of the model")

    def _check(self, model: NetworkSurrogate) -> None:
        """`ValueError` for a model that cannot be asked for the problem's unknowns at single points of its box."""
        task = model.task
        if not model.network.abilities.any_points:
            raise ValueError(
                f"Residual asks at single points, where {type(model.network).__name__} cannot answer (any_points)"
            )
        if set(task.labels) != set(self.problem.unknowns):
            raise ValueError(f"Residual: the task predicts {task.labels}, the unknowns of {self.problem!r} are others")
        if task.domain.as_grid("Residual").box != self.problem.box:
            raise ValueError(f"Residual: the task lives on {task.domain!r}, {self.problem!r} on {self.problem.box}")

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

    def _inputs(self, collocation: Collocation) -> Jets:
        return self.problem.input_jets(collocation.numbers)

    def _jets(self, model: NetworkSurrogate, collocation: Collocation) -> tuple[Jets, Jets]:
        """The jets (values and derivatives) of the unknowns and of the inputs at some points."""
        problem, numbers = self.problem, collocation.numbers

        def unknown(channel: int):
            def values(points):
                # In a task time is the first coordinate and is counted from the start of the interval.
                at = points
                if problem.time is not None:
                    at = jnp.concatenate([points[:, -1:] - problem.time.start, points[:, :-1]], -1)
                return jax.vmap(lambda p, own: model.at_points(own, p[None])[0, channel])(at, numbers)

            return values

        names = problem.coordinates
        jets = {u: Jet.of(unknown(model.task.labels.index(u)), collocation.points, names) for u in problem.unknowns}
        return Jets(jets), self._inputs(collocation)


def _moved(sides: tuple[Side, ...], box: Box, key: Array, n: int) -> list[Float[Array, "n d"]]:
    """Random points of the box, moved to each of `sides` along the axis of the side."""
    points = uniform_points(key, box, n)
    return [points.at[:, box.names.index(side.axis)].set(side.position) for side in sides]
