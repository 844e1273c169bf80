import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels import sparse_rows as ell

RNG = np.random.default_rng(0)


def arrow(n):
    """One full row and column beside the diagonal: lengths 2, …, 2, n."""
    matrix = np.diag(RNG.normal(size=n))
    matrix[n // 2] = RNG.normal(size=n)
    matrix[:, 0] = RNG.normal(size=n)
    return matrix


MATRICES = {
    "one point": np.array([[3.0]]),
    "full": RNG.normal(size=(9, 9)),
    "wider than one row": RNG.normal(size=(70, 70)),
    "empty rows": np.diag([1.0, 0, 2.0, 0]) + np.eye(4, k=2)[::-1] * 0,
    "arrow": arrow(60),
    "random": RNG.normal(size=(20, 20)) * (RNG.random((20, 20)) < 0.2),
}


@pytest.mark.parametrize("name", MATRICES)
def test_product_and_its_transpose_against_the_dense_matrix(name):
    matrix = MATRICES[name]
    n = len(matrix)
    rows, cols = np.nonzero(matrix)
    columns, owners, slots = ell.row_layout(rows, cols, n)
    assert columns.shape[0] <= 32 and len(np.unique(slots)) == len(rows)
    values = np.zeros(columns.shape)
    values.ravel()[slots] = matrix[rows, cols]
    x, w = RNG.normal(size=(2, n))

    @jax.jit
    def both(x, w, values):
        y, transpose = jax.vjp(lambda x: ell.apply_rows(x, values, jnp.asarray(columns), jnp.asarray(owners)), x)
        return y, transpose(w)[0]

    with jax.enable_x64(True):
        y, z = both(*map(jnp.asarray, (x, w, values)))
    np.testing.assert_allclose(y, matrix @ x, atol=1e-12)
    np.testing.assert_allclose(z, matrix.T @ w, atol=1e-12)


def test_uneven_rows_are_split_and_even_ones_are_not():
    n = 60
    rows, cols = np.nonzero(MATRICES["arrow"])
    columns, owners, _ = ell.row_layout(rows, cols, n)
    assert columns.shape[0] < 32 and 0 < owners.size < n, "one long row should not widen all"
    assert columns.size < n * n / 4
    tridiagonal = np.nonzero(np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1))
    columns, owners, _ = ell.row_layout(*tridiagonal, n)
    assert columns.shape == (3, n) and owners.size == 0


def test_exports_for_every_platform_without_callbacks_or_doubles():
    columns, owners, _ = ell.row_layout(*np.nonzero(MATRICES["arrow"]), 60)
    function = jax.jit(lambda x, v: ell.apply_rows(x, v, jnp.asarray(columns), jnp.asarray(owners)))
    arguments = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((60,), columns.shape)]
    text = jax.export.export(function, platforms=["cpu", "cuda", "tpu"])(*arguments).mlir_module()
    assert "custom_call" not in text and "f64" not in text
