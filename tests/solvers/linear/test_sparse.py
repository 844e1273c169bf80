"""Sparse matrices from scipy and JAX: storage, products, transposes, values, errors."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.sparse
from jax.experimental import sparse as jax_sparse

from surrogax.solvers.linear import CG, FGMRES, Jacobi, Sparse, Status, solve
from surrogax.solvers.linear.operators.sparse import _Diagonals, _Rows

RNG = np.random.default_rng(0)
pytestmark = pytest.mark.filterwarnings("ignore:Sparse. the float64 matrix")  # the tests of formats run in float32


def laplacian(n):
    line = scipy.sparse.diags_array([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1])
    eye = scipy.sparse.eye_array(n)
    matrix = scipy.sparse.csr_array(scipy.sparse.kron(line, eye) + scipy.sparse.kron(eye, line))
    matrix.eliminate_zeros()
    return matrix


def uneven(n):
    """Diagonally dominant and not symmetric, with one full row."""
    matrix = scipy.sparse.random_array((n, n), density=0.08, rng=np.random.default_rng(1)).tolil()
    matrix[3] = RNG.normal(size=(1, n))
    return scipy.sparse.csr_array(matrix + 20 * scipy.sparse.eye_array(n))


UNEVEN = uneven(40)
MATRICES = {
    "stencil": (laplacian(4), _Diagonals, True),
    "convection": (laplacian(4) + 0.3 * scipy.sparse.eye_array(16, k=1), _Diagonals, False),
    "uneven": (UNEVEN, _Rows, False),
    "random symmetric": (UNEVEN + UNEVEN.T, _Rows, True),
}


@pytest.mark.quick("float32-uneven", "float64-convection", "float64-uneven")
@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_import_against_the_dense_matrix(name, dtype):
    matrix, layout, symmetric = MATRICES[name]
    dense, n = matrix.toarray(), matrix.shape[0]
    x = RNG.normal(size=n).astype(dtype)

    @jax.jit
    def both(operator, x):
        turned = operator.transpose()
        return operator.mv(x), turned.mv(x), turned.transpose().mv(x), turned.diagonal(), lx.diagonal(operator)

    with jax.enable_x64(dtype is np.float64):
        operator = Sparse.from_scipy(matrix.astype(dtype))
        assert (operator.transpose() is operator) == symmetric
        product, turned, back, *diagonals = map(np.asarray, both(operator, jnp.asarray(x)))
    assert isinstance(operator.layout, layout) and lx.is_symmetric(operator) == symmetric
    atol = 20 * np.finfo(dtype).eps * abs(dense).max()
    np.testing.assert_allclose(product, dense @ x, atol=atol)
    np.testing.assert_allclose(back, dense @ x, atol=atol)
    np.testing.assert_allclose(turned, dense.T @ x, atol=atol)
    for diagonal in diagonals:
        np.testing.assert_allclose(diagonal, np.diag(dense), rtol=1e-6)
    rows, cols = np.nonzero(dense)
    np.testing.assert_array_equal(operator.rows, rows)
    np.testing.assert_array_equal(operator.cols, cols)
    np.testing.assert_allclose(operator.values, dense[rows, cols], rtol=1e-6)


@pytest.mark.parametrize("kind", ["csc", "coo", "dia", "lil", "csr_matrix", "bcoo", "bcsr", "unsorted", "padded"])
def test_every_format_gives_the_same_operator(kind):
    matrix = MATRICES["uneven"][0]
    coo = matrix.tocoo()
    order = RNG.permutation(coo.nnz)
    twice = [np.concatenate([a[order], a]) for a in (*coo.coords, coo.data / 2)]  # unsorted, every entry twice
    make = {
        "csr_matrix": lambda: scipy.sparse.csr_matrix(matrix),
        "bcoo": lambda: jax_sparse.BCOO.from_scipy_sparse(scipy.sparse.csr_matrix(matrix)),
        "bcsr": lambda: jax_sparse.BCSR.from_scipy_sparse(scipy.sparse.csr_matrix(matrix)),
        "unsorted": lambda: scipy.sparse.coo_array((twice[2], twice[:2]), shape=matrix.shape),
        "padded": lambda: jax_sparse.BCOO(
            (jnp.append(coo.data, 7.0), jnp.asarray(np.vstack([np.stack(coo.coords, 1), [40, 40]]))), shape=(40, 40)
        ),
    }.get(kind, lambda: matrix.asformat(kind))
    importer = Sparse.from_bcoo if kind in ("bcoo", "bcsr", "padded") else Sparse.from_scipy
    operator, expected = importer(make(), (5, 8)), Sparse.from_scipy(matrix)
    assert operator.in_structure().shape == (5, 8)
    np.testing.assert_array_equal(operator.rows, expected.rows)
    np.testing.assert_allclose(operator.values, expected.values, rtol=1e-6)
    x = RNG.normal(size=(5, 8)).astype(np.float32)
    np.testing.assert_allclose(operator.mv(jnp.asarray(x)).ravel(), matrix @ x.ravel(), atol=2e-4)


@pytest.mark.quick("uneven")
@pytest.mark.parametrize("name", MATRICES)
def test_derivatives_of_solves_by_values_per_lane(name):
    """b̄ = A⁻ᵀ w and Ā_ij = −λ_i x_j on the pattern, for a batch of right-hand sides and values."""
    matrix, _, symmetric = MATRICES[name]
    n = matrix.shape[0]
    b, w = RNG.normal(size=(2, n)), RNG.normal(size=n)
    with jax.enable_x64(True):
        operator = Sparse.from_scipy(matrix)
        method = CG(Jacobi(), rtol=1e-12) if symmetric else FGMRES(Jacobi(), rtol=1e-12)

        @jax.jit
        @jax.vmap
        def gradients(values, b):
            def pairing(values, b):
                solution = solve(operator.with_values(values), b, method)
                return jnp.vdot(w, solution.value), solution

            (_, solution), to = jax.value_and_grad(pairing, (0, 1), has_aux=True)(values, b)
            return solution, to

        solution, (to_values, to_b) = gradients(jnp.stack([operator.values, 2 * operator.values]), jnp.asarray(b))
    for lane, factor in enumerate((1, 2)):
        dense = factor * matrix.toarray()
        x, adjoint = np.linalg.solve(dense, b[lane]), np.linalg.solve(dense.T, w)
        assert solution.status[lane] == Status.converged
        np.testing.assert_allclose(solution.value[lane], x, atol=1e-10)
        np.testing.assert_allclose(to_b[lane], adjoint, atol=1e-9)
        expected = -adjoint[operator.rows] * x[operator.cols]
        np.testing.assert_allclose(to_values[lane], expected, atol=1e-9 * abs(expected).max())


def test_data_of_a_bcoo_may_be_traced():
    matrix = jax_sparse.BCOO.from_scipy_sparse(scipy.sparse.csr_matrix(laplacian(3)).astype(np.float32))

    @jax.jit
    def apply(data):
        operator = Sparse.from_bcoo(jax_sparse.BCOO((data, matrix.indices), shape=(9, 9)), symmetric=True)
        return operator.mv(jnp.ones(9)).sum()

    np.testing.assert_allclose(jax.grad(apply)(matrix.data), 1.0)
    with pytest.raises(TypeError, match="symmetric=True or False must be said"):
        jax.jit(lambda d: Sparse.from_bcoo(jax_sparse.BCOO((d, matrix.indices), shape=(9, 9))).values)(matrix.data)
    with pytest.raises(TypeError, match="the indices are traced"):
        jax.jit(lambda i: Sparse.from_bcoo(jax_sparse.BCOO((matrix.data, i), shape=(9, 9))).values)(matrix.indices)


def test_symmetry_is_a_matter_of_values_up_to_rounding():
    matrix = laplacian(4).tolil()
    matrix[0, 1] += 1e-15
    assert Sparse.from_scipy(matrix.tocsr()).symmetric
    matrix[0, 1] += 1e-3
    assert not Sparse.from_scipy(matrix.tocsr()).symmetric
    with pytest.raises(ValueError, match=r"symmetric=True, but A and its transpose differ by up to 0\.001"):
        Sparse.from_scipy(matrix.tocsr(), symmetric=True)
    assert not Sparse.from_scipy(laplacian(4), symmetric=False).symmetric
    one_sided = scipy.sparse.coo_array(([1.0, 1.0, 2.0], ([0, 1, 0], [0, 1, 1])), shape=(2, 2))
    assert not Sparse.from_scipy(one_sided).symmetric


def test_wrong_use_is_named():
    with pytest.raises(TypeError, match=r"needs a scipy.sparse array, got ndarray; for a BCOO use from_bcoo"):
        Sparse.from_scipy(np.eye(3))
    with pytest.raises(TypeError, match="needs a BCOO or BCSR, got csr_array"):
        Sparse.from_bcoo(laplacian(2))
    with pytest.raises(TypeError, match="complex matrices are not supported, got complex128"):
        Sparse.from_scipy(1j * laplacian(2))
    with pytest.raises(ValueError, match=r"must be square, got shape \(2, 4\)"):
        Sparse.from_scipy(laplacian(2)[:2])
    with pytest.raises(ValueError, match="has no entries"):
        Sparse.from_scipy(scipy.sparse.csr_array((3, 3)))
    with pytest.raises(ValueError, match=r"unknowns of shape \(3, 2\) do not number 4"):
        Sparse.from_scipy(laplacian(2), (3, 2))
    with pytest.raises(ValueError, match=r"pattern has 12 entries, values have shape \(3,\)"):
        Sparse.from_scipy(laplacian(2)).with_values(jnp.ones(3))
    with pytest.raises(ValueError, match="1 batch and 0 dense axes; vmap with_values"):
        Sparse.from_bcoo(jax_sparse.BCOO.fromdense(jnp.ones((2, 2)), n_batch=1))
