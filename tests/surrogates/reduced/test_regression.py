"""Regressors where the answer is known, and PODRegression on maps of known shape."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

import surrogax as sx
from surrogax.surrogates.reduced.regression.input_scaling import InputScaling
from surrogax.surrogates.reduced.regression.regressors import KINDS, fit_regressor, fit_with_left_out


def relative_error(u, v) -> float:
    u, v = (x.reshape(len(x), -1) for x in (u, v))
    return float(np.mean(np.linalg.norm(u - v, axis=1) / np.linalg.norm(v, axis=1)))


# Regressors -----------------------------------------------------------------------------------------------------------

Z = np.random.default_rng(0).uniform(-1, 1, (60, 2)).astype(np.float32).astype(np.float64)
TRAIN, TEST = Z[:40], Z[40:]


def bowl(z):
    return np.stack([z[:, 0] ** 2 + z[:, 1], z[:, 0] * z[:, 1] - 2], 1)


@pytest.mark.quick("rbf-0.05", "linear-1.0")
@pytest.mark.parametrize("kind, limit", [("gp", 0.01), ("rbf", 0.05), ("linear", 1.0), ("network", 0.15)])
def test_every_regressor_predicts_one_sample_under_jit_vmap_and_grad_and_can_be_saved(kind, limit, tmp_path):
    fitted = fit_regressor(kind, TRAIN, bowl(TRAIN))
    predicted = np.asarray(jax.jit(jax.vmap(fitted))(jnp.float32(TEST)))
    truth = bowl(TEST)
    assert np.linalg.norm(predicted - truth) < limit * np.linalg.norm(truth - truth.mean(0))
    z = jnp.float32(TEST[0])
    np.testing.assert_allclose(fitted(z), predicted[0], rtol=1e-3, atol=1e-5)
    jacobian = jax.jacobian(fitted)(z)
    differences = [(fitted(z + h) - fitted(z - h)) / 0.04 for h in 0.02 * jnp.eye(2)]
    np.testing.assert_allclose(jacobian, np.stack(differences, 1), rtol=2e-2, atol=2e-2)
    assert np.isfinite(jax.jacobian(fitted)(jnp.float32(TRAIN[0]))).all()
    sx.core.storage.save(tmp_path / "regressor", fitted)
    again = sx.core.storage.load(tmp_path / "regressor")
    np.testing.assert_array_equal(jax.vmap(again)(jnp.float32(TEST)), jax.vmap(fitted)(jnp.float32(TEST)))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "gp"])  # that is in test_gaussian_process
def test_every_regressor_recovers_a_linear_map_and_survives_constant_inputs_and_outputs(kind):
    z = np.concatenate([TRAIN, np.full((len(TRAIN), 1), 3.0)], 1)
    c = np.stack([TRAIN @ [2.0, -1.0] + 5, np.zeros(len(TRAIN))], 1)
    fitted = fit_regressor(kind, z, c)
    new = jnp.float32(np.concatenate([TEST, np.full((len(TEST), 1), 3.0)], 1))
    np.testing.assert_allclose(jax.vmap(fitted)(new), np.stack([TEST @ [2.0, -1.0] + 5, 0 * TEST[:, 0]], 1), atol=2e-5)


def test_radial_functions_are_those_of_scipy():
    rng = np.random.default_rng(1)
    for noise in (0.0, 0.3):
        c = bowl(TRAIN) + noise * rng.normal(size=(len(TRAIN), 2))
        fitted = fit_regressor("rbf", TRAIN, c)
        with jax.enable_x64(True):
            ours, inside = np.asarray(fitted(TEST)), np.asarray(fitted(TRAIN))
        weights, scale = np.asarray(fitted.rule.weights), np.asarray(fitted.rule.scale)
        # On the samples the residual is smoothing times weights.
        smoothing = np.sum((c - inside) * weights) / np.sum(weights**2)
        x = fitted.scaling(TRAIN)
        oracle = RBFInterpolator(x, c, kernel="cubic", degree=1, smoothing=smoothing * scale**3)
        np.testing.assert_allclose(ours, oracle(fitted.scaling(TEST)), rtol=1e-6, atol=1e-8)
        assert (smoothing > 1e-3) == (noise > 0)


@pytest.mark.quick("rbf", "linear")
@pytest.mark.parametrize("kind", KINDS)
def test_units_and_offsets_of_inputs_do_not_matter(kind):
    plain = fit_regressor(kind, TRAIN, bowl(TRAIN))
    for factor, shift in (([1, 1e3], 0), ([1, 1], 7.3e5), ([1e-9, 2e11], 0)):
        moved = fit_regressor(kind, TRAIN * factor + shift, bowl(TRAIN))
        np.testing.assert_allclose(moved(TEST * factor + shift), plain(TEST), atol=3e-3 if kind == "network" else 1e-4)


@pytest.mark.parametrize("kind", ["rbf", "linear"])
def test_left_out_errors_are_those_of_fits_without_each_sample(kind):
    """With the ridge, or smoothing, of all samples: here the smallest, which noise-free data choose."""
    z = np.random.default_rng(3).uniform(-1, 1, (25, 2))
    c = z @ [[2.0], [-1.0]] + (0.0 if kind == "linear" else z[:, :1] ** 3)
    scaling = InputScaling.identity(2)
    for i in (0, 11):
        others = np.arange(25) != i
        missed = fit_with_left_out(kind, z, c, scaling)[1][i]
        again = fit_with_left_out(kind, z[others], c[others], scaling)[0](z[i])
        np.testing.assert_allclose(missed, c[i] - np.asarray(again), rtol=5e-2, atol=1e-6)


def test_ridge_is_chosen_by_what_it_leaves_out():
    """More inputs than samples, of which one matters: no ridge would fit the noise and miss the test points."""
    rng = np.random.default_rng(2)
    z = rng.normal(size=(60, 30)) * np.r_[3, np.full(29, 0.5)]
    c = z[:, :1] + rng.normal(size=(60, 1))
    fitted = fit_regressor("linear", z[:25], c[:25], common_scale=True)
    assert np.sqrt(np.mean((np.asarray(jax.vmap(fitted)(jnp.float32(z[25:]))) - z[25:, :1]) ** 2)) < 1.0
    with pytest.raises(ValueError, match="unknown regressor 'forest'; use one of"):
        fit_regressor("forest", z, c)
    with pytest.raises(ValueError, match="'rbf' needs at least 22 samples for 20 inputs"):
        fit_regressor("rbf", z[:21, :20], c[:21])
    with pytest.raises(ValueError, match="finite"):
        fit_regressor("linear", np.full((5, 2), np.nan), c[:5])


# POD regression -------------------------------------------------------------------------------------------------------


def amplitudes(nonlinear: bool, shape=(5, 6), noise: float = 0.0) -> sx.Dataset:
    """Fields of three random amplitudes on a 2D grid and a parameter c; the target is linear in all four, or not."""
    rng = np.random.default_rng(5)
    grid = sx.Grid(sx.Box.unit(2), shape, ("nodes", "nodes"))
    x, y = np.moveaxis(grid.points, -1, 0)
    z = rng.uniform(-1, 1, (136, 3, 1, 1))
    c = rng.uniform(1, 2, (136, 1, 1))
    a = z[:, 0] * x + z[:, 1] * y + z[:, 2] * x * y
    u = 1 + z[:, 0] * np.sin(x) + z[:, 1] * y**2 - z[:, 2] * x + c * np.cos(y)
    if nonlinear:
        u = u + np.cos(2 * z[:, 0]) * x * y
    u = u + noise * rng.normal(size=u.shape)
    return sx.from_arrays(
        {"a": np.float32(a)}, {"u": np.float32(u)}, parameters={"c": np.float32(c[:, 0, 0])}, grid=grid
    )


def split(data: sx.Dataset):
    train, val, test = data.split(train=56, val=16, test=64)
    return train, val, test, sx.Task.fit(train, ("a", "c"), "u")


@pytest.fixture(scope="module")
def bent():
    train, val, test, task = split(amplitudes(nonlinear=True))
    return sx.fit(sx.PODRegression(task, rank=5, input_rank=3), train, val=val).best, val, test


@pytest.mark.parametrize("regressor", ["linear", "gp"])
def test_a_linear_map_of_fields_and_parameters_is_recovered(regressor):
    train, val, test, task = split(amplitudes(nonlinear=False))
    fitted = sx.fit(sx.PODRegression(task, rank=4, input_rank=3, regressor=regressor), train, val=val).best
    assert relative_error(fitted.predict(test)["u"], test["u"]) < 3e-6
    assert fitted.modes.value.shape == (30, 4) and fitted.errors.total < 1e-5


@pytest.mark.nightly
def test_gaussian_processes_bend_where_the_map_does_and_keep_the_contract(bent):
    fitted, _, test = bent
    train, val, _, task = split(amplitudes(nonlinear=True))
    linear = sx.fit(sx.PODRegression(task, rank=5, input_rank=3, regressor="linear"), train, val=val).best
    u = test["u"]
    assert relative_error(fitted.predict(test)["u"], u) < 0.1 * relative_error(linear.predict(test)["u"], u)
    assert fitted.capabilities.has_std and not linear.capabilities.has_std
    sx.check_surrogate(fitted, test)
    sx.check_surrogate(linear, test)
    fine = sx.Grid(sx.Box.unit(2), (9, 11), ("nodes", "nodes"))
    for predict in (fitted.predict, fitted.predict_std):
        np.testing.assert_allclose(predict(test, at=fine)["u"][:, ::2, ::2], predict(test)["u"], rtol=1e-5)


@pytest.mark.nightly
def test_errors_of_projection_and_regression_are_told_apart(bent):
    fitted, val, _ = bent
    errors = fitted.errors
    np.testing.assert_allclose(errors.total**2, errors.projection**2 + errors.regression**2, rtol=1e-10)
    u, mean, weights = val["u"].astype(float), fitted.task.means["u"], val.grid.weights
    norm = lambda f: np.sqrt((f**2 * weights).sum())  # noqa: E731
    np.testing.assert_allclose(errors.total, norm(fitted.predict(val)["u"] - u) / norm(u - mean), rtol=1e-2)
    train, _, _, task = split(amplitudes(nonlinear=True))
    small = sx.fit(sx.PODRegression(task, rank=5, input_rank=3, regressor="linear", energy=0.9), train, val=val).best
    assert small.modes.value.shape[1] < 5 and small.errors.projection > 10 * errors.projection


def test_the_standard_deviation_covers_noise_and_truncation():
    """Of 60 noisy points five modes hold little: what they miss must be in the intervals, too."""
    train, val, test, task = split(amplitudes(nonlinear=True, noise=0.1))
    fitted = sx.fit(sx.PODRegression(task, rank=5, input_rank=3), train, val=val).best
    miss, std = np.abs(fitted.predict(test)["u"] - test["u"]), fitted.predict_std(test)["u"]
    assert 0.9 < (miss < 1.96 * std).mean() < 0.99
    assert 0.55 < (miss < std).mean() < 0.8
    assert 0.07 < std.mean() < 0.16


def test_parameters_alone_and_a_warning_outside_their_range():
    data = amplitudes(nonlinear=False)
    c = data["c"]
    only = sx.from_arrays(targets={"u": c[:, None, None] ** 2 * data["u"][:1]}, parameters={"c": c}, grid=data.grid)
    train, test = only.split(train=56, test=80)
    task = sx.Task.fit(train, "c", "u")
    fitted = sx.fit(sx.PODRegression(task, rank=2, regressor="rbf"), train).best
    assert relative_error(fitted.predict(test)["u"], test["u"]) < 1e-4  # a few by a little outside: no warning
    assert test["c"].max() > train["c"].max() or test["c"].min() < train["c"].min()
    beyond = sx.from_arrays(targets={"u": only["u"][:3]}, parameters={"c": np.float32([1.5, 2.5, 0.5])}, grid=only.grid)
    with pytest.warns(
        UserWarning, match="2 of 3 samples have c outside the training range \\[1\\.00\\d+, 1\\.99\\d+\\]"
    ):
        fitted.predict(beyond)


def lines(parameter, field, n=61, grid=None):
    """u = field(sin(6 s) sin(πx)) with p = parameter(s), s in [0, 1], every other sample for training."""
    s = np.linspace(0, 1, n)
    grid = sx.Grid.unit_interval(24) if grid is None else grid
    u = field(np.sin(6 * s)[:, None] * np.sin(np.pi * grid.coordinates[0]))
    data = sx.from_arrays(targets={"u": u}, parameters={"p": parameter(s)}, grid=grid)
    return data.select(np.arange(0, n, 2)), data.select(np.arange(1, n, 2))


def over_spread(model, test) -> float:
    u = np.asarray(test["u"], np.float64)
    return float(np.sqrt(((model.predict(test)["u"] - u) ** 2).mean()) / u.std())


@pytest.mark.nightly
@pytest.mark.parametrize("regressor", KINDS)
def test_large_offsets_of_parameters_and_fields_do_not_matter(regressor):
    found = []
    for parameter, field in (
        (lambda s: s, lambda u: u),
        (lambda s: 7.3e5 + s, lambda u: u),
        (lambda s: 1.7e9 + s, lambda u: 101325 + 0.01 * u),
        (lambda s: s, lambda u: 1e8 + u),
    ):
        train, test = lines(parameter, field)
        fitted = sx.fit(sx.PODRegression(sx.Task.fit(train, "p", "u"), rank=4, regressor=regressor), train)
        found.append(over_spread(fitted, test))
        assert fitted.predict_std(test)["u"].max() < 0.1 * test["u"].std() if regressor == "gp" else True
    np.testing.assert_allclose(found, found[0], rtol=0.2, atol=1e-4)
    assert found[0] < {"linear": 1.1, "network": 0.2}.get(regressor, 1e-2)


@pytest.mark.nightly
def test_parameters_over_decades_enter_by_their_logarithm():
    train, test = lines(lambda s: 10 ** (4 * s - 2), lambda u: u)
    task = sx.Task.fit(train, "p", "u")
    auto, plain, named = (sx.fit(sx.PODRegression(task, rank=4, log=log), train) for log in ("auto", (), ("p",)))
    assert over_spread(auto, test) < 1e-3 and over_spread(auto, test) < 0.1 * over_spread(plain, test)
    np.testing.assert_array_equal(auto.predict(test)["u"], named.predict(test)["u"])
    assert "log p → " in repr(auto.best) and "log p" not in repr(plain.best)
    for log, message in ((("q",), "log='q': use 'auto' or a tuple of parameters of the task"), ("all", "log='all'")):
        with pytest.raises(ValueError, match=message):
            sx.fit(sx.PODRegression(task, log=log), train)


def test_the_law_of_a_parameter_says_whether_it_enters_by_its_logarithm():
    grid = sx.Grid.unit_interval(9)
    for law, expected in ((sx.random.LogUniform(1, 3), True), (sx.random.Uniform(0, 100), False)):
        problem = sx.Problem("u", grid.box, inputs={"k": law}, residual=lambda u, p: u - p.k)
        k = np.asarray([float(law.sample(key, grid)) for key in jax.random.split(jax.random.key(0), 20)])
        data = sx.from_arrays(targets={"u": np.log(k)[:, None] * np.ones(9)}, parameters={"k": k}, grid=grid)
        data = replace(data, problem=problem)
        fitted = sx.fit(sx.PODRegression(sx.Task.fit(data, "k", "u"), rank=1, regressor="linear"), data).best
        assert fitted.reduction.parameters.value.logarithmic == (expected,)


@pytest.mark.nightly
def test_constant_targets_and_input_fields_and_few_samples():
    grid, one = sx.Grid.unit_interval(20), np.ones((30, 20))
    p = np.linspace(0, 1, 30)
    u = np.sin(4 * p)[:, None] * np.sin(np.pi * grid.coordinates[0])

    def fit(n=30, a=None, target=u, **options):
        inputs = {} if a is None else {"a": a[:n]}
        data = sx.from_arrays(inputs, {"u": target[:n]}, parameters={"p": p[:n]}, grid=grid)
        task = sx.Task.fit(data, ("p",) if a is None else ("a", "p"), "u")
        return sx.fit(sx.PODRegression(task, rank=5, **options), data), data

    for options in ({}, {"regressor": "linear"}, {"regressor": "rbf"}):
        constant, data = fit(target=3e5 * one, **options)
        np.testing.assert_allclose(constant.predict(data)["u"], 3e5, rtol=1e-6)
        assert constant.best.errors.total == 0
        with pytest.warns(UserWarning, match=r"the input fields \['a'\] are the same in all samples"):
            beside, data = fit(a=7 * one, **options)
        np.testing.assert_allclose(beside.predict(data)["u"], fit(**options)[0].predict(data)["u"], atol=1e-4)
    for n in (3, 4):
        few, data = fit(n)
        np.testing.assert_allclose(few.predict(data)["u"], u[:n], atol=0.05)
    for n in (1, 2):
        with pytest.raises(ValueError, match=f"PODRegression: regressor 'gp' needs at least 3 samples, got {n}"):
            fit(n)
    twice, data = fit(a=None, target=np.repeat(u[::2], 2, 0))
    assert np.isfinite(twice.predict(data)["u"]).all()


@pytest.mark.nightly
def test_without_validation_data_errors_come_from_left_out_samples():
    """They agree with the errors on unseen data, as those on the training data do not."""
    train, _, test, task = split(amplitudes(nonlinear=True, noise=0.1))
    found = sx.fit(sx.PODRegression(task, rank=5, input_rank=3), train).best
    truth = sx.fit(sx.PODRegression(task, rank=5, input_rank=3), train, val=test).best.errors
    assert found.errors.left_out and not truth.left_out
    np.testing.assert_allclose(found.errors.projection, truth.projection, rtol=0.2)
    np.testing.assert_allclose(found.errors.regression, truth.regression, rtol=0.4)
    miss, std = np.abs(found.predict(test)["u"] - test["u"]), found.predict_std(test)["u"]
    assert 0.88 < (miss < 1.96 * std).mean() < 0.99
    network = sx.fit(sx.PODRegression(task, rank=5, input_rank=3, regressor="network"), train).best
    assert network.errors is None


def test_wrong_use_is_refused():
    train, _, _, task = split(amplitudes(nonlinear=False))
    timed = sx.from_arrays({"w": np.ones((2, 4, 5))}, grid=sx.Grid.unit(5, 1), times=np.arange(4))
    for make, message in (
        (
            lambda: sx.PODRegression(sx.Task.fit(timed, "w", "w", mode=sx.Autoregressive(1))),
            "PODRegression serves steady tasks, not Task",
        ),
        (lambda: sx.PODRegression(sx.Task.fit(train, (), "u")), "PODRegression needs inputs"),
        (lambda: sx.PODRegression(task, regressor="forest"), "unknown regressor 'forest'"),
        (lambda: sx.fit(sx.PODRegression(task)), "fit needs data"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="MeanField has no standard deviation"):
        sx.MeanField(task).predict_std(train)


@pytest.mark.nightly
def test_the_unit_of_length_does_not_matter():
    p, shape = np.linspace(1, 2, 12), np.sin(np.linspace(0, 3, 5))[:, None, None] * np.ones((5, 5, 5))
    found = []
    for length in (1.0, 1e-30, 1e25):
        grid = sx.Box(x=(0, length), y=(0, length), z=(0, length)).grid(5)
        data = sx.from_arrays(
            {}, {"u": p[:, None, None, None] * shape + p[:, None, None, None] ** 2}, grid=grid, parameters={"p": p}
        )
        fitted = sx.fit(sx.PODRegression(sx.Task.fit(data, "p", "u"), rank=2), data)
        found.append(fitted.predict(data)["u"])
        np.testing.assert_allclose(found[-1], data["u"], atol=1e-4)
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], atol=1e-6)
