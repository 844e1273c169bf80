"""Separation of parametrised matrices, inverses, powers and log-determinants against the measured reference errors."""

import types

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp

from surrogax.core.precision import in_double
from surrogax.surrogates.reduced.interpolation.matrix_eim import Coefficient, matrix_eim, matrix_eim_from_entries
from surrogax.surrogates.reduced.interpolation.matrix_function_eim import (
    inverse_eim,
    logdet_eim,
    power_eim,
    spectral_box,
)

CELLS = 400
MIDPOINTS = (np.arange(CELLS) + 0.5) / CELLS
# Slightly denser on the left: of evenly spaced bumps hundreds are equally large on the midpoints, and rounding would choose
# the first function, on which the errors of a given rank depend up to twofold.
TRAIN = 0.2 + 0.6 * np.linspace(0, 1, 301) ** 1.01
TEST = np.random.default_rng(0).uniform(0.2, 0.8, 100)


def diffusion(mu, x):
    return 0.1 + jnp.exp(-((x - mu) ** 2) / 0.02)


def stiffness(k):
    """P1 on (0, 1) with a coefficient per cell and Dirichlet ends."""
    return len(k) * sp.diags([k[:-1] + k[1:], -k[1:-1], -k[1:-1]], [0, 1, -1]).tocsr()


def assemble(mu):
    return stiffness(0.1 + np.exp(-((MIDPOINTS - mu) ** 2) / 0.02))


def betas(separated, parameters):
    return in_double(jax.jit(jax.vmap(lambda mu: separated.coefficients(mu))))(np.asarray(parameters))


def evaluate(separated, mu):
    return in_double(jax.jit(lambda mu: separated(mu)))(mu)


# The reference's errors of the stiffness matrix and, for random wave numbers, of the kernel.
MATRIX_ERRORS = {6: 1.3e-1, 8: 2.4e-2, 10: 3.7e-3, 12: 5.7e-4, 14: 9.0e-6, 16: 2.1e-6, 18: 3.1e-8, 20: 2.2e-9}
KERNEL_ERRORS = {10: 6e-2, 12: 5e-3, 15: 1e-5, 18: 1e-7, 20: 2e-9, 22: 7e-12, 25: 2e-14}
INVERSE_ERRORS = {2: 0.12, 3: 4e-3, 4: 1e-3, 5: 1.6e-5, 6: 8e-7, 8: 8e-10}


@pytest.mark.parametrize("rank", [8, 20])
def test_stiffness_matrix(rank):
    separated = matrix_eim(Coefficient(diffusion, MIDPOINTS), TRAIN, assemble, rank=rank)
    entries = np.stack([m.data for m in separated.matrices])
    exact = np.stack([assemble(mu).data for mu in TEST])
    beta = betas(separated, TEST)
    errors = np.linalg.norm(beta @ entries - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert 0.5 * MATRIX_ERRORS[rank] < errors.max() <= 1.1 * MATRIX_ERRORS[rank]
    assert 1 < np.abs(beta).sum(1).max() <= 10
    b = np.ones(CELLS - 1)
    full, approximate = assemble(TEST[0]), sum(b * m for b, m in zip(beta[0], separated.matrices, strict=True))
    u, v = (sp.linalg.spsolve(m.tocsc(), b) for m in (full, approximate))
    assert np.linalg.norm(u - v) < 3 * MATRIX_ERRORS[rank] * np.linalg.norm(u)


@pytest.mark.parametrize("rank", [18, 25])
def test_oscillating_kernel(rank):
    """e^{ikr}, damped by 0.2 %: otherwise all are equally large, rounding chooses the first one, and errors of fewer functions
    vary threefold with it."""
    r = np.linspace(0, 2, 401)[1:]
    kernel = Coefficient(lambda k, r: jnp.exp((1j - 2e-3) * k * r), r)
    separated = matrix_eim(kernel, np.linspace(1, 20, 400), lambda k: np.exp((1j - 2e-3) * k * r), rank=rank)
    k = np.random.default_rng(0).uniform(1, 20, 200)
    beta = betas(separated, k)
    errors = np.linalg.norm(beta @ np.stack(separated.matrices) - np.exp((1j - 2e-3) * k[:, None] * r), axis=1)
    assert errors.max() / np.sqrt(400) <= 1.1 * KERNEL_ERRORS[rank]
    assert np.abs(beta).sum(1).max() <= 10


def test_from_entries():
    """The same accuracy from a tenth of the entries of the matrix, as from its coefficient."""
    i = np.arange(0, CELLS - 1, 4)
    calls = []

    def entries(mu, positions):
        calls.append(len(positions))
        return assemble(mu)[positions[:, 0], positions[:, 1]].A1

    separated = matrix_eim_from_entries(entries, np.column_stack([i, i]), TRAIN[::3], assemble, rank=14)
    calls.clear()
    beta = separated.coefficients(0.4321)
    assert calls == [14]
    difference = sum(b * m for b, m in zip(np.asarray(beta), separated.matrices, strict=True)) - assemble(0.4321)
    assert sp.linalg.norm(difference) < 1e-4 * sp.linalg.norm(assemble(0.4321))


def test_several_coefficients_and_parameters():
    """A diffusion and two reactions on another point set, of very different size; a dictionary of parameters."""
    rng = np.random.default_rng(1)
    parameters = {"a": rng.uniform(0.5, 2, 80), "c": rng.uniform(0.3, 0.7, 80)}
    corners = np.linspace(0, 1, 11)

    def reactions(mu, x):
        return 1e-6 * jnp.stack([jnp.cos(mu["a"] * x), mu["a"] ** 2 + 0 * x])

    def rows(mu):
        cosine = np.cos(mu["a"] * corners)
        return np.concatenate([0.1 + np.exp(-((MIDPOINTS - mu["c"]) ** 2) / 0.02), 1e-6 * cosine, [mu["a"] ** 2]])

    terms = [Coefficient(lambda mu, x: diffusion(mu["c"], x), MIDPOINTS[::4]), Coefficient(reactions, corners)]
    separated = matrix_eim(terms, parameters, rows, rtol=1e-3)
    assert separated.parameters["a"].shape == separated.eim.points.shape
    mu = {"a": np.asarray(1.234), "c": np.asarray(0.456)}
    error = np.abs(evaluate(separated, mu) - rows(mu))
    assert error[:CELLS].max() < 5e-3 and error[CELLS:-1].max() < 5e-9 and error[-1] < 5e-3
    unbalanced = [terms[0], Coefficient(reactions, corners, weight=1.0)]
    error = np.abs(evaluate(matrix_eim(unbalanced, parameters, rows, rtol=1e-3), mu) - rows(mu))
    assert error[CELLS:-1].max() > 1e-7


def test_coefficients_are_traceable_and_independent_of_the_mesh():
    separated = matrix_eim(Coefficient(diffusion, MIDPOINTS), TRAIN, lambda mu: np.ones(2), rank=6)
    with jax.enable_x64(True):
        slope = jax.jit(jax.jacobian(lambda mu: separated.coefficients(mu)))(0.437)
        difference = (separated.coefficients(0.437 + 1e-5) - separated.coefficients(0.437 - 1e-5)) / 2e-5
        np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-8)
    program = jax.make_jaxpr(lambda mu: separated.coefficients(mu))(0.4)
    shapes = [v.aval.shape for e in program.eqns for v in (*e.invars, *e.outvars)]
    assert max(max(s, default=1) for s in shapes) == 6


def test_warns_outside_the_training_range():
    separated = matrix_eim(Coefficient(diffusion, MIDPOINTS), TRAIN, lambda mu: np.ones(2), rank=6)
    separated.coefficients(0.8)
    with pytest.warns(UserWarning, match=r"the parameter = 3.0 is outside the training range \[0.2, 0.8\]"):
        separated.coefficients(3.0)
    with pytest.warns(UserWarning, match="outside the training range"):
        separated(0.1)
    jax.jit(lambda mu: separated.coefficients(mu))(3.0)  # cannot know


def test_the_sum_is_of_the_kind_that_was_assembled():
    v = np.sin(np.arange(CELLS - 1.0))
    exact = assemble(0.51) @ v
    for form, kind in [
        (lambda mu: assemble(mu).toarray(), jax.Array),
        (assemble, sp.csr_matrix),
        (lambda mu: lx.MatrixLinearOperator(jnp.asarray(assemble(mu).toarray())), types.FunctionType),
        (lambda mu: lambda v: assemble(mu) @ v, types.FunctionType),
        (lambda mu: assemble(mu) @ v, jax.Array),
    ]:
        separated = matrix_eim(Coefficient(diffusion, MIDPOINTS), TRAIN[::3], form, rank=10)
        a = separated(0.51)
        assert isinstance(a, kind)
        product = a(v) if kind is types.FunctionType else a if a.ndim == 1 else a @ v
        assert np.linalg.norm(product - exact) < 2e-2 * np.linalg.norm(exact)


# Functions of matrices ------------------------------------------------------------------------------------------------

ELEMENTS = 100
K = stiffness(np.ones(ELEMENTS)).toarray()
M = scipy.linalg.toeplitz([4, 1] + [0] * (ELEMENTS - 3)) / (6 * ELEMENTS)
EIGENVALUES = scipy.linalg.eigvalsh(K, M)
PENCIL = np.column_stack([EIGENVALUES, np.ones(ELEMENTS - 1)])
SHIFTS, UNSEEN = np.linspace(1, 100, 300), np.random.default_rng(0).uniform(1, 100, 20)


def shifted(mu):
    return jnp.stack([jnp.ones_like(mu), mu])


@pytest.mark.parametrize("rank", [2, 8])
def test_inverse(rank):
    separated = inverse_eim(shifted, PENCIL, SHIFTS, lambda mu: np.linalg.inv(K + mu * M), rank=rank)
    inverses = np.linalg.inv(K + UNSEEN[:, None, None] * M)
    difference = np.tensordot(betas(separated, UNSEEN), np.stack(separated.matrices), 1) - inverses
    size, error = (np.abs(np.linalg.eigvalsh(x)).max(1) for x in (inverses, difference))
    errors = error / size
    assert 0.1 * INVERSE_ERRORS[rank] < errors.max() <= 1.1 * INVERSE_ERRORS[rank]


def test_inverse_of_commuting_terms_from_their_boxes_within_the_bound():
    """Two random diagonals: the error is that of the scalar functions."""
    rng = np.random.default_rng(2)
    a, b = rng.uniform(1, 2, 40), rng.uniform(0.5, 20, 40)
    parameters = rng.uniform(0.2, 5, (100, 2))
    separated = inverse_eim(
        lambda mu: mu, spectral_box([1, 0.5], [2, 20], 12), parameters, lambda mu: 1 / (mu[0] * a + mu[1] * b), rank=9
    )
    mu = np.array([1.7, 0.9])
    exact = 1 / (mu[0] * a + mu[1] * b)
    assert np.abs(evaluate(separated, mu) - exact).max() < 3 * separated.eim.errors[-1] * exact.max()
    assert separated.eim.errors[-1] < 1e-3


@pytest.mark.parametrize("rank, bound", [(4, 2e-2), (8, 3e-8)])
def test_log_determinant(rank, bound):
    def logdet(mu):
        return np.linalg.slogdet(K + mu * M)[1]

    separated = logdet_eim(shifted, PENCIL, SHIFTS, logdet, rank=rank)
    errors = betas(separated, UNSEEN) @ np.stack(separated.matrices) - [logdet(mu) for mu in UNSEEN]
    assert np.abs(errors).max() < bound


@pytest.mark.nightly
def test_powers_of_terms_that_do_not_commute():
    rng = np.random.default_rng(3)
    terms = rng.normal(size=(3, 8, 8)) * np.array([1, 1, 0.01])[:, None, None]
    norms = np.linalg.norm(terms, 2, axis=(1, 2))
    parameters = rng.uniform(0.5, 2, (200, 2))

    def alpha(mu):
        return jnp.stack([jnp.ones_like(mu[0]), mu[0], mu[1]])

    def cube(mu):
        return np.linalg.matrix_power(terms[0] + mu[0] * terms[1] + mu[1] * terms[2], 3)

    mu = np.array([0.7, 1.3])
    exact = power_eim(alpha, norms, 3, parameters, cube, rank=50)
    assert len(exact.matrices) == 10  # monomials of degree 3 in three variables
    np.testing.assert_allclose(evaluate(exact, mu), cube(mu), atol=1e-9)
    few = power_eim(alpha, norms, 3, parameters, cube, rank=6)
    assert np.linalg.norm(evaluate(few, mu) - cube(mu), 2) < 1e-2 * np.linalg.norm(cube(mu), 2)
    with jax.enable_x64(True):  # a coefficient that vanishes at this parameter
        centred = power_eim(lambda mu: alpha(mu - jnp.array([0.7, 0])), norms, 3, parameters, cube, rank=50)
        slope = jax.jacobian(lambda mu: centred.coefficients(mu))(mu)[:, 0]
        step = np.array([1e-6, 0])
        difference = (centred.coefficients(mu + step) - centred.coefficients(mu - step)) / 2e-6
        np.testing.assert_allclose(slope, difference, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="use inverse_eim"):
        power_eim(alpha, norms, -1, parameters, cube)


def test_bad_input():
    with pytest.raises(ValueError, match="NaN"):
        matrix_eim(Coefficient(lambda mu, x: jnp.log(mu - x), MIDPOINTS), TRAIN, assemble, rank=3)
    with pytest.raises(ValueError, match="0 < lower"):
        spectral_box([0.0], [1.0], 5)
