"""The SSOR preconditioner: against dense algebra and known iteration counts."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, SSOR, Diffusion, Laplacian, Status, solve


@pytest.mark.parametrize(
    ("shape", "boundaries"),
    [
        ((6,), ("neumann",)),
        ((4, 6), ("dirichlet", "neumann")),
        ((7, 3), ("neumann", "dirichlet")),
        ((3, 4, 2), ("dirichlet", "neumann", "dirichlet")),
    ],
)
def test_equals_dense_algebra_with_jumps_and_obstacles(x64, shape, boundaries):
    rng = np.random.default_rng(0)
    a = 10 ** rng.uniform(-2, 2, [n + 2 * (b == "dirichlet") for n, b in zip(shape, boundaries, strict=True)])
    solid = rng.uniform(size=shape) < 0.2
    assert solid.any() and not solid.all()

    @jax.jit
    def run(a, omega):
        faces = stencil.face_means(a, boundaries, "harmonic")
        operator = Diffusion(faces, shape, (0.3, 0.2, 0.5)[: len(shape)], boundaries, 1.5).with_obstacle(solid)
        preconditioner = SSOR(omega).bind(operator)
        columns = jnp.eye(solid.size).reshape(-1, *shape)
        return operator.as_matrix(), jax.vmap(lambda e: preconditioner(e).ravel(), out_axes=1)(columns)

    for omega in (0.6, 1.0, 1.7):
        matrix, inverse = map(np.asarray, run(jnp.asarray(a), omega))
        diagonal = np.diag(np.diag(matrix))
        factor = diagonal + omega * np.tril(matrix, -1)
        expected = np.linalg.inv(factor @ np.linalg.inv(diagonal) @ factor.T / (omega * (2 - omega)))
        np.testing.assert_allclose(inverse, expected, rtol=1e-12, atol=1e-12 * abs(expected).max())
        np.testing.assert_allclose(inverse, inverse.T, atol=1e-13 * abs(expected).max())


@pytest.mark.nightly
def test_iteration_counts_on_a_poisson_problem(x64):
    """64², white noise, 1e-8, every ω a lane: the counts of an independent implementation in natural order."""
    b = jnp.asarray(np.random.default_rng(0).normal(size=(64, 64)))
    operator = Laplacian((64, 64), (1 / 65, 1 / 65), ("dirichlet", "dirichlet"))
    run = jax.jit(jax.vmap(lambda omega: solve(operator, b, CG(SSOR(omega), rtol=1e-8)).stats))
    stats = run(jnp.asarray([1.0, 1.5, 1.8]))
    assert (stats.status == Status.converged).all()
    np.testing.assert_allclose(stats.iterations, [77, 47, 33], rtol=0.03)


def test_exports_a_solve_without_callbacks_or_doubles():
    def run(omega, b):
        operator = Laplacian((3, 4), (0.3, 0.2), ("dirichlet", "neumann"), dtype=jnp.float32)
        solution = solve(operator, b, CG(SSOR(omega)))
        return solution.value, solution.iterations

    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((), (3, 4))]
    text = jax.export.export(jax.jit(run), platforms=["cpu", "cuda", "tpu"])(*arguments).mlir_module()
    assert "custom_call" not in text and "f64" not in text


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match=r"SSOR: omega must lie in \(0, 2\), got 2"):
        SSOR(2)
    with pytest.raises(ValueError, match="axes with two ends"):
        SSOR().bind(Laplacian((4, 4), (0.25, 0.25), ("periodic", "dirichlet")))
    with pytest.raises(TypeError, match="SSOR works on grids and supports Diffusion and Laplacian"):
        SSOR().bind(lx.MatrixLinearOperator(jnp.eye(3), lx.symmetric_tag))
