"""Inverse problems: a coefficient and a field are found from noisy values at points."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.solvers.pde import Free, Sides


def heat(nu=0.5):
    """u_t = ν u_xx with the solution e^{−ν π² t} sin πx."""
    return sx.Problem(
        "u", sx.Box(x=(0, 1)), time=(0, 1), inputs={"nu": nu}, residual=lambda u, p: u.t - p.nu * u.xx,
        initial=lambda x: jnp.sin(jnp.pi * x),
    )  # fmt: skip


def measured(nu, noise=0.0, n=12, missing=0):
    rng = np.random.default_rng(0)
    x, t = rng.uniform(0, 1, (n, 1)), np.linspace(0, 1, 5)
    u = np.exp(-nu * np.pi**2 * t)[:, None] * np.sin(np.pi * x[:, 0]) + noise * rng.normal(size=(5, n))
    u[:, :missing] = np.nan
    return sx.from_arrays({}, {"u": u[None]}, points=x, times=t)


def test_a_coefficient_from_values_at_points(key):
    model = sx.PINN(heat(), width=8, depth=1, learn={"nu": 0.5}, key=key)
    assert float(model.learned["nu"]) == 0.5
    found = sx.fit(
        model, observations=measured(0.13, missing=3), sampler=sx.UniformSampler(150), steps=40, check_every=40,
        optimizer=sx.LevenbergMarquardt(), progress=False,
    )  # fmt: skip
    np.testing.assert_allclose(found.best.learned["nu"], 0.13, rtol=1e-4)


@pytest.mark.nightly
def test_a_coefficient_from_noisy_values_within_its_uncertainty(key):
    noise = 0.02
    data = measured(0.13, noise, n=40)
    model = sx.PINN(heat(), width=8, depth=1, learn={"nu": 0.5}, key=key)
    found = sx.fit(
        model, observations=data, sampler=sx.UniformSampler(200), optimizer=sx.LevenbergMarquardt(), steps=60,
        check_every=60, progress=False, observation_weight=0.1,
    )  # fmt: skip
    # The standard deviation of ν by least squares on the exact solution, from ∂u/∂ν.
    x, t = np.asarray(data.domain.sites(data[0]).points)[:, 0], np.asarray(data.times)[:, None]
    slope = -(np.pi**2) * t * np.exp(-0.13 * np.pi**2 * t) * np.sin(np.pi * x)
    deviation = noise / np.sqrt((slope**2).sum())
    assert abs(float(found.best.learned["nu"]) - 0.13) < 4 * deviation


@pytest.mark.nightly
def test_a_field_is_one_more_unknown(key):
    """−(a u′)′ = f with u = sin πx and a = 1 + x/2, from values of u and one value of a."""
    a, u = (lambda x: 1 + x / 2), (lambda x: jnp.sin(jnp.pi * x))
    flux = lambda x: a(x) * jax.grad(u)(x)  # noqa: E731
    problem = sx.Problem(
        ("u", "a"), sx.Box(x=(0, 1)), boundary={"u": 0.0, "a": Sides(x=(1.0, Free()))},
        residual=lambda w, p: w.a.x * w.u.x + w.a * w.u.xx - jax.grad(flux)(w.u.at["x"]),
    )  # fmt: skip
    x = np.linspace(0, 1, 21)[:, None]
    data = sx.from_arrays({}, {"u": np.sin(np.pi * x[None, :, 0])}, points=x)
    found = sx.fit(
        sx.PINN(problem, width=8, depth=1, key=key), observations=data, sampler=sx.UniformSampler(100),
        optimizer=sx.LevenbergMarquardt(), steps=60, check_every=60, progress=False,
    )  # fmt: skip
    grid = sx.Grid.unit_interval(11)
    np.testing.assert_allclose(found.predict({}, at=grid)["a"][0], 1 + grid.coordinates[0] / 2, rtol=1e-3)


def test_observations_that_do_not_fit_are_named(key):
    model = sx.PINN(heat(), width=4, depth=1, learn={"nu": 0.5}, key=key)
    train = lambda **options: sx.fit(model, optimizer=optax.adam(1e-3), steps=1, progress=False, **options)  # noqa: E731
    with pytest.raises(ValueError, match=r"to learn \['nu'\] give observations"):
        train()
    with pytest.raises(TypeError, match="observations"):
        train(observations=3.0)
    x = np.linspace(0, 1, 4)[:, None]
    with pytest.raises(ValueError, match="the dataset has no times"):
        train(observations=sx.from_arrays({}, {"u": np.ones((1, 4))}, points=x))
    with pytest.raises(ValueError, match=r"none of the unknowns \('u',\) is a field"):
        train(observations=sx.from_arrays({}, {"v": np.ones((1, 2, 4))}, points=x, times=[0.0, 1.0]))
    with pytest.raises(ValueError, match="4 of 8 points lie outside"):
        train(observations=sx.from_arrays({}, {"u": np.ones((1, 2, 4))}, points=x, times=[0.0, 2.0]))
    with pytest.raises(ValueError, match=r"\['mu'\] are no constants"):
        sx.PINN(heat(), learn={"mu": 1.0}, key=key)
