"""k-medoids: parity with the kmedoids package, local optimality, the reference clustering, edge cases."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.surrogates.reduced.clustering.clustering import medoid_silhouette, silhouette
from surrogax.surrogates.reduced.clustering.dissimilarity import l2, sine
from surrogax.surrogates.reduced.clustering.kmedoids import choose_k, kmedoids


def distances(points):
    return np.sqrt(((points[:, None] - points) ** 2).sum(-1))


RNG = np.random.default_rng(0)
D = distances(np.random.default_rng(7).normal(size=(40, 3)))


def cost_of(d, medoids):
    return d[np.asarray(medoids)].min(0).sum()


# Values of the package kmedoids 0.5.5 (fasterpam, fastpam1 and pam_build, one thread) on D.
@pytest.mark.parametrize(
    "block, start, medoids, cost, swaps",
    [
        (1, [0, 1, 2, 3], [4, 10, 2, 3], 30.68752669577517, 2),
        (1, [5, 17, 33, 20], [2, 3, 10, 4], 30.68752669577517, 6),
        (40, [0, 1, 2, 3], [4, 10, 2, 3], 30.68752669577517, 2),
    ],
)
def test_blocks_of_one_are_fasterpam_and_one_block_is_fastpam1(block, start, medoids, cost, swaps):
    found = kmedoids(D, 4, start=np.array(start), block=block)
    assert found.medoids.tolist() == medoids and found.iterations == swaps and found.converged
    assert found.cost == pytest.approx(cost, rel=1e-14)


def test_build_agrees_with_the_package():
    found = kmedoids(D, 4, max_passes=0)
    assert found.medoids.tolist() == [27, 4, 10, 2] and found.iterations == 0 and not found.converged
    assert found.cost == pytest.approx(32.086128511382725, rel=1e-14)


@pytest.mark.parametrize("start", ["build", np.array([0, 1, 2, 3])], ids=["build", "given"])
def test_no_single_swap_lowers_the_cost(start):
    found = kmedoids(D, 4, start=start)
    np.testing.assert_array_equal(found.labels, D[found.medoids].argmin(0))
    assert found.cost == pytest.approx(cost_of(D, found.medoids), rel=1e-14)
    swaps = (np.where(np.arange(4) == i, x, found.medoids) for i, x in itertools.product(range(4), range(40)))
    assert min(cost_of(D, m) for m in swaps if len(set(m)) == 4) >= found.cost * (1 - 1e-14)


def test_cost_falls_from_pass_to_pass():
    start = np.array([5, 17, 33, 20])
    costs = [kmedoids(D, 4, start=start, max_passes=p).cost for p in range(5)]
    assert costs[0] == pytest.approx(cost_of(D, start)) and costs[0] > costs[1] >= costs[2] >= costs[3] == costs[4]


def gaussians(seed, n=500):
    rng, x = np.random.default_rng(seed), np.linspace(0, 1, 512)
    centre, width, size = rng.uniform(0.1, 0.9, n), rng.uniform(0.04, 0.08, n), 10 ** rng.uniform(-1, 1, n)
    return (rng.choice([-1, 1], n) * size)[:, None] * np.exp(-((x - centre[:, None]) ** 2) / 2 / width[:, None] ** 2)


def test_sine_medoids_of_moving_gaussians():
    """The measured reference: cost 210.99 by best swaps from BUILD, 210.82 by the best of ten random starts for k = 5, 126.53
    by both for k = 10; mean sine of unseen snapshots to their medoid 0.451 and 0.274."""
    train, unseen = gaussians(0), gaussians(1)
    d = sine(train)
    across = sine(np.concatenate([train, unseen]))[:500, 500:]
    best_swaps, five, ten = kmedoids(d, 5, block=500), kmedoids(d, 5), kmedoids(d, 10)
    assert best_swaps.cost == pytest.approx(210.99, abs=0.01)
    assert five.cost == pytest.approx(210.82, abs=0.01)
    assert ten.cost == pytest.approx(126.53, abs=0.01)
    assert across[best_swaps.medoids].min(0).mean() == pytest.approx(0.451, abs=1e-3)
    assert across[ten.medoids].min(0).mean() == pytest.approx(0.274, abs=1e-3)


def test_one_cluster_and_as_many_as_points():
    one = kmedoids(D, 1, start=np.array([39]))
    assert one.medoids.tolist() == [D.sum(0).argmin()] and not one.labels.any()
    small = D[:6, :6]
    every = kmedoids(small, 6)
    assert every.cost == 0 and sorted(every.medoids) == list(range(6))
    np.testing.assert_array_equal(every.medoids[every.labels], np.arange(6))


def test_duplicates_and_ties_leave_medoids_distinct_and_no_cluster_empty():
    duplicated = np.repeat(np.repeat(D[:3, :3], [20, 10, 10], 0), [20, 10, 10], 1)  # three different points
    ties = 1 - np.eye(40)
    for d, cost in ((duplicated, 0), (ties, 36)):
        for start in ("build", np.array([0, 1, 2, 3])):
            found = kmedoids(d, 4, start=start)
            assert found.converged and found.cost == cost
            assert len(set(found.medoids)) == 4 and set(found.labels) == {0, 1, 2, 3}


def test_rounding_cannot_lead_round_in_circles():
    """On a circle every point is as good a medoid as any other, but for the rounding of float32."""
    angle = 2 * np.pi * np.arange(500) / 500
    d = np.abs(2 * np.sin((angle[:, None] - angle) / 2)).astype(np.float32)
    found = kmedoids(d, 1, start=np.array([7]))
    assert found.converged and found.iterations < 20


@pytest.mark.nightly
def test_restarts_keep_the_best_and_work_under_vmap_and_jit():
    key = jax.random.key(3)
    d = D.astype(np.float32)
    best = kmedoids(d, 4, start="random", key=key, restarts=6, max_passes=1)

    def single(start):
        return kmedoids(jnp.asarray(d), 4, start=start, max_passes=1)

    draws = [jax.random.choice(k, 40, (4,), replace=False) for k in jax.random.split(key, 6)]
    lanes = jax.jit(jax.vmap(single))(jnp.stack(draws))
    assert len(set(lanes.cost.tolist())) > 1
    lane = int(lanes.cost.argmin())
    assert best.cost == pytest.approx(float(lanes.cost[lane]), rel=1e-6)
    np.testing.assert_array_equal(best.medoids, lanes.medoids[lane])
    for start, cost, swaps in zip(draws, lanes.cost, lanes.iterations, strict=True):  # lanes do not disturb each other
        alone = kmedoids(d, 4, start=start, max_passes=1)
        assert alone.cost == pytest.approx(float(cost), rel=1e-6) and alone.iterations == swaps


def test_float32_is_kept_and_agrees_with_float64():
    start = np.array([0, 1, 2, 3])
    single = kmedoids(jnp.asarray(D, jnp.float32), 4, start=start)
    double = kmedoids(D, 4, start=start)
    assert single.medoids.tolist() == double.medoids.tolist()
    assert single.cost == float(np.float32(single.cost)) == pytest.approx(double.cost, rel=1e-6)
    assert double.cost != float(np.float32(double.cost))


def test_choice_of_k_finds_separated_groups():
    group = np.arange(40) // 14
    d = distances(RNG.normal(size=(40, 2)) + 8 * np.eye(3, 2)[group])
    best, scores = choose_k(d, [3, 4])
    assert set(scores) == {3, 4} and scores[3] > 0.7
    np.testing.assert_array_equal(best.labels[:, None] == best.labels, group[:, None] == group)


def test_bad_input_is_named():
    for k in (0, 41):
        with pytest.raises(ValueError, match=f"k = {k} clusters of n = 40"):
            kmedoids(D, k)
    with pytest.raises(ValueError, match=r"square matrix, not of shape \(40, 39\)"):
        kmedoids(D[:, :39], 4)
    traced_cost = jax.jit(lambda d: kmedoids(d, 4).cost)
    for bad in (np.nan, np.inf, -1.0):
        damaged = D.copy()
        damaged[3, 5] = bad
        with pytest.raises(ValueError, match="finite and not negative"):
            kmedoids(damaged, 4)
        assert jnp.isnan(traced_cost(damaged.astype(np.float32)))
    for start in ([0, 1, 2, 2], [0, 1, 2, 40], [-1, 1, 2, 3]):
        with pytest.raises(ValueError, match="4 different indices from 0 to 39"):
            kmedoids(D, 4, start=np.array(start))
    with pytest.raises(ValueError, match=r"a start of shape \(3,\) and type int64; expected 4 indices"):
        kmedoids(D, 4, start=np.arange(3))
    with pytest.raises(ValueError, match="needs a key"):
        kmedoids(D, 4, start="random")
    with pytest.raises(ValueError, match="needs start='random'"):
        kmedoids(D, 4, restarts=3)


def test_matrices_of_integers_booleans_and_lists_are_numbers():
    """Manhattan distances: the medoids, cost and labels of the same matrix in float64."""
    x = np.random.default_rng(0).integers(0, 4, (14, 2))
    distances = np.abs(x[:, None] - x[None]).sum(2)
    reference = kmedoids(distances.astype(float), 3)
    for matrix in (
        distances,
        distances.astype(np.int32),
        distances.astype(np.uint8),
        distances.tolist(),
        jnp.asarray(distances),
    ):
        found = kmedoids(matrix, 3)
        assert found.cost == distances[found.medoids[found.labels], np.arange(14)].sum()
        np.testing.assert_array_equal(found.medoids, reference.medoids)
        np.testing.assert_allclose(
            silhouette(matrix, reference.labels), silhouette(distances.astype(float), reference.labels)
        )
        best, scores = choose_k(matrix, [2, 3])
        assert scores == choose_k(distances.astype(float), [2, 3])[1] and len(best.medoids) in scores
        np.testing.assert_allclose(
            medoid_silhouette(matrix, found.medoids), medoid_silhouette(distances.astype(float), found.medoids)
        )
    apart = distances > 2
    assert kmedoids(apart, 2).cost == kmedoids(apart.astype(float), 2).cost
    np.testing.assert_array_equal(
        kmedoids(distances, 2, start=[0, 5]).medoids, kmedoids(distances, 2, start=np.array([0, 5])).medoids
    )


def test_more_clusters_than_different_points_have_different_medoids_and_no_empty_cluster():
    """40 vectors in 4 groups of equal ones, 6 clusters."""
    vectors = np.random.default_rng(1).normal(size=(4, 5))[np.arange(40) % 4]
    for matrix in (sine(vectors), l2(vectors)):
        found = kmedoids(matrix, 6)
        assert len(np.unique(found.medoids)) == 6 and found.cost < 1e-6
        np.testing.assert_array_equal(np.unique(found.labels), np.arange(6))
        np.testing.assert_array_equal(found.labels[found.medoids], np.arange(6))


def test_similarities_and_other_things_are_no_dissimilarities():
    similar = 1 - D / D.max()
    for call in (lambda d: kmedoids(d, 3), lambda d: choose_k(d, [2, 3]), lambda d: silhouette(d, np.arange(40) % 2)):
        with pytest.raises(ValueError, match="the dissimilarity 1 to itself, expected 0; similarities"):
            call(similar)
        with pytest.raises(ValueError, match="square matrix"):
            call(D[:, :39])
        with pytest.raises(TypeError, match="dissimilarities of type complex128"):
            call(D + 0j)
    for wrong, message in (
        (lambda: kmedoids(D, 2.5), r"kmedoids\(k=…\) is"),
        (lambda: kmedoids(D, 3, block=0), r"kmedoids\(block=0\): expected 1 or more"),
        (lambda: choose_k(D, [1, 2]), "numbers of clusters, 2 or more"),
        (lambda: medoid_silhouette(D, [0, 40]), "indices from 0 to 39"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            wrong()
