"""The closed-form start of learned solvers: every step is a linear least-squares problem in its own weights."""

from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...solvers.diffusion.denoiser import Level
from .solver_forms import Levels

if TYPE_CHECKING:
    from .learned_solver import LearnedSolver


def least_squares(model: "LearnedSolver", key, samples: int, teacher: int, ridge: float) -> "LearnedSolver":
    """See `LearnedSolver.least_squares`.

    Row i of X and W depends on row i of the weights alone, and in an affine way: v_{i+1} = a + Σ_k θ_k b_k with a and b_k from
    the points and evaluations so far.
    """
    flow = model.training()
    paths = eqx.filter_jit(lambda flow, key: flow.paths(key, samples, teacher))(flow, key)
    levels, network = model.levels()
    parts = Levels.of(levels, network, np)
    steps, columns = model.weights.shape
    zero = np.zeros((steps, columns))
    base = model.form.rows(zero, parts, np)
    moved = [model.form.rows(zero + np.eye(1, columns, k), parts, np) for k in range(columns)]
    evaluate = eqx.filter_jit(lambda flow, v, level: jax.vmap(lambda v: flow.evaluated(v, level))(v))
    points, known = [np.asarray(paths.starts, np.float64)], []
    weights = np.array(zero)
    for i in range(steps):
        level = Level.of(jnp.asarray(network[i], float), flow.schedule)
        known.append(np.asarray(evaluate(flow, jnp.asarray(points[-1], float), level), np.float64))

        def combined(rows, i=i):
            x, w = rows
            return sum(x[i, j] * points[j] + w[i, j] * known[j] for j in range(i + 1))

        plain = combined(base)
        directions = np.stack([(combined(rows) - plain).ravel() for rows in moved], 1) if columns else np.zeros((plain.size, 0))
        target = paths.ends if i == steps - 1 else paths.at(jnp.asarray(-np.log(levels[i + 1]), float))
        gram = directions.T @ directions
        usable = gram.diagonal() > 0
        if usable.any():
            gram = gram[np.ix_(usable, usable)]
            gram += ridge * gram.diagonal().max() * np.eye(len(gram))
            missing = (np.asarray(target, np.float64) - plain).ravel()
            weights[i, usable] = np.linalg.solve(gram, directions.T[usable] @ missing)
        points.append(plain + (directions @ weights[i]).reshape(plain.shape))
    spent = model.state + samples * (teacher + steps)
    return eqx.tree_at(lambda m: (m.weights, m.state), model, (jnp.asarray(weights, float), spent.astype(jnp.int32)))
