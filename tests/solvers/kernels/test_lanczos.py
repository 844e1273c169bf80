"""The Lanczos process and the eigenvalues of its tridiagonal matrix, against dense algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels.lanczos import extreme_eigenvalues, lanczos

N = 12
RNG = np.random.default_rng(0)
BASIS = np.linalg.qr(RNG.normal(size=(N, N)))[0]
MATRIX = BASIS * np.linspace(1, 9, N) @ BASIS.T
START = RNG.normal(size=N)


@pytest.mark.parametrize("keep", [False, True])
def test_the_tridiagonal_matrix_is_the_projection(x64, keep):
    run = jax.jit(lambda a, v: lanczos(lambda x: a @ x, v, 6, keep_vectors=keep))
    found = run(jnp.asarray(MATRIX), jnp.asarray(START))
    krylov = np.linalg.qr(np.stack([np.linalg.matrix_power(MATRIX, k) @ START for k in range(6)], 1))[0]
    projected = krylov.T @ MATRIX @ krylov
    np.testing.assert_allclose(found.diagonal, np.diag(projected), rtol=1e-8)
    np.testing.assert_allclose(found.beside, abs(np.diag(projected, 1)), rtol=1e-8)
    assert found.vectors.shape == (6 if keep else 0, N)
    if keep:
        np.testing.assert_allclose(abs(np.asarray(found.vectors) @ krylov), np.eye(6), atol=1e-8)


@pytest.mark.parametrize("keep", [False, True])
def test_an_exhausted_space_adds_nothing(keep):
    """Three eigenvalues: after three steps T holds a value inside the spectrum, uncoupled, and the vectors are zero."""
    matrix = jnp.asarray(np.diag(np.repeat([1.0, 2.0, 5.0], 4)), jnp.float32)
    start = jnp.asarray(START, jnp.float32)
    found = jax.jit(lambda v: lanczos(lambda x: matrix @ x, v, 7, keep_vectors=keep))(start)
    np.testing.assert_array_equal(found.beside[2:], 0)
    assert ((found.diagonal[3:] > 1) & (found.diagonal[3:] < 5)).all()
    np.testing.assert_allclose(extreme_eigenvalues(found.diagonal, found.beside), [1, 5], rtol=1e-5)
    if keep:
        np.testing.assert_array_equal(found.vectors[3:], 0)
        np.testing.assert_allclose(found.vectors[:3] @ found.vectors[:3].T, np.eye(3), atol=1e-5)


@pytest.mark.parametrize("size", [1e-25, 1.0, 1e25])
@pytest.mark.parametrize("m", [1, 2, 30])
def test_extreme_eigenvalues_of_any_size(size, m):
    diagonal, beside = RNG.normal(size=m), RNG.normal(size=m - 1)
    expected = np.linalg.eigvalsh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))[[0, -1]]
    found = jax.jit(extreme_eigenvalues)(*(jnp.asarray(size * x, jnp.float32) for x in (diagonal, beside)))
    np.testing.assert_allclose(np.asarray(found, float) / size, expected, atol=2e-6 * abs(expected).max())


def test_nan_is_seen_and_zero_is_zero():
    nan = jnp.full((4, 4), jnp.nan)
    found = lanczos(lambda x: nan @ x, jnp.ones(4), 3)
    assert np.isnan(extreme_eigenvalues(found.diagonal, found.beside)).all()
    np.testing.assert_array_equal(extreme_eigenvalues(jnp.zeros(3), jnp.zeros(2)), 0)
