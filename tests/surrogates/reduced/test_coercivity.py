"""Lower bounds of coercivity against closed forms and dense eigenvalues, for coefficients of both signs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp

from surrogax.solvers.pde import problem
from surrogax.solvers.pde.affine import AffineSystem
from surrogax.surrogates.reduced.certified import coercivity
from surrogax.surrogates.reduced.certified.coercivity import MinTheta, successive_constraints
from surrogax.surrogates.reduced.certified.full_order import full_order

M = 30


def shifted(c):
    """(−Δ + c) in 1D: parts −Δ and the identity, coefficients (1, c); X is the first part."""
    laplacian = sp.diags_array([np.full(M - 1, -1.0), np.full(M, 2.0), np.full(M - 1, -1.0)], offsets=(-1, 0, 1))
    system = AffineSystem(
        (laplacian, sp.eye_array(M)), (np.ones(M),), lambda c: jnp.stack([1.0, c]), lambda c: jnp.ones(1)
    )
    smallest = 4 * np.sin(np.pi / (2 * (M + 1))) ** 2
    return full_order(system, (1.0, 0.0)), np.stack([np.ones_like(c), c * smallest], 1)


@pytest.fixture(scope="module")
def block():
    """A small thermal block as matrices, with random coefficients and its exact coercivity."""
    p = problem("thermal_block")
    parts = p.affine(p.box.grid(7))
    matrices = [np.asarray(a.as_matrix(), np.float64) for a in parts.operators]
    full = full_order(AffineSystem(tuple(matrices), (np.ones(25),), parts.coefficients, parts.rhs_coefficients))
    theta = 10 ** np.random.default_rng(0).uniform(-1, 1, (60, 4))
    return full, theta, exact(matrices, theta)


def dense(full):
    return [a.toarray() for a in full.matrices]


def exact(matrices, theta):
    x = sum(matrices)
    return np.array([scipy.linalg.eigh(np.tensordot(t, matrices, 1), x, eigvals_only=True)[0] for t in theta])


def test_min_theta_is_a_lower_bound_and_exact_for_proportional_coefficients(block):
    full, theta, alpha = block
    bound = MinTheta(full.reference)
    assert (bound(theta) <= alpha * (1 + 1e-9)).all() and np.median(bound(theta) / alpha) > 0.9
    proportional = np.array([[2.0] * 4, [0.3] * 4])
    np.testing.assert_allclose(bound(proportional), exact(dense(full), proportional), rtol=1e-9)
    np.testing.assert_array_equal(bound(np.array([1.0, -1.0, 1.0, 1.0])), 0)
    traced = jax.jit(jax.vmap(bound))(jnp.asarray(theta, jnp.float32))
    np.testing.assert_allclose(traced, bound(theta), rtol=1e-6)


def test_successive_constraints_is_a_lower_bound_within_its_gap(block):
    full, theta, alpha = block
    found = successive_constraints(full, theta[:40], tolerance=0.2)
    assert found.gap <= 0.2 and len(found.alphas) < 20
    for part in (theta, np.stack([theta[0], theta[50]])):
        true = exact(dense(full), part)
        lower, upper = found(part), found.upper(part)
        assert (lower <= true * (1 + 1e-8)).all() and (true <= upper * (1 + 1e-8)).all()
    assert (found(theta[:40]) >= 0.79 * alpha[:40]).all()
    assert found(theta[0]).shape == () and found(theta[0]) == found(theta)[0]
    np.testing.assert_allclose(found(2 * theta[:3]), 2 * found(theta[:3]), rtol=1e-6)


def test_successive_constraints_serves_coefficients_of_both_signs():
    c = np.linspace(-0.9, 2, 30)
    full, theta = shifted(c)
    alpha = np.minimum(1 + c, 1 + theta[:, 1] / 4 / np.cos(np.pi / (2 * (M + 1))) ** 2)  # at the ends of the spectrum
    found = successive_constraints(full, theta, tolerance=1e-6)
    np.testing.assert_allclose(found(theta), alpha, rtol=1e-6)
    assert len(found.alphas) <= 3 and not MinTheta(np.ones(2))(theta[:9]).any()


def test_lanczos_agrees_with_dense_eigenvalues(block, monkeypatch):
    full, theta, alpha = block
    monkeypatch.setattr(coercivity, "_DENSE", 0)
    found = [coercivity._smallest(full, t) for t in theta[:5]]
    values = np.array([value for value, _ in found])
    assert (values < alpha[:5]).all()
    np.testing.assert_allclose(values, alpha[:5], rtol=3e-5)
    for t, (_, vector) in zip(theta, found, strict=False):
        np.testing.assert_allclose([full.norm(vector), vector @ full.combination(t, vector)],
                                   [1, exact(dense(full), t[None])[0]], rtol=1e-5)  # fmt: skip


def test_bad_input(block):
    full, theta, _ = block
    with pytest.raises(ValueError, match=r"positive reference coefficients, got \[1. 0.\]; use successive_constraints"):
        MinTheta(np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match=r"is not positive definite, its smallest eigenvalue is -0\.5"):
        successive_constraints(*shifted(np.array([-1.5])))
    with pytest.warns(UserWarning, match="gap .* after 2 constraints"):
        found = successive_constraints(full, theta, tolerance=1e-3, max_constraints=2)
    with pytest.raises(TypeError, match="cannot be traced; call it outside jit"):
        jax.jit(found)(jnp.ones(4))
