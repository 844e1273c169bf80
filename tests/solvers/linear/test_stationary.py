"""Damped Jacobi iteration and what the loop of stationary iterations promises."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from surrogax.solvers.linear import (
    CG,
    SOR,
    Chebyshev,
    GaussSeidel,
    Jacobi,
    JacobiIteration,
    Laplacian,
    Multigrid,
    Richardson,
    Status,
    solve,
)

MATRIX = np.random.default_rng(0).uniform(-0.3, 0.3, (6, 6)) + np.diag([2.0, 3, 1.5, 2, 4, 2.5])
B = np.random.default_rng(1).normal(size=6)


def test_iterates_are_those_of_the_formula(x64):
    """Also for a matrix without symmetry; x_k from a closed form, and the residual of every iteration."""
    run = jax.jit(
        lambda matrix, b, x0, omega: JacobiIteration(omega, max_steps=7, history=True)(
            lx.MatrixLinearOperator(matrix), b, x0, jnp.zeros(())
        )
    )
    x0 = np.ones(6)
    x, stats = run(*map(jnp.asarray, (MATRIX, B, x0, 0.8)))
    exact = np.linalg.solve(MATRIX, B)
    iteration = np.eye(6) - 0.8 * MATRIX / np.diag(MATRIX)[:, None]
    errors = [np.linalg.matrix_power(iteration, k) @ (x0 - exact) for k in range(1, 8)]
    np.testing.assert_allclose(x - exact, errors[-1], rtol=1e-10)
    np.testing.assert_allclose(stats.history, [np.linalg.norm(MATRIX @ e) for e in errors], rtol=1e-10)
    np.testing.assert_allclose(stats.residual, stats.history[-1], rtol=1e-12)
    assert stats.status == Status.max_steps and stats.iterations == 7


def test_no_steps():
    run = jax.jit(lambda m, b: solve(lx.MatrixLinearOperator(m), b, JacobiIteration(max_steps=0)))
    solution = run(jnp.asarray(MATRIX, jnp.float32), jnp.asarray(B, jnp.float32))
    assert solution.status == Status.max_steps and solution.iterations == 0 and (solution.value == 0).all()
    np.testing.assert_allclose(solution.stats.residual, np.linalg.norm(B), rtol=1e-6)


def test_an_eigenvector_falls_by_one_minus_omega_lambda(x64):
    operator = Laplacian((9,), (0.1,), ("dirichlet",))
    mode = jnp.sin(jnp.pi * jnp.arange(1, 10) / 10)
    factor = 1 - 0.7 * (1 - np.cos(np.pi / 10))
    solution = jax.jit(lambda b: solve(operator, b, JacobiIteration(0.7, rtol=1e-3)))(mode)
    assert solution.status == Status.converged
    assert solution.iterations == int(np.ceil(np.log(1e-3) / np.log(factor)))
    np.testing.assert_allclose(
        solution.stats.residual / jnp.linalg.norm(mode), factor ** int(solution.iterations), rtol=1e-8
    )


def test_gradient_of_a_system_without_symmetry(x64):
    """The adjoint is solved with the transpose."""

    @jax.jit
    def gradient(matrix, b):
        def loss(matrix, b):
            return jnp.sum(solve(lx.MatrixLinearOperator(matrix), b, JacobiIteration(rtol=1e-13)).value ** 2)

        return jax.grad(loss, (0, 1))(matrix, b)

    to_matrix, to_b = gradient(jnp.asarray(MATRIX), jnp.asarray(B))
    x = np.linalg.solve(MATRIX, B)
    adjoint = np.linalg.solve(MATRIX.T, 2 * x)
    np.testing.assert_allclose(to_b, adjoint, rtol=1e-10)
    np.testing.assert_allclose(to_matrix, -np.outer(adjoint, x), rtol=1e-9, atol=1e-13)


def test_a_residual_that_never_falls_is_stagnation_and_a_growing_one_is_not():
    """Inconsistent right-hand side of a singular operator, and a diagonal that dominates nothing."""
    singular = np.array([[1, -1], [-1, 1]])
    growing = np.array([[1, 2], [2, 1]])
    run = jax.jit(
        jax.vmap(lambda m, b: solve(lx.MatrixLinearOperator(m), b, JacobiIteration(0.9, max_steps=500)).stats)
    )
    stats = run(jnp.asarray([singular, growing], jnp.float32), jnp.asarray([[1, 0.5], [1, 1]], jnp.float32))
    assert stats.status.tolist() == [Status.stagnated, Status.non_finite]
    np.testing.assert_allclose(stats.residual[0], 1.5 / np.sqrt(2), rtol=1e-5)
    assert stats.iterations[0] < 200


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match=r"JacobiIteration: omega must lie in \(0, 2\), got -1"):
        JacobiIteration(-1)
    with pytest.raises(ValueError, match="JacobiIteration: max_steps must not be negative, got -1"):
        JacobiIteration(max_steps=-1)


@pytest.mark.nightly
def test_methods_are_bound_before_they_are_called():
    operator, b = Laplacian((4, 5), (0.2, 0.2), ("dirichlet",) * 2), jnp.ones((4, 5))
    for method, name in (
        (SOR(), "SOR"),
        (GaussSeidel(), "GaussSeidel"),
        (Chebyshev(), "Chebyshev"),
        (Richardson(Multigrid()), "Multigrid"),
        (CG(Jacobi()), "Jacobi"),
    ):
        with pytest.raises(ValueError, match=rf"{name}: call bind\(operator\)"):
            method(operator, b, 0 * b, jnp.asarray(1e-3))
        bound = method.bind(operator)
        x, stats = bound.bind(operator)(operator, b, 0 * b, jnp.asarray(1e-3))
        assert stats.status == Status.converged and jnp.abs(b - operator.mv(x)).max() < 2e-3


def test_richardson_needs_a_linear_map_for_the_adjoint():
    operator = lx.MatrixLinearOperator(jnp.asarray(MATRIX, jnp.float32))
    method = Richardson(lambda r: r / (2 + 0 * jnp.abs(r)))
    with pytest.raises(TypeError, match="Richardson: the preconditioner function is not linear"):
        jax.grad(lambda b: solve(operator, b, method).value.sum())(jnp.ones(6))
