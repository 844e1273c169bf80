"""Semi-Lagrangian and MacCormack advection: orders, exact shifts, bounds, obstacles, derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels.advection import maccormack, semi_lagrangian

SCHEMES = pytest.mark.parametrize("scheme", [semi_lagrangian, maccormack])


@functools.partial(jax.jit, static_argnames=("scheme", "spacing", "periodic"))
def advance(scheme, q, velocity, dt, spacing, periodic, steps):
    return jax.lax.fori_loop(0, steps, lambda _, q: scheme(q, velocity, dt, spacing, periodic), q)


@pytest.mark.parametrize("scheme, order", [(semi_lagrangian, 1), (maccormack, 2)])
def test_order_in_a_rotation(x64, scheme, order):
    """A bump turned by 90° with |v| dt of 0.7 and 2.3 cells at the walls."""

    def error(n, cells):
        h = 1 / n
        x, y = np.meshgrid(*2 * [(np.arange(n) + 0.5) * h], indexing="ij")
        steps = int(np.ceil(0.25 * np.pi / (cells * h)))
        bump = lambda cx, cy: np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 0.08**2))  # noqa: E731
        velocity = (jnp.asarray(2 * np.pi * (0.5 - y)), jnp.asarray(2 * np.pi * (x - 0.5)))
        start = jnp.asarray(bump(0.5, 0.75))
        q = advance(scheme, start, velocity, 0.25 / steps, (h, h), (False, False), steps)
        assert abs(float(q.sum() / start.sum()) - 1) < 2e-3 and q.max() < start.max() and q.min() >= 0
        return np.sqrt(((q - bump(0.25, 0.5)) ** 2).sum() / (start**2).sum())

    for cells in (0.7, 2.3):
        coarse, fine = error(64, cells), error(128, cells)
        assert order - 0.25 < np.log2(coarse / fine) < order + 0.1, (coarse, fine)
    assert fine < (0.05, 0.006)[order - 1]


@SCHEMES
def test_shifts_by_whole_cells_are_exact(scheme):
    """Around a periodic axis, and along another with its last value carried in; float32 far from the origin."""
    q = np.random.default_rng(0).normal(size=(900, 5)).astype(np.float32)
    velocity = (jnp.full(q.shape, 3.0), jnp.full(q.shape, -2.0))
    moved = jax.jit(scheme, static_argnums=(3, 4))(jnp.asarray(q), velocity, 1.0, (1.0, 1.0), (True, False))
    # The correction is exact where particles come from inside and stay there, the step itself everywhere.
    columns = slice(2, 3) if scheme is maccormack else slice(0, 5)
    np.testing.assert_array_equal(moved[:, columns], np.roll(q, 3, 0)[:, [2, 3, 4, 4, 4]][:, columns])


@SCHEMES
def test_no_new_extrema_and_constants_beside_obstacles(scheme):
    rng = np.random.default_rng(1)
    q, *velocity = (jnp.asarray(v, jnp.float32) for v in rng.normal(size=(4, 6, 5, 4)))
    weights = jnp.asarray(rng.random(q.shape) < 0.6, jnp.float32)
    step = jax.jit(lambda q, v: scheme(q, v, 2.5, (0.5, 1.0, 1.0), (False, True, False), weights))
    known = np.asarray(weights) > 0
    poisoned = jnp.where(weights > 0, q, 100.0)  # what lies inside is never seen outside
    moved = np.asarray(step(poisoned, tuple(velocity)))[known]
    assert moved.min() >= q[known].min() - 1e-6 and moved.max() <= q[known].max() + 1e-6
    constant = step(jnp.where(weights > 0, 0.3, 100.0), tuple(velocity))
    np.testing.assert_allclose(constant[known], 0.3, rtol=1e-6)
    batch = jax.vmap(step)(jnp.stack([q, poisoned]), tuple(jnp.stack([v, v]) for v in velocity))
    np.testing.assert_allclose(batch[1][known], moved, rtol=1e-5, atol=1e-6)


@SCHEMES
def test_a_particle_from_nowhere_keeps_its_value(scheme):
    weights = jnp.array([1.0, 0.0, 0.0, 0.0, 1.0])
    step = jax.jit(lambda q: scheme(q, (jnp.full(5, 2.0),), 1.0, (1.0,), (False,), weights))
    moved = step(jnp.arange(1.0, 6.0))
    assert moved[4] == 5 and moved[0] == 1


@SCHEMES
def test_derivatives(x64, scheme):
    """With respect to the field, the velocity and the step, against differences."""
    rng = np.random.default_rng(2)
    arguments = (rng.random((5, 6)), rng.normal(size=(2, 5, 6)), 0.7)
    directions = (rng.normal(size=(5, 6)), rng.normal(size=(2, 5, 6)), 1.0)
    cosines = jnp.asarray(rng.normal(size=(5, 6)))
    value = jax.jit(lambda q, v, dt: (cosines * scheme(q, tuple(v), dt, (1.0, 0.8), (False, True))).sum())
    gradient = jax.jit(jax.grad(value, argnums=(0, 1, 2)))(*arguments)
    for i, direction in enumerate(directions):
        ends = [value(*(a + (i == j) * s * 1e-6 * directions[j] for j, a in enumerate(arguments))) for s in (1, -1)]
        np.testing.assert_allclose((gradient[i] * direction).sum(), (ends[0] - ends[1]) / 2e-6, rtol=1e-6)


def test_at_the_edge_of_its_bounds_the_corrected_value_is_differentiated():
    """Zero field at rest: a perturbation is carried, not halved by the clamp."""
    tangent = jnp.asarray(np.random.default_rng(3).normal(size=(4, 4)))
    velocity = (jnp.zeros((4, 4)),) * 2
    step = lambda q: maccormack(q, velocity, 0.1, (1.0, 1.0), (False, False))  # noqa: E731
    moved = jax.jit(lambda t: jax.jvp(step, (jnp.zeros((4, 4)),), (t,))[1])(tangent)
    np.testing.assert_array_equal(moved, tangent)
