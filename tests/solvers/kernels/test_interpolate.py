"""Multilinear interpolation at points agrees with that between grids, repeats and continues as it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels.interpolate import apply_along_axes, interpolate_at, linear_matrix

VALUES = np.random.default_rng(0).normal(size=(5, 6, 3)).astype(np.float32)


@pytest.mark.parametrize("periodic", [(False, True), (True, False)])
def test_points_of_a_grid_agree_with_one_matrix_per_axis(periodic):
    lines = [np.linspace(-0.7, n + 0.3, 9) for n in VALUES.shape[:2]]
    matrices = [
        linear_matrix(np.arange(n), x, n if wrap else None)
        for n, x, wrap in zip(VALUES.shape, lines, periodic, strict=False)
    ]
    points = np.stack(np.meshgrid(*lines, indexing="ij"), -1)
    expected = apply_along_axes(jnp.asarray(VALUES), matrices)
    np.testing.assert_allclose(
        interpolate_at(jnp.asarray(VALUES), jnp.asarray(points, jnp.float32), periodic), expected, atol=1e-5
    )


def test_values_at_grid_points_and_slopes_between_them():
    at = jax.jit(lambda x: interpolate_at(jnp.asarray(VALUES), x, (False, False)))
    np.testing.assert_array_equal(at(jnp.array([[4.0, 5.0], [2.0, 3.0]])), VALUES[[4, 2], [5, 3]])
    slope = jax.jacfwd(at)(jnp.array([1.5, 2.0]))[:, 0]
    np.testing.assert_allclose(slope, VALUES[2, 2] - VALUES[1, 2], rtol=1e-5)
    one = interpolate_at(jnp.ones((1, 2)), jnp.array([[-0.5], [3.0]]), (False,))
    np.testing.assert_array_equal(one, np.ones((2, 2)))
