"""Gauss-Seidel, SOR and SSOR on sparse matrices: against dense iteration matrices and the red-black order of grids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from common import meshes, systems

from surrogax.solvers.kernels import multicolour
from surrogax.solvers.linear import CG, FGMRES, SOR, SSOR, GaussSeidel, Jacobi, Sparse, Status, solve

MESH = meshes.irregular(150)
SYMMETRIC = meshes.diffusion(MESH, meshes.patches(MESH, 10.0), MESH.boundary)
# Upwind in x: a diagonal that dominates.
UPWIND = sp.csr_array(
    sp.kron(sp.eye_array(8), sp.diags_array([-2 * np.ones(7), 3.1 * np.ones(8), -np.ones(7)], offsets=[-1, 0, 1]))
    + sp.diags_array([-np.ones(56), 2 * np.ones(64), -np.ones(56)], offsets=[-8, 0, 8])
)
MATRICES = {"mesh": SYMMETRIC, "upwind": UPWIND}


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


def parts(matrix):
    """D, L and U in the order of the colours, and that order."""
    rows, cols = matrix.tocoo().coords
    order = np.argsort(multicolour.greedy_colours(rows, cols, matrix.shape[0]), kind="stable")
    dense = matrix.toarray()[np.ix_(order, order)]
    return np.diag(np.diag(dense)), np.tril(dense, -1), np.triu(dense, 1), order


@pytest.mark.parametrize("name", MATRICES)
def test_neighbours_have_different_colours(name):
    rows, cols = MATRICES[name].tocoo().coords
    colours = multicolour.greedy_colours(rows, cols, MATRICES[name].shape[0])
    assert (colours[rows] != colours[cols])[rows != cols].all()
    assert colours.max() < (2 if name == "upwind" else 9)


@pytest.mark.parametrize("omega", [pytest.param(1.0, marks=pytest.mark.nightly), 1.4])
@pytest.mark.parametrize("name", MATRICES)
def test_sweeps_against_the_dense_iteration_matrix(name, omega):
    matrix = MATRICES[name]
    d, lower, upper, order = parts(matrix)
    iteration = np.eye(len(d)) - omega * np.linalg.solve(d + omega * lower, d + lower + upper)
    with jax.enable_x64(True):
        b = jnp.asarray(noise(len(d)))
        method = SOR(omega, rtol=1e-15, max_steps=3) if omega != 1 else GaussSeidel(rtol=1e-15, max_steps=3)
        solution = solve(Sparse.from_scipy(matrix), b, method)
        exact = np.linalg.solve(matrix.toarray(), b)
        expected = np.linalg.matrix_power(iteration, 3) @ -exact[order] + exact[order]
        np.testing.assert_allclose(np.asarray(solution.value)[order], expected, atol=1e-11 * abs(exact).max())
        assert solution.status == Status.max_steps
        np.testing.assert_allclose(
            solution.stats.residual, np.linalg.norm(b - matrix @ np.asarray(solution.value)), rtol=1e-9
        )
    # The residual falls by the spectral radius per iteration in the long run.
    radius = abs(np.linalg.eigvals(iteration)).max()
    if omega == 1:
        with jax.enable_x64(True):
            method = GaussSeidel(rtol=1e-11, history=True, max_steps=2000)
            history = np.asarray(solve(Sparse.from_scipy(matrix), b, method).stats.history)
        history = history[np.isfinite(history)]
        np.testing.assert_allclose((history[-1] / history[-11]) ** 0.1, radius, rtol=0.05)


@pytest.mark.nightly
@pytest.mark.parametrize("omega", [1.0, 1.6])
def test_the_five_point_matrix_is_swept_in_red_black_order(omega):
    with jax.enable_x64(True):
        operator = systems.diffusion(jnp.asarray(np.random.default_rng(0).uniform(1, 5, (14, 14))))
        b = jnp.asarray(noise(144).reshape(12, 12))
        sparse = Sparse.from_scipy(systems.matrix(operator), (12, 12))
        method = SOR(omega, rtol=1e-8)
        grid, ours = solve(operator, b, method), solve(sparse, b, method)
        assert abs(int(grid.iterations) - int(ours.iterations)) <= 1 and ours.status == Status.converged
        np.testing.assert_allclose(ours.value, grid.value, atol=1e-6 * abs(grid.value).max())


@pytest.mark.nightly
def test_ssor_against_the_dense_factors():
    d, lower, upper, order = parts(SYMMETRIC)
    omega, n = 1.3, len(d)
    dense = (d + omega * lower) @ np.linalg.inv(d) @ (d + omega * upper) / (omega * (2 - omega))
    with jax.enable_x64(True):
        operator, b = Sparse.from_scipy(SYMMETRIC), jnp.asarray(noise(n))
        ours = np.asarray(SSOR(omega).bind(operator)(b))
        np.testing.assert_allclose(dense @ ours[order], b[order], atol=1e-10)
        ssor, jacobi = (solve(operator, b, CG(m, rtol=1e-8)) for m in (SSOR(1.0), Jacobi()))
        assert ssor.status == Status.converged and ssor.iterations < 0.75 * jacobi.iterations


@pytest.mark.quick("upwind")
@pytest.mark.parametrize("name", MATRICES)
def test_derivatives_per_lane_under_jit(name):
    matrix = MATRICES[name]
    n = matrix.shape[0]
    b, w = noise(2 * n).reshape(2, n), noise(n, 1)
    with jax.enable_x64(True):
        operator = Sparse.from_scipy(matrix)
        method = SOR(1.2, rtol=1e-12) if name == "upwind" else CG(SSOR(1.0), rtol=1e-12)

        @jax.jit
        @jax.vmap
        def gradients(values, b):
            return jax.grad(lambda v, b: jnp.vdot(w, solve(operator.with_values(v), b, method).value), (0, 1))(
                values, b
            )

        to_values, to_b = gradients(jnp.stack([operator.values, 2 * operator.values]), jnp.asarray(b))
        for lane, factor in enumerate((1, 2)):
            dense = factor * matrix.toarray()
            x, adjoint = np.linalg.solve(dense, b[lane]), np.linalg.solve(dense.T, w)
            np.testing.assert_allclose(to_b[lane], adjoint, atol=1e-8 * abs(adjoint).max())
            expected = -adjoint[np.asarray(operator.rows)] * x[np.asarray(operator.cols)]
            np.testing.assert_allclose(to_values[lane], expected, atol=1e-8 * abs(expected).max())


@pytest.mark.nightly
def test_single_precision_and_a_missing_diagonal_entry():
    matrix = sp.csr_array(sp.block_diag([SYMMETRIC.astype(np.float32), sp.csr_array((1, 1), dtype=np.float32)]))
    b = np.append(noise(150), 0).astype(np.float32)
    solution = solve(Sparse.from_scipy(matrix), jnp.asarray(b), SOR(1.5, rtol=1e-4))
    assert solution.status == Status.converged
    exact = np.linalg.solve(SYMMETRIC.toarray(), b[:-1])
    np.testing.assert_allclose(solution.value, np.append(exact, 0), atol=1e-2 * abs(exact).max())


def test_wrong_use_is_named():
    operator, b = Sparse.from_scipy(SYMMETRIC.astype(np.float32)), jnp.ones(150, jnp.float32)
    with pytest.raises(ValueError, match="order='natural' is for grids"):
        solve(operator, b, SOR(order="natural"))
    with pytest.raises(ValueError, match="SSOR: the Sparse operator is not symmetric"):
        solve(Sparse.from_scipy(UPWIND.astype(np.float32)), jnp.ones(64, jnp.float32), FGMRES(SSOR()))
    with pytest.raises(ValueError, match="needs 120 colours"):
        solve(Sparse.from_scipy(sp.csr_array(np.ones((120, 120), np.float32))), jnp.ones(120, jnp.float32), SOR())
