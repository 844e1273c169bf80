"""What `solve` and the methods make of arguments: matrices of other libraries, wrong numbers, tolerances out of reach."""

import warnings

import jax
import jax.numpy as jnp
import lineax as lx
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.sparse
from jax.experimental.sparse import BCOO

from surrogax.solvers.linear import (
    CG,
    FGMRES,
    MINRES,
    SOR,
    IncompleteCholesky,
    Jacobi,
    Laplacian,
    PolynomialInverse,
    Sparse,
    Status,
    choose,
    solve,
)
from surrogax.solvers.linear.method import known_number

POISSON = scipy.sparse.diags_array([-np.ones(19), 2.5 * np.ones(20), -np.ones(19)], offsets=[-1, 0, 1]).tocsr()
B = np.random.default_rng(0).normal(size=20)


@pytest.mark.nightly
def test_matrices_of_other_libraries_are_converted(x64):
    exact = np.linalg.solve(POISSON.toarray(), B)
    upper = scipy.sparse.triu(POISSON).tocsr()
    for matrix, method in (
        (POISSON, "CG(Jacobi)"),
        (POISSON.tocoo().astype(np.longdouble), "CG(Jacobi)"),
        (BCOO.from_scipy_sparse(POISSON), "CG(Jacobi)"),
        (POISSON.toarray(), "MINRES"),
        (jnp.asarray(POISSON.toarray()), "MINRES"),
    ):
        solution = solve(matrix, B)
        assert solution.method == method and solution.status == Status.converged
        np.testing.assert_allclose(solution.value, exact, atol=1e-4)
    assert solve(upper, B).method == "FGMRES(Jacobi)" and solve(upper.toarray(), B).method == "FGMRES"
    whole = scipy.sparse.csr_array(2 * np.eye(20, dtype=int))
    np.testing.assert_allclose(solve(whole, B).value, B / 2)
    np.testing.assert_allclose(solve(whole.toarray(), B).value, B / 2)


def test_wrong_arguments_are_named():
    operator = Laplacian((20,), (1.0,), ("dirichlet",))
    with pytest.raises(TypeError, match="SOR: omega must be a number, got 'auto'"):
        known_number("SOR", "omega", "auto")
    for make, error, text in (
        (lambda: solve("A", B), TypeError, "needs an operator of surrogax.linear or lineax, or a matrix, got str"),
        (lambda: solve(np.ones((3, 2)), B), ValueError, r"a matrix must be square, got an array of shape \(3, 2\)"),
        (lambda: Sparse(POISSON), TypeError, "make it by Sparse.from_scipy"),
        (lambda: SOR("auto"), TypeError, "omega"),
        (lambda: CG(rtol="small"), TypeError, "rtol"),
        (lambda: CG(rtol=-1e-3), ValueError, "rtol must be from 0 to below 1, a fraction of |b|, got -0.001"),
        (lambda: MINRES(rtol=1.0), ValueError, "rtol must be from 0 to below 1"),
        (lambda: CG(rtol=np.nan), ValueError, "rtol must be from 0 to below 1"),
        (lambda: CG(atol=-1.0), ValueError, "atol must be not negative"),
        (lambda: FGMRES(max_steps=1.5), TypeError, "max_steps"),
        (lambda: solve(operator, np.ones(20, bool)), TypeError, "convert integers with astype"),
        (lambda: solve(POISSON.astype(complex), B), TypeError, "complex matrices are not supported"),
        (lambda: solve(operator, np.ones((20, 1))), ValueError, r"the right-hand side has \(20, 1\)"),
    ):
        with pytest.raises(error, match=text):
            make()


def test_rounding_to_float32_is_told():
    with pytest.warns(
        UserWarning, match="float64 matrix is rounded to float32, because x64 is off; enable it with jax.config"
    ):
        solve(POISSON, B)
    operator = Laplacian((20,), (1.0,), ("dirichlet",)).as_diffusion()
    with pytest.warns(UserWarning, match="rtol=1e-08 lies below the rounding of float32, .* jax.config.update"):
        solution = solve(operator, B.astype(np.float32), SOR(rtol=1e-8, max_steps=200))
    assert solution.status in (Status.stagnated, Status.max_steps)
    assert "jax_enable_x64" in Status.stagnated.advice
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve(POISSON.astype(np.float32), B.astype(np.float32))
        with jax.enable_x64(True):
            solve(POISSON, B, CG(rtol=1e-12))


def test_a_solution_tells_how_it_went(x64):
    solution = solve(POISSON, B, CG(history=True))
    k = int(solution.iterations)
    assert solution.history.shape == (k,) and solution.history[-1] == solution.stats.residual
    np.testing.assert_allclose(solution.stats.b_norm, np.linalg.norm(B))
    np.testing.assert_allclose(solution.residual, solution.history[-1] / np.linalg.norm(B))
    assert (
        repr(solution)
        == f"Solution(float64[20], CG: converged, {k} iterations, |r|/|b| = {float(solution.residual):.2g})"
    )
    (line,) = solution.plot_history().axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), solution.history / np.linalg.norm(B))
    plt.close("all")
    batch = jax.vmap(lambda b: solve(POISSON, b))(np.stack([B, np.full(20, np.nan)]))
    assert "1 converged, 1 non_finite" in repr(batch)
    with pytest.raises(ValueError, match="no history was recorded; ask for it with CG"):
        batch.history  # noqa: B018


@pytest.mark.nightly
def test_zeros_on_the_diagonal(x64):
    """A saddle point, a graph with an isolated vertex, a cycle: the default method solves them."""
    rng = np.random.default_rng(0)
    constraints = scipy.sparse.random_array((5, 20), density=0.5, rng=rng)
    saddle = scipy.sparse.block_array([[POISSON, constraints.T], [constraints, None]]).tocsr()
    graph = scipy.sparse.csr_array(np.array([[1.0, -1, 0, 0], [-1, 2, -1, 0], [0, -1, 1, 0], [0, 0, 0, 0]]))
    cycle = scipy.sparse.csr_array(np.array([[0, 1.0, 0], [0, 0, 2], [3, 0, 0]]))
    for matrix, b, method in (
        (saddle, rng.normal(size=25), "MINRES"),
        (graph, np.array([1.0, 0, -1, 0]), "MINRES"),
        (cycle, np.ones(3), "FGMRES(Jacobi)"),
    ):
        solution = solve(matrix, b)
        assert solution.method == method and solution.status == Status.converged
        np.testing.assert_allclose(matrix @ np.asarray(solution.value), b, atol=1e-4 * np.linalg.norm(b))
    assert solve(graph, np.array([1.0, 0, -1, 0]), CG(Jacobi())).status == Status.converged


@pytest.mark.nightly
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((25, 25), marks=pytest.mark.nightly),
        pytest.param((3, 129), marks=pytest.mark.nightly),
        (27, 32),
        (7, 9, 11),
    ],
)
def test_rings_of_odd_size_have_a_default_method(x64, shape):
    operator = Laplacian(shape, tuple(1 / n for n in shape), ("periodic",) * len(shape), shift=1.0).as_diffusion()
    b = jnp.asarray(np.random.default_rng(0).normal(size=shape))
    solution = solve(operator, b)
    assert solution.status == Status.converged
    np.testing.assert_allclose(operator.mv(solution.value), b, atol=1e-4 * float(jnp.linalg.norm(b)))
    assert choose(Laplacian((64, 64), (0.1, 0.1), ("periodic",) * 2).as_diffusion()).describe() == "CG(Multigrid)"


@pytest.mark.parametrize(
    "preconditioner",
    [pytest.param(IncompleteCholesky(), marks=pytest.mark.nightly), PolynomialInverse()],
    ids=["IC", "polynomial"],
)
def test_patterns_are_known_under_jit_vmap_and_grad(x64, preconditioner):
    """Through `solve`, with the operator as an argument of a compiled function, and with values that are batched."""
    operator = Sparse.from_scipy(POISSON)
    method = CG(preconditioner, rtol=1e-10)
    exact = np.linalg.solve(POISSON.toarray(), B)
    np.testing.assert_allclose(solve(operator, B, method).value, exact, atol=1e-8)
    np.testing.assert_allclose(
        jax.jit(lambda a, b: solve(a, b, method).value)(operator, jnp.asarray(B)), exact, atol=1e-8
    )

    def square(values):
        return (solve(operator.with_values(values), jnp.asarray(B), method).value ** 2).sum()

    gradients = jax.vmap(jax.grad(square))(jnp.stack([operator.values, 2 * operator.values]))
    adjoint = np.linalg.solve(POISSON.toarray(), 2 * exact)
    np.testing.assert_allclose(gradients[0], -adjoint[operator.rows] * exact[operator.cols], atol=1e-7)
    np.testing.assert_allclose(gradients[1], gradients[0] / 8, atol=1e-7)
    assert lx.is_symmetric(operator)
