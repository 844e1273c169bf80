"""Units: an operator and a right-hand side multiplied by any number have the same solution, in as many steps."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import (
    CG,
    FGMRES,
    MINRES,
    SOR,
    SSOR,
    BiCGStab,
    Chebyshev,
    ChebyshevPolynomial,
    DeepCG,
    Diffusion,
    FlexibleCG,
    IncompleteCholesky,
    Jacobi,
    Multigrid,
    PolynomialInverse,
    solve,
)

WALLS = ("dirichlet", "periodic")
A = np.exp(np.random.default_rng(0).normal(size=(14, 12)))
B = np.random.default_rng(1).normal(size=(12, 12))
METHODS = [
    CG(Multigrid()), CG(Multigrid(), norm="natural"), CG(), CG(Jacobi(), norm="natural"), MINRES(), MINRES(Jacobi()),
    FGMRES(), FGMRES(Jacobi()), BiCGStab(), BiCGStab(Jacobi()), FlexibleCG(Jacobi()), DeepCG(lambda r: r), SOR(1.6), Chebyshev(),
    CG(IncompleteCholesky()), CG(ChebyshevPolynomial()), CG(PolynomialInverse()),
]  # fmt: skip


def grid(factor):
    faces = stencil.face_means(jnp.asarray(factor * A, jnp.float32), WALLS, "arithmetic")
    return Diffusion(faces, (12, 12), (1.0, 1.0), WALLS)


QUICK = ("CG(Multigrid)", "MINRES", "FGMRES", "BiCGStab", "SOR(1.6)")


@pytest.mark.parametrize(
    "method",
    [pytest.param(m, marks=() if m.describe() in QUICK else pytest.mark.nightly, id=m.describe()) for m in METHODS],
)
def test_units_of_the_operator_do_not_matter_in_float32(method):
    run = jax.jit(lambda a, b: solve(a, b, method))
    plain = run(grid(1.0), jnp.asarray(B, jnp.float32))
    assert plain.status == 0
    for factor in (1e-30, 1e-12, 1e19, 1e30):
        scaled = run(grid(factor), jnp.asarray(factor * B, jnp.float32))
        assert scaled.status == 0 and scaled.iterations <= 2 * plain.iterations
        np.testing.assert_allclose(scaled.value, plain.value, atol=2e-4 * float(jnp.abs(plain.value).max()))
        np.testing.assert_allclose(scaled.residual, plain.residual, atol=2e-5)


@pytest.mark.nightly
def test_units_do_not_matter_in_walls_of_other_orders():
    """Natural order, and dense matrices."""
    boundaries = ("dirichlet", "dirichlet")
    for factor in (1e-30, 1e30):
        faces = stencil.face_means(jnp.asarray(factor * A, jnp.float32), boundaries, "arithmetic")
        operator = Diffusion(faces, (12, 10), (1.0, 1.0), boundaries)
        b = jnp.asarray(factor * B[:, :10], jnp.float32)
        assert solve(operator, b, CG(SSOR(1.2))).status == 0
    matrix = np.random.default_rng(2).normal(size=(8, 8)) + 6 * np.eye(8)
    for factor in (1e-30, 1e30):
        operator = lx.MatrixLinearOperator(jnp.asarray(factor * matrix, jnp.float32))
        solution = solve(operator, jnp.asarray(factor * B[0, :8], jnp.float32))
        np.testing.assert_allclose(solution.value, np.linalg.solve(matrix, B[0, :8]), atol=1e-4)
