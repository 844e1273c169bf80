"""Inner products: what a user's argument becomes, products and duals against dense matrices, isometries, files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import aslinearoperator

from surrogax.core.precision import in_double
from surrogax.core.storage import load, save
from surrogax.surrogates.reduced.basis.inner_product import (
    Euclidean,
    MatrixProduct,
    OperatorProduct,
    Weights,
    inner_product,
)
from surrogax.surrogates.reduced.basis.truncation import Truncation
from surrogax.surrogates.reduced.clustering.dissimilarity import sine

RNG = np.random.default_rng(0)
ROWS, W = RNG.standard_normal((5, 12)), RNG.uniform(0.5, 2, 12)
SPARSE = scipy.sparse.diags_array([np.full(11, 0.2), W, np.full(11, 0.2)], offsets=[-1, 0, 1]).tocsr()
CASES = {
    "nothing": (None, Euclidean, np.eye(12)),
    "weights": (W, Weights, np.diag(W)),
    "jax weights": (jnp.asarray(W, jnp.float32), Weights, np.diag(W.astype(np.float32))),
    "dense": (SPARSE.toarray(), MatrixProduct, SPARSE.toarray()),
    "sparse": (SPARSE, MatrixProduct, SPARSE.toarray()),
    "old sparse": (scipy.sparse.csr_matrix(SPARSE), MatrixProduct, SPARSE.toarray()),
    "function": (lambda columns: SPARSE @ columns, OperatorProduct, SPARSE.toarray()),
    "SciPy operator": (aslinearoperator(SPARSE), OperatorProduct, SPARSE.toarray()),
}


@pytest.mark.parametrize("name", CASES)
def test_every_argument_becomes_a_type_with_the_same_answers(name):
    given, kind, m = CASES[name]
    product = inner_product(given)
    assert type(product) is kind and inner_product(product) is product
    product.check(12)
    np.testing.assert_allclose(product.apply(ROWS.T), m @ ROWS.T, rtol=1e-12)
    np.testing.assert_allclose(product.dual(ROWS), ROWS @ m, rtol=1e-12)
    norms = np.sqrt(np.einsum("np,pq,nq->n", ROWS, m, ROWS))
    np.testing.assert_allclose(product.norms(ROWS), norms, rtol=1e-12)
    unit = product.normalized(np.concatenate([ROWS, np.zeros((1, 12))]))
    np.testing.assert_allclose(product.norms(unit), [1] * 5 + [0], rtol=1e-12)
    np.testing.assert_allclose(in_double(lambda: product.checked(ROWS).squared_norms())(), norms**2, rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_isometric_rows_and_the_way_back(name):
    """(S L)(S L)ᵀ = S M Sᵀ, and L⁻ᵀ W is orthonormal in M for orthonormal W."""
    given, _, m = CASES[name]

    def turned():
        isometric, back = inner_product(given).isometric(jnp.asarray(ROWS))
        w = np.linalg.qr(RNG.standard_normal((12, 3)))[0]
        return isometric @ isometric.T, back(w, np.zeros((5, 3)))

    products, modes = in_double(turned)()
    np.testing.assert_allclose(products, ROWS @ m @ ROWS.T, rtol=1e-6 if "jax" in name else 1e-12, atol=1e-12)
    np.testing.assert_allclose(modes.T @ m @ modes, np.eye(3), atol=1e-6 if "jax" in name else 1e-13)


def test_points_of_weight_zero_continue_the_rows():
    weights = np.where(np.arange(12) < 4, 0, W)
    combinations = RNG.standard_normal((5, 2))
    _, back = in_double(lambda: inner_product(weights).isometric(jnp.asarray(ROWS)))()
    directions = np.sqrt(weights)[:, None] * (ROWS.T @ combinations)
    np.testing.assert_allclose(back(directions, combinations), ROWS.T @ combinations, rtol=1e-12)


def test_traced_rows_take_weights_and_no_matrix():
    norms = jax.jit(lambda rows, w: inner_product(w).measured(rows).squared_norms())(ROWS, W)
    np.testing.assert_allclose(norms, np.sum(W * ROWS**2, 1), rtol=1e-5)
    with pytest.raises(ValueError, match="the product is None or weights"):
        jax.jit(lambda rows, m: inner_product(m).measured(rows).duals)(ROWS, np.eye(12))


@pytest.mark.parametrize("given", [None, W, SPARSE.toarray()], ids=["nothing", "weights", "dense"])
def test_files(given, tmp_path):
    save(tmp_path / "product", inner_product(given))
    np.testing.assert_array_equal(load(tmp_path / "product").dual(ROWS), inner_product(given).dual(ROWS))


def test_a_mapping_of_products_needs_several_fields():
    with pytest.raises(ValueError, match="the snapshots are one array"):
        sine(ROWS, {"u": W})


def test_truncation_takes_the_fewest():
    values = np.array([1.0, 0.1, 0.01, 1e-9, -1e-9])
    assert Truncation().count(values, 0.0) == 4 and Truncation().count(values, 1e-8) == 3
    assert Truncation(rank=2, energy=1.0).count(values, 1e-8) == 2
    assert Truncation(rank=3, energy=0.5).count(values, 0.0) == 1
    assert Truncation(tail=0.02).count(values, 0.0) == 2
    assert Truncation(rank=1).rank_alone and not Truncation(rank=1, tail=0.1).rank_alone
