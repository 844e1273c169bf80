"""Sums, multiples, products, transposes and tags of lineax with our operators: matrices, diagonals, solves."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.sparse

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, FGMRES, Diffusion, Jacobi, Laplacian, Sparse, Status, solve

SHAPE, SPACING, BOUNDARIES = (4, 3), (0.5, 0.4), ("dirichlet", "neumann")
RNG = np.random.default_rng(0)
FIELD, B = RNG.uniform(1, 2, SHAPE), RNG.normal(size=SHAPE)
FACES = [RNG.uniform(1, 2, a.shape) for a in stencil.unit_faces(SHAPE, BOUNDARIES)]
UPWIND = scipy.sparse.diags_array([np.ones(12), -0.5 * np.ones(11)], offsets=[0, -1])


def operators():
    diffusion = Diffusion(map(jnp.asarray, FACES), SHAPE, SPACING, BOUNDARIES, 0.5)
    laplacian = Laplacian(SHAPE, SPACING, BOUNDARIES)
    upwind = Sparse.from_scipy(UPWIND.astype(laplacian.in_structure().dtype), SHAPE)
    return diffusion, laplacian, upwind, lx.DiagonalLinearOperator(jnp.asarray(FIELD))


# The composition, the same of matrices where that differs, and whether it is known to be symmetric. A: diffusion, P: Laplacian,
# S: sparse and not symmetric, D: diagonal.
COMPOSITIONS = {
    "A + P": (lambda a, p, s, d: a + p, None, True),
    "A + D": (lambda a, p, s, d: a + d, None, True),
    "A + I": (lambda a, p, s, d: a + lx.IdentityLinearOperator(a.in_structure()), lambda a, *_: a + np.eye(12), True),
    "2 A - P / 4": (lambda a, p, s, d: 2.0 * a - p / 4.0, None, True),
    "A A": (
        lambda a, p, s, d: lx.TaggedLinearOperator(a @ a, lx.symmetric_tag),
        lambda a, *_: a @ a,
        True,
    ),
    "(A + S).T": (lambda a, p, s, d: (a + s).T, None, False),
    "S A D": (lambda a, p, s, d: s @ a @ d, None, False),
}


@pytest.mark.nightly
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_compositions_are_solved_with_the_jacobi_preconditioner(name):
    compose, reference, symmetric = COMPOSITIONS[name]

    @jax.jit
    def run(b):
        operator = compose(*operators())
        method = (CG if symmetric else FGMRES)(Jacobi(), rtol=1e-11)
        gradient = jax.grad(lambda b: (solve(operator, b, method).value * FIELD).sum())(b)
        return operator.as_matrix(), lx.diagonal(operator), solve(operator, b, method), gradient

    with jax.enable_x64(True):
        *parts, diagonal = (np.asarray(o.as_matrix()) for o in operators())
        expected = (reference or compose)(*parts, diagonal)
        assert lx.is_symmetric(compose(*operators())) == symmetric
        matrix, diagonal, solution, gradient = run(jnp.asarray(B))
    np.testing.assert_allclose(matrix, expected, atol=1e-11)
    np.testing.assert_allclose(diagonal, np.diag(expected), atol=1e-11)
    assert solution.status == Status.converged
    np.testing.assert_allclose(solution.value.ravel(), np.linalg.solve(expected, B.ravel()), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(gradient.ravel(), np.linalg.solve(expected.T, FIELD.ravel()), rtol=1e-7, atol=1e-9)


def test_dense_forms_keep_the_shape_of_the_field():
    with jax.enable_x64(True):
        for operator in operators()[:3]:
            dense = lx.materialise(operator)
            assert dense.in_structure().shape == dense.out_structure().shape == SHAPE
            assert lx.is_symmetric(dense) == lx.is_symmetric(operator)
            np.testing.assert_allclose(dense.mv(jnp.asarray(B)), operator.mv(jnp.asarray(B)), atol=1e-11)


def test_lineax_solves_our_operators():
    with jax.enable_x64(True):
        diffusion, _, upwind, _ = operators()
        for operator in (diffusion, diffusion + upwind):
            ours = lx.linear_solve(operator, jnp.asarray(B)).value
            np.testing.assert_allclose(ours.ravel(), np.linalg.solve(operator.as_matrix(), B.ravel()), rtol=1e-9)


def test_operators_of_different_fields_do_not_add():
    _, laplacian, *_ = operators()
    with pytest.raises(ValueError, match="Incompatible linear operator structures"):
        laplacian + Laplacian((3, 4), SPACING, BOUNDARIES)
