"""Singular systems: least squares where there is no solution, and the solution that a null space singles out."""

import functools

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.sparse

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, FGMRES, MINRES, Diffusion, Jacobi, Laplacian, Multigrid, Sparse, Status, solve

WALLS = ("neumann", "neumann")
CHAIN = np.diag([1.0] + [2.0] * 48 + [1.0]) - np.eye(50, k=1) - np.eye(50, k=-1)


def neumann(n, dtype):
    return Laplacian((n, n), (1 / n, 1 / n), WALLS, dtype=dtype).as_diffusion()


def with_mean(shape, dtype):
    b = np.random.default_rng(0).normal(size=shape)
    return jnp.asarray(b - b.mean() + 0.1, dtype)


@functools.cache
def systems(dtype):
    """An operator whose null space is the constants, and a right-hand side with a mean, by name."""
    sparse = Sparse.from_scipy(scipy.sparse.csr_array(CHAIN.astype(dtype)))
    dense = lx.MatrixLinearOperator(jnp.asarray(CHAIN, dtype), lx.symmetric_tag)
    operators = {"small grid": neumann(8, dtype), "grid": neumann(32, dtype), "sparse": sparse, "dense": dense}
    return {name: (a, with_mean(a.in_structure().shape, dtype)) for name, a in operators.items()}


@pytest.mark.quick("dense-float64")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["small grid", "grid", "sparse", "dense"])
def test_no_solution_ends_near_the_least_residual(x64, name, dtype):
    operator, b = systems(dtype)[name]
    least = float(jnp.abs(b.mean()) * b.size**0.5)
    for method in (MINRES(rtol=1e-6, history=True), CG(rtol=1e-6), CG(Jacobi(), rtol=1e-6)):
        solution = solve(operator, b, method)
        residual = float(jnp.linalg.norm(b - operator.mv(solution.value)))
        assert solution.status == Status.stagnated and solution.iterations < 900, method.describe()
        assert least * (1 - 1e-4) < residual < 1.02 * least, method.describe()
        np.testing.assert_allclose(solution.stats.residual, residual, rtol=1e-3)
        assert float(jnp.abs(solution.value).max()) < 100 * float(jnp.abs(b).max()) * b.size, (
            "x grew along the null space"
        )
        if method.history:
            assert solution.history[-1] > 0.9 * least, "the last number of the history is a true residual"


@pytest.mark.nightly
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.nightly)])
def test_multigrid_leaves_the_constants_of_two_pools_out(x64, dtype):
    """A closed wall makes two pools, so that the null space has two dimensions."""
    a = jnp.ones((24, 20), dtype)
    solid = np.zeros(a.shape, bool)
    solid[11] = True
    operator = Diffusion(stencil.face_means(a, WALLS, "harmonic"), a.shape, (0.1, 0.1), WALLS)
    operator = operator.with_obstacle(solid, "neumann")
    b = np.random.default_rng(1).normal(size=a.shape)
    b[solid] = 0
    for pool, mean in ((slice(0, 11), 0.2), (slice(12, None), -0.3)):
        b[pool] += mean - b[pool].mean()
    least = np.hypot(0.2 * (11 * 20) ** 0.5, 0.3 * (12 * 20) ** 0.5)
    solution = solve(operator, jnp.asarray(b, dtype))
    residual = float(jnp.linalg.norm(jnp.asarray(b, dtype) - operator.mv(solution.value)))
    assert solution.method == "CG(Multigrid)" and solution.status in (Status.stagnated, Status.breakdown)
    assert residual < 1.05 * least and solution.iterations < 200


def varied(a):
    n = a.shape[0]
    return Diffusion(stencil.face_means(a, WALLS, "harmonic"), a.shape, (1 / n, 1 / n), WALLS)


@pytest.mark.parametrize(
    "method",
    [CG(Multigrid(), rtol=1e-11), pytest.param(MINRES(rtol=1e-11), marks=pytest.mark.nightly)],
    ids=["CG", "MINRES"],
)
def test_a_null_space_gives_the_pseudo_inverse_and_its_derivatives(x64, method):
    """The functional sees the constants, and the right-hand side has a part in them."""
    rng = np.random.default_rng(2)
    a, b, w, v = (jnp.asarray(rng.uniform(0.5, 2, (8, 8))) for _ in range(4))

    def value(a, b):
        return (w * solve(varied(a), b, method, nullspace="constant").value).sum()

    solution = solve(varied(a), b, method, nullspace="constant")
    inverse = np.linalg.pinv(np.asarray(varied(a).as_matrix()))
    assert solution.status == Status.converged
    np.testing.assert_allclose(solution.value.ravel(), inverse @ b.ravel(), atol=1e-10)
    run = jax.jit(value)
    to_a, to_b = jax.jit(jax.grad(value, (0, 1)))(a, b)
    np.testing.assert_allclose(to_b.ravel(), inverse @ w.ravel(), atol=1e-10)
    slope = (run(a + 1e-5 * v, b) - run(a - 1e-5 * v, b)) / 2e-5
    np.testing.assert_allclose(jnp.vdot(to_a, v), slope, rtol=1e-6)
    batch = jax.vmap(lambda b: solve(varied(a), b, method, nullspace="constant").value)(jnp.stack([b, 2 * b]))
    np.testing.assert_allclose(batch[1], 2 * batch[0], atol=1e-9)


@pytest.mark.nightly
def test_null_spaces_of_any_basis(x64):
    """Two chains that are not connected, with vectors that are not orthogonal."""
    matrix = scipy.sparse.block_diag([CHAIN, CHAIN]).tocsr()
    first = np.repeat([1.0, 0.0], 50)
    b = np.random.default_rng(3).normal(size=100)
    solution = solve(matrix, b, MINRES(rtol=1e-10), nullspace=np.stack([first, np.full(100, 3e5)]))
    assert solution.status == Status.converged
    np.testing.assert_allclose(solution.value, np.linalg.pinv(matrix.toarray()) @ b, atol=1e-6)
    for wrong, text in (
        (first + np.eye(100)[0], "times a vector of nullspace is not zero"),
        (np.stack([first, first]), "zero or depend on each other"),
        (np.ones(7), "needs vectors of shape"),
    ):
        with pytest.raises(ValueError, match=text):
            solve(matrix, b, nullspace=wrong)
    with pytest.raises(ValueError, match="nullspace is for symmetric operators"):
        solve(scipy.sparse.csr_array(np.triu(CHAIN)), b[:50], FGMRES(), nullspace="constant")
