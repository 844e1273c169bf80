"""Singular triplets from Gram matrices and sketches: floors, orthogonality, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels.thin_svd import floor, gram_svd, randomized_svd, symmetric_eigen


def graded(n=40, points=400, digits=20, seed=0):
    """Rows with the singular values 10^(−digits · j / n)."""
    rng = np.random.default_rng(seed)
    u, _ = np.linalg.qr(rng.standard_normal((n, n)))
    v, _ = np.linalg.qr(rng.standard_normal((points, n)))
    sigma = 10.0 ** (-digits / n * np.arange(n))
    return jnp.asarray((u * sigma) @ v.T), sigma


def usable(values, sigma):
    """The smallest leading singular value that is right to 10 %."""
    wrong = np.flatnonzero(~(np.abs(np.asarray(values) / sigma - 1) < 0.1))
    return sigma[(wrong[0] if len(wrong) else len(sigma)) - 1]


@pytest.mark.parametrize(
    "dtype, products, lowest, highest",
    [("float64", 1, 5e-9, 5e-8), ("float64", 2, 1e-16, 1e-14), ("float32", 1, 5e-5, 2e-3), ("float32", 2, 1e-8, 3e-6)],
)
def test_floor_of_singular_values(dtype, products, lowest, highest):
    """One product loses what is √ε below the first, two resolve it to about ε."""
    with jax.enable_x64(True):
        rows, sigma = graded()
        svd = jax.jit(lambda r: gram_svd(r, rank=40, products=products))(jnp.asarray(rows, dtype))
        assert lowest < usable(svd.values, sigma) < highest
        kept = np.asarray(svd.values) > 0
        gram = np.asarray(svd.right @ svd.right.T)
        np.testing.assert_allclose(gram, np.diag(kept.astype(float)), atol=1e-13 if dtype == "float64" else 3e-6)
        assert floor(dtype, 40, products) < 10 * highest
        rebuilt = np.asarray(svd.left @ svd.right, np.float64)
        assert np.linalg.norm(rebuilt - rows) < 30 * floor(dtype, 40, products)


def test_weighted_product():
    with jax.enable_x64(True):
        rows, _ = graded(8, 60, 3)
        weights = jnp.asarray(np.random.default_rng(1).uniform(0.5, 2, 60))
        svd = jax.jit(lambda r: gram_svd(r, weights, rank=5))(rows)
        reference = np.linalg.svd(rows * np.sqrt(weights), full_matrices=False)
        np.testing.assert_allclose(svd.values, reference[1][:5], rtol=1e-9)
        np.testing.assert_allclose(
            np.abs((svd.right * weights) @ (reference[2][:5] / np.sqrt(weights)).T), np.eye(5), atol=1e-9
        )
        by_duals = jax.jit(lambda r: gram_svd(r, None, r * weights, rank=5))(rows)
        np.testing.assert_allclose(by_duals.left @ by_duals.right, svd.left @ svd.right, atol=1e-12)


@pytest.mark.nightly
def test_randomized_is_near_optimal():
    with jax.enable_x64(True):
        rows, sigma = graded(60, 300, 6)
        sketch = jax.jit(lambda r, key: randomized_svd(r, rank=10, key=key, oversampling=10))
        svd = sketch(rows, jax.random.key(0))
        np.testing.assert_allclose(svd.values, sigma[:10], rtol=1e-3)
        error = np.linalg.norm(rows - svd.left @ svd.right)
        best = np.sqrt((sigma[10:] ** 2).sum())
        assert best * (1 - 1e-9) < error < 1.01 * best
        np.testing.assert_allclose(svd.right @ svd.right.T, np.eye(10), atol=1e-13)


def test_derivative_of_the_projection_and_of_singular_values():
    """Against central differences, jit and vmap included; also with repeated and vanishing singular values."""
    with jax.enable_x64(True):
        rows, _ = graded(6, 30, 3)
        direction = jnp.asarray(np.random.default_rng(2).standard_normal((2, 6, 30)))
        probe = np.random.default_rng(3).standard_normal(30)

        @jax.jit
        def quantity(rows):
            svd = gram_svd(rows, rank=3)
            return (svd.values * jnp.arange(1, 4)).sum() + ((svd.right @ probe) ** 2).sum()

        slopes = jax.jit(jax.vmap(lambda d: jax.jvp(quantity, (rows,), (d,))[1]))(direction)
        h = 1e-6
        for d, slope in zip(direction, slopes, strict=True):
            np.testing.assert_allclose(slope, (quantity(rows + h * d) - quantity(rows - h * d)) / (2 * h), rtol=1e-5)
        gradient = jax.grad(quantity)(rows)
        np.testing.assert_allclose((gradient * direction[0]).sum(), slopes[0], rtol=1e-9)
        assert np.isfinite(jax.grad(quantity)(jnp.concatenate([rows, 0 * rows, rows]))).all()
        # Of equal singular values the space has a derivative, its vectors have none.
        equal, d = jnp.eye(3, 30), direction[0, :3]
        ours = jax.jvp(jax.jit(lambda r: ((gram_svd(r, rank=3).right @ probe) ** 2).sum()), (equal,), (d,))[1]
        exact = jax.jvp(lambda r: probe @ r.T @ jnp.linalg.solve(r @ r.T, r @ probe), (equal,), (d,))[1]
        np.testing.assert_allclose(ours, exact, rtol=1e-9)
        assert np.isfinite(jax.grad(lambda m: symmetric_eigen(m)[1].sum())(jnp.eye(4))).all()
