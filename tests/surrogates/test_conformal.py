"""Conformal bands: the quantile, coverage in distribution, resolution, standard deviations, what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx

RNG = np.random.default_rng(0)
GRID = sx.Grid.unit(9, 1)
SHAPE = 0.2 + np.linspace(0, 1, 9)


class Twice(eqx.Module):
    factor: jax.Array

    def __call__(self, x):
        return self.factor * x


def drawn(n: int, unit: float = 1.0) -> sx.Dataset:
    """u = unit (2 a + noise), with noise that grows along x; v = −u."""
    a = RNG.normal(size=(n, 9))
    u = unit * (2 * a + SHAPE * RNG.standard_t(4, size=(n, 9)))
    return sx.from_arrays({"a": np.float32(a)}, {"u": np.float32(u), "v": np.float32(-u / unit)}, grid=GRID)


@pytest.fixture(scope="module")
def model():
    task = sx.Task.fit(drawn(200, 1e5), "a", ("u", "v"))
    return sx.wrap(Twice(jnp.ones(())), sx.Task.fit(drawn(200), "a", "u")), task


def test_the_radius_is_the_order_statistic_of_the_largest_errors(model):
    surrogate, calibration = model[0], drawn(49)
    band = sx.conformal(surrogate, calibration, level=0.9)
    scores = np.sort(np.abs(calibration["u"] - surrogate.predict(calibration)["u"]).max(1))
    sample = {"a": jnp.asarray(calibration["a"][0])}
    low, high = jax.jit(lambda s: band.interval(s, 0.9))(sample)
    np.testing.assert_allclose((high["u"] - low["u"]) / 2, scores[44], rtol=1e-4)  # the 45th of 49
    low, high = band.interval(sample, 0.5)
    np.testing.assert_allclose((high["u"] - low["u"]) / 2, scores[24], rtol=1e-4)
    lows, highs = band.predict_interval(calibration)
    np.testing.assert_allclose((highs["u"] - lows["u"])[3] / 2, scores[44], rtol=1e-4)
    assert band.coverage(calibration) == pytest.approx(45 / 49)


@pytest.mark.parametrize("simultaneous", [True, False])
def test_coverage_of_new_samples(model, simultaneous):
    """Calibration and test of 500: the share inside has the standard deviation √(2 · 0.09/500) = 0.019."""
    band = sx.conformal(model[0], drawn(500), level=0.9, simultaneous=simultaneous)
    assert 0.84 < band.coverage(drawn(500)) < 0.96
    low, high = band.predict_interval(drawn(2))
    width = (high["u"] - low["u"])[0]
    assert np.ptp(width) < 1e-5 * width[0] if simultaneous else width[-1] > 3 * width[0]
    sx.check_surrogate(band)


def test_all_targets_at_once_in_units_of_their_own(model):
    calibration, task = drawn(300, 1e5), model[1]
    band = sx.conformal(sx.MeanField(task), calibration, level=0.8)
    low, high = band.predict_interval(calibration)
    ratio = (high["u"] - low["u"]) / (high["v"] - low["v"])
    np.testing.assert_allclose(ratio, task.normalizers["u"].std[0] / task.normalizers["v"].std[0], rtol=1e-3)
    inside = [(low[n] <= calibration[n]) & (calibration[n] <= high[n]) for n in ("u", "v")]
    assert np.all(inside, 0).all(1).mean() == pytest.approx(band.coverage(calibration), abs=0.01)


def test_a_standard_deviation_shapes_the_band(model):
    members = tuple(sx.wrap(Twice(jnp.asarray(f)), model[0].task) for f in (0.9, 1.0, 1.1))
    band = sx.conformal(sx.Ensemble(members), drawn(200))
    sample = {"a": jnp.linspace(-1, 1, 9)}
    low, high = band.interval(sample, 0.9)
    width = high["u"] - low["u"]
    assert width[0] > 20 * width[4] > 0
    assert band.coverage(drawn(200)) > 0.8


@pytest.mark.nightly
def test_other_resolutions_and_files(key, tmp_path):
    data = sx.generate(
        sx.problem("poisson", f=sx.random.GaussianField(), box=sx.Box.unit(1)), 40, 33, key, cache=False, progress=False
    )
    coarse = data.subsample(space=2)
    task = sx.Task.fit(coarse, "f", "u")
    solver = sx.SolverSurrogate(sx.problem("poisson", f=sx.random.GaussianField(), box=sx.Box.unit(1)), 9, task=task)
    band = sx.conformal(solver, coarse)
    assert band.coverage(data) > 0.7
    pointwise = sx.conformal(sx.MeanField(task), coarse, simultaneous=False)
    with pytest.raises(ValueError, match="simultaneous band serves other resolutions"):
        pointwise.predict_interval(data)
    pointwise.save(tmp_path / "band.sgx")
    again = sx.load(tmp_path / "band.sgx")
    for one, other in zip(pointwise.predict_interval(coarse), again.predict_interval(coarse), strict=True):
        np.testing.assert_array_equal(one["u"], other["u"])


def test_too_few_samples_are_said(model):
    with pytest.raises(ValueError, match="from 8 calibration samples is infinite; 9 or more"):
        sx.conformal(model[0], drawn(8))
    band = sx.conformal(model[0], drawn(9))
    with pytest.raises(ValueError, match="19 or more"):
        band.coverage(drawn(3), level=0.95)
    with pytest.raises(ValueError, match=r"level=1\.5"):
        sx.conformal(model[0], drawn(9), level=1.5)


def test_tables_read_the_bands(model):
    """Coverage of points and of whole fields, and the mean width, as the band itself tells them; other metrics need a spread."""
    calibration, test = drawn(99), drawn(40)
    bands = {
        kind: sx.conformal(model[0], calibration, level=0.9, simultaneous=kind == "whole")
        for kind in ("whole", "point")
    }
    metrics = ("coverage_90", "simultaneous_90", "width_90", "crps")
    table = sx.evaluate(bands, test, metrics=metrics, timing=False)
    assert table.value("whole", metric="simultaneous_90") == pytest.approx(bands["whole"].coverage(test))
    weights = np.asarray(GRID.sites().weights)
    for name, band in bands.items():
        low, high = (end["u"] for end in band.predict_interval(test))
        inside = (low <= test["u"]) & (test["u"] <= high)
        assert table.value(name, metric="coverage_90") == pytest.approx(
            (inside @ weights).mean() / weights.sum(), abs=1e-5
        )
        assert table.value(name, metric="width_90") == pytest.approx(
            ((high - low) @ weights).mean() / weights.sum(), rel=1e-4
        )
    assert table.value("point", metric="width_90") < table.value("whole", metric="width_90")
    assert any("crps" in line for line in table.missing)
