"""The result of a clustering, and how well its clusters are separated: silhouettes."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ....core.precision import in_double


class Clustering(eqx.Module):
    """What `kmedoids` and `kmeans` return; `labels == i` are the points of `medoids[i]` or `centres[i]`, at least one.

    **Fields:**

    - `labels`: `(n,)`, from 0 to k − 1.
    - `cost`: sum over the points of the dissimilarity to their medoid (k-means: of the squared distance to their centre).
    - `iterations`: swaps of `kmedoids`, steps of `kmeans`, of the start that was kept.
    - `converged`: whether a local optimum was reached, before the limit on passes or steps.
    - `medoids`: `(k,)`, indices of points; None for k-means.
    - `centres`: `(k, d)`; None for k-medoids.
    """

    labels: Int[Array | np.ndarray, " n"]
    cost: float | Float[Array, ""]
    iterations: int | Int[Array, ""]
    converged: bool | Bool[Array, ""] = True
    medoids: Int[Array | np.ndarray, " k"] | None = None
    centres: Float[Array | np.ndarray, "k d"] | None = None


def on_host(clustering: Clustering) -> Clustering:
    """The clustering with NumPy arrays, and Python numbers in place of arrays of one number."""
    return jax.tree.map(lambda x: np.asarray(x) if np.ndim(x) else np.asarray(x).item(), clustering)


def silhouette(
    dissimilarity: Float[Array | np.ndarray, "_ _"], labels: Int[Array | np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """s_i = (b_i − a_i)/max(a_i, b_i) in [−1, 1]: a_i the mean dissimilarity of point i to the others of its cluster, b_i the
    least mean dissimilarity to another cluster. 1 is far from all others, 0 between two, below 0 in the wrong one; 0 by
    convention for a cluster of one. The mean over all points scores a clustering (`choose_k`).

    One product of the matrix with the memberships, in the precision of the matrix. Labels may be any integers.

    **Raises:** `ValueError` for fewer than two clusters, or shapes that do not belong together.

    P. J. Rousseeuw, Silhouettes, Journal of Computational and Applied Mathematics 20 (1987).
    """
    n = len(labels)
    if dissimilarity.shape != (n, n):
        raise ValueError(f"silhouette: dissimilarities of shape {dissimilarity.shape} for {n} labels")
    clusters, numbered = np.unique(np.asarray(labels), return_inverse=True)
    if len(clusters) < 2:
        raise ValueError("silhouette: one cluster has no other to be compared with; take at least two")
    run = in_double(_silhouette) if dissimilarity.dtype == np.float64 else _silhouette
    return np.asarray(run(dissimilarity, numbered, len(clusters)))


@functools.partial(jax.jit, static_argnums=2)
def _silhouette(d, labels, k: int):
    member = jax.nn.one_hot(labels, k, dtype=d.dtype)
    sums, sizes = jnp.matmul(d, member, precision="highest"), member.sum(0)
    own_size = sizes[labels]
    within = (sums * member).sum(1) / jnp.maximum(own_size - 1, 1)
    between = jnp.where(member > 0, jnp.inf, sums / sizes).min(1)
    larger = jnp.maximum(within, between)
    return jnp.where((own_size > 1) & (larger > 0), (between - within) / jnp.where(larger > 0, larger, 1), 0)


def medoid_silhouette(
    dissimilarity: Float[Array | np.ndarray, "n n"], medoids: Int[Array | np.ndarray, " k"]
) -> Float[Array | np.ndarray, " n"]:
    """s_i = 1 − d_i/d'_i, of the dissimilarities of point i to the nearest and the second nearest medoid (1 if both are 0).

    It reads k rows of the matrix where `silhouette` reads all of it.

    **Raises:** `ValueError` for fewer than two medoids.

    L. Lenssen, E. Schubert, Medoid silhouette clustering with automatic cluster number selection, Information Systems 120
    (2024), arXiv:2309.03751.
    """
    if len(medoids) < 2:
        raise ValueError("medoid_silhouette: one medoid has no other to be compared with; take at least two")
    nearest, second = np.sort(np.asarray(dissimilarity)[np.asarray(medoids)], axis=0)[:2]
    return np.where(second > 0, 1 - nearest / np.where(second > 0, second, 1), 1)
