"""The closed-form start of learned solvers: every step is a linear least-squares problem in its own weights."""

from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...solvers.diffusion.denoiser import Level, timed_by
from ..trainable import Buffer
from .solver_forms import AbstractRows, Levels

if TYPE_CHECKING:
    from .learned_solver import LearnedSolver

_SMALLEST = 1e-8  # of the largest eigenvalue of a Gram matrix: directions below are not told apart in training


def least_squares(model: "LearnedSolver", key, samples: int, teacher: int, ridge: float) -> "LearnedSolver":
    """See `LearnedSolver.least_squares`.

    Row i of X and W depends on row i of the weights alone, and in an affine way: v_{i+1} = a + Σ_k θ_k b_k with a and b_k from
    the points and evaluations so far. Training goes on from them in the eigenvectors of these normal equations: earlier
    evaluations are nearly parallel, so that an optimiser that moves the weights themselves first loses what was found.
    """
    flow, form = model.training(), model.form
    if not isinstance(form, AbstractRows) or not model.weights.shape[1]:
        raise ValueError(f"least_squares: {type(form).__name__} has no weights; train it with fit, or use FreeTable()")
    paths = eqx.filter_jit(lambda flow, key: flow.paths(key, samples, teacher))(flow, key)
    levels, network = model.levels()
    parts = Levels.of(levels, network, np)
    steps, columns = model.weights.shape
    zero = np.zeros((steps, columns))
    base = form.rows(zero, parts, np)
    moved = [form.rows(zero + np.eye(1, columns, k), parts, np) for k in range(columns)]
    evaluate = eqx.filter_jit(lambda flow, v, level: jax.vmap(lambda v: flow.evaluated(v, level))(v))
    points, known = [np.asarray(paths.starts, np.float64)], []
    weights, units = np.array(zero), np.zeros((steps, columns, columns))
    known_times = timed_by(flow.given.value[0], flow.schedule)
    for i, seen in enumerate(network):
        level = Level.of(jnp.asarray(seen, float), known_times)
        known.append(np.asarray(evaluate(flow, jnp.asarray(points[-1], float), level), np.float64))

        def combined(rows, i=i):
            x, w = rows
            return np.tensordot(x[i, : i + 1], np.stack(points), 1) + np.tensordot(w[i, : i + 1], np.stack(known), 1)

        plain = combined(base)
        directions = np.stack([(combined(rows) - plain).ravel() for rows in moved], 1)
        target = paths.ends if i == steps - 1 else paths.at(jnp.asarray(-np.log(levels[i + 1]), float))
        gram = directions.T @ directions
        usable = gram.diagonal() > 0
        size, modes = np.linalg.eigh(gram[np.ix_(usable, usable)])
        missing = (np.asarray(target, np.float64) - plain).ravel()
        along = modes.T @ (directions[:, usable].T @ missing)
        weights[i, usable] = modes @ (along / (size + ridge * size.max(initial=0)))
        # New units of the weights: each moves the step by 1 in the mean square, in a direction of its own.
        scales = np.sqrt(missing.size / np.maximum(size, _SMALLEST * size.max(initial=0)))
        units[i][np.ix_(usable, usable)] = modes * scales
        points.append(plain + (directions @ weights[i]).reshape(plain.shape))
    spent = (model.state + samples * (teacher + steps)).astype(jnp.int32)
    made = (Buffer(jnp.asarray(weights, float)), Buffer(jnp.asarray(units, float)), jnp.zeros((steps, columns)), spent)
    return eqx.tree_at(lambda m: (m.start, m.units, m.weights, m.state), model, made)
