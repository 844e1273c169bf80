"""Sine, L2 and normalised L2: closed forms, nearly parallel pairs, products, fields; blocks of snapshots."""

import numpy as np
import pytest
import scipy.sparse

from surrogax.surrogates.reduced.basis.pod import pod
from surrogax.surrogates.reduced.clustering.block_dissimilarity import chordal_sine, projection_error
from surrogax.surrogates.reduced.clustering.dissimilarity import gram, l2, normalized_l2, sine

RNG = np.random.default_rng(0)
S = RNG.normal(size=(12, 60))
WEIGHTS = RNG.uniform(0.5, 2, 60)
TRIDIAGONAL = scipy.sparse.diags_array([np.full(59, 0.2), WEIGHTS, np.full(59, 0.2)], offsets=[-1, 0, 1]).tocsr()

PRODUCTS = {
    "euclidean": (None, np.eye(60)),
    "weights": (WEIGHTS, np.diag(WEIGHTS)),
    "dense": (TRIDIAGONAL.toarray(), TRIDIAGONAL.toarray()),
    "sparse": (TRIDIAGONAL, TRIDIAGONAL.toarray()),
    "function": (lambda columns: TRIDIAGONAL @ columns, TRIDIAGONAL.toarray()),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_definitions_in_every_product(name):
    product, m = PRODUCTS[name]
    g = S @ m @ S.T
    size = np.sqrt(np.diag(g))
    off = ~np.eye(12, dtype=bool)
    expected = {
        sine: np.sqrt(1 - np.where(off, g / np.outer(size, size), 1) ** 2),
        l2: np.sqrt(size**2 + size[:, None] ** 2 - 2 * np.where(off, g, size**2)),
        normalized_l2: np.sqrt(2 - 2 * np.where(off, g / np.outer(size, size), 1)),
    }
    np.testing.assert_allclose(gram(S, product), g, rtol=0, atol=1e-12 * g.max())
    for function, values in expected.items():
        d = function(S, product)
        np.testing.assert_allclose(d, values, rtol=1e-12, atol=0)
        np.testing.assert_array_equal(d, d.T)
        np.testing.assert_array_equal(function(S, product, gram=gram(S, product)), d)


@pytest.mark.parametrize("product", [None, WEIGHTS, TRIDIAGONAL], ids=["euclidean", "weights", "sparse"])
@pytest.mark.parametrize("angle", [3e-3, 1e-4, 1e-7, 1e-10, 1e-13])
def test_nearly_parallel_pairs_have_no_floor(product, angle):
    m = np.eye(60) if product is None else np.diag(product) if product is WEIGHTS else TRIDIAGONAL.toarray()
    u = S[0] / np.sqrt(S[0] @ m @ S[0])
    v = S[1] - u * (u @ m @ S[1])
    v /= np.sqrt(v @ m @ v)
    pair = np.stack([300 * u, S[2], -0.02 * (np.cos(angle) * u + np.sin(angle) * v)])
    tolerance = 1e-9 + 1e-15 / angle
    assert sine(pair, product)[0, 2] == pytest.approx(np.sin(angle), rel=tolerance)
    pair[2] *= -1
    assert normalized_l2(pair, product)[0, 2] == pytest.approx(2 * np.sin(angle / 2), rel=tolerance)
    pair[2] *= 300 / 0.02
    assert l2(pair, product)[0, 2] == pytest.approx(600 * np.sin(angle / 2), rel=tolerance)


def test_sine_is_the_best_error_by_one_vector_and_blind_to_size_and_sign():
    d = sine(S)
    for i, j in ((0, 1), (3, 7)):
        errors = [np.linalg.norm(S[i] - a * S[j]) for a in np.linspace(-1, 1, 20001)]
        assert d[i, j] == pytest.approx(min(errors) / np.linalg.norm(S[i]), rel=1e-7)
    np.testing.assert_allclose(sine(S * RNG.uniform(-9, 9, (12, 1))), d, rtol=1e-12)
    assert (d[:, None] <= d[:, :, None] + d + 1e-12).all()  # triangle inequality of lines


def test_parallel_snapshots_more_than_one_batch_of_pairs():
    """All pairs of 100 are refined: 4950 are more than one call takes."""
    parallel = np.outer(RNG.uniform(1, 2, 100), S[0])
    assert max(sine(parallel).max(), normalized_l2(parallel).max()) < 5e-15
    assert l2(parallel)[0, 1] == pytest.approx(np.linalg.norm(parallel[0] - parallel[1]), rel=1e-12)


def test_float32_snapshots_are_measured_in_float64():
    single = S.astype(np.float32)
    single[1] = single[0] + np.float32(1e-4) * single[2]
    d = sine(single)
    assert d.dtype == np.float64
    np.testing.assert_allclose(d, sine(single.astype(np.float64)), rtol=1e-12)
    assert 5e-5 < d[0, 1] < 5e-4


def test_several_fields_count_the_same():
    fields = {"u": S, "p": 1e6 * RNG.normal(size=(12, 20))}
    for function, scale in ((sine, 1), (normalized_l2, 1), (l2, None)):
        parts = [function(f) / (scale or np.sqrt((f**2).sum(1).mean())) for f in fields.values()]
        np.testing.assert_allclose(function(fields), np.sqrt((parts[0] ** 2 + parts[1] ** 2) / 2), rtol=1e-12)
    weighted = sine(fields, {"u": WEIGHTS, "p": None})
    np.testing.assert_allclose(2 * weighted**2, sine(S, WEIGHTS) ** 2 + sine(fields["p"]) ** 2, rtol=1e-12)


def test_bad_snapshots_are_named():
    zero, damaged = S.copy(), S.copy()
    zero[4], damaged[7, 3] = 0, np.nan
    for function in (sine, normalized_l2):
        with pytest.raises(ValueError, match="snapshot 4 is zero"):
            function(zero)
    np.testing.assert_allclose(l2(zero)[4], np.linalg.norm(zero, axis=1), rtol=1e-12)
    for function in (gram, sine, normalized_l2, l2):
        with pytest.raises(ValueError, match="snapshot 7 holds NaN"):
            function(damaged)
    with pytest.raises(ValueError, match="field 'p': snapshot 4 is zero"):
        sine({"u": S, "p": zero})
    with pytest.raises(ValueError, match="not positive definite"):
        sine(S, -TRIDIAGONAL)
    with pytest.raises(ValueError, match="7 weights for 60 points"):
        sine(S, WEIGHTS[:7])
    with pytest.raises(ValueError, match="leave it out"):
        sine({"u": S}, gram=gram(S))
    with pytest.raises(ValueError, match=r"shape \(11, 11\) for 12 snapshots"):
        sine(S, gram=gram(S[1:]))


def test_the_gram_matrix_serves_pod_too():
    modes, shared = pod(S, WEIGHTS, rank=3), pod(S, WEIGHTS, rank=3, gram=gram(S, WEIGHTS))
    np.testing.assert_allclose(shared.singular_values, modes.singular_values, rtol=1e-10)


@pytest.mark.parametrize("product", [None, WEIGHTS], ids=["euclidean", "weights"])
def test_blocks_of_one_snapshot_have_the_sine(product):
    near = np.concatenate([S[:3], S[:1] + 1e-9 * S[3:4]])
    blocks = list(near[:, None])
    for function in (chordal_sine, projection_error):
        np.testing.assert_allclose(function(blocks, product), sine(near, product), rtol=1e-6, atol=1e-16)


@pytest.mark.nightly
def test_principal_angles_of_blocks():
    """Planes spanned by (e₁, e₂) and (cos α e₁ + sin α e₃, cos β e₂ + sin β e₄): principal angles α and β."""
    e, a, b = np.eye(60), 0.3, 1e-5
    plane = np.stack([e[0], e[1]])
    turned = np.stack([np.cos(a) * e[0] + np.sin(a) * e[2], np.cos(b) * e[1] + np.sin(b) * e[3]])
    mixed = RNG.normal(size=(5, 2)) @ turned  # the same plane from five snapshots
    expected = np.sqrt((np.sin(a) ** 2 + np.sin(b) ** 2) / 2)
    for other in (turned, mixed):
        assert chordal_sine([plane, other], energy=1.0)[0, 1] == pytest.approx(expected, rel=1e-9)
    only_b = np.stack([e[0], turned[1]])
    assert chordal_sine([plane, only_b])[0, 1] == pytest.approx(np.sin(b) / np.sqrt(2), rel=1e-9)
    larger = np.concatenate([plane, e[4:6]])
    assert chordal_sine([plane, larger])[0, 1] < 1e-15  # one contains the other
    # Half of the larger block is left over when it is projected onto the plane, nothing the other way round.
    assert projection_error([plane, larger])[0, 1] == pytest.approx(np.sqrt((0.5 + 0) / 2), rel=1e-12)


def test_projection_error_weighs_directions_by_size():
    """A small direction of noise turns the chordal sine, and hardly the projection error, unless it is cut off."""
    noisy = [np.stack([S[0], 1e-3 * noise]) for noise in (S[1], S[2])]
    assert chordal_sine(noisy, energy=1.0)[0, 1] > 0.5
    assert projection_error(noisy, energy=1.0)[0, 1] < 2e-3
    assert chordal_sine(noisy, rank=1)[0, 1] < 2e-3
    with pytest.raises(ValueError, match=r"block 1: .*zero"):
        chordal_sine([S[:2], np.zeros((2, 60))])
