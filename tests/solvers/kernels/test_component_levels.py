"""Levels of connected components: the graph of an operator, couplings and transfers against dense algebra, thin walls, rings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels import stencil
from surrogax.solvers.kernels.component_levels import coarsened
from surrogax.solvers.linear import Diffusion
from surrogax.surrogates.learned_solvers.stencil_geometry import level_of


def operator(shape, boundaries, solid=None, condition="neumann"):
    plain = Diffusion(stencil.unit_faces(shape, boundaries), shape, (1.0,) * len(shape), boundaries)
    return plain if solid is None else plain.with_obstacle(jnp.asarray(solid), condition)


def matrix_of(level):
    """A of a level, with a Laplacian of its couplings."""
    return np.asarray(level.dense(level.shift + level.open()))


CASES = [
    ((5, 6), ("dirichlet", "neumann")),
    ((5, 4), ("periodic", "dirichlet")),
    ((2, 7), ("periodic", "periodic")),
    ((3, 4, 5), ("periodic", "neumann", "periodic")),
]


@pytest.mark.nightly
@pytest.mark.parametrize("shape, boundaries", CASES)
def test_the_finest_level_is_the_operator(shape, boundaries, key):
    solid = np.asarray(jax.random.bernoulli(key, 0.2, shape))
    made = operator(shape, boundaries, solid)
    level, alone = level_of(made)
    full = np.asarray(made.as_matrix())
    np.testing.assert_allclose(matrix_of(level), full, atol=1e-6)
    lonely = (np.abs(full - np.diag(np.diag(full))).sum(1) == 0) & (np.diag(full) > 0)
    np.testing.assert_allclose(np.asarray(alone).ravel(), np.where(lonely, 1 / np.where(lonely, np.diag(full), 1), 0))


@pytest.mark.quick("shape1-boundaries1")
@pytest.mark.parametrize("shape, boundaries", CASES)
def test_coarse_couplings_are_half_of_galerkins(shape, boundaries, key):
    solid = np.asarray(jax.random.bernoulli(key, 0.25, shape))
    level, _ = level_of(operator(shape, boundaries, solid))
    coarse, transfer = jax.jit(lambda level: coarsened(level, range(len(shape)), 4))(level)
    eye = jnp.eye(coarse.shift.size).reshape(-1, *coarse.shift.shape)
    p = np.asarray(jax.vmap(transfer)(eye)).reshape(coarse.shift.size, -1).T
    assert set(np.unique(p)) <= {0, 1} and (p.sum(1) <= 1).all()
    r = jax.random.normal(key, level.shift.shape)
    np.testing.assert_allclose(p.T @ np.asarray(r).ravel(), np.asarray(transfer.transpose(r)).ravel(), atol=1e-5)
    zero = jnp.zeros_like(coarse.shift)
    galerkin = p.T @ -np.asarray(level.dense(jnp.zeros_like(level.shift))) @ p
    found = -np.asarray(coarse.dense(zero))
    np.fill_diagonal(galerkin, 0)
    for axis, n in enumerate(coarse.shape):  # a ring of one block has no couplings
        assert n > 1 or not np.asarray(coarse.couplings[axis]).any()
    np.testing.assert_allclose(found, galerkin / 2, atol=1e-5)
    np.testing.assert_allclose(np.asarray(coarse.size).ravel(), p.sum(0))


@pytest.mark.nightly
def test_points_on_two_sides_of_a_wall_have_slots_of_their_own():
    """A wall of one point through the middle of blocks of 4: no slot on any level holds points of both sides."""
    solid = np.zeros((8, 8), bool)
    solid[:, 5] = True
    level, _ = level_of(operator((8, 8), ("neumann", "neumann"), solid))
    side = jnp.broadcast_to(jnp.where(jnp.arange(8) < 5, 1.0, -1.0), (8, 8))[..., None] * jnp.asarray(~solid)[..., None]
    for _ in range(3):
        level, transfer = coarsened(level, (0, 1), 2)
        side = transfer.transpose(side)
        np.testing.assert_array_equal(np.abs(side), level.size)
    np.testing.assert_array_equal(level.size.ravel(), [40, 16])  # the larger first


@pytest.mark.nightly
def test_more_components_than_slots_share_the_last():
    solid = np.ones((4, 8), bool)
    solid[:, ::2] = False
    level, _ = level_of(operator((4, 8), ("neumann", "neumann"), solid))
    for _ in range(2):
        level, _ = coarsened(level, (0, 1), 1)
    np.testing.assert_array_equal(level.size.ravel(), [8, 8])


@pytest.mark.nightly
def test_axes_that_are_not_coarsened_add_their_couplings():
    level, _ = level_of(operator((4, 6), ("neumann", "neumann")))
    coarse, _ = coarsened(level, (1,), 2)
    assert coarse.shape == (4, 3)
    np.testing.assert_allclose(np.asarray(coarse.couplings[0])[:3, :, 0, 0], 2)
    np.testing.assert_allclose(np.asarray(coarse.couplings[1])[:, :2, 0, 0], 0.5)


@pytest.mark.nightly
def test_a_wall_u_0_stays_where_it_is():
    """In one dimension: a wall at distance 1 from the first point is at 3/4 of the doubled spacing from the first block."""
    level, _ = level_of(operator((8,), ("dirichlet",)))
    for exact in (4 / 3, 8 / 5):
        level, _ = coarsened(level, (0,), 1)
        assert float(level.shift[0, 0] / level.couplings[0][0, 0, 0]) == pytest.approx(exact, rel=1e-5)
