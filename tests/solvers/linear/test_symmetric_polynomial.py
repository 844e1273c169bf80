"""The symmetric polynomial preconditioner: against the elementary symmetric polynomials of dense eigenvalues."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, Diffusion, Laplacian, SymmetricPolynomial, solve


def elementary(values, degree):
    return np.poly(values)[degree] * (-1) ** degree


@pytest.mark.parametrize(
    ("shape", "boundaries"),
    [((6, 4), ("periodic", "dirichlet")), ((3, 4, 2), ("neumann",) * 3)],
)
def test_eigenvalues_are_elementary_symmetric_polynomials_of_the_others(x64, shape, boundaries):
    rng = np.random.default_rng(0)
    a = rng.uniform(0.5, 3.0, [n + 2 * (b == "dirichlet") for n, b in zip(shape, boundaries, strict=True)])
    shift = rng.uniform(0, 50, shape)

    @jax.jit
    def run(a, shift):
        faces = stencil.face_means(a, boundaries, "harmonic")
        operator = Diffusion(faces, shape, (0.3, 0.2, 0.5)[: len(shape)], boundaries, shift)
        columns = jnp.eye(shift.size).reshape(-1, *shape)

        def dense(preconditioner):
            bound = preconditioner.bind(operator)
            return jax.vmap(lambda e: bound(e).ravel(), out_axes=1)(columns)

        return operator.as_matrix(), [dense(SymmetricPolynomial(degree)) for degree in (1, 4)]

    matrix, polynomials = jax.tree.map(np.asarray, run(jnp.asarray(a), jnp.asarray(shift)))
    eigenvalues, vectors = np.linalg.eigh(matrix)
    for degree, polynomial in zip((1, 4), polynomials, strict=True):
        others = [elementary(np.delete(eigenvalues, j), degree) for j in range(len(eigenvalues))]
        expected = np.array(others) / np.trace(matrix) ** degree
        np.testing.assert_allclose(vectors.T @ polynomial @ vectors, np.diag(expected), atol=1e-12 * expected.max())


def test_outliers_cost_fewer_iterations(x64):
    """Three eigenvalues far above the rest, which degree 3 brings down to the sum of the rest."""
    outliers = np.zeros((16, 16))
    outliers[[3, 9, 12], [4, 9, 2]] = 1e5, 3e5, 7e5
    b = jnp.asarray(np.random.default_rng(0).normal(size=(16, 16)))

    @jax.jit
    def run(shift, b):
        faces = stencil.unit_faces((16, 16), ("dirichlet",) * 2, b.dtype)
        operator = Diffusion(faces, (16, 16), (1.0, 1.0), ("dirichlet",) * 2, shift)
        methods = (None, SymmetricPolynomial(3))
        return [solve(operator, b, CG(method, rtol=1e-8)).iterations for method in methods]

    plain, preconditioned = run(jnp.asarray(1 + outliers), b)
    assert preconditioned <= 0.8 * plain


def test_traces_of_matrices_are_estimated():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(30, 30)) / 6
    matrix = factor @ factor.T + 2 * np.eye(30)
    with pytest.raises(
        ValueError, match="traces of powers of a MatrixLinearOperator are estimated at random, give a key"
    ):
        SymmetricPolynomial(2).bind(lx.MatrixLinearOperator(jnp.asarray(matrix, jnp.float32), lx.symmetric_tag))

    @jax.jit
    def run(matrix, key):
        return SymmetricPolynomial(3, key).bind(lx.MatrixLinearOperator(matrix, lx.symmetric_tag)).elementary

    ours = run(jnp.asarray(matrix, jnp.float32), jax.random.key(0))
    eigenvalues = np.linalg.eigvalsh(matrix) / np.trace(matrix)
    np.testing.assert_allclose(ours, [elementary(eigenvalues, k) for k in range(4)], rtol=0.01)


def test_binding_twice_and_wrong_degrees():
    bound = SymmetricPolynomial(1).bind(Laplacian((2, 3), (1.0, 1.0), ("dirichlet", "dirichlet")))
    assert bound.bind(None) is bound
    with pytest.raises(ValueError, match="degree must be at least 1, got 0"):
        SymmetricPolynomial(0)
