"""Training without data: the strong residual of a problem at a population of collocation points."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.domains import Box
from ...solvers.pde.pointwise_derivatives import Jet
from ...solvers.pde.problem import Problem
from ..task.task import Fields, Inputs
from ..trainable import apply_batch
from ..training.objectives import States
from .sampling import Sampler, uniform_points


class Residual(eqx.Module):
    """mean r(x)² + λ (mean over the sides + mean over the initial time of (u − value)²), r the problem's residual.

    Points come from `sampler`, whose population is the objective's state: the residuals of this step's points choose the
    next step's. Periodic sides are asked for u(left) = u(right). The surrogate must predict at any `query` (coordinates
    scaled to [0, 1]) and have one output channel.

    **Arguments:** `penalty`, λ, 1 to 1000; `boundary_points` per side.
    """

    problem: Problem = eqx.field(static=True)
    sampler: Sampler
    penalty: float = eqx.field(static=True, default=100.0)
    boundary_points: int = eqx.field(static=True, default=64)

    def __check_init__(self):
        self.problem.needs("residual", "Residual")
        if any(axis.boundary == "neumann" for axis in self.problem.box.axes):
            raise ValueError("Residual: Neumann sides are not supported; use Dirichlet or periodic ones")

    def init(self, key: Array):
        return self.sampler.init(key, self.problem.box)

    def loss(self, model, states: States, batch: Fields | None, key: Array):
        problem, box = self.problem, self.problem.box
        k_next, k_sides = jax.random.split(key)

        def u(point):
            query = (point - jnp.asarray(box.lower)) / jnp.asarray(box.extent)
            y, _ = apply_batch(model.network, states.model, Inputs(query=query[None]))
            return y[0, 0] if y.ndim == 2 else y[0]

        residual = jax.vmap(lambda x: problem.residual(Jet(u, x, box.names)))(states.objective)
        sides = sum(_side_loss(problem, box, u, i, jax.random.fold_in(k_sides, i), self.boundary_points)
                    for i in range(len(box.axes)))  # fmt: skip
        population = self.sampler.update(k_next, states.objective, jax.lax.stop_gradient(residual), box)
        interior = (residual**2).mean()
        return interior + self.penalty * sides, (States(states.model, population), {"residual": interior})


def _side_loss(problem: Problem, box: Box, u, i: int, key: Array, n: int):
    """Mean square of what is prescribed on the sides across axis `i`."""
    axis = box.axes[i]
    points = uniform_points(key, box, n)
    low, high = points.at[:, i].set(axis.start), points.at[:, i].set(axis.stop)
    if axis.boundary == "periodic":
        return ((jax.vmap(u)(low) - jax.vmap(u)(high)) ** 2).mean()
    if axis.boundary is None:
        if problem.initial is None:
            return jnp.zeros(())
        others = np.array([j for j in range(len(box.axes)) if j != i])
        value = jax.vmap(lambda x: problem.initial(*x[others]))(low)
        return ((jax.vmap(u)(low) - value) ** 2).mean()
    value = problem.boundary_value or (lambda *_: 0.0)
    return sum(
        ((jax.vmap(u)(side) - jax.vmap(lambda x: jnp.asarray(value(*x)))(side)) ** 2).mean() for side in (low, high)
    )
