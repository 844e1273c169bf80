"""Samplers as triangular matrices: every point of a deterministic sampler is a linear combination of its first state and of the
evaluations before it.

In the frame of v (see `table`), u_k = P_k0 v + Σ_{j<k} P_kj+1 D_j for the points k = 0, …, N, the last of which is the sample.
Multistep, single-step and predictor-corrector methods with N evaluations differ in P and in their noise levels alone. Learned
solvers train P; the search for solvers compares many P at once.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .denoiser import AbstractDenoiser, Level, timed_by
from .schedule import AbstractSchedule
from .table import Table


def unrolled(table: Table) -> np.ndarray:
    """P `(evaluations + 1, evaluations + 1)` of a table.

    **Raises:** `ValueError` for a sampler that draws noise, has constants, or weights per entry of a sample.

    **Example:**

        >>> table = sx.diffusion.plan(sx.diffusion.DDIM(), schedule=sx.diffusion.EDM(), times=5)
        >>> sx.diffusion.unrolled(table).shape
        (6, 6)
    """
    if table.stochastic or table.accept.ndim > 2 or table.accept[:, 3].any() or table.advance[:, 3].any():
        raise ValueError("unrolled: the sampler draws noise, has constant terms or weights per entry")
    count, unit = table.evaluations, np.eye(table.evaluations + 1)
    solution, point = unit[0], table.entry[0] * unit[0]
    history, points = [np.zeros(count + 1)] * table.memory, [point]
    for k in range(count):
        known = np.stack([solution, point, unit[k + 1], 0 * point, *history])
        solution = table.accept[k] @ known
        moved = table.advance[k] @ np.stack([solution, *known[1:]])
        kept = unit[k + 1] if table.record is None else table.record[k] @ known[1:3]
        history, point = [kept, *history][: table.memory], moved
        points.append(point)
    return np.stack(points)


def from_unrolled(points: np.ndarray, network_levels: np.ndarray, start: float, end: float) -> Table:
    """The table with these points. The network is evaluated at `network_levels` `(evaluations,)`, which need not be the noise
    levels of the points.

    **Raises:** `ValueError` for points that are no lower-triangular matrix of that size.

    **Example:**

        >>> table = sx.diffusion.plan(sx.diffusion.DDIM(), schedule=sx.diffusion.EDM(), times=4)
        >>> again = sx.diffusion.from_unrolled(sx.diffusion.unrolled(table), table.levels, table.start, table.end)
        >>> bool(np.allclose(sx.diffusion.unrolled(again), sx.diffusion.unrolled(table)))
        True
    """
    count = len(network_levels)
    if np.shape(points) != (count + 1, count + 1) or np.triu(points, 1).any():
        raise ValueError(
            f"from_unrolled(points=…): expected a lower-triangular matrix ({count + 1}, {count + 1}) for {count} evaluations; "
            f"got the shape {np.shape(points)}, or entries above the diagonal"
        )
    accept, advance = np.zeros((count, 3 + count)), np.zeros((count, 3 + count))
    accept[:, 0] = 1.0  # the solution so far stays the first state
    advance[:, 0] = points[1:, 0]
    for k in range(count):
        advance[k, 2] = points[k + 1, k + 1]
        advance[k, 4 : 4 + k] = points[k + 1, k:0:-1]
    levels = np.asarray(network_levels, np.float64)
    return Table(levels, start, end, (float(points[0, 0]), 0.0), accept, advance, np.zeros(count), None, True)


def walk(
    denoiser: AbstractDenoiser,
    v: Float[Array, "*shape"],
    points: Float[Array, "N1 N1"],
    network_levels: Float[Array, " N"],
    schedule: AbstractSchedule,
    condition: Any = None,
) -> tuple[Float[Array, "N1 *shape"], Float[Array, "N *shape"]]:
    """The points of a sampler from its first state v, the last of which is the sample, and the evaluations of the denoiser. It
    keeps them all, N times the size of a sample."""
    level = Level.of(network_levels, timed_by(denoiser, schedule))
    level = jax.tree.map(lambda a: jnp.asarray(a, v.dtype), level)
    points = jnp.asarray(points, v.dtype)
    known = jnp.zeros((len(network_levels), *v.shape), v.dtype)

    def step(known, row):
        i, weights, level = row
        point = weights[0] * v + jnp.tensordot(weights[1:], known, 1)
        denoised = jnp.asarray(denoiser.at(point, level, condition)).astype(v.dtype)
        return lax.dynamic_update_index_in_dim(known, denoised, i, 0), point

    known, before = lax.scan(jax.checkpoint(step), known, (jnp.arange(len(known)), points[:-1], level))
    end = points[-1, 0] * v + jnp.tensordot(points[-1, 1:], known, 1)
    return jnp.concatenate([before, end[None]]), known
