"""Bases, regressions and baselines on point clouds and meshes that all samples share."""

import numpy as np
import pytest

import surrogax as sx

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(0, 1, (40, 2))
P = RNG.uniform(0.5, 1.5, 50)


def fields(points):
    """A curve of the parameter times a shape, and another one."""
    x, y = points.T
    return np.sin(2 * P)[:, None] * np.sin(3 * x) + (P**2)[:, None] * np.cos(2 * y)


def data(place, points=POINTS, inputs=None):
    return sx.from_arrays(inputs or {}, {"u": fields(points)}, parameters={"p": P}, points=place)


WEIGHTS = RNG.uniform(0.2, 2, 40)
CLOUD = sx.PointCloud(POINTS, WEIGHTS)
MESH = sx.Mesh.from_cells(
    np.array([[0.0, 0.0], [1, 0], [1, 1], [0, 1], [0.4, 0.6]]), np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])
)


@pytest.mark.parametrize("place", [CLOUD, pytest.param(MESH, marks=pytest.mark.nightly)], ids=["cloud", "mesh"])
@pytest.mark.parametrize(
    "make", [lambda t: sx.PODRegression(t, rank=4), lambda t: sx.LocalPOD(t, clusters=2, rank=2)], ids=["POD", "local"]
)
@pytest.mark.quick("POD-cloud")
def test_fields_on_shared_points_are_predicted(place, make, tmp_path):
    everything = data(place, np.asarray(place.points))
    train, test = everything.select(slice(0, 35)), everything.select(slice(35, 50))
    train = train.select(np.argsort(train["p"]))
    task = sx.Task.fit(train, "p", "u")
    fitted = sx.fit(make(task), train)
    with pytest.warns(UserWarning) if test["p"].max() > train["p"].max() * 1.05 else np.errstate():
        predicted = fitted.predict(test)["u"]
    np.testing.assert_allclose(predicted, test["u"], atol=0.05)
    assert fitted.best.predict_std(test)["u"].shape == predicted.shape
    fitted.save(tmp_path / "model")
    np.testing.assert_array_equal(sx.load(tmp_path / "model").predict(test)["u"], predicted)
    sx.check_surrogate(fitted.best, test)
    assert not fitted.capabilities.resolution_free


@pytest.mark.nightly
def test_modes_are_orthonormal_in_the_weights_of_the_cloud_and_padding_does_not_count():
    """The same cloud padded by points whose values are rubbish gives the same prediction."""
    task = sx.Task.fit(data(CLOUD), "p", "u")
    plain = sx.fit(sx.PODRegression(task, rank=2), data(CLOUD)).best
    modes = np.asarray(plain.modes.value, np.float64)
    np.testing.assert_allclose(modes.T @ (WEIGHTS[:, None] * modes), np.eye(2), atol=1e-5)
    more = np.concatenate([POINTS, np.zeros((3, 2))])
    padded = sx.PointCloud(more, np.append(WEIGHTS, np.zeros(3)), np.arange(43) < 40)
    u = np.concatenate([fields(POINTS), 1e3 * RNG.normal(size=(50, 3))], 1)
    rubbish = sx.from_arrays({}, {"u": u}, parameters={"p": P}, points=padded)
    other = sx.fit(sx.PODRegression(sx.Task.fit(rubbish, "p", "u"), rank=2), rubbish)
    np.testing.assert_allclose(other.predict(rubbish)["u"][:, :40], plain.predict(data(CLOUD))["u"], atol=1e-4)


def test_input_fields_on_the_cloud():
    a = RNG.normal(size=(50, 2)) @ np.stack([np.sin(3 * POINTS[:, 0]), POINTS[:, 1]])
    ds = sx.from_arrays({"a": a}, {"u": 3 * a + 1}, points=CLOUD)
    fitted = sx.fit(sx.PODRegression(sx.Task.fit(ds, "a", "u"), rank=2, regressor="linear"), ds)
    np.testing.assert_allclose(fitted.predict(ds)["u"], 3 * a + 1, atol=1e-4)


def test_the_mean_field_of_a_cloud():
    ds = data(CLOUD)
    mean = sx.MeanField(sx.Task.fit(ds, "p", "u"))
    np.testing.assert_allclose(mean.predict(ds)["u"], np.tile(ds["u"].mean(0), (50, 1)), rtol=1e-5)
    sx.check_surrogate(mean, ds)


@pytest.mark.nightly
def test_other_points_are_refused():
    ds = data(CLOUD)
    task = sx.Task.fit(ds, "p", "u")
    moved = data(sx.PointCloud(POINTS + 0.1, WEIGHTS))
    for surrogate in (sx.fit(sx.PODRegression(task, rank=2), ds), sx.MeanField(task)):
        with pytest.raises(ValueError, match="the points of the data are not those of the training data"):
            surrogate.predict(moved)
        with pytest.raises(ValueError, match=r"leave `at` out|at the points of the data only"):
            surrogate.predict(ds, at=sx.PointCloud(POINTS[:5]))
    own = sx.PointCloud(np.stack([POINTS + 0.01 * i for i in range(50)]), np.tile(WEIGHTS, (50, 1)))
    differ = data(own)
    apart = sx.Task.fit(differ, "p", "u")
    assert apart.means == {}
    with pytest.raises(ValueError, match="PODRegression: sample 1 has other points than sample 0"):
        sx.fit(sx.PODRegression(apart, rank=2), differ)
    with pytest.raises(ValueError, match="share their points"):
        sx.MeanField(apart)
