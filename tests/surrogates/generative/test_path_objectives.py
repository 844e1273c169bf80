"""Flows and bridges that `fit` trains, on Gaussians."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.solvers import diffusion
from surrogax.surrogates import generative

MEAN, STD = np.array([1.0, -0.5]), np.array([0.8, 0.3])
DATA = MEAN + STD * np.random.default_rng(0).standard_normal((2000, 2))
FLOW = diffusion.FlowMatching()


def trained(steps, objective, key, lr=3e-3):
    field = generative.VectorField(2, 32, 2, key=key)
    found = sx.fit(field, objective=objective, optimizer=optax.adam(lr), steps=steps, key=key, progress=False)
    return found.last


@pytest.mark.nightly
def test_a_flow_is_trained_by_fit_and_sampled(key):
    """A short training already has the mean; the saved options raise when they mean nothing."""
    field = trained(300, generative.FlowObjective(DATA), key)
    network = diffusion.FlowPrediction(field, FLOW)
    x = np.asarray(diffusion.sample(network, diffusion.DDIM(), schedule=FLOW, times=20, shape=(2,), n=1000, key=key))
    assert abs(x.mean(0) - MEAN).max() < 0.15 and abs(x.std(0) / STD - 1).max() < 0.35
    with pytest.raises(ValueError, match=r"FlowObjective\(noise=…\): expected"):
        generative.FlowObjective(DATA, noise=DATA[:5])


def exact_velocity(x, t, condition):
    variance = (1 - t) ** 2 * STD**2 + t**2
    offset = x - (1 - t) * MEAN
    return t / variance * offset - MEAN - (1 - t) * STD**2 / variance * offset


@pytest.mark.nightly
def test_windows_are_the_teachers_flow_and_their_chords_make_a_student_exact(key, x64):
    """Piecewise rectified flow of a Gaussian: in every window the ends of paths are affine in their starts, so that the affine
    student of the chords needs one Euler step per window."""
    edges = [1.0, 0.6, 0.3, 0.0]
    teacher = diffusion.FlowPrediction(exact_velocity, FLOW)
    starts, ends, times = generative.windows(
        teacher, diffusion.UniPC(3), schedule=FLOW, edges=np.array(edges), samples=DATA[:50], evaluations=24, key=key
    )
    assert starts.shape == (150, 2) and set(np.asarray(times[:, 0])) == set(edges[:-1])

    def end(x, a, b):
        deviation = [np.sqrt((1 - t) ** 2 * STD**2 + t**2) for t in (a, b)]
        return (1 - b) * MEAN + deviation[1] / deviation[0] * (x - (1 - a) * MEAN)

    for a, b in itertools.pairwise(edges):
        rows = np.asarray(times[:, 0]) == a
        np.testing.assert_allclose(ends[rows], end(np.asarray(starts)[rows], a, b), atol=2e-3)

    def student(x, t, condition):
        """The chord through x at time t of its window."""
        a, b = next((a, b) for a, b in itertools.pairwise(edges) if b < t <= a)
        return (x - end(x, a, b)) / (a - b)

    objective = generative.WindowObjective(starts, ends, times, batch=64)
    for a, _ in itertools.pairwise(edges):
        rows = np.asarray(times[:, 0]) == a
        chords = (starts - ends)[rows] / (times[:, :1] - times[:, 1:])[rows]
        np.testing.assert_allclose(student(starts[rows], a, None), chords, atol=1e-2)
    points = objective.draw(None, None, key)
    loss, _ = objective.value(lambda x, t, c: jnp.zeros(2), points)
    chords = np.asarray((starts - ends) / (times[:, :1] - times[:, 1:]))[np.asarray(points[0])]
    np.testing.assert_allclose(loss, (chords**2).mean(), rtol=1e-10)
    noise = jax.random.normal(key, (20, 2))
    x = noise
    for a, b in itertools.pairwise(edges):
        x = x - (a - b) * jax.vmap(lambda x, a=a: student(x, a, None))(x)
    np.testing.assert_allclose(x, MEAN + STD * np.asarray(noise), rtol=1e-10)


def test_reflow_pairs_have_straight_paths(key, x64):
    """The loss of the exact velocity of straight pairs is zero, that of independent pairs is not."""
    noise = np.random.default_rng(1).standard_normal((500, 2))

    def straight(x, t, condition):
        """Of the pairs (ε, m + std ε), in closed form."""
        eps = (x - (1 - t) * MEAN) / ((1 - t) * STD + t)
        return eps - (MEAN + STD * eps)

    def loss(objective):
        return float(objective.value(straight, objective.draw(None, None, key))[0])

    assert loss(generative.FlowObjective(MEAN + STD * noise, noise)) < 1e-8
    assert loss(generative.FlowObjective(DATA)) > 0.3


@pytest.mark.nightly
def test_an_interpolant_has_its_least_loss_at_the_exact_velocity(key, x64):
    """v + d exceeds the exact velocity of independent ends by |d|²/2 per entry, for the same draws up to their noise."""
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((40_000, 2)), 3 + rng.standard_normal((40_000, 2))
    objective = generative.InterpolantObjective(a, b, diffusion.Linear(noise=0.0), batch=40_000)

    def velocity(x, t, condition):
        return 3 + (2 * t - 1) / ((1 - t) ** 2 + t**2) * (x - 3 * t)

    points = objective.draw(None, None, key)
    least, other = (float(objective.value(lambda x, t, c, d=d: velocity(x, t, c) + d, points)[0]) for d in (0.0, 0.4))
    assert abs(other - least - 0.16) < 0.03


@pytest.mark.nightly
def test_a_bridge_is_trained_by_fit(key):
    """Between two Gaussians, to the covariance of the closed form."""
    rng, epsilon = np.random.default_rng(3), 0.5
    x0, x1 = rng.standard_normal((4000, 2)), MEAN + STD * rng.standard_normal((4000, 2))
    model = generative.TrainableBridge(diffusion.LightBridge(2, 1, epsilon, key=key))
    found = sx.fit(model, starts=x0, ends=x1, optimizer=optax.adam(2e-2), steps=1500, key=key, progress=False).last
    scale = (-epsilon + np.sqrt(epsilon**2 + 4 * STD**2)) / 2
    np.testing.assert_allclose(jnp.exp(found.bridge.log_scales[0]), scale, rtol=0.1)
    np.testing.assert_allclose(found.bridge.centres[0], MEAN, atol=0.1)


def test_a_bridge_is_a_model_of_fit(key):
    x = np.random.default_rng(3).standard_normal((100, 2))
    model = generative.TrainableBridge(diffusion.LightBridge(2, 2, 0.5, key=key))
    found = sx.fit(model, starts=x, ends=x + 1, optimizer=optax.adam(1e-2), steps=5, key=key, progress=False).last
    assert found.bridge.centres.shape == (2, 2) and not np.allclose(found.bridge.centres, model.bridge.centres)
    assert model.renewed(key).bridge.centres.shape == (2, 2)
    with pytest.raises(ValueError, match=r"expected samples \(n, d\) and \(m, d\)"):
        generative.BridgeObjective(x, x[:, :1])


def test_shapes_that_would_broadcast_are_refused(key):
    rows, keys = jnp.arange(4), jax.random.split(key, 4)
    with pytest.raises(ValueError, match=r"the model has the shape \(1,\) for a sample of shape \(2,\)"):
        generative.FlowObjective(DATA, batch=4).losses(lambda x, t, c: x[:1], rows, keys)
    bridge = generative.TrainableBridge(diffusion.LightBridge(1, 3, key=key))
    with pytest.raises(ValueError, match="the samples have 2 entries, the bridge 1"):
        generative.BridgeObjective(DATA, DATA, batch=4).losses(bridge, rows, keys)
    with pytest.raises(ValueError, match="two or more times"):
        generative.windows(lambda x, s, c: x, diffusion.DDIM(), schedule=FLOW, edges=[1.0], samples=DATA[:3], key=key)
