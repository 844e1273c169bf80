"""Training without data: the strong residual of a problem at a population of collocation points."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...core.domains import Box
from ...solvers.pde.conditions import Side
from ...solvers.pde.declaration import Problem
from ...solvers.pde.pointwise_derivatives import Jet, Jets
from ..task.task import Fields, Inputs
from ..trainable import apply_batch
from ..training.objectives import States
from .sampling import Sampler, uniform_points


class Residual(eqx.Module):
    """mean r(x)² + λ (mean over the sides + mean over the initial time of (u − value)²), r the problem's residual.

    Points come from `sampler`, whose population is the objective's state: the residuals of this step's points choose the
    next step's. On the sides the problem's boundary conditions are asked for, on periodic ones equal values and slopes. The
    surrogate must predict at any `query` (coordinates scaled to [0, 1], time last) and have one output channel.

    **Arguments:** `penalty`, λ, 1 to 1000; `boundary_points` per side.
    """

    problem: Problem = eqx.field(static=True)
    sampler: Sampler
    penalty: float = eqx.field(static=True, default=100.0)
    boundary_points: int = eqx.field(static=True, default=64)

    def __check_init__(self):
        self.problem.needs("residual", "Residual")

    def init(self, key: Array):
        return self.sampler.init(key, self.problem.space_time)

    def loss(self, model, states: States, batch: Fields | None, key: Array):
        problem, box = self.problem, self.problem.space_time
        k_next, k_sides, k_start = jax.random.split(key, 3)
        n, inputs = self.boundary_points, problem.input_jets()

        def u(point):
            query = (point - jnp.asarray(box.lower)) / jnp.asarray(box.extent)
            y, _ = apply_batch(model.network, states.model, Inputs(query=query[None]))
            return y[0, 0] if y.ndim == 2 else y[0]

        residual = jax.vmap(lambda x: problem.residual(Jet.of(u, x, box.names)))(states.objective)
        sides = sum(
            _mean_square(
                condition.residual([_jets(problem, u, points) for points in _on(condition.sides, box, key, n)], inputs)
            )
            for key, condition in zip(jax.random.split(k_sides, len(problem.boundary)), problem.boundary, strict=True)
        )
        if problem.time is not None:
            points = uniform_points(k_start, box, n).at[:, -1].set(problem.time.start)
            sides += _mean_square(problem.initial_residual(_jets(problem, u, points), {}))
        population = self.sampler.update(k_next, states.objective, jax.lax.stop_gradient(residual), box)
        interior = (residual**2).mean()
        return interior + self.penalty * sides, (States(states.model, population), {"residual": interior})


def _jets(problem: Problem, u: Callable[[Array], Array], points: Array) -> Jets:
    return Jets({problem.unknowns[0]: Jet.of(jax.vmap(u), points, problem.coordinates)})


def _on(sides: tuple[Side, ...], box: Box, key: Array, n: int) -> list[Array]:
    """The same random points moved to each of `sides`."""
    points = uniform_points(key, box, n)
    return [points.at[:, box.names.index(side.axis)].set(side.position) for side in sides]


def _mean_square(residuals) -> Array:
    return sum(((r**2).mean() for r in jax.tree.leaves(residuals)), jnp.zeros(()))
