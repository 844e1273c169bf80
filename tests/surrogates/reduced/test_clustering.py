"""Silhouettes and k-means: parity with scikit-learn and the kmedoids package, invariants, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.surrogates.reduced.clustering.clustering import medoid_silhouette, silhouette
from surrogax.surrogates.reduced.clustering.kmeans import _lloyd, kmeans

X = np.random.default_rng(7).normal(size=(40, 3))
D = np.sqrt(((X[:, None] - X) ** 2).sum(-1))
LABELS = np.arange(40) % 4
LABELS[0] = 4  # a cluster of one


def test_silhouette_agrees_with_scikit_learn():
    """Values of scikit-learn 1.9.1, `silhouette_samples(D, LABELS, metric="precomputed")`."""
    s = silhouette(D, LABELS)
    reference = [0.0, -0.12434080890845611, -0.36715116270041814, -0.29857458877280446, -0.26565132152616555]
    np.testing.assert_allclose(s[:5], reference, rtol=1e-13)
    assert s.mean() == pytest.approx(-0.28864938201614854, rel=1e-13)
    single = silhouette(jnp.asarray(D, jnp.float32), LABELS)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, s, atol=1e-6)
    np.testing.assert_array_equal(silhouette(D, 10 * LABELS - 3), s)  # the names of the clusters do not matter


def test_medoid_silhouette_agrees_with_the_package():
    """Mean of the package kmedoids 0.5.5; a point on two medoids counts 1."""
    s = medoid_silhouette(D, np.arange(4))
    assert s.mean() == pytest.approx(0.3997330186357788, rel=1e-13)
    np.testing.assert_array_equal(s[:4], 1)
    np.testing.assert_array_equal(
        medoid_silhouette(np.array([[0.0, 0, 3], [0, 0, 3], [3, 3, 0]]), np.arange(2)), [1, 1, 0]
    )


def test_silhouettes_of_coinciding_points_are_zero_and_not_nan():
    np.testing.assert_array_equal(silhouette(np.zeros((4, 4)), np.array([0, 0, 1, 1])), 0)


def test_silhouettes_name_bad_input():
    with pytest.raises(ValueError, match="at least two"):
        silhouette(D, np.zeros(40, int))
    with pytest.raises(ValueError, match="for 3 labels"):
        silhouette(D, np.arange(3))
    with pytest.raises(ValueError, match="at least two"):
        medoid_silhouette(D, np.arange(1))


def test_kmeans_reaches_the_inertia_of_scikit_learn():
    """Of scikit-learn 1.9.1, `KMeans(4, n_init=50)`, the same for all seeds."""
    found = kmeans(X, 4)
    assert found.cost == pytest.approx(28.88339937959053, rel=1e-12) and found.converged and found.medoids is None
    for i in range(4):  # every centre is the mean of the points nearest to it
        np.testing.assert_allclose(found.centres[i], X[found.labels == i].mean(0), rtol=1e-12, atol=1e-12)
    squared = ((X[:, None] - found.centres) ** 2).sum(-1)
    np.testing.assert_array_equal(found.labels, squared.argmin(1))
    assert found.cost == pytest.approx(squared.min(1).sum(), rel=1e-13)


def test_kmeans_is_blind_to_an_offset_in_float32():
    """Squares of 1000 would leave no digits for distances of one."""
    single = X.astype(np.float32)
    near, far = kmeans(single, 4), kmeans(single + 1000, 4)
    np.testing.assert_array_equal(near.labels, far.labels)
    assert far.centres.dtype == np.float32
    assert far.cost == pytest.approx(near.cost, rel=1e-4)


def test_kmeans_under_jit_and_vmap():
    points = jnp.asarray(X, jnp.float32)
    keys = jax.random.split(jax.random.key(1), 4)
    lanes = jax.jit(jax.vmap(lambda key: kmeans(points, 4, key=key, restarts=1)))(keys)
    alone = [kmeans(points, 4, key=key, restarts=1).cost for key in keys]
    np.testing.assert_allclose(lanes.cost, alone, rtol=1e-5)
    assert max(alone) > 28.8835 * 1.001  # single starts differ: restarts have a use


def test_a_centre_without_points_moves_to_the_farthest_point():
    groups = 100 + jnp.array([[0.0], [0.5], [8.0], [8.5], [16.0], [16.5], [40.0]])
    found = _lloyd(groups, jnp.array([[100.0], [100.5], [1e4], [2e4]]), 20)
    assert found.converged and sorted(found.centres.ravel().tolist()) == [100.25, 108.25, 116.25, 140]
    assert found.cost == pytest.approx(3 * 2 * 0.25**2, rel=1e-5)


def test_kmeans_names_bad_input():
    with pytest.raises(ValueError, match="k = 41 clusters of n = 40"):
        kmeans(X, 41)
    with pytest.raises(ValueError, match="fewer than k = 4 different points"):
        kmeans(np.repeat(X[:3], [20, 10, 10], 0), 4)
    damaged = X.copy()
    damaged[5, 1] = np.nan
    with pytest.raises(ValueError, match="point 5"):
        kmeans(damaged, 4)
