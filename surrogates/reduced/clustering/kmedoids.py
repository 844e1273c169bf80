"""k-medoids: BUILD and blocked eager swaps on a matrix of dissimilarities, compiled."""

import functools
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ....core.arguments import checked, count
from ....core.precision import in_double
from ....solvers.kernels.compile_platform import target_platform
from .clustering import Clustering, Dissimilarities, dissimilarities, on_host, silhouette

# Candidates whose swaps are evaluated together. A CPU gains nothing from large blocks and loses the swaps that it could
# have made in between; an accelerator needs them to have enough to do.
_BLOCK_CPU, _BLOCK_ACCELERATOR = 8, 1024


@checked
def kmedoids(
    dissimilarity: Dissimilarities,
    k: int,
    *,
    start: Literal["build", "random"] | Int[Array | np.ndarray, " k"] | Sequence[int] = "build",
    key: PRNGKeyArray | None = None,
    restarts: int = 1,
    block: int | None = None,
    max_passes: int = 100,
) -> Clustering:
    """`k` of the points as medoids m_1 … m_k, so that no single swap lowers the cost Σ_j min_i D[m_i, j].

    Starts from BUILD (medoids one at a time, each lowering the cost most; k passes over the matrix), from `restarts`
    random draws of which the best result is kept, or from given medoids. Then passes over all candidates x: a block of
    rows gives at once the changes of cost for all pairs of a medoid i to remove and a candidate of the block to add,

        Δ(i, x) = Σ_j min(D_xj − d_j, 0) + Σ_{j of cluster i} (min(max(D_xj, d_j), d'_j) − d_j),

    d_j and d'_j the dissimilarities of point j to its nearest and second nearest medoid; the best swap of the block is
    made if it lowers the cost, and the next block sees the new medoids. `block=1` is FasterPAM (every improving swap at
    once), `block=n` is FastPAM1 (the best of all swaps). A pass takes O(n²k) operations in matrix products and a buffer
    of block × n; the matrix is neither copied nor changed. The cost falls strictly, so the loop ends.

    **Arguments:**

    - `dissimilarity`: non-negative, of a zero diagonal, symmetric (otherwise row m holds what medoid m costs the others),
      in float32 or float64, in whose precision the work is done, integers in float64. `sine` makes one.
    - `k`: number of clusters, 1 to n.
    - `start`: "build"; "random" with a `key`, and 5 to 10 `restarts` where the result matters; or the indices of medoids.
    - `block`: candidates evaluated together; None takes 8 on a CPU, 1024 elsewhere.
    - `max_passes`: over all candidates; 3 to 6 are usual. `converged` says whether they sufficed.

    Returns a `Clustering` with `medoids`, `iterations` the number of swaps. One of several equal points
    becomes the medoid, not two, unless fewer than k points differ; no cluster is empty even then. Works under jit, and
    under vmap over matrices, keys or given medoids; there the values are not checked and non-finite ones give a NaN cost.

    **Raises:** `ValueError` for a matrix that is not square, has a diagonal that is not zero (similarities), or negative or
    non-finite entries; k outside 1 … n; medoids
    that are repeated or no indices; "random" without a key, restarts without "random".

    **Source:** L. Kaufman, P. J. Rousseeuw, Finding Groups in Data, 1990 (BUILD); E. Schubert, P. J. Rousseeuw, Fast and eager
    k-medoids clustering, Information Systems 101 (2021), arXiv:2008.05171. Blocks between the two forms are ours.

    **Example:**

        >>> points = np.array([0.0, 0.1, 0.2, 5.0, 5.1])
        >>> found = sx.reduced.kmedoids(np.abs(points[:, None] - points), 2)
        >>> sorted(np.asarray(found.medoids).tolist())[0], len(set(found.labels[:3].tolist()))
        (1, 1)
    """
    dissimilarity = dissimilarities("kmedoids", dissimilarity)
    n = len(dissimilarity)
    count("kmedoids", "max_passes", max_passes, least=0)
    if block is not None:
        count("kmedoids", "block", block)
    if not 1 <= k <= n:
        raise ValueError(f"kmedoids: k = {k} clusters of n = {n} points; take 1 to n")
    starts = _starts(start, n, k, key, restarts)
    cpu = target_platform() == "cpu"
    block = min(block or (_BLOCK_CPU if cpu else _BLOCK_ACCELERATOR), n)
    traced = isinstance(dissimilarity, Tracer) or isinstance(starts, Tracer)
    run = in_double(_best) if dissimilarity.dtype == np.float64 and not traced else _best
    clustering, valid = run(dissimilarity, starts, k, block, max_passes, cpu)
    if traced:
        return eqx.tree_at(lambda c: c.cost, clustering, jnp.where(valid, clustering.cost, jnp.nan))
    if not valid:
        raise ValueError("the dissimilarities must be finite and not negative; NaN, infinite or negative entries found")
    return on_host(clustering)


@checked
def choose_k(
    dissimilarity: Dissimilarities, candidates: Iterable[int], **options
) -> tuple[Clustering, dict[int, float]]:
    """The clustering of the largest mean silhouette among the `candidates` for k (2 or more), and that mean for each k.

    `options` go to `kmedoids`. The silhouette favours few, well separated clusters; on a continuum of snapshots, where it
    has no clear maximum, k is a question of cost: see the break-even criterion of the local bases. Every k is compiled
    once, about a second.

    **Example:**

        >>> points = np.array([0.0, 0.1, 0.2, 5.0, 5.1, 5.2])
        >>> best, scores = sx.reduced.choose_k(np.abs(points[:, None] - points), (2, 3))
        >>> len(best.medoids), sorted(scores)
        (2, [2, 3])
    """
    candidates = list(candidates)
    if not candidates or min(candidates) < 2:
        raise ValueError(f"choose_k: candidates {candidates}; expected numbers of clusters, 2 or more")
    dissimilarity = dissimilarities("choose_k", dissimilarity)
    clusterings = {k: kmedoids(dissimilarity, k, **options) for k in candidates}
    scores = {k: float(np.mean(silhouette(dissimilarity, c.labels))) for k, c in clusterings.items()}
    return clusterings[max(scores, key=scores.__getitem__)], scores


def _starts(start, n: int, k: int, key, restarts: int) -> Array | np.ndarray | None:
    """Medoids to start from, a row `(k,)` per start; None if BUILD is to choose them inside the compiled program."""
    if isinstance(start, str) and start == "random":
        if key is None or restarts < 1:
            raise ValueError(f"kmedoids: start='random' needs a key and restarts of 1 or more, not {restarts}")
        draw = functools.partial(jax.random.choice, a=n, shape=(k,), replace=False)
        return jax.vmap(draw)(jax.random.split(key, restarts)).astype(jnp.int32)
    if restarts != 1:
        raise ValueError(f"kmedoids: restarts = {restarts} needs start='random'")
    if isinstance(start, str):
        if start != "build":
            raise ValueError(f"kmedoids: unknown start {start!r}; use 'build', 'random' or the indices of medoids")
        return None
    start = start if isinstance(start, Tracer) else np.asarray(start)
    if start.shape != (k,) or not jnp.issubdtype(start.dtype, jnp.integer):
        raise ValueError(
            f"kmedoids: a start of shape {start.shape} and type {start.dtype}; expected {k} indices of medoids"
        )
    if not isinstance(start, Tracer) and (len(np.unique(start)) < k or start.min() < 0 or start.max() >= n):
        raise ValueError(f"kmedoids: the start must hold {k} different indices from 0 to {n - 1}, not {start}")
    return start[None].astype(np.int32)


@functools.partial(jax.jit, static_argnums=(2, 3, 5))
def _best(d, starts, k: int, block: int, max_passes, one_by_one: bool) -> tuple[Clustering, Array]:
    """The best of the local optima reached from `starts`, and whether all entries of `d` are finite and not negative."""
    starts = _build(d, k)[None] if starts is None else starts
    search = functools.partial(_search, d, block=block, max_passes=max_passes)
    # One restart keeps a CPU busy, and its steps can skip what the swaps of others would need.
    found = jax.lax.map(search, starts) if one_by_one else jax.vmap(search)(starts)
    best = jnp.argmin(found.cost)
    return jax.tree.map(lambda x: x[best], found), jnp.all((d >= 0) & (d < jnp.inf))


def _build(d, k: int) -> Int[Array, " k"]:
    """BUILD: every medoid is the point that lowers the cost most, the earlier ones given."""

    def add(i, state):
        medoids, nearest = state
        gains = jnp.maximum(nearest - d, 0).sum(1).at[medoids].set(-1)  # a medoid twice would be an empty cluster
        new = jnp.argmax(gains)
        return medoids.at[i].set(new.astype(medoids.dtype)), jnp.minimum(nearest, d[new])

    first = jnp.argmin(d.sum(1))
    return jax.lax.fori_loop(1, k, add, (jnp.full(k, first, jnp.int32), d[first]))[0]


class _Nearest(NamedTuple):
    """How the points see the medoids: the dissimilarities to the nearest medoid and to the second nearest (infinite if
    there is one), and the membership as a matrix."""

    medoids: Int[Array, " k"]
    labels: Int[Array, " n"]
    first: Float[Array, " n"]
    second: Float[Array, " n"]
    member: Float[Array, "n k"]


def _nearest(d, medoids) -> _Nearest:
    def compare(state, numbered_row):
        labels, first, second = state
        i, row = numbered_row
        second = jnp.minimum(second, jnp.maximum(first, row))
        return (jnp.where(row < first, i, labels), jnp.minimum(first, row), second), None

    k, infinite = len(medoids), jnp.full(d.shape[1], jnp.inf, d.dtype)
    start = (jnp.zeros(d.shape[1], jnp.int32), infinite, infinite)
    (labels, first, second), _ = jax.lax.scan(compare, start, (jnp.arange(k, dtype=jnp.int32), d[medoids]))
    return _Nearest(medoids, labels, first, second, jax.nn.one_hot(labels, k, dtype=d.dtype))


def _search(d, medoids, block: int, max_passes) -> Clustering:
    """Swaps from `medoids` on, until no block in turn offers one."""
    n, k = len(d), len(medoids)
    blocks = -(-n // block)

    def visit(b, state):
        now, swaps, fruitless = state
        begin = jnp.minimum(b * block, n - block)
        rows = jax.lax.dynamic_slice_in_dim(d, begin, block)
        # Sums as products with matrices: XLA's own reductions and scatters are slower on a CPU.
        shared = jnp.matmul(jnp.minimum(rows - now.first, 0), jnp.ones((n, 1), d.dtype), precision="highest")
        change = shared + jnp.matmul(jnp.clip(rows, now.first, now.second) - now.first, now.member, precision="highest")
        best = jnp.argmin(change)

        def swap():
            tried = _nearest(d, now.medoids.at[best % k].set((begin + best // k).astype(now.medoids.dtype)))
            # Only a fall of the computed cost counts: rounding can then neither raise it nor lead round in circles, nor
            # make one point the medoid twice, which lowers nothing.
            lower = tried.first.sum() < now.first.sum()
            return jax.tree.map(
                functools.partial(jnp.where, lower),
                (tried, swaps + 1, jnp.zeros_like(swaps)),
                (now, swaps, fruitless + 1),
            )

        return jax.lax.cond(change.ravel()[best] < 0, swap, lambda: (now, swaps, fruitless + 1))

    # Under vmap the index of the inner loop is common to all lanes, which therefore read the same rows.
    def one_pass(state):
        def step(b, state):
            return jax.lax.cond(state[2] < blocks, functools.partial(visit, b), lambda s: s, state)

        state, passes = state
        return jax.lax.fori_loop(0, blocks, step, state), passes + 1

    def unfinished(state):
        (_, _, fruitless), passes = state
        return (fruitless < blocks) & (passes < max_passes)

    zero = jnp.zeros((), jnp.int32)
    (found, swaps, fruitless), _ = jax.lax.while_loop(unfinished, one_pass, ((_nearest(d, medoids), zero, zero), zero))
    # A medoid belongs to its own cluster, also where two medoids are equal points, so that no cluster is empty.
    labels = found.labels.at[found.medoids].set(jnp.arange(k, dtype=jnp.int32))
    return Clustering(labels, found.first.sum(), swaps, fruitless >= blocks, found.medoids)
