"""k-means: steps of Lloyd from k-means++ starts, compiled; for comparison with k-medoids."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from ....core.arguments import checked
from ....core.precision import in_double
from .clustering import Clustering, on_host


@checked
def kmeans(
    points: Float[Array | np.ndarray, "n d"],
    k: int,
    *,
    key: PRNGKeyArray | None = None,
    restarts: int = 10,
    max_steps: int = 300,
) -> Clustering:
    """`k` centres that minimise Σ_j min_i ‖x_j − c_i‖² locally: steps of Lloyd (every centre the mean of the points nearest
    to it) until no label changes, from the best of `restarts` k-means++ starts, all at once by vmap.

    A centre that loses all its points moves to the point farthest from its own centre. k-means on normalised data is
    k-means of `points / norms`; other inner products enter through `points * sqrt(weights)`, or the coefficients of a POD,
    whose few columns are also faster.

    **Arguments:** `points` `(n, d)` in float32 or float64, the precision of the work; `key` of the starts, fixed by default;
    `restarts` 5 to 20.

    Returns a `Clustering` with `centres` and the sum of squares as `cost`. Works under jit and vmap; there the values are
    not checked.

    **Raises:** `ValueError` for points with NaN or infinity, k outside 1 … n, and k above the number of different points.

    **Source:** S. Lloyd, IEEE Transactions on Information Theory 28 (1982); D. Arthur, S. Vassilvitskii, k-means++, SODA 2007
    (with its greedy draws).

    **Example:**

        >>> found = sx.reduced.kmeans(np.array([[0.0], [0.1], [5.0], [5.1]]), 2, key=key)
        >>> bool(found.labels[0] == found.labels[1]), bool(found.labels[0] == found.labels[2])
        (True, False)
    """
    n = points.shape[0]
    if not 1 <= k <= n or restarts < 1:
        raise ValueError(
            f"kmeans: k = {k} clusters of n = {n} points from {restarts} starts; k from 1 to n, one start or more"
        )
    keys = jax.random.split(jax.random.key(0) if key is None else key, restarts)
    traced = isinstance(points, Tracer) or isinstance(keys, Tracer)
    if not traced and not np.isfinite(points).all():
        raise ValueError(f"kmeans: point {np.argmin(np.isfinite(points).all(1))} holds NaN or infinity")
    run = in_double(_best) if points.dtype == np.float64 and not traced else _best
    clustering, smallest = run(points, keys, k, max_steps)
    if traced:
        return clustering
    if not smallest:
        raise ValueError(f"kmeans: fewer than k = {k} different points")
    return on_host(clustering)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _best(points, keys, k: int, max_steps: int):
    """The best of the local optima, and the size of its smallest cluster."""
    points, mean = points - points.mean(0), points.mean(0)  # without a common offset distances cancel less
    found = jax.vmap(lambda key: _lloyd(points, _plus_plus(points, k, key), max_steps))(keys)
    best = jnp.argmin(found.cost)
    found = jax.tree.map(lambda x: x[best], found)
    found = Clustering(found.labels, found.cost, found.iterations, found.converged, centres=found.centres + mean)
    return found, jnp.bincount(found.labels, length=k).min()


def _plus_plus(points, k: int, key) -> Float[Array, "k d"]:
    """Centres among the points: of a few draws with probability proportional to the squared distance to the centres so far,
    the one that leaves the least sum of squares."""
    draws = 2 + int(math.log(k))

    def draw(i, state):
        centres, squared = state
        drawn = points[jax.random.categorical(jax.random.fold_in(key, i), jnp.log(squared), shape=(draws,))]
        left = jax.vmap(lambda new: jnp.minimum(squared, ((points - new) ** 2).sum(1)))(drawn)
        best = jnp.argmin(left.sum(1))
        return centres.at[i].set(drawn[best]), left[best]

    first = points[jax.random.randint(jax.random.fold_in(key, 0), (), 0, len(points))]
    start = (jnp.tile(first, (k, 1)), ((points - first) ** 2).sum(1))
    return jax.lax.fori_loop(1, k, draw, start)[0]


def _lloyd(points, centres, max_steps: int) -> Clustering:
    k = len(centres)

    def assigned(centres):
        # ‖x − c‖² without ‖x‖², which does not matter for the choice
        score = (centres**2).sum(1) - 2 * jnp.matmul(points, centres.T, precision="highest")
        labels = jnp.argmin(score, axis=1).astype(jnp.int32)
        return labels, ((points - centres[labels]) ** 2).sum(1)

    def step(state):
        labels, squared, _, steps, _ = state
        member = jax.nn.one_hot(labels, k, dtype=points.dtype)
        sizes = member.sum(0)
        means = jnp.matmul(member.T, points, precision="highest") / jnp.maximum(sizes, 1)[:, None]
        _, farthest = jax.lax.top_k(squared, k)
        empty = sizes == 0
        centres = jnp.where(empty[:, None], points[farthest[jnp.cumsum(empty) - 1]], means)
        new, squared = assigned(centres)
        return new, squared, centres, steps + 1, jnp.all(new == labels)

    start = (*assigned(centres), centres, jnp.zeros((), jnp.int32), jnp.zeros((), bool))
    labels, squared, centres, steps, still = jax.lax.while_loop(
        lambda state: ~state[-1] & (state[-2] < max_steps), step, start
    )
    return Clustering(labels, squared.sum(), steps, still, centres=centres)
