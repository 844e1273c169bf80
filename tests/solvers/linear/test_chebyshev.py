"""Chebyshev semi-iteration, the Chebyshev polynomial preconditioner, and the bounds of the spectrum that they use."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
from numpy.polynomial import chebyshev

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, Chebyshev, ChebyshevPolynomial, Diffusion, Laplacian, Status, solve
from surrogax.solvers.linear.operators.eigenvalue_bounds import extreme_ritz_values, gershgorin

SHAPE, BOUNDARIES, SPACING = (5, 4), ("dirichlet", "neumann"), (1 / 6, 1 / 4)
A = np.random.default_rng(0).uniform(0.5, 3.0, (7, 4))
B = np.random.default_rng(1).normal(size=SHAPE)


def diffusion(a, shift=0.0):
    return Diffusion(stencil.face_means(a, BOUNDARIES, "harmonic"), SHAPE, SPACING, BOUNDARIES, shift)


def error_polynomial(eigenvalues, degree, lower, upper):
    """T_k((c − λ)/r) / T_k(c/r), the smallest polynomial on [lower, upper] that is 1 at zero."""
    centre, radius = (upper + lower) / 2, (upper - lower) / 2
    unit = np.eye(degree + 1)[degree]
    return chebyshev.chebval((centre - eigenvalues) / radius, unit) / chebyshev.chebval(centre / radius, unit)


def test_iterates_and_preconditioner_are_chebyshev_polynomials(x64):
    lower, upper = 0.07, 1.8

    @jax.jit
    def run(a, b):
        operator = diffusion(a, 2.0)
        iterates = [
            Chebyshev(lower, upper, max_steps=k)(operator, b, jnp.zeros_like(b), jnp.zeros(()))[0] for k in (1, 2, 5)
        ]
        polynomials = [ChebyshevPolynomial(k, lower / upper, upper).bind(operator)(b) for k in (1, 2, 5)]
        return operator.as_matrix(), iterates, polynomials

    matrix, iterates, polynomials = jax.tree.map(np.asarray, run(jnp.asarray(A), jnp.asarray(B)))
    root = np.sqrt(np.diag(matrix))
    eigenvalues, vectors = np.linalg.eigh(matrix / np.outer(root, root))
    for degree, iterate, polynomial in zip((1, 2, 5), iterates, polynomials, strict=True):
        step = (1 - error_polynomial(eigenvalues, degree, lower, upper)) / eigenvalues
        expected = vectors @ (step * (vectors.T @ (B.ravel() / root))) / root
        np.testing.assert_allclose(iterate.ravel(), expected, rtol=1e-10, atol=1e-15)
        np.testing.assert_allclose(polynomial.ravel(), expected, rtol=1e-10, atol=1e-15)


@pytest.mark.nightly
def test_bounds_and_estimates_of_the_spectrum(x64):
    run = jax.jit(
        lambda a, key: (
            diffusion(a, 1.0).as_matrix(),
            gershgorin(diffusion(a, 1.0)),
            gershgorin(diffusion(a, 1.0), scaled=False),
            extreme_ritz_values(diffusion(a, 1.0), key, 20, diffusion(a, 1.0).diagonal()),
            extreme_ritz_values(lx.DiagonalLinearOperator(jnp.full(4, 3.0)), key, 4),
            extreme_ritz_values(Laplacian((4, 6), (1.0, 1.0), ("neumann", "periodic")), key, 10),
        )
    )
    matrix, scaled, plain, all_of_scaled, multiple, singular = run(jnp.asarray(A), jax.random.key(0))
    eigenvalues = np.linalg.eigvalsh(matrix)
    root = np.sqrt(np.diag(matrix))
    of_scaled = np.linalg.eigvalsh(matrix / np.outer(root, root))
    assert of_scaled[-1] <= scaled <= 2 and eigenvalues[-1] <= plain <= 1.5 * eigenvalues[-1]
    np.testing.assert_allclose(all_of_scaled, of_scaled[[0, -1]], rtol=1e-8)
    np.testing.assert_allclose(multiple, 3, rtol=1e-12)
    np.testing.assert_allclose(singular[0], 2 - 2 * np.cos(np.pi / 4), rtol=0.01)  # not the zero of the constants
    np.testing.assert_allclose(singular[1], 6 + 2 * np.cos(np.pi / 4), rtol=0.01)


def test_method_converges_as_fast_as_its_bound(x64):
    """The interval found from the operator, against the interval of the dense matrix."""

    @jax.jit
    def run(a, b):
        return solve(diffusion(a), b, Chebyshev(rtol=1e-8, history=True, max_steps=300)), diffusion(a).as_matrix()

    solution, matrix = run(jnp.asarray(A), jnp.asarray(B))
    assert solution.status == Status.converged and solution.method == "Chebyshev"
    np.testing.assert_allclose(solution.value.ravel(), np.linalg.solve(matrix, B.ravel()), rtol=1e-6)
    root = np.sqrt(np.diag(matrix))
    eigenvalues = np.linalg.eigvalsh(matrix / np.outer(root, root))
    bound = (np.sqrt(2 / eigenvalues[0]) + 1) / (np.sqrt(2 / eigenvalues[0]) - 1)
    assert 5 < solution.iterations <= np.log(2 * root.max() / root.min() / 1e-8) / np.log(bound) + 1
    history = np.asarray(solution.stats.history)[: int(solution.iterations)]
    np.testing.assert_allclose(history[-1], solution.stats.residual, rtol=1e-6)
    assert np.isfinite(history).all() and (history[:-1] > 1e-8 * np.linalg.norm(B)).all()


def test_statuses_per_lane():
    """Converged, upper end too low, zero and NaN right-hand sides, lower end above the spectrum's."""
    nan = np.where(B[2, 1] == B, np.nan, B)
    b = jnp.asarray(np.stack([B, B, 0 * B, nan, B]), jnp.float32)
    upper = jnp.asarray([2.0, 0.8, 2.0, 2.0, 2.0], jnp.float32)
    lower = jnp.asarray([0.05, 0.05, 0.05, 0.05, 1.5], jnp.float32)
    a = jnp.asarray(A, jnp.float32)
    run = jax.jit(jax.vmap(lambda b, *ends: solve(diffusion(a), b, Chebyshev(*ends, max_steps=500)).stats))
    stats = run(b, lower, upper)
    converged = Status.converged
    assert stats.status.tolist() == [converged, Status.non_finite, converged, Status.non_finite, converged]
    assert stats.iterations[2] == 0 and stats.iterations[4] > 1.5 * stats.iterations[0]


@pytest.mark.nightly
def test_iteration_counts_of_the_preconditioner(x64):
    """128² Poisson to 1e-8: the counts of an independent implementation, 388 without it."""
    operator = Laplacian((128, 128), (1 / 129, 1 / 129), ("dirichlet", "dirichlet"))
    b = jnp.asarray(np.random.default_rng(0).normal(size=(128, 128)))
    stats = jax.jit(lambda b: solve(operator, b, CG(ChebyshevPolynomial(4), rtol=1e-8)).stats)(b)
    assert stats.status == Status.converged
    np.testing.assert_allclose(stats.iterations, 105, rtol=0.03)


def test_matrices_get_an_estimated_interval():
    matrix = np.diag([4.0, 3.0, 2.0, 5.0]) + 0.5
    run = jax.jit(lambda m, b: solve(lx.MatrixLinearOperator(m, lx.symmetric_tag), b, Chebyshev()).value)
    x = run(jnp.asarray(matrix, jnp.float32), jnp.ones(4, jnp.float32))
    np.testing.assert_allclose(x, np.linalg.solve(matrix, np.ones(4)), rtol=1e-4)


def test_exports_without_callbacks_or_doubles():
    def run(a, b):
        return jax.grad(lambda b: solve(diffusion(a), b, Chebyshev()).value.sum())(b)

    arguments = [jax.ShapeDtypeStruct(x.shape, jnp.float32) for x in (A, B)]
    text = jax.export.export(jax.jit(run), platforms=["cpu", "cuda", "tpu"])(*arguments).mlir_module()
    assert "custom_call" not in text and "f64" not in text


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match=r"Chebyshev: need 0 < lower < upper, got lower 2.0 and upper 1.0"):
        Chebyshev(2.0, 1.0)
    with pytest.raises(ValueError, match=r"need degree >= 1 and 0 < fraction < 1, got degree 0"):
        ChebyshevPolynomial(0)
