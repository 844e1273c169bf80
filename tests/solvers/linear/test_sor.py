"""Successive over-relaxation: iteration counts of the literature, the theory of its convergence, statuses and derivatives."""

import functools

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import (
    SOR,
    Diffusion,
    GaussSeidel,
    Laplacian,
    Status,
    jacobi_radius,
    optimal_omega,
    solve,
    sor_radius,
)

SHAPE, BOUNDARIES, SPACING = (5, 4), ("dirichlet", "neumann"), (1 / 6, 1 / 4)
A = np.random.default_rng(0).uniform(0.5, 3.0, (7, 4))
B = np.random.default_rng(1).normal(size=SHAPE)
W = np.random.default_rng(2).normal(size=SHAPE)

# Mean SOR iterations on the 10² Laplacian (diagonal 4, others −1) for b ~ N(0, I) of norm ≤ 10, relative residual 1e-8.
PAPER = {1: 186, 1.2: 125, 1.4: 75, 1.5: 53, 1.5604: 37, 1.6: 41, 1.7: 55, 1.8: 86, 1.9: 177, 1.95: 362}


def laplacian(shape=(10, 10), shift=0.0):
    boundaries = ("dirichlet",) * len(shape)
    return Diffusion(stencil.unit_faces(shape, boundaries, float), shape, (1.0,) * len(shape), boundaries, shift)


def diffusion(a, shift=0.0):
    return Diffusion(stencil.face_means(a, BOUNDARIES, "harmonic"), SHAPE, SPACING, BOUNDARIES, shift)


@functools.cache
def dense(shift=0.0):
    with jax.enable_x64(True):
        return np.asarray(jax.jit(lambda a: diffusion(a, shift).as_matrix())(jnp.asarray(A)))


@functools.cache
def compiled(**options):
    """`(a, b, shift, omega) -> Solution`."""
    return jax.jit(lambda a, b, shift, omega: solve(diffusion(a, shift), b, SOR(omega, **options)))


def float32(*arrays):
    return [jnp.asarray(x, jnp.float32) for x in arrays]


def draws(count):
    rng, found = np.random.default_rng(0), []
    while len(found) < count:
        b = rng.normal(size=(10, 10))
        if np.linalg.norm(b) <= 10:
            found.append(b)
    return np.array(found)


# Iterations -----------------------------------------------------------------------------------------------------------


def textbook_counts(matrix, b, omega):
    """Iterations until ‖r_k‖ ≤ 1e-8 ‖b‖, from r_{k+1} = r_k − A (D/ω + L)⁻¹ r_k, for the rows of b."""
    diagonal = np.diag(np.diag(matrix))
    defect = np.eye(len(matrix)) - matrix @ np.linalg.inv(diagonal / omega + np.tril(matrix, -1))
    r, counts = b.T, np.zeros(len(b), int)
    unfinished = counts == 0
    while unfinished.any():
        r, counts = defect @ r, counts + unfinished
        unfinished &= np.linalg.norm(r, axis=0) > 1e-8 * np.linalg.norm(b, axis=1)
    return counts


@pytest.mark.nightly
def test_the_radius_of_jacobi_gives_the_optimal_omega(x64):
    operator = Laplacian((12, 12), (1.0, 1.0), ("dirichlet",) * 2)
    np.testing.assert_allclose(jacobi_radius(operator), np.cos(np.pi / 13), rtol=1e-6)
    np.testing.assert_allclose(optimal_omega(jacobi_radius(operator)), 2 / (1 + np.sin(np.pi / 13)), rtol=1e-5)


@pytest.mark.nightly
def test_iteration_counts_are_those_of_the_literature(x64):
    """Exactly the textbook counts for a few right-hand sides, whose means over many are the published ones."""
    b, many = draws(8), draws(60).reshape(-1, 100)
    second = 2 * np.eye(10) - np.eye(10, k=1) - np.eye(10, k=-1)
    matrix = np.kron(second, np.eye(10)) + np.kron(np.eye(10), second)
    parity = np.indices((10, 10)).sum(0).ravel() % 2
    by_colour = np.argsort(parity, kind="stable")

    @functools.partial(jax.jit, static_argnames="order")
    def run(b, omegas, order):
        operator = laplacian()
        one = jax.vmap(lambda b, omega: solve(operator, b, SOR(omega, rtol=1e-8, order=order)).stats, (0, None))
        return jax.lax.map(lambda omega: one(b, omega), omegas)

    natural = run(jnp.asarray(b), jnp.asarray(list(PAPER)), "natural")
    assert (natural.status == Status.converged).all()
    for ours, (omega, published) in zip(natural.iterations, PAPER.items(), strict=True):
        np.testing.assert_array_equal(ours, textbook_counts(matrix, b.reshape(-1, 100), omega))
        np.testing.assert_allclose(textbook_counts(matrix, many, omega).mean(), published, rtol=0.03)
    red_black = run(jnp.asarray(b), jnp.asarray([1.0, 1.5604, 1.9]), "red_black")
    for ours, omega in zip(red_black.iterations, (1.0, 1.5604, 1.9), strict=True):
        sorted_b = b.reshape(-1, 100)[:, by_colour]
        np.testing.assert_array_equal(ours, textbook_counts(matrix[np.ix_(by_colour, by_colour)], sorted_b, omega))


def test_convergence_factor_is_that_of_the_theory(x64):
    """Variable coefficient and mixed boundaries: the residual falls by `sor_radius` per iteration in the long run."""
    matrix = dense()
    beta = abs(np.linalg.eigvals(np.eye(len(matrix)) - matrix / np.diag(matrix)[:, None])).max()
    best = float(optimal_omega(beta))
    omegas = np.array([1.0, 0.5 * (1 + best), best + 0.1, 1.9])

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, None, 0))
    def history(a, x0, omega):
        method = SOR(omega, max_steps=60, history=True)
        return method.bind(diffusion(a))(diffusion(a), 0 * x0, x0, jnp.zeros(()))[1].history

    norms = np.asarray(history(*map(jnp.asarray, (A, B, omegas))))
    factors = (norms[:, 59] / norms[:, 29]) ** (1 / 30)
    expected = np.asarray(sor_radius(omegas, beta))
    np.testing.assert_allclose(expected[0], beta**2)
    np.testing.assert_allclose(expected[2:], omegas[2:] - 1)
    np.testing.assert_allclose(factors[:2], expected[:2], rtol=1e-5)
    np.testing.assert_allclose(factors[2:], expected[2:], rtol=0.05)
    nearby = np.asarray(sor_radius(best + np.array([-1e-3, 0, 1e-3]), beta))
    assert nearby[1] < nearby[0] and nearby[1] < nearby[2]


def test_gauss_seidel_is_sor_with_one(x64):
    run = jax.jit(lambda a, b: [solve(diffusion(a), b, method) for method in (GaussSeidel(), SOR(1.0))])
    gauss_seidel, sor = run(jnp.asarray(A), jnp.asarray(B))
    assert gauss_seidel.iterations == sor.iterations and gauss_seidel.method == "GaussSeidel" and sor.method == "SOR"
    np.testing.assert_allclose(gauss_seidel.value, sor.value, rtol=1e-12)


@pytest.mark.parametrize("order", ["red_black", "natural"])
def test_solution_residual_and_history_with_an_obstacle(x64, order):
    solid = np.zeros(SHAPE, bool)
    solid[1:3, 1] = True

    @jax.jit
    def run(a, b):
        operator = diffusion(a, 1.0).with_obstacle(solid, "dirichlet")
        return solve(operator, b, SOR(1.3, rtol=1e-10, history=True, max_steps=200, order=order)), operator.as_matrix()

    solution, matrix = run(jnp.asarray(A), jnp.asarray(B))
    np.testing.assert_allclose(solution.value.ravel(), np.linalg.solve(matrix, B.ravel()), rtol=1e-8)
    history, k = np.asarray(solution.stats.history), int(solution.iterations)
    assert (history[: k - 1] > 1e-10 * np.linalg.norm(B)).all() and np.isnan(history[k:]).all()
    np.testing.assert_allclose(history[k - 1], solution.stats.residual, rtol=1e-3)
    residual = np.linalg.norm(B.ravel() - matrix @ np.ravel(solution.value))
    np.testing.assert_allclose(solution.stats.residual, residual, rtol=1e-3)
    assert solution.status == Status.converged and residual <= 1e-10 * np.linalg.norm(B)


# Statuses -------------------------------------------------------------------------------------------------------------


def test_each_lane_has_its_own_status():
    """Converged, warm, divergent (indefinite), non-finite, zero right-hand side, two factors that cannot converge."""
    exact = np.linalg.solve(dense(), B.ravel()).reshape(SHAPE)
    nan = np.where(B[2, 1] == B, np.nan, B)
    lanes = [
        (B, 0 * B, 0.0, 1.5, {Status.converged}),
        (B, exact, 0.0, 1.5, {Status.converged}),
        (B, 0 * B, -60.0, 1.5, {Status.non_finite, Status.max_steps}),
        (nan, 0 * B, 0.0, 1.5, {Status.non_finite}),
        (0 * B, B, 0.0, 1.5, {Status.converged}),
        (B, 0 * B, 0.0, 2.1, {Status.non_finite, Status.max_steps}),
        (B, 0 * B, 0.0, np.nan, {Status.non_finite}),
    ]
    *inputs, expected = zip(*lanes, strict=True)
    run = jax.jit(
        jax.vmap(lambda a, b, x0, c, w: solve(diffusion(a, c), b, SOR(w, max_steps=300), x0=x0), (None, *[0] * 4))
    )
    solutions = run(*float32(A), *float32(*map(np.stack, inputs)))
    for status, allowed in zip(solutions.status.tolist(), expected, strict=True):
        assert status in allowed
    alone = compiled(max_steps=300)(*float32(A, B, 0.0, 1.5))
    np.testing.assert_allclose(solutions.value[0], alone.value, atol=1e-6 * abs(exact).max())
    assert solutions.iterations[0] == alone.iterations
    assert solutions.iterations[1] <= 2 < solutions.iterations[0]
    assert solutions.iterations[4] == 0 and (solutions.value[4] == 0).all()


@pytest.mark.filterwarnings("ignore:solve. rtol")
@pytest.mark.parametrize("omega", [1.0, 1.9])
def test_stagnation_at_the_floor_of_float32(omega):
    solution = compiled(rtol=1e-12, max_steps=3000)(*float32(A, B, 0.0, omega))
    assert solution.status == Status.stagnated and solution.iterations < 1500
    expected = np.linalg.solve(dense(), B.ravel())
    np.testing.assert_allclose(np.ravel(solution.value), expected, atol=1e-5 * abs(expected).max())


def test_wrong_use_is_named():
    for omega in (0.0, 2.0, np.nan):
        with pytest.raises(ValueError, match=r"SOR: omega must lie in \(0, 2\), got"):
            SOR(omega)
    with pytest.raises(ValueError, match="max_steps must not be negative"):
        GaussSeidel(max_steps=-1)
    with pytest.raises(TypeError, match="SOR works on grids and supports Diffusion and Laplacian"):
        solve(lx.MatrixLinearOperator(jnp.eye(3), lx.symmetric_tag), jnp.ones(3), SOR(1.5))


# Derivatives ----------------------------------------------------------------------------------------------------------


def test_gradients_against_finite_differences(x64):
    @jax.jit
    def value_and_gradient(a, b):
        def loss(a, b):
            return jnp.sum(jnp.sin(20 * solve(diffusion(a), b, SOR(1.4, rtol=1e-13)).value))

        return jax.value_and_grad(loss, (0, 1))(a, b)

    at = (jnp.asarray(A), jnp.asarray(B))
    gradients = value_and_gradient(*at)[1]
    rng = np.random.default_rng(3)
    for part in range(2):
        direction = rng.normal(size=at[part].shape)
        moved = [[p + s * direction if i == part else p for i, p in enumerate(at)] for s in (-1e-5, 1e-5)]
        low, high = (value_and_gradient(*arguments)[0] for arguments in moved)
        np.testing.assert_allclose(np.vdot(gradients[part], direction), (high - low) / 2e-5, rtol=1e-6)


def test_omega_gets_no_gradient_and_the_solve_exports():
    def loss(omega, a, b):
        return (solve(diffusion(a), b, SOR(omega)).value ** 2).sum()

    gradient = jax.jit(jax.grad(loss))
    assert gradient(*float32(1.4, A, B)) == 0
    arguments = [jax.ShapeDtypeStruct(x.shape, jnp.float32) for x in (np.zeros(()), A, B)]
    text = jax.export.export(gradient, platforms=["cpu", "cuda", "tpu"])(*arguments).mlir_module()
    assert "custom_call" not in text and "f64" not in text
