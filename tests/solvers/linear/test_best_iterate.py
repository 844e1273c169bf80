"""What is returned where the tolerance is out of reach: the best x on the way, and a true residual."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, FGMRES, MINRES, BiCGStab, Diffusion, Jacobi, Multigrid, Status, solve

WALLS = ("dirichlet", "dirichlet")


@pytest.mark.nightly
@pytest.mark.parametrize("low, high", [(1e-3, 1e3), (1.0, 1e6)])
def test_jumps_in_float32_give_the_solution_though_the_residual_is_above_b(low, high):
    """The rounding of A x exceeds |b| there, while the error is small."""
    index = np.indices((33, 33)).sum(0) // 8
    a = np.where(np.indices((33, 33))[0] // 8 % 2 == np.indices((33, 33))[1] // 8 % 2, low, high)
    assert index.max() > 0

    def operator(dtype):
        return Diffusion(
            stencil.face_means(jnp.asarray(a, dtype), WALLS, "harmonic"), (31, 31), (1 / 32, 1 / 32), WALLS
        )

    with jax.enable_x64(True):
        exact = np.linalg.solve(np.asarray(operator("float64").as_matrix()), np.ones(961)).reshape(31, 31)
    for method in (None, CG(Jacobi(), max_steps=3000)):
        solution = solve(operator("float32"), jnp.ones((31, 31)), method)
        error = np.linalg.norm(solution.value - exact) / np.linalg.norm(exact)
        assert error < 1e-4, (solution.method, error)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:solve. rtol")
@pytest.mark.parametrize("method", [MINRES, pytest.param(CG, marks=pytest.mark.nightly), BiCGStab])
def test_an_ill_conditioned_system_returns_nothing_worse_than_was_seen(method):
    """Condition 1e14 in float32: the residual is at most that of every x looked at, x = 0 among them."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(60, 60)))[0]
    matrix = jnp.asarray(basis * np.geomspace(1e-14, 1, 60) @ basis.T, jnp.float32)
    operator = lx.MatrixLinearOperator((matrix + matrix.T) / 2, lx.symmetric_tag)
    b = jnp.asarray(rng.normal(size=60), jnp.float32)
    residuals = []
    for steps in (10, 20, 40, 500):
        solution = solve(operator, b, method(rtol=1e-12, max_steps=steps))
        residuals.append(float(jnp.linalg.norm(b - operator.mv(solution.value))))
        rounding = 1e-6 * float(jnp.linalg.norm(solution.value) + jnp.linalg.norm(b))
        np.testing.assert_allclose(solution.stats.residual, residuals[-1], atol=2 * rounding)
        assert solution.status in (Status.max_steps, Status.stagnated, Status.breakdown)
    assert residuals[0] <= float(jnp.linalg.norm(b)) and residuals[-1] <= 1.1 * min(residuals)


@pytest.mark.nightly
def test_looks_do_not_change_the_iteration(x64):
    """Hundreds of steps with a look in every fifty are those of one uninterrupted recurrence: n steps solve n unknowns."""
    n = 300
    operator = lx.TridiagonalLinearOperator(jnp.full(n, 2.0), -jnp.ones(n - 1), -jnp.ones(n - 1))
    operator = lx.TaggedLinearOperator(operator, lx.symmetric_tag)
    b = jnp.asarray(np.random.default_rng(1).normal(size=n))
    for method in (CG(rtol=1e-9), MINRES(rtol=1e-9)):
        solution = solve(operator, b, method)
        assert solution.status == Status.converged and solution.iterations <= 1.05 * n
    batch = jax.vmap(lambda b: solve(operator, b, CG(rtol=1e-9)))(jnp.stack([b, operator.mv(jnp.ones(n)), 0 * b]))
    alone = [solve(operator, lane, CG(rtol=1e-9)).iterations for lane in (b, operator.mv(jnp.ones(n)), 0 * b)]
    assert (batch.status == Status.converged).all() and batch.iterations.tolist() == [int(k) for k in alone]


@pytest.mark.nightly
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.nightly)])
def test_exact_starts_zero_right_hand_sides_and_vanishing_residuals(x64, dtype):
    matrix = np.diag([2.0] * 5) - np.eye(5, k=1) - np.eye(5, k=-1)
    b = jnp.asarray([1.0, -1, 2, 0, 3], dtype)
    for method in (CG(), CG(Jacobi()), MINRES(), MINRES(Jacobi()), FGMRES(), BiCGStab()):
        for a in (matrix, np.eye(5)):
            operator = lx.MatrixLinearOperator(jnp.asarray(a, dtype), lx.symmetric_tag)
            exact = jnp.linalg.solve(jnp.asarray(a, dtype), b)
            lanes = jax.vmap(lambda b, x0: solve(operator, b, method, x0=x0))(  # noqa: B023
                jnp.stack([b, 0 * b, 0 * b, b]), jnp.stack([exact, exact, 0 * b, 0 * b])
            )
            assert (lanes.status == Status.converged).all(), method.describe()
            assert lanes.iterations[1] == lanes.iterations[2] == 0 and lanes.iterations[0] <= 1
            np.testing.assert_allclose(lanes.value, jnp.stack([exact, 0 * b, 0 * b, exact]), atol=1e-4)


@pytest.mark.nightly
def test_a_gradient_at_an_exact_start_is_finite_and_costs_no_more_than_the_solve(x64):
    """Of ‖x‖² through a preconditioned solve: as many iterations for the adjoint, within a fifth."""
    a = jnp.asarray(np.random.default_rng(0).uniform(1, 9, (18, 18)))
    operator = Diffusion(stencil.face_means(a, WALLS, "harmonic"), (16, 16), (1 / 17, 1 / 17), WALLS)
    b = jnp.asarray(np.random.default_rng(1).normal(size=(16, 16)))
    method = CG(Multigrid(), rtol=1e-8)
    forward = solve(operator, b, method)
    adjoint = solve(operator, 2 * forward.value, method)
    assert adjoint.iterations <= 1.2 * forward.iterations
    gradient = jax.grad(lambda b: (solve(operator, b, method, x0=forward.value).value ** 2).sum())(b)
    np.testing.assert_allclose(gradient, adjoint.value, atol=1e-6 * float(jnp.abs(adjoint.value).max()))
