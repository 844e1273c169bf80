"""Stencil matrices and the transfers of black box multigrid against dense algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels import grid_transfer, multigrid, stencil, stencil_matrix

CASES = {
    "wall, odd and even": (("dirichlet", "neumann"), (7, 8)),
    "ring and wall": (("periodic", "dirichlet"), (8, 5)),
    "rings whose coarse sizes are no multiples of three": (("periodic", "periodic"), (10, 14)),
    "interval": (("dirichlet",), (12,)),
    "cube": (("dirichlet", "neumann", "periodic"), (5, 4, 6)),
}


@pytest.fixture(params=CASES, ids=str)
def system(request):
    """The matrix, its faces and spacing, and the dense matrix of `apply_diffusion` plus a shift."""
    boundaries, shape = CASES[request.param]
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        points = tuple(n + 2 * (b == "dirichlet") for n, b in zip(shape, boundaries, strict=True))
        faces = stencil.face_means(jnp.asarray(rng.uniform(1, 9, points)), boundaries, "harmonic")
        spacing = tuple(0.1 * (1 + a) for a in range(len(shape)))
        shift = jnp.asarray(rng.uniform(0, 3, shape))
        dense = jax.vmap(
            lambda e: (
                stencil.apply_diffusion(e.reshape(shape), faces, spacing, boundaries) + shift * e.reshape(shape)
            ).ravel()
        )(jnp.eye(int(np.prod(shape))))
        yield stencil_matrix.from_faces(faces, spacing, boundaries, shift), np.asarray(dense)


@pytest.mark.quick("ring and wall", "interval")
def test_matrix_of_faces(system):
    matrix, dense = system
    np.testing.assert_allclose(matrix.dense(), dense, rtol=1e-13, atol=1e-12 * abs(dense).max())
    np.testing.assert_allclose(matrix.row_sums().ravel(), abs(dense).sum(1), rtol=1e-12)


@pytest.mark.quick("ring and wall", "interval")
def test_coarse_matrix_is_the_galerkin_product_and_the_transfers_are_adjoint(system):
    matrix, _ = system
    axes = tuple(range(len(matrix.shape)))
    padded = multigrid.padded(matrix, axes)
    transfer = jax.jit(lambda m: grid_transfer.interpolation(m, axes))(padded)
    basis = np.eye(int(np.prod(transfer.coarse))).reshape(-1, *transfer.coarse)
    p = np.asarray(jax.vmap(transfer)(jnp.asarray(basis))).reshape(len(basis), -1).T
    unit = np.eye(padded.diagonal.size).reshape(-1, *padded.shape)
    restricted = np.asarray(jax.vmap(transfer.transpose)(jnp.asarray(unit))).reshape(len(unit), -1).T
    np.testing.assert_allclose(restricted, p.T, atol=1e-15)
    coarse = jax.jit(grid_transfer.galerkin)(padded, transfer).dense()
    expected = p.T @ np.asarray(padded.dense()) @ p
    np.testing.assert_allclose(coarse, expected, atol=1e-12 * abs(expected).max())


def test_interpolation_is_exact_for_constants_without_walls_and_for_layers():
    """Rows that sum to zero interpolate constants; across a jump along x the flux, not the value, is what is continuous."""
    a = np.where(np.arange(9)[:, None] < 4, 1.0, 100.0) * np.ones((9, 7))
    boundaries = ("neumann", "neumann")
    faces = stencil.face_means(jnp.asarray(a, jnp.float32), boundaries, "harmonic")
    matrix = stencil_matrix.from_faces(faces, (0.1, 0.1), boundaries, jnp.float32(0))
    transfer = grid_transfer.interpolation(matrix, (0, 1))
    np.testing.assert_allclose(transfer(jnp.ones((4, 3))), np.ones((9, 7)), rtol=1e-6)
    profile = np.concatenate([[0], np.cumsum(1 / np.asarray(faces[0][:, 0]))])
    layered = transfer(jnp.asarray(profile[1::2, None] * np.ones((1, 3)), jnp.float32))
    np.testing.assert_allclose(layered[1:-1, 3], profile[1:-1], rtol=1e-5)


def test_generalised_inverse_of_singular_matrices():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(12, 9))
    a = factor @ factor.T
    with jax.enable_x64(True):
        g = np.asarray(multigrid.generalised_inverse(jnp.asarray(a)))
        regular = np.asarray(multigrid.generalised_inverse(jnp.asarray(a + np.eye(12))))
    np.testing.assert_allclose(a @ g @ a, a, atol=1e-9)
    np.testing.assert_allclose(g, g.T, atol=1e-10)
    np.testing.assert_allclose(regular, np.linalg.inv(a + np.eye(12)), atol=1e-10)
