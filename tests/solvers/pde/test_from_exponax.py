"""The adapter of exponax: its own trajectories, generated data, and refusals. Most of it runs where exponax is installed."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.datasets import generate
from surrogax.solvers.pde import from_exponax, problem

needs_exponax = pytest.mark.skipif(importlib.util.find_spec("exponax") is None, reason="exponax is not installed")


def test_without_exponax_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install 'exponax"):
        from_exponax(object())


@needs_exponax
def test_a_stepper_gives_its_own_trajectory(x64):
    import exponax

    stepper = exponax.stepper.KuramotoSivashinskyConservative(1, 22.0, 48, 0.05, order=4)
    declared, ours = from_exponax(stepper), problem("kuramoto_sivashinsky", dt=0.05)
    x = declared.grid.coordinates[0]
    u0 = np.cos(2 * np.pi * x / 22) + np.sin(4 * np.pi * x / 22)
    u = declared.solve({"u0": u0}, times=[0.0, 0.5, 2.0])["u"]
    states = exponax.rollout(stepper, 40, include_init=True)(jnp.asarray(u0)[None])[:, 0]
    np.testing.assert_allclose(u, states[np.array([0, 10, 40])], atol=1e-11)
    np.testing.assert_allclose(u, ours.solve({"u0": u0}, ours.box.grid(48), times=[0.0, 0.5, 2.0])["u"], atol=1e-5)
    after = declared.step({"u": u[1]}, {}, declared.grid, 1.5)["u"]
    np.testing.assert_allclose(after, u[2], atol=1e-11)


@needs_exponax
def test_several_channels_are_generated():
    import exponax

    stepper = exponax.stepper.reaction.GrayScott(2, 2.0, 24, 1.0)
    declared = from_exponax(exponax.RepeatedStepper(stepper, 2))
    data = generate(
        declared,
        2,
        declared.grid,
        jax.random.key(0),
        times=[0.0, 2.0, 4.0],
        cache=False,
        label_samples=0,
        progress=False,
    )
    assert data["u"].shape == data["v"].shape == (2, 3, 24, 24)
    np.testing.assert_allclose(data["v"][:, 0], data["v0"], atol=1e-5)


@needs_exponax
def test_refusals():
    import exponax

    stepper = exponax.stepper.Burgers(2, 1.0, 16, 0.01)
    with pytest.raises(TypeError, match="pass a stepper"):
        from_exponax("Burgers")
    with pytest.raises(ValueError, match="the stepper has 2 channels"):
        from_exponax(stepper, unknowns=("u",))
    with pytest.raises(ValueError, match=r"start has \['w0'\]"):
        from_exponax(stepper, {"w0": 1.0})
    declared = from_exponax(stepper)
    with pytest.raises(ValueError, match="multiples of the stepper's dt"):
        declared.solve({"u0": 0.0, "v0": 0.0}, times=[0.015])
