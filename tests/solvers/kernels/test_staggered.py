"""Staggered gradient and divergence: adjoint to each other, and together the diffusion operator, obstacles included."""

import jax
import numpy as np
import pytest

from surrogax.solvers.kernels import staggered, stencil
from surrogax.solvers.linear import Diffusion

CASES = [
    ((7,), ("neumann",)),
    ((6, 5), ("neumann", "periodic")),
    ((4, 7), ("dirichlet", "neumann")),
    ((5, 4, 3), ("neumann", "dirichlet", "periodic")),
]


@pytest.mark.parametrize("shape, boundaries", CASES, ids=str)
def test_adjoint_and_product(shape, boundaries):
    """Σ g·∇p = −Σ p ∇·g, and −∇·(open ∇p) is the operator without and with an obstacle, in both precisions."""
    rng, spacing = np.random.default_rng(0), (0.3, 0.5, 0.7)[: len(shape)]
    solid = rng.random(shape) < 0.3

    @jax.jit
    def products(p, g):
        whole = Diffusion(stencil.unit_faces(shape, boundaries, p.dtype), shape, spacing, boundaries)
        slopes = staggered.gradient(p, spacing, boundaries)
        pairs = []
        for operator in (whole, whole.with_obstacle(solid, "neumann")):
            crossed = tuple(s * o for s, o in zip(slopes, operator.faces, strict=True))
            pairs.append((-staggered.divergence(crossed, spacing, boundaries), operator.mv(p)))
        return slopes, staggered.divergence(g, spacing, boundaries), pairs

    for dtype, tolerance in ((np.float64, 1e-13), (np.float32, 2e-6)):
        with jax.enable_x64(dtype is np.float64):
            p = rng.normal(size=shape).astype(dtype)
            g = tuple(rng.normal(size=a.shape).astype(dtype) for a in stencil.unit_faces(shape, boundaries))
            slopes, outflow, (whole, cut) = jax.tree.map(np.asarray, products(p, g))
        assert [s.shape for s in slopes] == [a.shape for a in g] and outflow.dtype == dtype
        terms = [(p * outflow).ravel(), *((a * b).ravel() for a, b in zip(g, slopes, strict=True))]
        assert abs(sum(t.sum() for t in terms)) < tolerance * sum(abs(t).sum() for t in terms)
        np.testing.assert_allclose(*whole, atol=tolerance * abs(whole[1]).max())
        np.testing.assert_allclose(cut[0][~solid], cut[1][~solid], atol=tolerance * abs(whole[1]).max())
        assert not cut[0][solid].any()


def test_means_keep_linear_fields_and_walls_round_trip():
    """(2x, −y) on the faces of 5 × 4 cells, walls included, has the values of the centres as means and divergence 1."""
    x, y = np.arange(6.0), np.arange(5.0)
    faces = (np.tile(2 * x[:, None], 4), np.tile(-y, (5, 1)))
    closed = ("dirichlet", "dirichlet")

    @jax.jit
    def means(faces):
        u, v = staggered.point_means(faces, closed)
        back = staggered.wall_means(u, 0, "neumann")
        walled = staggered.with_walls(staggered.without_walls(back, 0, "neumann"), 0, "neumann")
        wrapped = staggered.wall_means(u, 0, "periodic")
        return u, v, staggered.divergence(faces, (1.0, 1.0), closed), back, walled, wrapped

    u, v, outflow, back, walled, wrapped = map(np.asarray, means(faces))
    np.testing.assert_array_equal(u[:, 0], 2 * x[:-1] + 1)
    np.testing.assert_array_equal(v[0], -y[:-1] - 0.5)
    np.testing.assert_array_equal(outflow, 1)
    np.testing.assert_array_equal(back[:, 0], [1, *2 * x[1:-1], 9])  # the outer ones as the points beside them
    np.testing.assert_array_equal(walled[:, 0], [0, *2 * x[1:-1], 0])
    np.testing.assert_array_equal(wrapped[-1], 5)
