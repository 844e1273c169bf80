"""Calibration of surrogates whose truth is one more draw, or is not."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.surrogates.evaluation.forecast import SampleForecast

N, POINTS = 120, 12


class Draws(sx.AbstractGenerative):
    """u = a + `width` times standard normal errors; without `uses`, a draw from the prior of variance 2."""

    task: sx.Task
    width: float = eqx.field(static=True)
    uses: bool = eqx.field(static=True, default=True)
    capabilities: ClassVar[sx.Capabilities] = sx.Capabilities(has_samples=True, savable=False)

    def __call__(self, fields, at=None):
        return {"u": fields["a"]}

    def samples(self, fields, n, *, key, at=None):
        a = jnp.asarray(fields["a"], jnp.float32)
        width, about = (self.width, a) if self.uses else (2**0.5, 0 * a)
        return {"u": about + width * jax.random.normal(key, (n, *a.shape))}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(N, POINTS))
    return sx.from_arrays(
        {"a": a}, {"u": a + rng.normal(size=(N, POINTS))}, grid=sx.Grid.unit_interval(POINTS, "cells")
    )


@pytest.fixture(scope="module")
def task(data):
    return sx.Task.fit(data, "a", "u")


def test_a_calibrated_surrogate_is_on_the_diagonal(data, task, key):
    found = sx.calibration(Draws(task, 1.0), data, n=29, key=key)
    levels = found.levels
    # Five standard errors of 150 fields of 12 points each, 150 fields, 150 fields.
    assert (abs(found.pointwise[:, 0] - levels) < 5 * np.sqrt(levels * (1 - levels) / (N * POINTS))).all()
    assert (abs(found.simultaneous[:, 0] - levels) < 5 * np.sqrt(levels * (1 - levels) / N)).all()
    assert (abs(found.tarp - levels) < 5 * np.sqrt(levels * (1 - levels) / N)).all()
    assert abs(found.spread_skill[0] - 1) < 5 / np.sqrt(2 * N * POINTS)
    assert min(p[0] for p in found.p_values.values()) > 1e-4
    assert abs(found.crps[0] - 1 / np.sqrt(np.pi)) < 0.05
    assert found.coverage(0.9) == pytest.approx(found.pointwise[17, 0])
    assert "| u |" in str(found) and len(found.plot().axes) == 4


@pytest.mark.nightly
def test_overconfidence_and_ignorance_are_noticed(data, task, key):
    narrow = sx.calibration(Draws(task, 0.5), data, n=29, key=key)
    # P(|z| < 1.645/2) of the truth at the end of a band half as wide.
    assert abs(narrow.coverage(0.9) - 0.589) < 0.06 and narrow.coverage(0.9, simultaneous=True) < 0.2
    assert abs(narrow.spread_skill[0] - 0.5) < 0.05 and max(abs(narrow.tarp - narrow.levels)) > 0.1
    assert narrow.p_values["rms"][0] < 1e-6
    prior = sx.calibration(Draws(task, 1.0, False), data, n=29, key=key)
    assert abs(prior.coverage(0.9) - 0.9) < 0.05 and abs(prior.spread_skill[0] - 1) < 0.1


@pytest.mark.nightly
def test_the_band_of_draws_holds_the_next_draw_for_any_number_of_them(key):
    """The level of the narrowest band is uniform: by 2000 repetitions with ten draws of ten correlated points."""
    factor = jnp.asarray(np.linalg.cholesky(0.8 * np.ones((10, 10)) + 0.2 * np.eye(10)), jnp.float32)

    @jax.jit
    @jax.vmap
    def level(key):
        z = (jax.random.normal(key, (11, 10)) @ factor.T)[..., None]
        return SampleForecast(z[:10].mean(0), z[:10]).deviation(z[10], jnp.ones(10))[0]

    found = np.asarray(level(jax.random.split(key, 2000)))
    ranks = np.bincount(np.round(found * 11 - 0.5).astype(int), minlength=11)
    assert (abs(ranks - 2000 / 11) < 5 * np.sqrt(2000 / 11)).all(), ranks


def test_wrong_uses_say_what_is_wrong(data, task, key):
    with pytest.raises(TypeError, match="draws no samples"):
        sx.calibration(sx.MeanField(task), data, key=key)
    with pytest.raises(ValueError, match="below 1"):
        sx.calibration(Draws(task, 1.0), data, key=key, levels=(1.5,))
    with pytest.raises(ValueError, match="two samples"):
        sx.calibration(Draws(task, 1.0), data[:1], key=key)
    found = sx.calibration(Draws(task, 1.0), data[:3], n=4, key=key)
    with pytest.raises(KeyError, match="channels are"):
        found.coverage(0.9, "v")
