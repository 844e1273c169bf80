"""Empirical cubature, gappy POD, and a nonlinear diffusion problem solved with all elements and with few."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from scipy.linalg import solve_banded

from surrogax.core.precision import in_double
from surrogax.core.storage import load, save
from surrogax.solvers.linear.solution import Status
from surrogax.surrogates.reduced.certified.nonlinear_galerkin import (
    nonlinear_galerkin,
    with_cubature,
    with_interpolation,
)
from surrogax.surrogates.reduced.interpolation.eim import q_deim
from surrogax.surrogates.reduced.interpolation.hyper_reduction import empirical_cubature, gappy_pod

# Cubature -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows, elements", [(30, 60), (60, 30)])
def test_without_tolerance_it_is_non_negative_least_squares(rows, elements):
    rng = np.random.default_rng(0)
    g, b = rng.normal(size=(rows, elements)), rng.normal(size=rows)
    exact, residual = scipy.optimize.nnls(g, b)
    error = residual / np.linalg.norm(b)
    ours = empirical_cubature(g, b, rtol=error * (1 + 1e-12))
    weights = np.zeros(elements)
    weights[ours.elements] = ours.weights
    np.testing.assert_allclose(weights, exact, atol=1e-6)
    assert ours.error == pytest.approx(error, rel=1e-10)
    with pytest.raises(ValueError, match=f"the best error is {error:.1e}"):
        empirical_cubature(g, b, rtol=0.99 * error)


def test_polynomials_need_at_most_as_many_points_as_monomials():
    x = (np.arange(500) + 0.5) / 500
    monomials = x ** np.arange(8)[:, None] / 500
    rule = empirical_cubature(monomials, rtol=1e-9)
    assert len(rule.elements) <= 8 and rule.weights.min() > 0 and rule.error <= 1e-9
    np.testing.assert_allclose(monomials[:, rule.elements] @ rule.weights, 1 / np.arange(1, 9), rtol=1e-5)
    counts = [len(empirical_cubature(monomials, rtol=10.0**-k).elements) for k in (1, 2, 4, 6)]
    assert counts == sorted(counts) and counts[0] < counts[-1]


def test_volume_and_limit():
    rng = np.random.default_rng(1)
    g, volumes = rng.normal(size=(10, 200)) + 0.05, rng.uniform(0.5, 2, 200)
    rule = empirical_cubature(g, rtol=1e-3, volumes=volumes)
    assert rule.weights @ volumes[rule.elements] == pytest.approx(volumes.sum(), rel=2e-3)
    plain = empirical_cubature(g, rtol=1e-3)
    assert abs(plain.weights @ volumes[plain.elements] / volumes.sum() - 1) > 0.1
    few = empirical_cubature(g, rtol=1e-3, volumes=volumes, max_elements=4)
    assert len(few.elements) == 4 and few.error > 1e-3
    for r in (rule, few):
        assert r.error == pytest.approx(
            np.linalg.norm(g[:, r.elements] @ r.weights - g.sum(1)) / np.linalg.norm(g.sum(1))
        )
    assert rule.error <= 1e-3
    with pytest.raises(ValueError, match="no non-negative weights"):  # the rows alone are met, not the volume
        empirical_cubature(np.array([[1.0, 1.0]]), np.array([2e-3]), volumes=np.ones(2))


def test_cubature_bad_input(tmp_path):
    g = np.ones((2, 3))
    for arguments, message in [
        ((np.where(np.eye(2, 3), np.nan, g),), "NaN"),
        ((g * [1, 1, -2],), "all sums are zero"),
        ((-g, np.ones(2)), "no non-negative weights reach rtol"),
    ]:
        with pytest.raises(ValueError, match=message):
            empirical_cubature(*arguments)
    save(tmp_path / "rule", rule := empirical_cubature(g))
    np.testing.assert_array_equal(load(tmp_path / "rule").weights, rule.weights)


# Gappy POD ------------------------------------------------------------------------------------------------------------

MODES = np.linalg.qr(np.cos(np.arange(1, 7) * np.linspace(0, 3, 300)[:, None] + 0.3))[0]


def test_gappy_pod_reconstructs_and_bounds_its_error():
    c = np.arange(1.0, 7.0)
    noise = 1e-3 * np.random.default_rng(0).normal(size=300)
    amplifications = []
    for count in (6, 12, 24):
        gappy = gappy_pod(MODES, count=count)
        assert len(set(gappy.points.tolist())) == count
        np.testing.assert_allclose(in_double(gappy)((MODES @ c)[gappy.points]), MODES @ c, atol=1e-10)
        error = in_double(gappy.coefficients)(noise[gappy.points])
        assert np.linalg.norm(error) <= gappy.amplification * np.linalg.norm(noise[gappy.points])
        amplifications.append(gappy.amplification)
    assert amplifications[0] > 1.3 * amplifications[1] > 1.5 * amplifications[2]
    random = [gappy_pod(MODES, np.random.default_rng(s).choice(300, 12, replace=False)).amplification for s in range(9)]
    assert amplifications[1] < np.median(random)
    slope = jax.grad(lambda t: gappy(t * jnp.ones(24)).sum())(2.0)
    assert slope == pytest.approx(float(gappy(jnp.ones(24)).sum()), rel=1e-4)


def test_gappy_pod_bad_input():
    for arguments, options, message in [
        ((MODES, np.arange(5)), {}, "5 points do not determine 6"),
        ((MODES, np.zeros(8, int)), {}, "8 points do not determine 6"),
        ((MODES,), {"count": 4}, "count must lie between"),
        ((MODES,), {}, "either points or count"),
        ((np.where(MODES > 0.1, np.nan, MODES), np.arange(9)), {}, "gappy_pod: the functions hold NaN"),
    ]:
        with pytest.raises(ValueError, match=message):
            gappy_pod(*arguments, **options)


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


@pytest.mark.parametrize("n_modes, bound", [(4, 6e-2), (10, 4e-4)])
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
