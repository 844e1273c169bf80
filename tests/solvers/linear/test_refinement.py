"""Iterative refinement: float64 accuracy from float32 corrections."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, FGMRES, Diffusion, Jacobi, Refinement, Status, solve

SHAPE, SPACING, BOUNDARIES = (7, 6), (1 / 8, 1 / 6), ("dirichlet", "neumann")
A = np.random.default_rng(0).uniform(0.5, 3.0, (9, 6))
B = np.random.default_rng(1).normal(size=SHAPE)


def diffusion(a):
    return Diffusion(stencil.face_means(a, BOUNDARIES, "harmonic"), SHAPE, SPACING, BOUNDARIES)


def residual_norm(matrix, solution) -> float:
    return np.linalg.norm(B.ravel() - matrix @ np.ravel(solution.value))


def test_reaches_float64_by_float32_corrections(x64):
    method = Refinement(CG(Jacobi(), rtol=1e-3), rtol=1e-13, history=True, max_steps=9)
    assert method.describe() == "Refinement(CG(Jacobi))" and method.needs_symmetric

    def loss(a, b):
        solution = solve(diffusion(a), b, method)
        return (jnp.asarray(B[::-1]) * solution.value).sum(), solution

    run = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (_, solution), (to_a, to_b) = run(jnp.asarray(A), jnp.asarray(B))
    matrix = np.asarray(diffusion(jnp.asarray(A)).as_matrix())
    np.testing.assert_allclose(solution.value.ravel(), np.linalg.solve(matrix, B.ravel()), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(to_b.ravel(), np.linalg.solve(matrix, B[::-1].ravel()), rtol=1e-11, atol=1e-14)
    step = 1e-5 * np.cos(np.arange(A.size)).reshape(A.shape)
    (up, _), _ = run(jnp.asarray(A + step), jnp.asarray(B))
    (down, _), _ = run(jnp.asarray(A - step), jnp.asarray(B))
    np.testing.assert_allclose(2 * (to_a * step).sum(), up - down, rtol=1e-7)
    assert solution.status == Status.converged
    # Of the last iterate the residual is rounding noise; of a rough one it is known to many digits.
    rounding = (
        4 * np.finfo(float).eps * np.linalg.norm(np.abs(matrix) @ np.abs(solution.value.ravel()) + np.abs(B.ravel()))
    )
    assert residual_norm(matrix, solution) <= rounding and solution.stats.residual <= rounding
    rough = jax.jit(lambda a, b: solve(diffusion(a), b, Refinement(method.inner, rtol=1e-5)))(
        jnp.asarray(A), jnp.asarray(B)
    )
    np.testing.assert_allclose(rough.stats.residual, residual_norm(matrix, rough), rtol=1e-6)
    history = np.asarray(solution.stats.history)
    corrections = int(np.isfinite(history).sum())
    assert 3 <= corrections <= 6 and (history[1:corrections] <= 2e-3 * history[: corrections - 1]).all()
    assert solution.iterations > 3 * corrections, "iterations of the inner method"
    operator = diffusion(jnp.asarray(A))
    bound, tolerance = method.bind(operator), jnp.asarray(1e-13)
    text = str(jax.make_jaxpr(lambda b: bound(operator, b, 0 * b, tolerance)[0])(jnp.asarray(B)))
    assert "f32[7,6]" in text, "no correction in float32"


@pytest.mark.nightly
def test_statuses_and_limits(x64):
    run = jax.jit(lambda matrix, b, method: solve(lx.MatrixLinearOperator(matrix), b, method), static_argnums=2)
    general = np.random.default_rng(2).normal(size=(12, 12)) + 6 * np.eye(12)
    b = jnp.ones(12)
    good = run(jnp.asarray(general), b, Refinement(FGMRES(rtol=1e-4)))
    assert good.status == Status.converged and good.method == "Refinement(FGMRES)"
    np.testing.assert_allclose(good.value, np.linalg.solve(general, np.ones(12)), rtol=1e-9)
    for limit in (0, 1):
        stopped = run(jnp.asarray(general), b, Refinement(FGMRES(rtol=1e-4), max_steps=limit))
        assert stopped.status == Status.max_steps and (stopped.stats.residual < 3) == (limit == 1)
    singular = general.copy()
    singular[3] = 0.0
    inconsistent = run(jnp.asarray(singular), b, Refinement(FGMRES(rtol=1e-4)))
    assert inconsistent.status == Status.stagnated and np.isfinite(inconsistent.value).all()
    assert 1 <= inconsistent.stats.residual <= 12**0.5 * 1.0001
    broken = run(jnp.asarray(general * np.nan), b, Refinement(FGMRES(rtol=1e-4)))
    assert broken.status == Status.non_finite
    zero = run(jnp.asarray(general), 0 * b, Refinement(FGMRES(rtol=1e-4)))
    assert zero.status == Status.converged and zero.iterations == 0 and (zero.value == 0).all()


def test_float32_systems_are_refused():
    with pytest.raises(
        ValueError, match="the system is float32, corrections in float32 gain nothing; build it in float64"
    ):
        solve(diffusion(jnp.asarray(A, jnp.float32)), jnp.asarray(B, jnp.float32), Refinement(CG()))
    with pytest.raises(ValueError, match="Refinement needs a symmetric operator"):
        solve(lx.MatrixLinearOperator(jnp.eye(2)), jnp.ones(2), Refinement(CG()))
    with pytest.raises(ValueError, match="Refinement: max_steps must not be negative"):
        Refinement(CG(), max_steps=-1)
