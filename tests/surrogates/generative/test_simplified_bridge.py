"""Simplified diffusion Schrödinger bridges on Gaussians, whose bridge is known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.surrogates import generative
from surrogax.surrogates.generative import BridgeHalfObjective, bridge_paths

EPSILON, MEAN, STD = 0.5, 1.5, 0.6
COVARIANCE = (np.sqrt(4 * STD**2 + EPSILON**2) - EPSILON) / 2
STARTS = np.random.default_rng(0).standard_normal((4000, 1)).astype(np.float32)
ENDS = MEAN + STD * np.random.default_rng(1).standard_normal((4000, 1)).astype(np.float32)


def velocity(x, t, condition=None):
    """Of the bridge from N(0, 1) to N(MEAN, STD²): (E[x₁ | x] − x)/(1 − t)."""
    variance = (1 - t) ** 2 + t**2 * STD**2 + t * (1 - t) * (2 * COVARIANCE + EPSILON)
    gain = ((1 - t) * COVARIANCE + t * STD**2) / variance
    return (MEAN + gain * (x - t * MEAN) - x) / (1 - t)


def test_paths_of_the_exact_velocity_are_the_bridge(key):
    paths = np.asarray(bridge_paths(velocity, STARTS, epsilon=EPSILON, steps=100, key=key))[..., 0]
    assert paths.shape == (4000, 101)
    ends = paths[:, -1]
    assert abs(ends.mean() - MEAN) < 0.03 and abs(ends.std() - STD) < 0.03
    assert abs(np.cov(paths[:, 0], ends)[0, 1] - COVARIANCE) < 0.03
    few = bridge_paths(velocity, STARTS[:3], epsilon=EPSILON, steps=100, key=key)
    np.testing.assert_allclose(few[..., 0], paths[:3], atol=1e-5)  # path i does not depend on the others


def test_the_exact_velocity_minimises_the_loss_on_pairs_of_the_bridge(key):
    rng = np.random.default_rng(2)
    noise = np.sqrt(STD**2 - COVARIANCE**2) * rng.standard_normal(STARTS.shape)
    objective = BridgeHalfObjective(STARTS, MEAN + COVARIANCE * STARTS + noise, epsilon=EPSILON)
    rows, keys = jnp.arange(4000), jax.random.split(key, 4000)

    def slope(a, b):
        def loss(p):
            moved = lambda x, t, condition: velocity(x, t) + p[0] + p[1] * x  # noqa: E731
            return objective.losses(moved, rows, keys).mean()

        return np.array(jax.jit(jax.grad(loss))((jnp.asarray(a), jnp.asarray(b))))

    there = abs(slope(0.0, 0.0))
    for away in ((0.3, 0.0), (0.0, 0.3)):
        assert there.max() < 0.15 * abs(slope(*away)).max()


@pytest.mark.parametrize("first", ["independent", "Brownian"])
@pytest.mark.nightly
def test_halves_trained_in_turn_find_the_bridge(first, key):
    """The covariance between the ends tells a bridge from any other transport."""
    there, back = (generative.VectorField(1, 32, 2, key=k) for k in jax.random.split(key))
    x0, x1 = np.tile(STARTS, (4, 1)), np.tile(ENDS, (4, 1))

    def half(model, starts, ends):
        objective = BridgeHalfObjective(starts, ends, epsilon=EPSILON)
        adam = optax.adam(optax.cosine_decay_schedule(3e-3, 500))
        return sx.fit(model, objective=objective, optimizer=adam, steps=500, progress=False, key=key).last

    def ends_of(model, starts):
        return np.asarray(bridge_paths(model, starts, epsilon=EPSILON, key=key)[:, -1])

    if first == "independent":
        there = half(there, x0, np.random.default_rng(3).permutation(x1))
        reached = ends_of(there, x0)
        # Already the right ends, and a coupling that is not yet that of the bridge.
        assert abs(reached.mean() - MEAN) < 0.1 and abs(reached.std() - STD) < 0.1
    else:
        reached = x0 + np.sqrt(EPSILON) * np.random.default_rng(3).standard_normal(x0.shape)
    for _ in range(4):
        back = half(back, reached, x0)
        there = half(there, ends_of(back, x1), x1)
        reached = ends_of(there, x0)
    mean, std, covariance = reached.mean(), reached.std(), np.cov(x0[:, 0], reached[:, 0])[0, 1]
    assert abs(mean - MEAN) < 0.1 and abs(std - STD) < 0.1 and abs(covariance - COVARIANCE) < 0.06, (
        mean,
        std,
        covariance,
    )


def test_refusals(key):
    with pytest.raises(ValueError, match="epsilon"):
        BridgeHalfObjective(STARTS, ENDS, epsilon=0.0)
    with pytest.raises(ValueError, match=r"BridgeHalfObjective\(starts=…\): expected"):
        BridgeHalfObjective(STARTS[:, 0], ENDS[:, 0], epsilon=0.1)
    with pytest.raises(ValueError, match=r"BridgeHalfObjective\(ends=…\): expected"):
        BridgeHalfObjective(STARTS, ENDS[:10], epsilon=0.1)
    with pytest.raises(ValueError, match=r"BridgeHalfObjective\(ends=…\): not all values are finite"):
        BridgeHalfObjective(STARTS, ENDS * np.nan, epsilon=0.1)
    with pytest.raises(ValueError, match=r"has the shape \(\) for a sample of shape \(1,\)"):
        bridge_paths(lambda x, t, c: x.sum(), STARTS[:3], epsilon=0.1, key=key)
