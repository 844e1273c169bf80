"""Gram matrices in chunks: the same numbers as one product, in the precision asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels import gram as module
from surrogax.solvers.kernels.gram import combine, cross_gram, gram


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Several chunks with a rest, and nested halves, at test size."""
    monkeypatch.setattr(module, "_CHUNK", {"cpu": 700})
    monkeypatch.setattr(module, "_SMALL", 2)


def random(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape))


@pytest.mark.parametrize("n, points", [(5, 300), (4, 128), (1, 3)])
def test_equals_the_plain_product(n, points):
    with jax.enable_x64(True):
        rows, weights, rotation = random(n, points), jnp.abs(random(points)), random(3, n)
        assert (module.chunks(n, points)[1] > 1) == (points == 300)
        np.testing.assert_allclose(gram(rows), rows @ rows.T, rtol=1e-12)
        np.testing.assert_allclose(gram(rows, weights), (rows * weights) @ rows.T, rtol=1e-12, atol=1e-12)
        rotated = rotation @ rows
        np.testing.assert_allclose(gram(rows, weights, rotation=rotation), (rotated * weights) @ rotated.T, atol=1e-11)
        duals = rows * weights
        np.testing.assert_allclose(
            gram(rows, duals=duals, rotation=rotation), (rotated * weights) @ rotated.T, atol=1e-11
        )
        np.testing.assert_allclose(combine(rotation, rows), rotated, atol=1e-12)
        square = random(n, n)
        np.testing.assert_allclose(combine(square, rows), square @ rows, atol=1e-12)
        np.testing.assert_allclose(cross_gram(rows, rotated, weights), duals @ rotated.T, atol=1e-11)


def test_float32_rows_are_accumulated_in_float64():
    rows = np.random.default_rng(0).standard_normal((4, 1000)).astype(np.float32)
    with jax.enable_x64(True):
        exact = rows.astype(np.float64) @ rows.astype(np.float64).T
        double = gram(jnp.asarray(rows), dtype=jnp.float64)
        assert double.dtype == jnp.float64
        np.testing.assert_allclose(double, exact, rtol=1e-13, atol=1e-13 * exact.max())
        assert np.abs(gram(jnp.asarray(rows)) - exact).max() > 1e-6  # what float32 alone would give


@pytest.mark.nightly
def test_jit_vmap_and_gradient():
    with jax.enable_x64(True):
        rows, weights = random(3, 4, 300), jnp.abs(random(300))
        batched = jax.jit(jax.vmap(lambda r: gram(r, weights)))(rows)
        np.testing.assert_allclose(batched, np.einsum("bip,bjp,p->bij", rows, rows, weights), atol=1e-11)
        direction = random(4, 300)[::-1]
        plain = jax.grad(lambda r: ((r * weights) @ r.T)[0, 2])(rows[0])
        ours = jax.grad(lambda r: gram(r, weights)[0, 2])(rows[0])
        np.testing.assert_allclose((ours * direction).sum(), (plain * direction).sum(), rtol=1e-10)
        np.testing.assert_allclose(ours, plain, atol=1e-11)
