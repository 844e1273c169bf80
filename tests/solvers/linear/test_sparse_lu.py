"""The direct sparse solve: values, derivatives, batches of right-hand sides and of matrices, one factorisation, failures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from surrogax.solvers.linear import CG, Laplacian, Sparse, SparseLU, Status, solve
from surrogax.solvers.linear.direct import sparse_lu

RNG = np.random.default_rng(0)
N = 30
GENERAL = sp.csr_array(sp.random_array((N, N), density=0.1, rng=np.random.default_rng(1)) + 3 * sp.eye_array(N))
# Symmetric and indefinite, zeros on the diagonal.
COUPLING = GENERAL[:20, 20:] + sp.eye_array(20, 10)
SADDLE = sp.csr_array(sp.block_array([[2 * sp.eye_array(20), COUPLING], [COUPLING.T, None]]))
MATRICES = {"general": GENERAL, "saddle": SADDLE}


@pytest.fixture
def factorisations(monkeypatch):
    """The matrices that were factorised, in order."""
    found = []
    original = sparse_lu.splu
    monkeypatch.setattr(sparse_lu, "splu", lambda matrix: found.append(matrix) or original(matrix))
    monkeypatch.setattr(sparse_lu, "_FACTORS", sparse_lu._Factors(4))
    return found


@pytest.mark.quick("float32-saddle", "float64-general")
@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_the_dense_solve(name, dtype):
    matrix, b = MATRICES[name].astype(dtype), RNG.normal(size=(5, 6)).astype(dtype)
    with jax.enable_x64(dtype is np.float64):
        solution = solve(
            Sparse.from_scipy(matrix, (5, 6)), jnp.asarray(b), SparseLU(rtol=1e-4 if dtype is np.float32 else 1e-12)
        )
    assert int(solution.status) == Status.converged and int(solution.iterations) == 1 and solution.method == "SparseLU"
    exact = np.linalg.solve(matrix.toarray().astype(float), b.ravel())
    np.testing.assert_allclose(solution.value.ravel(), exact, atol=1e3 * np.finfo(dtype).eps * abs(exact).max())


@pytest.mark.parametrize("name", MATRICES)
def test_derivatives_under_jit_factorise_once(name, factorisations):
    matrix = MATRICES[name]
    b, w = RNG.normal(size=(2, N))
    with jax.enable_x64(True):
        operator = Sparse.from_scipy(matrix)

        @jax.jit
        def gradients(values, b):
            return jax.grad(
                lambda v, b: jnp.vdot(w, solve(operator.with_values(v), b, SparseLU(rtol=1e-12)).value), (0, 1)
            )(values, b)

        to_values, to_b = gradients(operator.values, b)
    dense = matrix.toarray()
    x, adjoint = np.linalg.solve(dense, b), np.linalg.solve(dense.T, w)
    np.testing.assert_allclose(to_b, adjoint, atol=1e-10 * abs(adjoint).max())
    expected = -adjoint[np.asarray(operator.rows)] * x[np.asarray(operator.cols)]
    np.testing.assert_allclose(to_values, expected, atol=1e-10 * abs(expected).max())
    assert len(factorisations) == 1


@pytest.mark.nightly
def test_batches(factorisations):
    """Of right-hand sides with one factorisation, of matrices with one each, of both."""
    with jax.enable_x64(True):
        operator, method = Sparse.from_scipy(GENERAL), SparseLU(rtol=1e-12)
        b = jnp.asarray(RNG.normal(size=(3, 2, N)))
        per_side = jax.vmap(jax.vmap(lambda b: solve(operator, b, method).value))(b)
        assert len(factorisations) == 1
        values = jnp.stack([operator.values, 2 * operator.values, 4 * operator.values])
        per_matrix = jax.vmap(lambda v: solve(operator.with_values(v), b[0, 0], method).value)(values)
        both = jax.vmap(lambda v, b: solve(operator.with_values(v), b, method))(values, b[:, 0])
    assert len(factorisations) == 3
    exact = np.linalg.solve(GENERAL.toarray(), np.asarray(b).reshape(6, N).T).T.reshape(3, 2, N)
    np.testing.assert_allclose(per_side, exact, atol=1e-11)
    np.testing.assert_allclose(per_matrix, exact[0, 0] / np.array([[1], [2], [4]]), atol=1e-11)
    np.testing.assert_allclose(both.value, exact[:, 0] / np.array([[1], [2], [4]]), atol=1e-11)
    assert (both.status == Status.converged).all()


@pytest.mark.nightly
def test_second_derivative():
    with jax.enable_x64(True):
        operator, b = Sparse.from_scipy(GENERAL), jnp.asarray(RNG.normal(size=N))

        def functional(t):
            return (solve(operator.with_values(t * operator.values), b, SparseLU(rtol=1e-12)).value ** 2).sum()

        np.testing.assert_allclose(jax.grad(jax.grad(functional))(2.0), 6 * functional(1.0) / 2.0**4, rtol=1e-9)


def test_singular_and_not_finite_matrices_say_so():
    with jax.enable_x64(True):
        singular = Sparse.from_scipy(sp.csr_array(np.array([[1.0, -1, 0], [-1, 1, 0], [0, 0, 1]])))
        solution = solve(singular, jnp.ones(3), SparseLU())
        assert solution.status == Status.breakdown
        lanes = jax.vmap(lambda v: solve(singular.with_values(v), jnp.ones(3), SparseLU()))(
            jnp.stack([singular.values, singular.values + jnp.eye(5)[0], singular.values * jnp.nan])
        )
        assert lanes.status.tolist() == [Status.breakdown, Status.converged, Status.non_finite]


def test_other_operators_are_named():
    with pytest.raises(TypeError, match="SparseLU factorises Sparse operators, got Laplacian"):
        solve(Laplacian((5,), (0.1,), ("dirichlet",)), jnp.ones(5), SparseLU())
    with pytest.raises(ValueError, match="max_steps"):
        SparseLU(max_steps=-1)


@pytest.mark.nightly
def test_agrees_with_an_iterative_method():
    with jax.enable_x64(True):
        spd = sp.csr_array(GENERAL @ GENERAL.T)
        operator, b = Sparse.from_scipy(spd), jnp.asarray(RNG.normal(size=N))
        direct, iterative = solve(operator, b, SparseLU(rtol=1e-11)), solve(operator, b, CG(rtol=1e-11))
        np.testing.assert_allclose(direct.value, iterative.value, atol=1e-8 * abs(iterative.value).max())
