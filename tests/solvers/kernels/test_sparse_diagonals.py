import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels import sparse_diagonals as diagonals

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("offsets", [(0,), (-1, 0, 1), (2, 5), (-6, -3), (-6, 0, 1, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_product_and_transpose_against_the_dense_matrix(offsets, dtype):
    """Band entries outside the matrix are random too: they must not matter."""
    n, bands, x = 7, RNG.normal(size=(len(offsets), 7)).astype(dtype), RNG.normal(size=7).astype(dtype)
    matrix = np.zeros((n, n))
    for band, o in zip(bands, offsets, strict=True):
        for i in range(max(0, -o), min(n, n - o)):
            matrix[i, i + o] = band[i]

    @jax.jit
    def products(x, bands):
        transposed = diagonals.transpose_diagonals(bands, offsets)
        opposite = [-o for o in offsets]
        return diagonals.apply_diagonals(x, bands, offsets), diagonals.apply_diagonals(x, transposed, opposite)

    with jax.enable_x64(dtype is np.float64):
        y, z = products(jnp.asarray(x), jnp.asarray(bands))
    assert y.dtype == z.dtype == dtype
    atol = 10 * np.finfo(dtype).eps
    np.testing.assert_allclose(y, matrix @ x, atol=atol)
    np.testing.assert_allclose(z, matrix.T @ x, atol=atol)


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match="zip"):
        diagonals.apply_diagonals(jnp.ones(3), jnp.ones((2, 3)), (0,))


def test_exports_for_every_platform_without_callbacks_or_doubles():
    function = jax.jit(jax.grad(lambda b, x: (diagonals.apply_diagonals(x, b, (-1, 0, 2)) ** 2).sum()))
    arguments = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((3, 6), (6,))]
    text = jax.export.export(function, platforms=["cpu", "cuda", "tpu"])(*arguments).mlir_module()
    assert "custom_call" not in text and "f64" not in text
