"""Local bases: the reference figures on moving Gaussians, invariances, products, small clusters; the break-even criterion."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from surrogax.core.storage import load, save
from surrogax.surrogates.reduced.clustering.clustering import Clustering
from surrogax.surrogates.reduced.local.break_even_criterion import (
    BreakEven,
    break_even,
    compare_dictionaries,
    recommend,
)
from surrogax.surrogates.reduced.local.local_bases import LocalBases, local_bases, local_bases_of_ranks


def moving_gaussians(seed: int, n: int = 500) -> np.ndarray:
    rng, x = np.random.default_rng(seed), np.linspace(0, 1, 512)
    c, w = rng.uniform(0.1, 0.9, (n, 1)), rng.uniform(0.04, 0.08, (n, 1))
    a, sign = 10 ** rng.uniform(-1, 1, (n, 1)), rng.choice([-1.0, 1.0], (n, 1))
    return sign * a * np.exp(-((x - c) ** 2) / (2 * w**2))


@functools.cache
def dictionary(k: int, clustering: str = "sine") -> LocalBases:
    return local_bases(moving_gaussians(0), k, 8, clustering=clustering)


def assigned(bases: LocalBases, snapshots: np.ndarray) -> float:
    return bases.projection_errors(snapshots)[np.arange(len(snapshots)), bases.assign(snapshots)].mean()


@pytest.mark.parametrize(
    "k, clustering, expected",
    [
        pytest.param(1, "sine", (0.576, 0.350, 0.136), marks=pytest.mark.nightly),
        (5, "sine", (0.0886, 0.0213, 0.0027)),
        pytest.param(10, "sine", (0.0516, 0.0100, 0.00094), marks=pytest.mark.nightly),
        (5, "l2", (0.521, 0.310, 0.121)),
        pytest.param(5, "kmeans", (0.523, 0.311, 0.121), marks=pytest.mark.nightly),
    ],
)
def test_reference_errors_of_unseen_gaussians(k, clustering, expected):
    bases, unseen = dictionary(k, clustering), moving_gaussians(1)
    assert bases.bases.shape == (k, 512, 8)
    found = [assigned(bases.truncated(rank), unseen) for rank in (3, 5, 8)]
    np.testing.assert_allclose(found, expected, rtol=0.1)


@pytest.mark.nightly
def test_normalized_clusterings_lie_between():
    """Measured in the reference: 0.250 (k-means of normalised data), 0.0886 (sine)."""
    for clustering in ("normalized_kmeans", "normalized_l2"):
        assert 0.0886 * 1.5 < assigned(dictionary(5, clustering).truncated(3), moving_gaussians(1)) < 0.250 * 1.1


def small(seed: int = 0, n: int = 24) -> np.ndarray:
    """Two planes of R^12 at an angle, 12 snapshots near each."""
    rng = np.random.default_rng(seed)
    planes = np.linalg.qr(rng.standard_normal((12, 4)))[0].T.reshape(2, 2, 12)
    angles = rng.uniform(-0.6, 0.6, n)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    return np.concatenate([circle[: n // 2] @ planes[0], circle[n // 2 :] @ planes[1]])


def test_planes_are_found_exactly():
    snapshots = small()
    bases = local_bases(snapshots, 2, 4)
    np.testing.assert_array_equal(bases.labels[:12], bases.labels[0])
    np.testing.assert_array_equal(bases.labels[12:], 1 - bases.labels[0])
    assert bases.ranks.tolist() == [2, 2] and bases.bases.shape == (2, 12, 2)
    errors = bases.projection_errors(snapshots)
    assert errors[np.arange(24), bases.labels].max() < 1e-12
    np.testing.assert_allclose(errors[np.arange(24), 1 - bases.labels], 1)


def test_sine_ignores_amplitude_and_sign():
    snapshots = moving_gaussians(3, 60)
    factors = np.random.default_rng(0).choice([-1.0, 1.0], (60, 1)) * np.geomspace(1e-3, 1e3, 60)[:, None]
    one, two = local_bases(snapshots, 3, 4), local_bases(snapshots * factors, 3, 4)
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.assign(-7 * snapshots), one.labels)
    np.testing.assert_allclose(one.projection_errors(snapshots), two.projection_errors(snapshots), atol=1e-9)


def products():
    rng = np.random.default_rng(1)
    root = rng.standard_normal((12, 12))
    dense = root @ root.T + 6 * np.eye(12)
    return [
        rng.uniform(0.5, 2, 12),
        dense,
        scipy.sparse.diags_array([1.0, 3.0, 1.0], offsets=[-1, 0, 1], shape=(12, 12)),
    ]


@pytest.mark.parametrize("product", products(), ids=["weights", "dense", "sparse"])
@pytest.mark.parametrize("clustering", ["sine", "kmeans"])
def test_inner_products(product, clustering):
    """Bases are orthonormal and errors those of weighted least squares."""
    matrix = np.diag(product) if product.ndim == 1 and not scipy.sparse.issparse(product) else product @ np.eye(12)
    rng = np.random.default_rng(2)
    snapshots, unseen = small() + 0.1 * rng.standard_normal((24, 12)), rng.standard_normal((5, 12))
    bases = local_bases(snapshots, 2, 3, product, clustering=clustering)
    factor = np.linalg.cholesky(matrix)
    for k, basis in enumerate(bases.bases):
        np.testing.assert_allclose(basis.T @ matrix @ basis, np.eye(3), atol=1e-12)
        best = basis @ np.linalg.lstsq(factor.T @ basis, factor.T @ unseen.T)[0]
        expected = np.linalg.norm(factor.T @ (unseen.T - best), axis=0) / np.linalg.norm(factor.T @ unseen.T, axis=0)
        np.testing.assert_allclose(bases.projection_errors(unseen)[:, k], expected, rtol=1e-10)
        members = snapshots[bases.labels == k]
        unit = members / np.sqrt(np.sum(members @ matrix * members, axis=1, keepdims=True))
        values = np.linalg.svd(unit @ factor, compute_uv=False)
        np.testing.assert_allclose(np.linalg.norm(unit @ matrix @ basis), np.linalg.norm(values[:3]))
    np.testing.assert_array_equal(bases.assign(snapshots), bases.labels)


def test_project_and_lift_under_transformations():
    weights = np.linspace(1, 2, 12)
    snapshots = small().astype(np.float32)
    bases = local_bases(snapshots, 2, 2, weights)
    assert bases.bases.dtype == np.float32

    @jax.jit
    @jax.vmap
    def projected(u, label):
        return bases.lift(bases.project(u, label), label)

    u = np.random.default_rng(0).standard_normal((6, 12)).astype(np.float32)
    labels = np.array([0, 1, 0, 1, 1, 0])
    rest = u - projected(u, labels)
    expected = bases.projection_errors(u)[np.arange(6), labels]
    np.testing.assert_allclose(np.sqrt((rest**2 @ weights) / (u**2 @ weights)), expected, rtol=1e-5)
    gradient = jax.grad(lambda c: jnp.sum(bases.lift(c, 1) ** 2))(jnp.ones(2))
    np.testing.assert_allclose(gradient, 2 * bases.bases[1].T @ bases.bases[1] @ np.ones(2), rtol=1e-5)


def test_small_clusters_are_dissolved():
    snapshots = np.concatenate([small(), np.eye(12)[:1]])
    labels = np.r_[np.zeros(12, int), np.full(12, 2), 1]
    given = Clustering(labels, 0.0, 0, medoids=np.array([0, 24, 12]))
    bases = local_bases(snapshots, 3, 2, clustering=given)
    assert len(bases.bases) == 2 and bases.labels[:24].tolist() == [0] * 12 + [1] * 12
    sines = 1 - np.abs(snapshots[[0, 12]] @ snapshots[24])
    assert bases.labels[24] == np.argmin(sines)


@pytest.mark.parametrize("clustering", ["kmeans", "normalized_kmeans", "sine"])
def test_repeated_snapshots(clustering):
    """Three directions, each nine times: no more bases than that are worth a cluster of two members."""
    snapshots = np.tile(small()[[0, 5, 20]], (9, 1)) * (1 if clustering == "kmeans" else np.arange(1.0, 28)[:, None])
    bases = local_bases(snapshots, 5, 1, clustering=clustering)
    assert bases.projection_errors(snapshots)[np.arange(27), bases.labels].max() < 1e-7
    if clustering != "sine":
        assert len(bases.bases) == 3


def test_ranks_share_the_clusters_of_their_own_size():
    """As if made one by one: the small rank keeps a cluster that is dissolved for the large one."""
    snapshots = np.concatenate([small(), np.eye(12)[:2] + 0.01])
    together = local_bases_of_ranks(snapshots, 3, [1, 4], clustering="kmeans")
    for rank, bases in zip((1, 4), together, strict=True):
        alone = local_bases(snapshots, 3, rank, clustering="kmeans")
        np.testing.assert_array_equal(bases.labels, alone.labels)
        np.testing.assert_array_equal(bases.bases, alone.bases)
    assert [len(bases.bases) for bases in together] == [3, 2]


def test_energy_makes_bases_shorter():
    snapshots = moving_gaussians(4, 60)
    full, short = (local_bases(snapshots, 3, 12, energy=energy) for energy in (None, 0.99))
    unit = snapshots / np.linalg.norm(snapshots, axis=1, keepdims=True)
    assert short.ranks.max() < full.ranks.max() == 12
    for k, rank in enumerate(short.ranks):
        values = np.linalg.svd(unit[full.labels == k], compute_uv=False) ** 2
        assert values[: rank - 1].sum() < 0.99 * values.sum() <= values[:rank].sum()
        np.testing.assert_array_equal(short.bases[k, :, rank:], 0)


def test_saved_and_read_back(tmp_path):
    bases = local_bases(small(), 2, 2, np.ones(12))
    save(tmp_path / "bases", bases)
    again = load(tmp_path / "bases")
    np.testing.assert_array_equal(again.assign(small()), bases.labels)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"k": 30}, "k=30"),
        ({"rank": 0}, "rank=0"),
        ({"clustering": "cosine"}, "cosine"),
        ({"snapshots": np.full((24, 12), np.nan)}, "NaN"),
        ({"snapshots": np.concatenate([small()[:-1], np.zeros((1, 12))])}, "zero"),
        ({"product": np.ones(5)}, "5 weights"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        local_bases(**({"snapshots": small(), "k": 2, "rank": 2} | change))


def test_zero_snapshots_have_no_error():
    bases = local_bases(small(), 2, 2)
    np.testing.assert_array_equal(bases.projection_errors(np.zeros((1, 12))), 0)


# The break-even criterion ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k, rank, expected", [(5, 3, 0.38), (10, 3, 0.32), (5, 8, 0.80), (10, 8, 0.78)])
def test_reference_break_even_accuracy(k, rank, expected):
    bases, whole = dictionary(k).truncated(rank), dictionary(1).truncated(rank)
    found = break_even(bases, whole, moving_gaussians(1))
    assert abs(found.accuracy - expected) < 0.03
    assert break_even(bases, whole, moving_gaussians(1), "second").accuracy <= 0.05


def test_break_even_is_where_the_errors_meet():
    found = BreakEven(5, 3, whole=0.3, own=0.1, wrong=0.7)
    assert found.expected(found.accuracy) == pytest.approx(0.3)
    assert found.gain == pytest.approx(2 / 3)
    assert BreakEven(5, 3, whole=0.3, own=0.1, wrong=0.2).accuracy == 0
    assert BreakEven(5, 3, whole=0.0, own=0.0, wrong=0.2).gain == 0
    assert BreakEven(5, 3, whole=0.3, own=0.4, wrong=0.5).accuracy == np.inf


def test_mistakes_by_a_confusion_matrix():
    bases, whole, unseen = local_bases(moving_gaussians(5, 60), 3, 3), dictionary(1), moving_gaussians(6, 40)
    errors, own = bases.projection_errors(unseen), bases.assign(unseen)
    cyclic = np.eye(3)[[1, 2, 0]]
    expected = errors[np.arange(40), (own + 1) % 3].mean()
    assert break_even(bases, whole, unseen, cyclic + 5 * np.eye(3)).wrong == pytest.approx(expected)
    random = break_even(bases, whole, unseen).wrong
    assert random == pytest.approx((errors.sum(1) - errors[np.arange(40), own]).mean() / 2)
    assert break_even(bases, whole, unseen, np.eye(3)).wrong == pytest.approx(random)
    with pytest.raises(ValueError, match="several bases"):
        break_even(whole, whole, unseen)


@pytest.mark.nightly
def test_recommendation_keeps_the_budget():
    train, unseen = moving_gaussians(0), moving_gaussians(1)
    train = train[:150]  # fewer than five times 4·8
    rows = compare_dictionaries(train, unseen, clusters=(2, 4), ranks=(3, 8))
    best = recommend(rows, budget=12, accuracy=0.95)
    assert {(row.clusters, row.rank) for row in rows} == {(2, 3), (2, 8), (4, 3)}
    affordable = [row for row in rows if row.clusters * row.rank <= 12]
    assert best.expected(0.95) == min(row.expected(0.95) for row in affordable) < best.whole
    assert best.clusters * best.rank <= 12
    assert recommend(rows, budget=12, accuracy=0.05) is None and recommend(rows, budget=1) is None
    assert recommend(rows, accuracy=0.95, cost=lambda k, rank: -rank, budget=-8).rank == 8
