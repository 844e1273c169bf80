"""The picture of a posterior: a row per component, truth and sensors beside it, refusals in one sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.surrogates.generative.posterior import Posterior

A = np.random.default_rng(0).normal(size=(6, 8, 7)).astype(np.float32)


def posterior(targets, grid, values):
    data = sx.from_arrays(targets=targets, grid=grid)
    prior = sx.Prior(sx.Task.fit(data, targets=tuple(targets)), lambda x, sigma, condition: 0 * x)
    return data, prior.posterior(sx.Observe("u", values=values, std=1.0), steps=2, n=3, key=jax.random.key(0))


def test_every_component_has_truth_mean_deviation_and_a_sample():
    grid = sx.Box.unit(2).grid((8, 7))
    data, post = posterior({"u": A, "v": np.stack([A, A], -1)}, grid, np.ones((8, 7)))
    assert post.vectors == ("v",)
    figure = post.plot(data[0], at=[[0.2, 0.3]])
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    parts = ("truth", "mean", "standard deviation", "one sample")
    assert titles == [f"{name}, {what}" for name in ("u", "v[0]", "v[1]") for what in parts]
    assert len([axes for axes in post.plot().axes if axes.get_title()]) == 9
    with pytest.raises(ValueError, match=r"truth\['v'\] is absent, the samples are \(8, 7, 2\)"):
        post.plot({"u": A[0]})
    for places in ([[0.2]], [0.2, 0.3], [[0.1, 0.2, 0.3]]):
        with pytest.raises(ValueError, match=r"at has shape \([13, ]+\)|at has shape \(2,\)"):
            post.plot(at=places)
    with pytest.raises(ValueError, match=r"plot: 1 of 2 points are outside of .*, the first is \[ ?20"):
        post.plot(at=[[0.2, 0.3], [20.0, 0.3]])
    with pytest.raises(ValueError, match="one sample has no standard deviation"):
        Posterior({"u": post.samples["u"][:1]}, None, grid).plot()


def test_in_time_the_last_instant_is_shown_and_nan_does_not_blank_the_pictures():
    grid = sx.Box.unit(2).grid((4, 5))
    samples = np.random.default_rng(0).normal(size=(3, 2, 4, 5))
    samples[:, :, 0, 0] = np.nan
    picture = Posterior({"u": jnp.asarray(samples)}, None, grid.over_time(2, 0.1)).plot(at=[[0.1, 0.9, 0.2]])
    mean = picture.axes[0]
    shown = np.ma.filled(mean.images[0].get_array(), np.nan)
    np.testing.assert_allclose(shown, samples[:, -1].mean(0).T, atol=1e-6)  # float32
    np.testing.assert_array_equal(mean.lines[0].get_xydata(), [[0.9, 0.2]])
    assert np.isfinite(mean.images[0].get_clim()).all()
    plane = Posterior({"u": jnp.asarray(samples[..., 0])}, None, sx.Grid.unit_interval(4).over_time(2, 1e-6)).plot()
    assert plane.axes[0].get_aspect() == "auto" and plane.axes[0].get_xlabel() == "t"


@pytest.mark.nightly
def test_on_a_line_all_is_in_one_panel():
    data, post = posterior({"u": A[:, :, 0]}, sx.Grid.unit_interval(8), np.ones(8))
    (axes,) = post.plot(data[0], at=[[0.25], [0.5]]).axes
    assert {line.get_label() for line in axes.lines} == {"mean", "one sample", "truth", "sensors"}
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), post.mean["u"])
