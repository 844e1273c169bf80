"""LocalPOD on a transport problem, where a global basis of the same rank cannot follow."""

import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.surrogates.reduced.local_pod import LocalPOD


@pytest.fixture(scope="module")
def gaussians():
    """u = exp(−(x − c)²/2w²) with centre and width as parameters."""
    rng = np.random.default_rng(0)
    grid = sx.Grid.unit(33, 1)
    c, w = rng.uniform(0.1, 0.9, 320), rng.uniform(0.06, 0.1, 320)
    u = np.exp(-((grid.points[:, 0] - c[:, None]) ** 2) / (2 * w[:, None] ** 2))
    data = sx.from_arrays(targets={"u": np.float32(u)}, parameters={"c": np.float32(c), "w": np.float32(w)}, grid=grid)
    train, val, test = data.split(train=160, val=80, test=80)
    return train, val, test, sx.Task.fit(train, ("c", "w"), "u")


@pytest.fixture(scope="module")
def fitted(gaussians):
    train, val, _, task = gaussians
    return sx.fit(LocalPOD(task, clusters=4, rank=4), train, val=val).best


def error(surrogate, data) -> float:
    difference, u = surrogate.predict(data)["u"] - data["u"], data["u"]
    return float(np.mean(np.linalg.norm(difference, axis=1) / np.linalg.norm(u, axis=1)))


@pytest.mark.nightly
def test_local_bases_beat_a_global_one_of_the_same_rank_where_things_move(gaussians, fitted):
    train, val, test, task = gaussians
    whole = sx.fit(sx.PODRegression(task, rank=4, regressor="rbf"), train, val=val).best
    assert error(fitted, test) < 0.25 * error(whole, test)
    # The global basis, not its regression, is to blame.
    assert whole.errors.projection > 5 * whole.errors.regression
    hard = sx.fit(LocalPOD(task, clusters=4, rank=4, top=1, regressor="rbf", classifier="nearest"), train, val=val).best
    assert error(hard, test) < 0.6 * error(whole, test)
    shares = np.asarray(hard.shares(jnp.float32(hard.reduction.all(test)[0])))
    assert sorted(shares) == [0, 0, 0, 1]
    assert hard.variances.value is None and not hard.capabilities.has_std


@pytest.mark.nightly
def test_it_keeps_the_contract(gaussians, fitted):
    assert fitted.capabilities.has_std and fitted.capabilities.resolution_free
    sx.check_surrogate(fitted, gaussians[2])


@pytest.mark.nightly
def test_errors_of_projection_classification_and_regression_are_told_apart(gaussians, fitted):
    val = gaussians[1]
    errors = fitted.errors
    u, mean, weights = val["u"].astype(float), fitted.task.means["u"], val.grid.weights
    norm = lambda f: np.sqrt((f**2 * weights).sum())  # noqa: E731
    np.testing.assert_allclose(errors.total, norm(fitted.predict(val)["u"] - u) / norm(u - mean), rtol=1e-3)
    modes = np.asarray(fitted.modes.value, np.float64)
    scaled = u / np.asarray(fitted.task.normalizers["u"].std)
    residuals = [scaled - (scaled * weights) @ basis @ basis.T for basis in modes]
    min_over_bases = np.min([(r**2 @ weights) for r in residuals], axis=0)
    best = np.sqrt(min_over_bases.sum()) / norm((u - mean) / np.asarray(fitted.task.normalizers["u"].std))
    np.testing.assert_allclose(errors.projection, best, rtol=1e-3)
    assert errors.classification < 1.3 * errors.projection and errors.regression < 0.3 * errors.projection
    assert abs(errors.total - errors.classification) <= errors.regression * (1 + 1e-6)


def test_the_standard_deviation_covers_unseen_data(gaussians, fitted):
    test = gaussians[2]
    miss, std = np.abs(fitted.predict(test)["u"] - test["u"]), fitted.predict_std(test)["u"]
    assert 0.88 < (miss < 1.96 * std).mean() <= 1
    # It knows where it errs.
    assert np.corrcoef(np.log(miss.mean(1)), np.log(std.mean(1)))[0, 1] > 0.3


def test_one_cluster_and_wrong_use(gaussians):
    train, _, test, task = gaussians
    one = sx.fit(LocalPOD(task, clusters=1, rank=8, top=1, regressor="linear", classifier="logistic"), train).best
    assert one.errors is None and np.isfinite(one.predict(test)["u"]).all()
    for make, message in (
        (lambda: LocalPOD(task, clusters=2, top=3), "top=3; expected 1 to clusters=2"),
        (lambda: LocalPOD(task, regressor="forest"), "unknown regressor 'forest'"),
        (lambda: LocalPOD(sx.Task.fit(train, (), "u")), "LocalPOD needs inputs"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.nightly
def test_large_offsets_of_parameters_and_fields_do_not_matter(gaussians):
    """A date for the centre, and a pressure about a large mean: errors over the spread stay."""
    train, _, test, task = gaussians
    options = dict(clusters=2, rank=4, regressor="rbf", classifier="nearest")
    plain = sx.fit(LocalPOD(task, **options), train)

    def moved(data):
        return sx.from_arrays(
            targets={"u": 101325 + 0.01 * data["u"].astype(np.float64)},
            parameters={"c": 7.3e5 + data["c"].astype(np.float64), "w": data["w"]},
            grid=data.grid,
        )

    far = sx.fit(LocalPOD(sx.Task.fit(moved(train), ("c", "w"), "u"), **options), moved(train))
    expected = moved(test)["u"]
    relative = np.linalg.norm(far.predict(moved(test))["u"] - expected) / np.linalg.norm(expected - expected.mean(0))
    u = test["u"]
    assert relative < 2 * np.linalg.norm(plain.predict(test)["u"] - u) / np.linalg.norm(u - u.mean(0)) + 1e-3


def test_arguments_without_meaning_are_refused(gaussians):
    task = gaussians[3]
    for options, message in (
        ({"rank": 0}, r"LocalPOD\(rank=0\): expected 1 or more"),
        ({"clustering": "spectral"}, "unknown clustering 'spectral'"),
        ({"classifier": "tree"}, "unknown classifier 'tree'"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            LocalPOD(task, **options)
    for options, message in (
        ({"input_rank": -1}, r"PODRegression\(input_rank=-1\): expected 1 or more"),
        ({"energy": 2.0}, "energy=2.0; expected a fraction"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            sx.PODRegression(task, **options)
