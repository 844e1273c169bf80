"""A nonlinear diffusion problem on a reduced basis, with all elements and with few (cubature, interpolation)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_banded

from surrogax.core.precision import in_double
from surrogax.solvers.linear.solution import Status
from surrogax.surrogates.reduced.certified.nonlinear_galerkin import (
    nonlinear_galerkin,
    with_cubature,
    with_interpolation,
)
from surrogax.surrogates.reduced.interpolation.cubature import empirical_cubature
from surrogax.surrogates.reduced.interpolation.eim import q_deim

# −((1 + μ₀ u²) u')' = 50 exp(−(x − μ₁)² / 0.02), u = 0 at both ends, P1 elements --------------------------------------


def residual(u, data, mu):
    h, left = data
    gauss = jnp.array([0.5 - 0.75**0.5 / 3, 0.5 + 0.75**0.5 / 3])
    shapes = jnp.stack([1 - gauss, gauss])
    flux = jnp.mean(1 + mu[0] * (u @ shapes) ** 2) * (u[1] - u[0]) / h
    source = 50 * jnp.exp(-((left + h * gauss - mu[1]) ** 2) / 0.02)
    return flux * jnp.array([-1.0, 1.0]) - h * (shapes * source).mean(1)


def mesh(n):
    dofs = np.column_stack([np.arange(n) - 1, np.arange(n)])
    dofs[-1, 1] = -1
    return dofs, (np.full(n, 1 / n), np.arange(n) / n)


def full_order(n, parameters):
    """Solutions, and (state, residual) of every Newton step before the last."""
    dofs, data = mesh(n)

    def local(u, mu):
        return residual(u, mu[1], mu[0]), jax.jacfwd(lambda v: residual(v, mu[1], mu[0]))(u)

    evaluate = in_double(jax.jit(lambda u, data, mu: jax.vmap(lambda u, d: local(u, (mu, d)))(u, data)))
    solutions, steps = [], []
    for mu in parameters:
        u = np.zeros(n - 1)
        for _ in range(20):
            r, j = evaluate(np.append(u, 0)[dofs], data, mu)
            total = r[:-1, 1] + r[1:, 0]
            if np.linalg.norm(total) < 1e-11:
                break
            steps.append((u, total, mu))
            bands = np.zeros((3, n - 1))
            bands[1] = j[:-1, 1, 1] + j[1:, 0, 0]
            bands[0, 1:], bands[2, :-1] = j[1:-1, 0, 1], j[1:-1, 1, 0]
            u = u - solve_banded((1, 1), bands, total)
        solutions.append(u)
    return np.array(solutions), steps


@pytest.fixture(scope="module")
def diffusion():
    n, rng = 300, np.random.default_rng(0)
    train = rng.uniform([0.1, 0.3], [2, 0.7], (40, 2))
    solutions, steps = full_order(n, train)
    test = rng.uniform([0.1, 0.3], [2, 0.7], (8, 2))
    return *mesh(n), solutions, steps, test, full_order(n, test)[0]


def modes_of(rows, rank):
    return np.linalg.svd(rows, full_matrices=False)[2][:rank].T


def error_of(reduced, basis, test, truth):
    solve = in_double(jax.jit(jax.vmap(lambda mu: reduced.solve(mu, rtol=1e-10))))
    c, stats = solve(test)
    assert (stats.status == Status.converged).all()
    return (np.linalg.norm(c @ basis.T - truth, axis=1) / np.linalg.norm(truth, axis=1)).max()


@pytest.mark.nightly
@pytest.mark.parametrize("n_modes, bound", [(4, 6e-2), pytest.param(10, 4e-4, marks=pytest.mark.nightly)])
def test_hyper_reduction_keeps_the_error_of_galerkin(diffusion, n_modes, bound):
    dofs, data, solutions, steps, test, truth = diffusion
    basis = modes_of(solutions, n_modes)
    all_elements = nonlinear_galerkin(residual, dofs, data, basis)
    galerkin_error = error_of(all_elements, basis, test, truth)
    projection = np.linalg.norm(truth - truth @ basis @ basis.T, axis=1) / np.linalg.norm(truth, axis=1)
    assert 0.99 * projection.max() <= galerkin_error < min(3 * projection.max(), bound)

    states = [(u @ basis, mu) for u, _, mu in steps[::5]]
    rows = in_double(jax.jit(jax.vmap(all_elements.integrands)))(*map(np.array, zip(*states, strict=True)))
    rule = empirical_cubature(rows.reshape(-1, len(dofs)), rtol=1e-4, volumes=data[0])
    ecsw = with_cubature(all_elements, rule)
    assert len(ecsw.elements) < 4 * n_modes + 10
    assert error_of(ecsw, basis, test, truth) < 1.1 * galerkin_error

    points = q_deim(modes_of(np.array([r for _, r, _ in steps]), 3 * n_modes))
    deim = with_interpolation(residual, dofs, data, basis, points)
    assert len(deim.elements) <= 6 * n_modes
    assert error_of(deim, basis, test, truth) < 1.2 * galerkin_error


@pytest.mark.nightly
def test_online_work_does_not_depend_on_the_mesh(diffusion):
    """The elements that the compiled residual and Jacobian evaluate, counted in their program."""
    counts = []
    for n in (300, 1200):
        dofs, data = mesh(n)
        basis = modes_of(diffusion[2], 4) if n == 300 else np.eye(n - 1)[:, :4]
        full = nonlinear_galerkin(residual, dofs, data, basis)
        rule = empirical_cubature(np.random.default_rng(0).uniform(size=(5, n)), rtol=1e-3)
        few = with_cubature(full, rule)
        sizes = {}
        for name, reduced in (("full", full), ("few", few)):
            program = str(jax.make_jaxpr(lambda mu, reduced=reduced: reduced.solve(mu)[0])(np.ones(2)))
            sizes[name] = f"f32[{n}" in program
        assert sizes == {"full": True, "few": False}
        counts.append(len(few.elements))
    assert max(counts) <= 5


def test_interpolation_at_all_points_is_galerkin(diffusion):
    dofs, data, solutions, *_ = diffusion
    basis = modes_of(solutions, 4)
    exact = with_interpolation(residual, dofs, data, basis, q_deim(np.eye(len(basis))))
    np.testing.assert_allclose(exact.test, nonlinear_galerkin(residual, dofs, data, basis).test, atol=1e-14)


@pytest.mark.nightly
def test_implicit_derivative_and_float32(diffusion):
    dofs, data, solutions, *_ = diffusion
    reduced = nonlinear_galerkin(residual, dofs, data, modes_of(solutions, 3))
    mu = np.array([0.9, 0.45])
    with jax.enable_x64(True):
        solve = jax.jit(lambda mu: reduced.solve(mu, rtol=1e-12)[0])
        jacobian = jax.jacrev(solve)(mu)
        for i, step in enumerate(1e-5 * np.eye(2)):
            np.testing.assert_allclose(
                jacobian[:, i], (solve(mu + step) - solve(mu - step)) / 2e-5, rtol=1e-6, atol=1e-7
            )
    c, stats = reduced.solve(mu)
    assert c.dtype == np.float32 and stats.status == Status.converged
    np.testing.assert_allclose(c, solve(mu), rtol=1e-3)


def test_derivatives_need_a_root(diffusion):
    dofs, data, solutions, *_ = diffusion
    reduced = nonlinear_galerkin(residual, dofs, data, modes_of(solutions, 3))
    steps = {k: jax.jacobian(lambda mu, k=k: reduced.solve(mu, max_steps=k)[0])(np.array([1.0, 0.5])) for k in (1, 20)}
    assert np.isnan(steps[1]).all() and np.isfinite(steps[20]).all()


def test_newton_measures_from_the_start_where_zero_is_a_solution():
    """c (c² − μ) = 0 has R(0) = 0, and rounding leaves a residual at c = √2."""
    cubic = nonlinear_galerkin(lambda u, _, mu: u * (u**2 - mu), np.zeros((1, 1), int), np.zeros(1), np.eye(1))
    c, stats = cubic.solve(2.0, np.array([1.5]))
    assert stats.status == Status.converged and abs(c[0] - 2**0.5) < 1e-5
    assert cubic.solve(2.0)[1].status == Status.converged


@pytest.mark.nightly
def test_newton_says_how_it_ended(diffusion):
    dofs, data, solutions, *_ = diffusion
    reduced = nonlinear_galerkin(residual, dofs, data, modes_of(solutions, 3))
    mus = np.array([[1.0, 0.5], [np.nan, 0.5]])
    c, stats = jax.vmap(lambda mu: reduced.solve(mu, max_steps=20))(mus)
    assert stats.status.tolist() == [Status.converged, Status.non_finite] and np.isfinite(c).all()
    c, stats = reduced.solve(mus[0], max_steps=1)
    assert stats.status == Status.max_steps and stats.iterations == 1
    _, stats = reduced.solve(mus[0], reduced.solve(mus[0])[0])
    assert stats.iterations == 0
