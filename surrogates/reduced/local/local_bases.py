"""A dictionary of local reduced bases: snapshots in clusters, one POD basis per cluster."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ....core.arguments import checked
from ....core.storage import register
from ..basis.inner_product import AbstractInnerProduct, Euclidean, Product, inner_product
from ..basis.pod import pod
from ..clustering.clustering import Clustering
from ..clustering.dissimilarity import l2, normalized_l2, sine
from ..clustering.kmeans import kmeans
from ..clustering.kmedoids import kmedoids

_DISSIMILARITIES = {"sine": sine, "l2": l2, "normalized_l2": normalized_l2}  # for k-medoids
_CENTRES = {"kmeans": "l2", "normalized_kmeans": "normalized_l2"}  # the distance to a centre that k-means goes by
_MEASURES = _CENTRES | {name: name for name in _DISSIMILARITIES}
CLUSTERINGS = tuple(_MEASURES)


@register("LocalBases")
class LocalBases(eqx.Module):
    """What `local_bases` returns: K bases of at most N modes.

    **Fields:**

    - `bases`: modes orthonormal in the product, `(K, points, N)`; beyond the rank of a basis they are zero.
    - `duals`: M times the modes, like `bases`, so that coefficients are plain sums.
    - `ranks`: `(K,)`.
    - `labels`: cluster of every snapshot of the fit, `(n,)`.
    - `representatives`: medoid or centre of every cluster, `(K, points)`.
    - `product`: the inner product that was given to `local_bases`.
    - `measure`: "sine", "l2" or "normalized_l2", the distance to the representatives by which `assign` chooses.

    **Example:**

        >>> t = np.linspace(0, 1, 30)
        >>> local = sx.reduced.local_bases(np.exp(-200 * (np.linspace(0, 1, 40) - t[:, None]) ** 2), 3, 4)
        >>> local.labels.shape, local.ranks.shape
        ((30,), (3,))
    """

    bases: Float[Array | np.ndarray, "k points rank"]
    duals: Float[Array | np.ndarray, "k points rank"]
    ranks: Int[Array | np.ndarray, " k"]
    labels: Int[Array | np.ndarray, " n"]
    representatives: Float[Array | np.ndarray, "k points"]
    product: AbstractInnerProduct = Euclidean()
    measure: str = eqx.field(static=True, default="sine")

    def assign(self, snapshots: Float[Array | np.ndarray, "n points"]) -> Int[np.ndarray, " n"]:
        """The cluster of the nearest representative. It needs the solution itself; before that is known, a classifier
        chooses from the parameters (`fit_classifier`)."""
        return np.argmin(_distances(snapshots, self.representatives, self.product, self.measure), axis=1)

    def projection_errors(self, snapshots: Float[Array | np.ndarray, "n points"]) -> Float[np.ndarray, "n k"]:
        """‖u − P_k u‖ / ‖u‖ of every snapshot u on every basis, from the residual itself (no floor at √ε); 0 for u = 0."""
        unit = self.product.normalized(snapshots)
        pairs = zip(self.bases, self.duals, strict=True)
        return np.stack([self.product.norms(unit - (unit @ dual) @ basis.T) for basis, dual in pairs], axis=1)

    def project(self, u: Float[Array | np.ndarray, " points"], label: Int[Array | np.ndarray, ""] | int):
        """Coefficients Φ_kᵀ M u `(N,)` of one field in basis k = `label`; under jit, vmap and grad."""
        return jnp.asarray(u) @ jnp.asarray(self.duals)[label]

    def lift(self, coefficients: Float[Array | np.ndarray, " rank"], label: Int[Array | np.ndarray, ""] | int):
        """The field Φ_k c `(points,)`; under jit, vmap and grad."""
        return jnp.asarray(self.bases)[label] @ jnp.asarray(coefficients)

    def truncated(self, rank: int) -> "LocalBases":
        """The first `rank` modes of every basis, with the same clusters."""
        leading = self.bases[:, :, :rank], self.duals[:, :, :rank], np.minimum(self.ranks, rank)
        return LocalBases(*leading, self.labels, self.representatives, self.product, self.measure)


@checked
def local_bases(
    snapshots: Float[Array | np.ndarray, "n points"],
    k: int,
    rank: int,
    product: Product = None,
    *,
    clustering: str | Clustering = "sine",
    energy: float | None = None,
    key: Array | None = None,
) -> LocalBases:
    """The dictionary of a ROM-net: snapshots are clustered, and each cluster gets the POD basis of its normalised members.

    Snapshots are rows. Clustering and the small PODs work on coordinates in one orthonormal basis of all normalised
    snapshots, down to 1.5e-8 of their first singular value.

    **Arguments:**

    - `k`: clusters; 5 to 20, with at least five times `rank` snapshots in each (`recommend` chooses both).
    - `rank`: modes per basis at most, N. A cluster with fewer members is dissolved into the nearest others, so that there may
      be fewer than `k` bases; so may there be where snapshots repeat.
    - `product`: as for `pod`.
    - `clustering`: "sine" (k-medoids; the mean dissimilarity to the medoids is the mean relative error of one-vector local
      bases), "l2", "normalized_l2" (k-medoids), "kmeans", "normalized_kmeans"; or a `Clustering` of these snapshots, whose
      medoids (then by the sine) or centres (by the distance of normalised snapshots) later assign new snapshots.
      The sine suits sets with amplitudes and signs of their own. It puts u and −u into one cluster, which for
      bases of many modes can be worse than "normalized_kmeans" where the set is not symmetric under change of sign.
    - `energy`: bases of fewer modes where Σ_{j≤r} σ_j² ≥ energy · Σσ_j² of their cluster, for example 0.9999.
    - `key`: of the random starts of k-means.

    **Raises:** `ValueError` for an unknown clustering, `k` or `rank` outside 1 … number of snapshots, snapshots with NaN or
    infinity; for zero snapshots with the sine, which is undefined there.

    Daniel, Casenave, Akkari, Ryckelynck: Model order reduction assisted by deep neural networks (ROM-net), AMSES 7:16, 2020;
    Daniel, Casenave, Akkari, Ketata, Ryckelynck: Physics-informed cluster analysis and a priori efficiency criterion for the
    construction of local reduced-order bases, arXiv 2103.13683.

    **Example:**

        >>> t = np.linspace(0, 1, 30)
        >>> bumps = np.exp(-200 * (np.linspace(0, 1, 40) - t[:, None]) ** 2)
        >>> local = sx.reduced.local_bases(bumps, 3, 4)
        >>> local.bases.shape
        (3, 40, 4)
    """
    return local_bases_of_ranks(snapshots, k, [rank], product, clustering=clustering, energy=energy, key=key)[0]


def local_bases_of_ranks(
    snapshots: Float[Array | np.ndarray, "n points"],
    k: int,
    ranks: Sequence[int],
    product: Product = None,
    *,
    clustering: str | Clustering = "sine",
    energy: float | None = None,
    key: Array | None = None,
) -> list[LocalBases]:
    """`local_bases` for every rank in turn, clustered once: each rank dissolves the clusters that are too small for it."""
    snapshots = np.asarray(snapshots)
    n = len(snapshots)
    for rank in ranks:
        if not (1 <= k <= n and 1 <= rank <= n):
            raise ValueError(f"local_bases: k={k} clusters and rank={rank} of {n} snapshots; expected both in 1 … {n}")
    if not isinstance(clustering, Clustering) and clustering not in _MEASURES:
        raise ValueError(f"local_bases: unknown clustering {clustering!r}; use {sorted(_MEASURES)} or a Clustering")
    m = inner_product(product)
    m.check(snapshots.shape[1])
    unit, norms = m.normalized(snapshots), m.norms(snapshots)
    whole = pod(unit, m, method="gram")
    modes, rank_of_all = np.asarray(whole.modes), whole.rank
    # Zero columns up to the largest rank, so that what is compiled for these shapes serves other snapshots.
    directions = np.pad(np.asarray(whole.coefficients), ((0, 0), (0, min(unit.shape) - rank_of_all)))
    if isinstance(clustering, Clustering):
        measure = "sine" if clustering.centres is None else "normalized_l2"
    else:
        measure = _MEASURES[clustering]
    points = directions * norms[:, None] if measure == "l2" else directions
    labels, representatives = _clustered(points, k, clustering, key)
    distances, dual_modes = _distances(points, representatives, Euclidean(), measure), m.apply(modes)
    dtype = np.result_type(snapshots.dtype, np.float32)

    def of_rank(rank: int) -> LocalBases:
        kept, members = _merged(distances, labels, rank)
        parts = [_leading(directions[members == c, :rank_of_all], rank, energy) for c in range(len(kept))]
        found = np.array([part.shape[1] for part in parts])
        parts = [np.pad(part, ((0, 0), (0, found.max() - part.shape[1]))) for part in parts]
        bases, duals = (np.stack([m @ part for part in parts]).astype(dtype) for m in (modes, dual_modes))
        centres = (representatives[kept, :rank_of_all] @ modes.T).astype(dtype)
        return LocalBases(bases, duals, found, members, centres, m, measure)

    return [of_rank(rank) for rank in ranks]


def _clustered(points: Float[np.ndarray, "n r"], k: int, clustering: str | Clustering, key):
    """Labels `(n,)` and the medoids or centres `(k, r)`."""
    if not isinstance(clustering, Clustering):
        if clustering in _CENTRES:
            clustering = kmeans(points, min(k, _different(points)), key=key)
        else:
            clustering = kmedoids(_DISSIMILARITIES[clustering](points), k)
    labels = np.asarray(clustering.labels)
    if clustering.medoids is not None:
        return labels, points[np.asarray(clustering.medoids)]
    return labels, np.stack([points[labels == c].mean(0) for c in range(labels.max() + 1)])


def _different(points: Float[np.ndarray, "n r"]) -> int:
    """How many points are left without repetitions, up to the rounding of `_distances`."""
    close = _distances(points, points, Euclidean(), "l2") <= 1e-7 * Euclidean().norms(points).max()
    return int(np.sum(~np.tril(close, -1).any(axis=1)))


def _leading(members: Float[np.ndarray, "m r"], rank: int, energy: float | None) -> Float[np.ndarray, "r p"]:
    """POD modes `(r, p)` of short coordinate rows, by a dense singular value decomposition."""
    _, values, right = np.linalg.svd(members, full_matrices=False)
    kept = values > max(members.shape) * np.finfo(members.dtype).eps * values[0]
    if energy is not None:
        kept &= np.r_[0, np.cumsum(values**2)[:-1]] < energy * np.sum(values**2)
    return right[: min(rank, kept.sum())].T


def _merged(distances: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"], least: int):
    """The clusters that stay and the new labels, after the smallest cluster has been dissolved into the nearest others as
    long as it has fewer than `least` members."""
    kept = list(range(distances.shape[1]))
    while len(kept) > 1:
        sizes = np.bincount(labels, minlength=distances.shape[1])
        smallest = min(kept, key=lambda c: sizes[c])
        if sizes[smallest] >= least:
            break
        kept.remove(smallest)
        nearest = np.asarray(kept)[np.argmin(distances[:, kept], axis=1)]
        labels = np.where(labels == smallest, nearest, labels)
    return kept, np.searchsorted(kept, labels)


def _distances(snapshots, representatives, product: AbstractInnerProduct, measure: str) -> Float[np.ndarray, "n k"]:
    """Sine of the angle between snapshot and representative, or the distance (of the normalised snapshot)."""
    if measure == "sine":
        cosines = product.normalized(snapshots) @ product.dual(product.normalized(representatives)).T
        return np.sqrt(np.maximum(1 - cosines**2, 0))
    points = product.normalized(snapshots) if measure == "normalized_l2" else np.asarray(snapshots, np.float64)
    cross = points @ product.dual(representatives).T
    squared = product.norms(points)[:, None] ** 2 - 2 * cross + product.norms(representatives) ** 2
    return np.sqrt(np.maximum(squared, 0))
