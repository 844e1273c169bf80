"""Gaussians that are added where the residual is large, and those that are taken away."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx

PEAK = sx.Problem(
    "u", sx.Box(x=(-1, 3), y=(0, 1, "periodic")), boundary=0.0,
    residual=lambda u, p: u.xx + u.yy - 100 * jnp.exp(-100 * (u.at["x"] - 2) ** 2),
)  # fmt: skip


def predicted(model):
    return np.asarray(model.predict({})["u"])


def test_new_gaussians_change_nothing_and_lie_where_the_residual_is_large(key):
    pig = sx.PIG(PEAK, gaussians=8, features=2, key=key)
    more = sx.with_gaussians(pig, 28, key=key)
    assert more.parameters == sx.PIG(PEAK, gaussians=28, features=2, key=key).parameters
    assert more.renewed(key).function.centres.shape == (2, 28, 2)
    np.testing.assert_allclose(predicted(more), predicted(pig), rtol=1e-6, atol=1e-6)
    centres = np.asarray(more.function.centres)
    assert centres.shape == (2, 28, 2) and len(np.unique(centres[:, 8:].reshape(-1, 2), axis=0)) > 20
    x = 2 * centres[:, 8:, 0] - 1  # [0, 2] is the box
    assert (abs(x - 2) < 0.4).mean() > 0.8, "a tenth of the box"


def test_after_training_in_float64_they_are_trained_on(key):
    problem = sx.Problem("u", sx.Box(x=(0, 1)), boundary=0.0, residual=lambda u, p: u.xx + 2)
    settings = dict(sampler=sx.UniformSampler(50), optimizer=sx.LevenbergMarquardt(accelerated=False), steps=2)
    trained = sx.fit(sx.PIG(problem, gaussians=3, features=1, key=key), **settings, progress=False)
    more = sx.with_gaussians(trained, 6, key=key)
    assert more.function.centres.dtype == np.float64
    np.testing.assert_allclose(predicted(more), predicted(trained), rtol=1e-12, atol=1e-12)
    again = sx.fit(more, **settings, progress=False)
    assert np.isfinite(again.history.loss[-1][0]) and abs(np.asarray(again.last.function.amplitudes)[:, 3:]).min() > 0


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_new_widths_do_not_depend_on_signs(key, covariance):
    """The sign of a width, and a rotation of all, mean nothing."""
    square = PEAK.replace(box=sx.Box(x=(-1, 3), y=(0, 1)))
    pig = sx.PIG(square, gaussians=6, features=1, spread=0.1, covariance=covariance, key=key)
    flip = jnp.where(jnp.arange(6) % 2 == 0, 1.0, -1.0)[None, :, None]
    turn = flip[..., None] * jnp.array([[0.6, -0.8], [0.8, 0.6]])[:, :]
    shapes = pig.function.shapes * flip if covariance == "diagonal" else pig.function.shapes @ turn
    flipped = sx.with_gaussians(eqx.tree_at(lambda m: m.function.shapes, pig, shapes), 9, key=key)
    expected = np.asarray(sx.with_gaussians(pig, 9, key=key).function.shapes)[:, 6:]
    np.testing.assert_allclose(np.asarray(flipped.function.shapes)[:, 6:], expected, rtol=1e-5)


@pytest.mark.parametrize("size", [1e15, 1e-15])
def test_units_of_the_equation_do_not_matter(key, size):
    scaled = sx.Problem(
        "u",
        PEAK.box,
        boundary=0.0,
        residual=lambda u, p: size * (u.xx + u.yy - 100 * jnp.exp(-100 * (u.at["x"] - 2) ** 2)),
    )
    centres = sx.with_gaussians(sx.PIG(scaled, gaussians=2, features=1, key=key), 22, key=key).function.centres[:, 2:]
    assert (abs(2 * centres[..., 0] - 3) < 0.4).mean() > 0.8


def test_those_that_stay_are_the_largest(key):
    pig = sx.PIG(PEAK, gaussians=6, features=1, key=key)
    weights = jnp.array([[1.0, 1e-9, -2.0, 1e-9, 0.5, 0.0]])
    pig = eqx.tree_at(lambda m: m.function.amplitudes, pig, weights)
    fewer = sx.with_gaussians(pig, 3, key=key)
    np.testing.assert_allclose(sorted(np.asarray(fewer.function.amplitudes)[0]), [-2.0, 0.5, 1.0])
    np.testing.assert_allclose(predicted(fewer), predicted(pig), atol=1e-6)
    assert sx.with_gaussians(pig, 6, key=key).parameters == pig.parameters


def test_turned_gaussians_numbers_and_other_models(key):
    box, law = sx.Box(x=(0, 1), y=(0, 1)), {"k": sx.random.Uniform(1, 2)}
    problem = sx.Problem("u", box, inputs=law, residual=lambda u, p: u.xx + u.yy - p.k, boundary=0.0)
    pig = sx.PIG(problem, gaussians=4, features=1, covariance="full", key=key)
    more = sx.with_gaussians(pig, 7, key=key)
    given = {"k": np.array([1.2, 1.9])}
    np.testing.assert_allclose(more.predict(given)["u"], pig.predict(given)["u"], atol=1e-6)
    assert more.function.shapes.shape == (1, 7, 3, 3)
    np.testing.assert_allclose(
        sx.with_gaussians(more, 4, key=key).predict(given)["u"], pig.predict(given)["u"], atol=1e-6
    )
    with pytest.raises(TypeError, match="with_gaussians: MLP has no Gaussians"):
        sx.with_gaussians(sx.PINN(PEAK, width=4, depth=1, key=key), 3, key=key)
    with pytest.raises(ValueError, match="gaussians=0"):
        sx.with_gaussians(pig, 0, key=key)
    with pytest.raises(TypeError, match="outside of jit, vmap and grad"):
        jax.vmap(lambda k: sx.with_gaussians(pig, 9, key=k).function.centres)(jax.random.split(key, 2))
    broken = jax.tree.map(lambda x: x * jnp.nan if jnp.issubdtype(x.dtype, jnp.floating) else x, pig)
    with pytest.raises(ValueError, match="is not finite"):
        sx.with_gaussians(broken, 9, key=key)
