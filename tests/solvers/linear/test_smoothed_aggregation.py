"""Smoothed aggregation: iterations that do not grow with the mesh, symmetry, derivatives, batches, errors."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.sparse as sp
from common import meshes

from surrogax.solvers.kernels import aggregation
from surrogax.solvers.linear import (
    CG,
    FGMRES,
    MINRES,
    AsLineax,
    BiCGStab,
    Jacobi,
    Laplacian,
    Refinement,
    SmoothedAggregation,
    Sparse,
    Status,
    choose,
    solve,
)
from surrogax.solvers.linear.preconditioners import smoothed_aggregation


def noise(n: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=n))


def jumping(n: int, contrast: float = 1e3) -> sp.csr_array:
    """Diffusion whose coefficient jumps, with one Dirichlet node."""
    mesh = meshes.irregular(n)
    return meshes.diffusion(mesh, meshes.patches(mesh, contrast), fixed=[0])


def steps(matrix, method, b=None) -> int:
    """Iterations of a solve, whose residual is checked against SciPy's product."""
    b = noise(matrix.shape[0]) if b is None else b
    solution = solve(Sparse.from_scipy(matrix), b, method)
    assert solution.status == Status.converged
    assert np.linalg.norm(b - matrix @ np.asarray(solution.value)) <= 1.01 * method.rtol * np.linalg.norm(b)
    return int(solution.iterations)


# Iterations -----------------------------------------------------------------------------------------------------------


def test_iterations_do_not_grow_with_the_mesh():
    """16 to 18 here; Jacobi needs 1000 and more at the larger size."""
    with jax.enable_x64(True):
        method = CG(SmoothedAggregation(), rtol=1e-8)
        few, many = (steps(jumping(n), method) for n in (1000, 4000))
        assert few <= 24 and many <= 26
        assert steps(jumping(4000), CG(Jacobi(), rtol=1e-8, max_steps=5000)) > 6 * many


@pytest.mark.nightly
def test_rigid_motions_make_elasticity_easy():
    """About 20 iterations, with constants alone about twice as many."""
    with jax.enable_x64(True):
        matrix, motions = meshes.elasticity(meshes.irregular(2000))
        rigid = steps(matrix, CG(SmoothedAggregation(motions, 2), rtol=1e-8))
        assert rigid <= 30
        assert steps(matrix, CG(SmoothedAggregation(unknowns_per_node=2), rtol=1e-8)) > 1.2 * rigid


@pytest.mark.parametrize("diffusivity", [pytest.param(0.02, marks=pytest.mark.nightly), 1e-6])
def test_convection(diffusivity):
    """Upwind differences; 10 and 7 iterations."""
    n = 40
    ones, h = np.ones(n), 1 / n
    second = sp.diags_array([-ones[1:], 2 * ones, -ones[1:]], offsets=[-1, 0, 1]) * diffusivity / h**2
    first = sp.diags_array([-ones[1:], ones], offsets=[-1, 0]) / h
    eye = sp.eye_array(n)
    matrix = sp.csr_array(sp.kron(second + first, eye) + sp.kron(eye, second + 0.5 * first))
    with jax.enable_x64(True):
        method = FGMRES if diffusivity == 0.02 else BiCGStab
        assert steps(matrix, method(SmoothedAggregation(), rtol=1e-8)) <= (13 if method is FGMRES else 9)


@pytest.mark.nightly
def test_anisotropy():
    """ε u_xx + u_yy: aggregates follow the strong direction."""
    n = 70
    line = sp.diags_array([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1])
    eye = sp.eye_array(n)
    with jax.enable_x64(True):
        matrix = sp.csr_array(sp.kron(1e-3 * line, eye) + sp.kron(eye, line))
        assert steps(matrix, CG(SmoothedAggregation(), rtol=1e-8)) <= 20


@pytest.mark.nightly
def test_small_matrices_are_solved_at_once():
    with jax.enable_x64(True):
        assert steps(jumping(200), CG(SmoothedAggregation(), rtol=1e-6)) <= 3


@pytest.mark.parametrize("factor", [pytest.param(1e-30, marks=pytest.mark.nightly), 1e30])
def test_any_scale(factor):
    with jax.enable_x64(True):
        b = factor * noise(900)
        assert steps(factor * jumping(900), CG(SmoothedAggregation(), rtol=1e-8), b) <= 24


@pytest.mark.nightly
def test_single_precision():
    """A mesh with all sides fixed, whose residual float32 can lower to 1e-5."""
    mesh = meshes.irregular(1500)
    matrix = meshes.diffusion(mesh, meshes.patches(mesh, 10.0), mesh.boundary).astype(np.float32)
    b = noise(1500).astype(np.float32)
    solution = solve(Sparse.from_scipy(matrix), b, CG(SmoothedAggregation(), rtol=1e-4))
    assert solution.status == Status.converged and solution.iterations <= 16
    exact = sp.linalg.spsolve(sp.csc_array(matrix.astype(float)), np.asarray(b, float))
    np.testing.assert_allclose(solution.value, exact, atol=1e-2 * abs(exact).max())


@pytest.mark.nightly
def test_a_null_space():
    """No Dirichlet node and a right-hand side that is not orthogonal to constants: the projected solution and its gradient."""
    with jax.enable_x64(True):
        mesh = meshes.irregular(500)
        matrix = meshes.diffusion(mesh, meshes.patches(mesh, 1e3), [])
        operator, b = Sparse.from_scipy(matrix), noise(500)
        method = CG(SmoothedAggregation(), rtol=1e-10)
        solution = solve(operator, b, method, nullspace="constant")
        expected = np.linalg.pinv(matrix.toarray(), rcond=1e-12, hermitian=True) @ np.asarray(b)
        assert solution.status == Status.converged
        np.testing.assert_allclose(solution.value, expected, atol=1e-7 * abs(expected).max())
        gradient = jax.grad(lambda b: (solve(operator, b, method, nullspace="constant").value ** 2).sum())(b)
        wanted = 2 * np.linalg.pinv(matrix.toarray(), rcond=1e-12, hermitian=True) @ expected
        np.testing.assert_allclose(gradient, wanted, atol=1e-7 * abs(wanted).max())


def test_singular_systems_and_isolated_parts():
    """Two meshes without a Dirichlet side, rows of the identity and single points: consistent right-hand sides converge."""
    one = meshes.diffusion(meshes.irregular(700), 1.0, [])
    two = meshes.diffusion(meshes.irregular(30, seed=1), 1.0, [])
    matrix = sp.csr_array(sp.block_diag([one, two, sp.eye_array(40)]))
    with jax.enable_x64(True):
        b = np.array(noise(matrix.shape[0]))
        b[:700] -= b[:700].mean()
        b[700:730] -= b[700:730].mean()
        assert steps(matrix, CG(SmoothedAggregation(), rtol=1e-8), jnp.asarray(b)) <= 25


def test_a_diagonal_matrix():
    with jax.enable_x64(True):
        matrix = sp.csr_array(sp.diags_array(np.random.default_rng(0).uniform(1, 1e6, 900)))
        assert steps(matrix, CG(SmoothedAggregation(), rtol=1e-8)) <= 2


@pytest.mark.nightly
def test_positive_couplings_and_rows_of_zero_sum():
    """A biharmonic-like matrix: positive entries beside the diagonal, row sums that cancel inside."""
    n = 30
    line = sp.diags_array([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1])
    laplacian = sp.csr_array(sp.kron(line, sp.eye_array(n)) + sp.kron(sp.eye_array(n), line))
    with jax.enable_x64(True):
        matrix = sp.csr_array(laplacian @ laplacian)
        slow = steps(matrix, CG(Jacobi(), rtol=1e-8, max_steps=5000))
        assert steps(matrix, CG(SmoothedAggregation(), rtol=1e-8)) < slow / 3


# The map --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "degree", [1, pytest.param(2, marks=pytest.mark.nightly), pytest.param(3, marks=pytest.mark.nightly)]
)
def test_the_map_is_symmetric_positive_definite_and_linear(degree):
    with jax.enable_x64(True):
        bound = SmoothedAggregation(degree=degree).bind(Sparse.from_scipy(jumping(600)))
        assert len(bound.sizes) == 2 and bound.sizes[0] == 600
        matrix = np.asarray(jax.vmap(bound)(jnp.eye(600)))
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-4 * abs(matrix).max())
        root = np.asarray(1 / bound.before)  # without the scaling that the jumps bring
        values = np.linalg.eigvalsh(root[:, None] * (matrix + matrix.T) / 2 * root)
        assert values.min() > 0


@pytest.mark.nightly
def test_bound_once_for_many_solves_under_jit_and_vmap():
    with jax.enable_x64(True):
        matrix = jumping(900)
        operator = Sparse.from_scipy(matrix)
        method = CG(SmoothedAggregation().bind(operator), rtol=1e-10)
        b = jnp.stack([noise(900, seed) for seed in range(3)])

        @jax.jit
        def batch(values, b):
            return jax.vmap(lambda b: solve(operator.with_values(values), b, method))(b)

        solution = batch(1.1 * operator.values, b)
        exact = sp.linalg.spsolve(sp.csc_array(1.1 * matrix), np.asarray(b).T).T
        assert (solution.status == Status.converged).all()
        np.testing.assert_allclose(solution.value, exact, atol=1e-6 * abs(exact).max())
        # Closed over, the matrix has values inside of jit.
        inside = jax.jit(lambda b: solve(operator, b, CG(SmoothedAggregation(), rtol=1e-10)).value)(b[0])
        np.testing.assert_allclose(1.1 * solution.value[0], inside, atol=1e-6 * abs(exact).max())


@pytest.mark.parametrize("symmetric", [True, pytest.param(False, marks=pytest.mark.nightly)])
def test_derivative_by_values_against_differences(symmetric):
    with jax.enable_x64(True):
        mesh = meshes.irregular(700)
        velocity = (0, 0) if symmetric else (1.0, 0.5)
        matrix = meshes.diffusion(mesh, meshes.patches(mesh, 1e3), mesh.boundary, velocity)
        operator, b, w = Sparse.from_scipy(matrix), noise(700), noise(700, 1)
        assert operator.symmetric == symmetric
        method = (CG if symmetric else FGMRES)(SmoothedAggregation(), rtol=1e-12)

        def functional(values):
            return jnp.vdot(w, solve(operator.with_values(values), b, method).value)

        rng = np.random.default_rng(2)
        change = sp.coo_array((rng.normal(size=operator.rows.size), (operator.rows, operator.cols))).tocsr()
        change = (change + change.T)[operator.rows, operator.cols] * abs(np.asarray(operator.values))
        slope = jnp.vdot(jax.grad(functional)(operator.values), change)
        h = 1e-7
        difference = (functional(operator.values + h * change) - functional(operator.values - h * change)) / (2 * h)
        np.testing.assert_allclose(slope, difference, rtol=1e-6)


@pytest.mark.nightly
def test_inside_other_methods():
    with jax.enable_x64(True):
        matrix = jumping(800)
        assert steps(matrix, MINRES(SmoothedAggregation(), rtol=1e-8)) <= 30
        assert steps(matrix, Refinement(CG(SmoothedAggregation(), rtol=1e-3), rtol=1e-8)) <= 40
        operator, b = Sparse.from_scipy(matrix), noise(800)
        ours = solve(operator, b, CG(SmoothedAggregation(), rtol=1e-10))
        assert ours.method == "CG(SmoothedAggregation)"
        with pytest.raises(TypeError, match="bind it outside"):  # lineax compiles before it asks us
            lx.linear_solve(operator, b, AsLineax(CG(SmoothedAggregation())))
        theirs = lx.linear_solve(operator, b, AsLineax(CG(SmoothedAggregation().bind(operator), rtol=1e-10)))
        np.testing.assert_allclose(theirs.value, ours.value, atol=1e-7 * abs(ours.value).max())


@pytest.mark.nightly
def test_the_default_for_large_laplacians_with_known_values(monkeypatch):
    monkeypatch.setattr(smoothed_aggregation, "_LARGE", 500)
    small, operator = (Sparse.from_scipy(jumping(n).astype(np.float32)) for n in (400, 600))
    assert choose(small).describe() == "CG(Jacobi)"
    assert (
        choose(operator, rtol=1e-3).describe() == "CG(SmoothedAggregation)" and choose(operator, rtol=1e-3).rtol == 1e-3
    )
    beside = operator.rows != operator.cols
    assert choose(operator.with_values(jnp.where(beside, abs(operator.values), 9.0))).describe() == "CG(Jacobi)"
    found = []
    jax.jit(lambda values: found.append(choose(operator.with_values(values)).describe()) or values)(operator.values)
    jax.jit(lambda x: found.append(choose(operator).describe()) or x)(jnp.ones(2))
    jax.grad(lambda x: found.append(choose(operator.with_values(x * operator.values)).describe()) or x)(1.0)
    assert found == ["CG(Jacobi)", "CG(SmoothedAggregation)", "CG(SmoothedAggregation)"]


# Parts ----------------------------------------------------------------------------------------------------------------


def test_aggregates_are_connected_and_cover_all_linked_nodes():
    mesh = meshes.irregular(500)
    matrix = sp.csr_array(sp.block_diag([meshes.diffusion(mesh, 1.0, []), sp.eye_array(5)]))
    graph = aggregation.strong_connections(matrix, np.arange(505), 0.25)
    assert abs(graph - graph.T).max() == 0
    found = aggregation.aggregates(graph)
    assert (found[500:] == -1).all() and (found[:500] >= 0).all()
    for k in range(found.max() + 1):
        members = np.flatnonzero(found == k)
        assert len(members) >= 2
        assert sp.csgraph.connected_components(graph[members][:, members])[0] == 1


def test_the_tentative_prolongator_reproduces_the_candidates():
    """Also where an aggregate is too small for all of them."""
    rng = np.random.default_rng(0)
    nodes = np.repeat(np.arange(20), 2)
    aggregate = np.concatenate([np.repeat(np.arange(5), 3), [5, -1, 6, 6, 6]])
    x, y = rng.normal(size=(2, 20))
    candidates = np.zeros((40, 3))
    candidates[0::2] = np.stack([np.ones(20), np.zeros(20), -y], 1)
    candidates[1::2] = np.stack([np.zeros(20), np.ones(20), x], 1)
    t, coarse, coarse_nodes = aggregation.tentative_prolongator(aggregate, nodes, candidates)
    assert t.shape == (40, 7 * 3 - 1) and np.bincount(coarse_nodes).tolist() == [3] * 5 + [2, 3]
    np.testing.assert_allclose((t.T @ t).toarray(), np.eye(20), atol=1e-12)
    expected = np.where((aggregate >= 0)[nodes, None], candidates, 0)
    np.testing.assert_allclose(t @ coarse, expected, atol=1e-12)


# Errors ---------------------------------------------------------------------------------------------------------------


def test_wrong_arguments_are_named():
    with jax.enable_x64(True):
        matrix = jumping(500)
        operator, b = Sparse.from_scipy(matrix), noise(500)
        for arguments, word in (
            ({"degree": 4}, "degree"),
            ({"threshold": 2.0}, "threshold"),
            ({"unknowns_per_node": 0}, "unknowns_per_node"),
        ):
            with pytest.raises(ValueError, match=word):
                SmoothedAggregation(**arguments)
        for recipe, word in (
            (SmoothedAggregation(unknowns_per_node=3), "multiple of 3"),
            (SmoothedAggregation(np.ones((400, 1))), "candidates"),
            (SmoothedAggregation(np.ones(500)), "candidates must be numbers"),
            (SmoothedAggregation(np.full((500, 1), np.nan)), "finite"),
            (SmoothedAggregation(np.zeros((500, 1))), "zero"),
        ):
            with pytest.raises(ValueError, match=word):
                solve(operator, b, CG(recipe))
        with pytest.raises(ValueError, match="NaN"):
            solve(operator.with_values(operator.values.at[3].set(jnp.nan)), b, CG(SmoothedAggregation()))
        with pytest.raises(ValueError, match="positive diagonal"):
            solve(operator.with_values(-operator.values), b, CG(SmoothedAggregation()))
        with pytest.raises(TypeError, match="Multigrid"):
            solve(Laplacian((5,), (0.1,), ("dirichlet",)), jnp.ones(5), CG(SmoothedAggregation()))


def test_a_traced_matrix_is_told_to_be_bound_outside():
    operator = Sparse.from_scipy(jumping(300).astype(np.float32))
    b = jnp.ones(300, jnp.float32)
    with pytest.raises(TypeError, match="bind it outside"):
        jax.jit(lambda values: solve(operator.with_values(values), b, CG(SmoothedAggregation())).value)(operator.values)
    with pytest.raises(TypeError, match="bind it outside"):
        jax.jit(lambda operator: solve(operator, b, CG(SmoothedAggregation())).value)(operator)
