"""Laplacian and Spectral operators and the direct solve: against dense matrices, statuses, derivatives, batches."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from surrogax.solvers.linear import CG, FastPoissonSolve, Laplacian, Spectral, Status, solve

SPACING = (0.3, 0.2, 0.5)
CASES = [
    ((7,), ("periodic",)),
    ((5, 6), ("dirichlet", "neumann")),
    ((4, 5), ("neumann", "periodic")),
    ((3, 4, 5), ("dirichlet", "neumann", "periodic")),
]
RNG = np.random.default_rng(0)


def second_difference(n, h, boundary):
    matrix = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    if boundary == "neumann":
        matrix[0, 0] = matrix[-1, -1] = 1
    if boundary == "periodic":
        matrix[0, -1] -= 1
        matrix[-1, 0] -= 1
    return matrix / h**2


def dense(shape, boundaries):
    """−Δ_h as a sum of Kronecker products."""
    total = np.zeros((np.prod(shape),) * 2)
    for axis, (n, boundary) in enumerate(zip(shape, boundaries, strict=True)):
        before, after = np.eye(int(np.prod(shape[:axis]))), np.eye(int(np.prod(shape[axis + 1 :])))
        total += np.kron(np.kron(before, second_difference(n, SPACING[axis], boundary)), after)
    return total


@pytest.mark.parametrize(("shape", "boundaries"), CASES)
def test_operators_inverses_and_solves_against_dense_matrices(shape, boundaries):
    b, spacing = RNG.normal(size=shape), SPACING[: len(shape)]

    @jax.jit
    def run(b, shift, scale):
        laplacian = Laplacian(shape, spacing, boundaries, shift, scale)
        spectral = Spectral.function(lambda k: shift + k + 0.1 * k**2, shape, spacing, boundaries)
        results = []
        for operator in (laplacian, spectral):
            solution = solve(operator, b, FastPoissonSolve(rtol=1e-11))
            results.append((operator.as_matrix(), lx.diagonal(operator), operator.inverse(b), solution))
        return results, laplacian.as_diffusion().as_matrix()

    k = dense(shape, boundaries)
    with jax.enable_x64(True):
        results, as_diffusion = jax.tree.map(np.asarray, run(jnp.asarray(b), 1.5, 2.0))
    expected = (2 * k + 1.5 * np.eye(len(k)), 1.5 * np.eye(len(k)) + k + 0.1 * k @ k)
    np.testing.assert_allclose(as_diffusion, expected[0], atol=1e-11)
    for (matrix, diagonal, inverse, solution), reference in zip(results, expected, strict=True):
        scale = abs(reference).max()
        np.testing.assert_allclose(matrix, reference, atol=1e-13 * scale)
        np.testing.assert_allclose(diagonal, np.diag(reference), atol=1e-13 * scale)
        x = np.linalg.solve(reference, b.ravel())
        np.testing.assert_allclose(inverse.ravel(), x, atol=1e-12)
        np.testing.assert_allclose(solution.value.ravel(), x, atol=1e-12)
        assert solution.status == Status.converged and solution.iterations == 1
        true = np.linalg.norm(b.ravel() - reference @ solution.value.ravel())
        assert solution.stats.residual <= 1e-11 * np.linalg.norm(b) and true <= 1e-11 * np.linalg.norm(b)


@jax.jit
def periodic(b, shift, rtol):
    return solve(Laplacian((6, 5), SPACING[:2], ("periodic", "neumann"), shift), b, FastPoissonSolve(rtol=rtol))


def test_statuses():
    b = jnp.asarray(RNG.normal(size=(6, 5)), jnp.float32)
    consistent = b - b.mean()
    singular = periodic(consistent, 0.0, 1e-5)
    assert singular.status == Status.converged and abs(singular.value.mean()) < 1e-6
    inconsistent = periodic(b + 1.0, 0.0, 1e-5)
    assert inconsistent.status == Status.stagnated and inconsistent.iterations <= 2
    np.testing.assert_allclose(inconsistent.value, singular.value, atol=1e-5)
    np.testing.assert_allclose(inconsistent.stats.residual, 30**0.5 * abs((b + 1).mean()), rtol=1e-4)
    floor = periodic(b, 1.0, 1e-12)
    assert floor.status == Status.stagnated and floor.stats.residual < 1e-4
    zero = periodic(0 * b, 0.0, 1e-5)
    assert zero.status == Status.converged and zero.iterations == 0 and (zero.value == 0).all()
    for wrong in (np.nan, np.inf):
        assert periodic(b.at[1, 2].set(wrong), 1.0, 1e-5).status == Status.non_finite
    assert periodic(b, np.nan, 1e-5).status == Status.non_finite


@pytest.mark.nightly
def test_step_limit_and_starting_point():
    operator = Laplacian((4, 3), SPACING[:2], ("dirichlet", "neumann"))
    b = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)
    exact = operator.inverse(b)
    tolerance = 1e-5 * jnp.linalg.norm(b)
    x, stats = FastPoissonSolve(max_steps=0)(operator, b, jnp.zeros_like(b), tolerance)
    assert stats.status == Status.max_steps and stats.iterations == 0 and (x == 0).all()
    x, stats = FastPoissonSolve()(operator, b, exact, tolerance)
    assert stats.status == Status.converged and stats.iterations == 0


def test_derivatives_and_batches():
    """∂/∂(b, shift, scale) of a pairing with the solution, per lane of a batch of right-hand sides and operators."""
    shape, boundaries = (5, 4), ("dirichlet", "neumann")
    k, w = dense(shape, boundaries), RNG.normal(size=shape)
    b, shifts, scales = RNG.normal(size=(3, *shape)), np.array([0.0, 1.0, 5.0]), np.array([1.0, 0.5, 2.0])

    @jax.jit
    @jax.vmap
    def gradients(b, shift, scale):
        def pairing(b, shift, scale):
            return (
                w * solve(Laplacian(shape, SPACING[:2], boundaries, shift, scale), b, FastPoissonSolve()).value
            ).sum()

        return jax.grad(pairing, (0, 1, 2))(b, shift, scale)

    with jax.enable_x64(True):
        to_b, to_shift, to_scale = gradients(*map(jnp.asarray, (b, shifts, scales)))
    for lane in range(3):
        matrix = scales[lane] * k + shifts[lane] * np.eye(len(k))
        x, adjoint = np.linalg.solve(matrix, b[lane].ravel()), np.linalg.solve(matrix, w.ravel())
        np.testing.assert_allclose(to_b[lane].ravel(), adjoint, atol=1e-12)
        np.testing.assert_allclose(to_shift[lane], -adjoint @ x, rtol=1e-10)
        np.testing.assert_allclose(to_scale[lane], -adjoint @ k @ x, rtol=1e-10)


def test_indefinite_operators_are_inverted():
    """Helmholtz: conjugate gradients break down, the transforms do not care."""
    operator = Laplacian((7,), (0.3,), ("periodic",), shift=-9.0)
    b = jnp.asarray(RNG.normal(size=7), jnp.float32)
    solution = solve(operator, b, FastPoissonSolve())
    expected = np.linalg.solve(dense((7,), ("periodic",)) - 9 * np.eye(7), b)
    assert solution.status == Status.converged and solution.method == "FastPoissonSolve"
    np.testing.assert_allclose(solution.value, expected, atol=1e-5)


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match="need one entry per axis"):
        Laplacian((4, 3), (0.1,), ("dirichlet", "neumann"))
    with pytest.raises(ValueError, match="needs as many boundaries"):
        Spectral(jnp.ones((4, 3)), ("dirichlet",))
    with pytest.raises(ValueError, match="max_steps must not be negative, got -1"):
        FastPoissonSolve(max_steps=-1)
    diffusion = Laplacian((4,), (0.1,), ("dirichlet",)).as_diffusion()
    with pytest.raises(TypeError, match="inverts Laplacian and Spectral operators, got Diffusion: use CG"):
        solve(diffusion, jnp.ones(4), FastPoissonSolve())


def test_exports_for_every_platform_without_callbacks_or_doubles():
    def pairing(b, shift):
        operator = Laplacian((4, 5), SPACING[:2], ("dirichlet", "periodic"), shift)
        return (solve(operator, b, FastPoissonSolve()).value ** 2).sum()

    arguments = jax.ShapeDtypeStruct((4, 5), jnp.float32), jax.ShapeDtypeStruct((), jnp.float32)
    text = jax.export.export(jax.jit(jax.grad(pairing, (0, 1))), platforms=["cpu", "cuda", "tpu"])(*arguments)
    assert "stablehlo.custom_call" not in text.mlir_module() and "f64" not in text.mlir_module()


def test_direct_solve_of_a_tagged_operator_equals_conjugate_gradients():
    operator = Laplacian((6, 5), SPACING[:2], ("dirichlet", "periodic"), shift=0.3)
    tagged = lx.TaggedLinearOperator(operator, lx.positive_semidefinite_tag)
    b = jnp.asarray(RNG.normal(size=(6, 5)), jnp.float32)
    direct, iterated = solve(tagged, b, FastPoissonSolve()), solve(operator, b, CG(rtol=1e-6))
    np.testing.assert_allclose(direct.value, iterated.value, atol=1e-5)
