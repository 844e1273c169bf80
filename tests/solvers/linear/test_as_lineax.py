"""Our methods under `lineax.linear_solve`."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from surrogax.solvers.linear import CG, FGMRES, MINRES, AsLineax, Jacobi, Status, solve

RNG = np.random.default_rng(0)
SYMMETRIC = np.diag(np.arange(1.0, 9.0)) + 0.1 * np.ones((8, 8))
GENERAL = np.diag(np.arange(2.0, 10.0)) + 0.5 * RNG.normal(size=(8, 8))
B, W = RNG.normal(size=(2, 8))


@pytest.mark.nightly
@pytest.mark.parametrize("case", [pytest.param("symmetric", marks=pytest.mark.nightly), "general"])
def test_solution_and_gradient_are_those_of_solve(case):
    tag, method = {"symmetric": (lx.symmetric_tag, CG(Jacobi())), "general": ((), FGMRES(Jacobi()))}[case]
    matrix = {"symmetric": SYMMETRIC, "general": GENERAL}[case]

    def theirs(matrix, b):
        solution = lx.linear_solve(lx.MatrixLinearOperator(matrix, tag), b, AsLineax(method))
        return (W * solution.value).sum(), (solution.value, solution.stats)

    def ours(matrix, b):
        solution = solve(lx.MatrixLinearOperator(matrix, tag), b, method)
        return (W * solution.value).sum(), (solution.value, solution.stats)

    arguments = jnp.asarray(matrix, jnp.float32), jnp.asarray(B, jnp.float32)
    (_, (x, numbers)), gradients = jax.jit(jax.value_and_grad(theirs, (0, 1), has_aux=True))(*arguments)
    (_, (expected, stats)), own = jax.jit(jax.value_and_grad(ours, (0, 1), has_aux=True))(*arguments)
    np.testing.assert_allclose(x, np.linalg.solve(matrix, B), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-6)
    for theirs_, ours_ in zip(gradients, own, strict=True):
        np.testing.assert_allclose(theirs_, ours_, rtol=1e-3, atol=1e-5)
    assert numbers["num_steps"] == stats.iterations and numbers["max_steps"] == 1000
    assert numbers["status"] == Status.converged
    np.testing.assert_allclose(numbers["residual"], stats.residual, rtol=1e-2, atol=1e-6)


def test_failures_become_results_of_lineax():
    @jax.jit
    def run(matrix, b):
        operator = lx.MatrixLinearOperator(matrix, lx.symmetric_tag)
        limited = lx.linear_solve(operator, b, AsLineax(CG(max_steps=2)), throw=False)
        minimal = lx.linear_solve(operator, b, AsLineax(MINRES()), throw=False)
        return limited.result, minimal.result, minimal.value

    b = jnp.asarray(B, jnp.float32)
    limited, minimal, _ = run(jnp.asarray(SYMMETRIC, jnp.float32), b)
    assert limited == lx.RESULTS.max_steps_reached and minimal == lx.RESULTS.successful
    indefinite = np.diag([-4.0, -3, -2, 1, 2, 3, 4, 5])
    limited, minimal, x = run(jnp.asarray(indefinite, jnp.float32), b)
    assert limited == lx.RESULTS.breakdown and minimal == lx.RESULTS.successful
    np.testing.assert_allclose(x, B / np.diag(indefinite), rtol=1e-4)
    singular = np.diag([-4.0, -3, -2, 0, 2, 3, 4, 5])
    _, minimal, _ = run(jnp.asarray(singular, jnp.float32), b)
    assert minimal == lx.RESULTS.stagnation
    _, minimal, _ = run(jnp.asarray(SYMMETRIC, jnp.float32), b * jnp.nan)
    assert minimal == lx.RESULTS.nonfinite_input


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match="CG needs a symmetric operator, MatrixLinearOperator is not"):
        lx.linear_solve(lx.MatrixLinearOperator(jnp.eye(2)), jnp.ones(2), AsLineax(CG()))
    pytree = lx.FunctionLinearOperator(lambda x: x, {"u": jax.ShapeDtypeStruct((2,), jnp.float32)}, lx.symmetric_tag)
    with pytest.raises(ValueError, match="FunctionLinearOperator acts on a pytree"):
        lx.linear_solve(pytree, {"u": jnp.ones(2)}, AsLineax(CG()))
