"""The result of a clustering, and how well its clusters are separated: silhouettes."""

import functools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, Shaped

from ....core.arguments import checked
from ....core.precision import in_double

_ZERO = 1e-3  # of the largest dissimilarity: what rounding may leave on a diagonal


Dissimilarities = Shaped[Array | np.ndarray, "n _"] | Sequence
"""A square matrix, also of integers, booleans, or as nested lists."""


class Clustering(eqx.Module):
    """What `kmedoids` and `kmeans` return; `labels == i` are the points of `medoids[i]` or `centres[i]`, at least one.

    **Fields:**

    - `labels`: `(n,)`, from 0 to k − 1.
    - `cost`: sum over the points of the dissimilarity to their medoid (k-means: of the squared distance to their centre).
    - `iterations`: swaps of `kmedoids`, steps of `kmeans`, of the start that was kept.
    - `converged`: whether a local optimum was reached, before the limit on passes or steps.
    - `medoids`: `(k,)`, indices of points; None for k-means.
    - `centres`: `(k, d)`; None for k-medoids.

    **Example:**

        >>> found = sx.reduced.kmeans(np.array([[0.0], [0.1], [5.0], [5.1]]), 2, key=key)
        >>> found.labels.shape, bool(found.converged)
        ((4,), True)
    """

    labels: Int[Array | np.ndarray, " n"]
    cost: float | Float[Array, ""]
    iterations: int | Int[Array, ""]
    converged: bool | Bool[Array, ""] = True
    medoids: Int[Array | np.ndarray, " k"] | None = None
    centres: Float[Array | np.ndarray, "k d"] | None = None


def dissimilarities(call: str, matrix: Dissimilarities) -> Float[Array | np.ndarray, "n n"]:
    """The matrix in floating point; integers and booleans in float64.

    **Raises:** `ValueError`, which begins with `call`, for a matrix that is empty or not square, and for a diagonal that is
    not zero, as that of similarities; `TypeError` for complex numbers or no numbers. Traced values are not checked."""
    if not isinstance(matrix, jax.Array):
        matrix = np.asarray(matrix)
    if matrix.dtype.kind not in "biuf" and not jnp.issubdtype(matrix.dtype, jnp.floating):
        raise TypeError(f"{call}: dissimilarities of type {matrix.dtype}; expected real numbers")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"{call}: the dissimilarities must be a square matrix, not of shape {matrix.shape}")
    if isinstance(matrix, Tracer):
        return matrix if jnp.issubdtype(matrix.dtype, jnp.floating) else matrix.astype(float)
    if not jnp.issubdtype(matrix.dtype, jnp.floating):
        matrix = np.asarray(matrix, np.float64)
    # An array on a device may be in float64 although x64 is off.
    on_device = in_double(jnp.diagonal, promote=False)
    diagonal = matrix.diagonal() if isinstance(matrix, np.ndarray) else np.asarray(on_device(matrix))
    if (diagonal > _ZERO * float(matrix.max())).any():
        i = int(np.argmax(diagonal))
        raise ValueError(
            f"{call}: point {i} has the dissimilarity {diagonal[i]:.4g} to itself, expected 0; similarities s become "
            "dissimilarities by 1 - s, for example"
        )
    return matrix


def on_host(clustering: Clustering) -> Clustering:
    """The clustering with NumPy arrays, and Python numbers in place of arrays of one number."""
    return jax.tree.map(lambda x: np.asarray(x) if np.ndim(x) else np.asarray(x).item(), clustering)


@checked
def silhouette(
    dissimilarity: Dissimilarities, labels: Int[Array | np.ndarray, " m"] | Sequence[int]
) -> Float[np.ndarray, " m"]:
    """s_i = (b_i − a_i)/max(a_i, b_i) in [−1, 1]: a_i the mean dissimilarity of point i to the others of its cluster, b_i the
    least mean dissimilarity to another cluster. 1 is far from all others, 0 between two, below 0 in the wrong one; 0 by
    convention for a cluster of one. The mean over all points scores a clustering (`choose_k`).

    One product of the matrix with the memberships, in the precision of the matrix. Labels may be any integers.

    **Raises:** `ValueError` for fewer than two clusters, or shapes that do not belong together.

    P. J. Rousseeuw, Silhouettes, Journal of Computational and Applied Mathematics 20 (1987).

    **Example:**

        >>> points = np.array([0.0, 0.1, 5.0, 5.1])
        >>> values = sx.reduced.silhouette(np.abs(points[:, None] - points), np.array([0, 0, 1, 1]))
        >>> bool((values > 0.9).all())
        True
    """
    n, dissimilarity = len(labels), dissimilarities("silhouette", dissimilarity)
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


@checked
def medoid_silhouette(
    dissimilarity: Dissimilarities, medoids: Int[Array | np.ndarray, " k"] | Sequence[int]
) -> Float[Array | np.ndarray, " n"]:
    """s_i = 1 − d_i/d'_i, of the dissimilarities of point i to the nearest and the second nearest medoid (1 if both are 0).

    It reads k rows of the matrix where `silhouette` reads all of it.

    **Raises:** `ValueError` for fewer than two medoids.

    L. Lenssen, E. Schubert, Medoid silhouette clustering with automatic cluster number selection, Information Systems 120
    (2024), arXiv:2309.03751.

    **Example:**

        >>> points = np.array([0.0, 0.1, 5.0, 5.1])
        >>> sx.reduced.medoid_silhouette(np.abs(points[:, None] - points), [0, 2]).shape
        (4,)
    """
    if len(medoids) < 2:
        raise ValueError("medoid_silhouette: one medoid has no other to be compared with; take at least two")
    dissimilarity, medoids = np.asarray(dissimilarities("medoid_silhouette", dissimilarity)), np.asarray(medoids)
    if medoids.min() < 0 or medoids.max() >= len(dissimilarity):
        raise ValueError(f"medoid_silhouette: medoids {medoids}; expected indices from 0 to {len(dissimilarity) - 1}")
    nearest, second = np.sort(dissimilarity[medoids], axis=0)[:2]
    return np.where(second > 0, 1 - nearest / np.where(second > 0, second, 1), 1)
