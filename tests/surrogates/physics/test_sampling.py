"""Samplers of collocation points: statistics of their populations in closed form, and the published updates in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.core.domains import Axis
from surrogax.surrogates.physics.sampling import Population, Sampler

BOX = sx.Box(x=(0, 1), y=(-1, 3))
TIMED = sx.Box((Axis("x", 0.0, 1.0, "neumann"), Axis("t", 1.0, 3.0, None)))


@pytest.mark.parametrize("kind", ["uniform", "fixed", "r3", "rad", "rar", "causal"])
def test_points_stay_in_the_box_and_keep_their_number(kind, key):
    makers = {
        "uniform": sx.UniformSampler(40), "fixed": sx.FixedPoints(40), "r3": sx.R3(40), "rad": sx.RAD(40),
        "rar": sx.RAR(40, moved=5), "causal": sx.CausalR3(40),
    }  # fmt: skip
    sampler, box = makers[kind], TIMED if kind == "causal" else BOX
    lower, upper = jnp.asarray(box.lower), jnp.asarray(box.lower) + jnp.asarray(box.extent)
    assert isinstance(sampler, Sampler)
    first = sampler.init(key, box)
    pool = lower + jax.random.uniform(key, (max(sampler.pool, 8), 2)) * (upper - lower)
    later = jax.jit(lambda p: sampler.update(jax.random.key(7), p, p.points[:, 0] ** 2, pool, pool[:, 0] ** 2, box))(
        first
    )
    assert later.points.shape == (40, 2) and later.factors.shape == (40,)
    assert (later.points >= lower).all() and (later.points <= upper).all()
    stays = bool((later.points == first.points).all(-1).any())
    assert stays == sampler.keeps, "a point that stays keeps its place, which weights of points rely on"


def test_r3_gathers_where_the_residual_is_as_predicted():
    """Of a residual that is 1 on a share p of the box and 0 elsewhere all points there are retained, so that after k updates a
    share 1 − (1 − p)^(k + 1) of them lies there."""
    n, p, sampler = 4000, 0.05, sx.R3(4000)

    def step(population, key):
        inside = (population.points[:, 0] < p).astype(float)
        moved = sampler.update(key, population, inside, None, None, BOX)
        return moved, (moved.points[:, 0] < p).mean()

    keys = jax.random.split(jax.random.key(3), 20)
    _, share = jax.lax.scan(step, sampler.init(jax.random.key(4), BOX), keys)
    expected = 1 - (1 - p) ** np.arange(2, 22)
    deviation = np.sqrt(expected * (1 - expected) / n)
    np.testing.assert_array_less(np.abs(np.asarray(share) - expected), 6 * deviation)


def test_causal_r3_is_the_published_update(key):
    """Gate, retained points and front over 30 updates against the formulas of the paper in NumPy, with the same new points."""
    sampler = sx.CausalR3(200, steepness=5.0, rate=0.05, tolerance=20.0)
    residual = lambda z, np: 0.3 * np.abs(np.sin(7 * z[:, 0]) * z[:, 1])  # noqa: E731
    population, update = sampler.init(key, TIMED), jax.jit(lambda *a: sampler.update(*a, None, None, TIMED))
    points, front = np.asarray(population.points, np.float64), -0.5
    for k in jax.random.split(key, 30):
        gate = 0.5 * (1 - np.tanh(5 * ((points[:, 1] - 1) / 2 - front)))
        np.testing.assert_allclose(population.factors, gate, rtol=2e-4, atol=2e-6)
        fitness = gate * residual(points, np)
        new = update(k, population, residual(population.points, jnp))
        fresh = np.asarray(jax.random.uniform(k, (200, 2)) * jnp.array([1.0, 2.0]) + jnp.array([0.0, 1.0]))
        unsure = np.abs(fitness - fitness.mean()) < 1e-4 * fitness.mean()
        expected = np.where((fitness > fitness.mean())[:, None], points, fresh)
        np.testing.assert_allclose(np.asarray(new.points)[~unsure], expected[~unsure], rtol=1e-6)
        front += 0.05 * min(np.exp(-20 * (fitness**2).mean()), 0.1)
        np.testing.assert_allclose(new.memory, front, rtol=1e-5, atol=1e-6)
        population, points = new, np.asarray(new.points, np.float64)
    assert -0.5 < front < -0.3


def test_the_gate_waits_for_the_residual_and_needs_time(key):
    sampler = sx.CausalR3(50, tolerance=20.0)
    start = sampler.init(key, TIMED)
    opened = Population(start.points, jnp.ones(50), jnp.asarray(0.5))
    small, large = (sampler.update(key, opened, jnp.full(50, r), None, None, TIMED).memory for r in (1e-3, 3.0))
    np.testing.assert_allclose(small - 0.5, 1e-4, rtol=1e-2)
    assert float(large) - 0.5 < 1e-7
    with pytest.raises(ValueError, match="CausalR3 follows time"):
        sampler.init(key, BOX)


def test_rad_draws_without_repetition_and_more_often_where_the_residual_is_large(key):
    sampler = sx.RAD(500, c=0.0, ratio=4)
    pool = jax.random.uniform(key, (sampler.pool, 2))
    before = Population.of(pool[:500])
    there = jnp.where(pool[:, 0] > 0.9, 1.0, 0.0)
    found = sampler.update(key, before, jnp.ones(500), pool, there, BOX).points
    hits = int((found[:, 0] > 0.9).sum())
    assert hits == int((pool[:, 0] > 0.9).sum()), "the others have no chance before these are used up"
    assert len(np.unique(np.asarray(found), axis=0)) == 500
    even = sampler.update(key, before, jnp.ones(500), pool, jnp.ones(2000), BOX).points
    assert 0.05 < float((even[:, 0] > 0.9).mean()) < 0.16


def test_rar_replaces_the_smallest_by_the_largest(key):
    points = jnp.stack([jnp.arange(6.0), jnp.zeros(6)], 1)
    pool = jnp.stack([jnp.arange(12.0), jnp.ones(12)], 1)
    found = sx.RAR(6, moved=2).update(key, Population.of(points), points[:, 0], pool, pool[:, 0], BOX).points
    np.testing.assert_array_equal(found[2:], points[2:])
    np.testing.assert_array_equal(np.sort(found[:2, 0]), [10, 11])
