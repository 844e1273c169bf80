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


def velocity(x, t, condition=None, back=False):
    """Of the bridge from N(0, 1) to N(MEAN, STD²), or back: (E[far end | x] − x)/(1 − t)."""
    near, far = ((MEAN, STD**2), (0.0, 1.0)) if back else ((0.0, 1.0), (MEAN, STD**2))
    variance = (1 - t) ** 2 * near[1] + t**2 * far[1] + t * (1 - t) * (2 * COVARIANCE + EPSILON)
    gain = ((1 - t) * COVARIANCE + t * far[1]) / variance
    return (far[0] + gain * (x - (1 - t) * near[0] - t * far[0]) - x) / (1 - t)


def test_paths_of_the_exact_velocity_are_the_bridge(key):
    paths = np.asarray(bridge_paths(velocity, STARTS, epsilon=EPSILON, steps=100, key=key))[..., 0]
    assert paths.shape == (4000, 101)
    ends = paths[:, -1]
    assert abs(ends.mean() - MEAN) < 0.03 and abs(ends.std() - STD) < 0.03
    assert abs(np.cov(paths[:, 0], ends)[0, 1] - COVARIANCE) < 0.03
    few = bridge_paths(velocity, STARTS[:3], epsilon=EPSILON, steps=100, key=key)
    np.testing.assert_allclose(few[..., 0], paths[:3], atol=1e-5)  # path i does not depend on the others


def moved_back(a, b):
    """The exact velocity back, plus a + b x."""
    return lambda x, t, condition: velocity(x, t, back=True) + a + b * x


def test_the_exact_velocity_back_minimises_the_loss_on_paths_of_the_exact_velocity(key):
    objective = BridgeHalfObjective(STARTS, velocity, epsilon=EPSILON, steps=100)
    rows, keys = jnp.arange(2000), jax.random.split(key, 2000)

    def slope(a, b):
        loss = lambda p: objective.losses(moved_back(*p), rows, keys).mean()  # noqa: E731
        return np.array(jax.jit(jax.grad(loss))((jnp.asarray(a), jnp.asarray(b))))

    there = abs(slope(0.0, 0.0))
    for away in ((0.3, 0.0), (0.0, 0.3)):
        assert there.max() < 0.15 * abs(slope(*away)).max()


@pytest.mark.nightly
def test_halves_trained_in_turn_find_the_bridge(key):
    """The covariance between the ends tells a bridge from any other transport."""
    there, back = (generative.VectorField(1, 32, 2, key=k) for k in jax.random.split(key))
    options = {"epsilon": EPSILON, "steps": 20}
    forward = None

    def half(model, objective):
        rate = optax.cosine_decay_schedule(3e-3, 500)
        return sx.fit(model, objective=objective, optimizer=optax.adam(rate), steps=500, progress=False, key=key).last

    found = []
    for _ in range(3):
        back = half(back, BridgeHalfObjective(STARTS, forward, batch=64, **options))
        forward = there = half(there, BridgeHalfObjective(ENDS, back, batch=64, **options))
        ends = np.asarray(bridge_paths(there, STARTS, key=key, **options))[:, -1, 0]
        found.append((ends.mean(), ends.std(), np.cov(STARTS[:, 0], ends)[0, 1]))
    mean, std, covariance = found[-1]
    assert abs(mean - MEAN) < 0.1 and abs(std - STD) < 0.1 and abs(covariance - COVARIANCE) < 0.06, found


def test_refusals(key):
    with pytest.raises(ValueError, match="epsilon"):
        BridgeHalfObjective(STARTS, epsilon=0.0)
    with pytest.raises(ValueError, match=r"BridgeHalfObjective\(starts=…\): expected"):
        BridgeHalfObjective(STARTS[:, 0], epsilon=0.1)
    with pytest.raises(ValueError, match=r"has the shape \(\) for a sample of shape \(1,\)"):
        bridge_paths(lambda x, t, c: x.sum(), STARTS[:3], epsilon=0.1, key=key)
