"""Losses, metrics and the supervised objective, derived a second time in NumPy and float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.core.domains import PointCloudLayout
from surrogax.surrogates.evaluation.forecast import GaussianForecast, PointForecast, SampleForecast
from surrogax.surrogates.evaluation.metrics import find_metric, known_metrics
from surrogax.surrogates.training.losses import MSE, RelativeH1, RelativeL2

GRIDS = {
    "nodes": sx.Grid.unit((5, 7)),
    "periodic": sx.Grid(sx.Box.unit(2, "periodic"), (6, 4), ("periodic", "periodic")),
    "cells": sx.Grid.unit(6, 1, "cells"),
}
CLOUD = PointCloudLayout(2, 9)
POINT_METRICS = [name for name in known_metrics() if not find_metric(name).probabilistic]


def measure(name, u, reference, weights, domain):
    """A metric of a value, or of any other forecast."""
    forecast = PointForecast(u) if isinstance(u, jax.Array) else u
    return find_metric(name).function(forecast, reference, weights, domain)


@pytest.fixture(params=GRIDS)
def case(request):
    """Prediction, reference, weights and grid: float32, and the same in float64."""
    grid = GRIDS[request.param]
    u, v = np.random.default_rng(0).normal(1, 1, (2, *grid.shape, 3)).astype(np.float32)
    exact = u.astype(float), v.astype(float), grid.weights[..., None]
    return jnp.asarray(u), jnp.asarray(v), jnp.asarray(grid.weights, jnp.float32), grid, exact


def integral(x, w) -> np.ndarray:
    """∫ x² per channel."""
    return (w * x**2).reshape(-1, x.shape[-1]).sum(0)


def differences(x, grid) -> list[np.ndarray]:
    """Central differences, one-sided at ends; NumPy's own on axes that are not periodic."""
    result = []
    for axis, (h, layout) in enumerate(zip(grid.spacing, grid.layouts, strict=True)):
        if layout == "periodic":
            result.append((np.roll(x, -1, axis) - np.roll(x, 1, axis)) / (2 * h))
        else:
            result.append(np.gradient(x, h, axis=axis, edge_order=1))
    return result


def h1(x, w, grid) -> np.ndarray:
    return integral(x, w) + sum(integral(d, w) for d in differences(x, grid))


# Definitions ----------------------------------------------------------------------------------------------------------


def test_every_metric_is_its_definition_per_channel(case):
    u, v, weights, grid, (x, y, w) = case
    flat = tuple(range(x.ndim - 1))
    mean = lambda f: (w * f).sum(flat) / w.sum()  # noqa: E731
    centred = lambda f, g: mean((f - mean(f)) * (g - mean(g)))  # noqa: E731
    expected = {
        "rel_l2": np.sqrt(integral(x - y, w) / integral(y, w)),
        "rel_l2_unweighted": np.sqrt(((x - y) ** 2).sum(flat) / (y**2).sum(flat)),
        "rel_h1": np.sqrt(h1(x - y, w, grid) / h1(y, w, grid)),
        "rmse": np.sqrt(integral(x - y, w)),  # of a domain of volume 1
        "max_error": np.abs(x - y).max(flat) / np.abs(y).max(flat),
        "vrmse": np.sqrt(((x - y) ** 2).mean(flat) / (y.var(flat, ddof=1) + 1e-7)),
        "correlation": centred(x, y) / np.sqrt(centred(x, x) * centred(y, y)),
        "blow_up": np.zeros(x.shape[-1]),
    }
    assert set(expected) == set(POINT_METRICS)
    for name, values in expected.items():
        np.testing.assert_allclose(measure(name, u, v, weights, grid), values, rtol=2e-5, err_msg=name)


def test_every_loss_is_its_definition_over_all_channels(case):
    u, v, weights, grid, (x, y, w) = case
    expected = {
        RelativeL2(): np.sqrt(integral(x - y, w).sum() / integral(y, w).sum()),
        RelativeH1(): np.sqrt(h1(x - y, w, grid).sum() / h1(y, w, grid).sum()),
        MSE(): integral(x - y, w).sum(),
    }
    for loss, value in expected.items():
        np.testing.assert_allclose(loss(u, v, weights, grid), value, rtol=2e-5, err_msg=repr(loss))


def test_pdebench_and_the_well_print_these_numbers():
    """nRMSE and VRMSE as their papers write them, on one field; a box of volume 6 changes rmse and nothing else."""
    u, v = np.random.default_rng(1).normal(2, 1, (2, 4, 5))
    grid = sx.Grid(sx.Box(x=(0, 2, "periodic"), y=(0, 3, "periodic")), (4, 5), ("periodic", "periodic"))
    arrays = jnp.float32(u)[..., None], jnp.float32(v)[..., None], jnp.float32(grid.weights)
    value = lambda name: float(measure(name, *arrays, grid)[0])  # noqa: E731
    np.testing.assert_allclose(value("rel_l2_unweighted"), np.sqrt(np.mean((u - v) ** 2) / np.mean(v**2)), rtol=1e-5)
    np.testing.assert_allclose(value("rel_l2"), value("rel_l2_unweighted"), rtol=1e-5)
    np.testing.assert_allclose(value("vrmse"), np.sqrt(np.mean((u - v) ** 2) / (np.var(v, ddof=1) + 1e-7)), rtol=1e-5)
    np.testing.assert_allclose(value("rmse"), np.sqrt(np.mean((u - v) ** 2)), rtol=1e-5)


def test_the_constant_field_that_is_the_mean_has_a_vrmse_of_one():
    v = np.random.default_rng(2).normal(size=(400, 1)).astype(np.float32)
    mean, weights = jnp.full((400, 1), v.mean()), jnp.full(400, 1 / 400)
    np.testing.assert_allclose(measure("vrmse", mean, jnp.array(v), weights, CLOUD), 1, rtol=2e-3)


def test_the_h1_error_converges_to_the_analytic_value():
    """u = sin 2πx against v = x on [0, 1]; e = u − v: ‖e‖² = 1/2 + 1/3 + 1/π, ‖e'‖² = 2π² + 1, ‖v‖² + ‖v'‖² = 4/3."""
    exact = np.sqrt((1 / 2 + 1 / 3 + 1 / np.pi + 2 * np.pi**2 + 1) / (4 / 3))
    errors = []
    for n in (65, 129):
        grid = sx.Grid.unit(n, 1)
        x = grid.points
        weights = jnp.asarray(grid.weights, jnp.float32)
        u, v = jnp.float32(np.sin(2 * np.pi * x)), jnp.float32(x)
        errors.append(abs(float(jax.jit(RelativeH1(), static_argnums=3)(u, v, weights, grid)) - exact))
    assert errors[-1] < 3e-3 * exact and 1.7 < errors[0] / errors[1] < 4.5, errors


# Masks and derivatives ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in POINT_METRICS if n != "rel_h1"])
@pytest.mark.parametrize("fill", [1e6, np.nan])
def test_masked_points_do_not_matter_to_metrics(name, fill):
    u, v = np.random.default_rng(0).normal(1, 1, (2, 9, 2)).astype(np.float32)
    weights = np.float32([0.1, 0.3, 0.2, 0.2, 0.15, 0.05, 0, 0, 0])
    expected = measure(name, *map(jnp.array, (u[:6], v[:6], weights[:6])), CLOUD)
    u[6:], v[6:] = fill, -fill
    np.testing.assert_allclose(measure(name, *map(jnp.array, (u, v, weights)), CLOUD), expected, rtol=1e-6)


@pytest.mark.parametrize("loss", [RelativeL2(), MSE()], ids=repr)
def test_masked_points_do_not_matter_to_losses_nor_to_their_gradients(loss):
    u, v = np.random.default_rng(0).normal(1, 1, (2, 9, 2)).astype(np.float32)
    weights = np.float32([0.1, 0.3, 0.2, 0.2, 0.15, 0.05, 0, 0, 0])
    run = jax.value_and_grad(lambda u: loss(u, jnp.array(v), jnp.array(weights), CLOUD))
    value, gradient = run(jnp.array(u))
    u[6:], v[6:] = np.nan, 1
    np.testing.assert_allclose(loss(*map(jnp.array, (u, v, weights)), CLOUD), value, rtol=1e-6)
    u[6:], v[6:] = 1e6, -1e6
    masked, masked_gradient = run(jnp.array(u))
    np.testing.assert_allclose(masked, value, rtol=1e-6)
    np.testing.assert_allclose(masked_gradient[:6], gradient[:6], rtol=1e-5)
    np.testing.assert_array_equal(masked_gradient[6:], 0)


@pytest.mark.parametrize("loss", [RelativeL2(), RelativeH1(), MSE()], ids=repr)
def test_the_gradient_at_the_reference_is_zero_and_elsewhere_that_of_differences(loss):
    grid = GRIDS["nodes"]
    weights = jnp.asarray(grid.weights, jnp.float32)
    u, v, d = jnp.float32(np.random.default_rng(0).normal(1, 1, (3, *grid.shape, 2)))
    run = jax.jit(jax.value_and_grad(lambda u: loss(u, v, weights, grid)))
    value, gradient = run(v)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    _, gradient = run(u)
    estimate = (run(u + 1e-2 * d)[0] - run(u - 1e-2 * d)[0]) / 2e-2
    np.testing.assert_allclose(np.vdot(gradient, d), estimate, rtol=1e-2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_prediction_that_is_not_finite_is_not_praised(bad):
    """Metrics are not finite there (the correlation is 0, `blow_up` 1), nor are losses, which stop the training."""
    grid, v = GRIDS["nodes"], jnp.ones((5, 7, 1)).at[2].set(3)
    u, w = v.at[1, 2].set(bad), jnp.asarray(grid.weights, jnp.float32)
    for name in POINT_METRICS:
        found = measure(name, u, v, w, grid)
        expected = {"correlation": found == 0, "blow_up": found == 1}.get(name, ~np.isfinite(found))
        assert np.all(expected), (name, found)
    for loss in (RelativeL2(), RelativeH1(), MSE()):
        assert not np.isfinite(loss(u, v, w, grid)), loss


def test_h1_needs_a_grid():
    x = jnp.ones((4, 1))
    with pytest.raises(ValueError, match="RelativeH1 needs a uniform grid"):
        RelativeH1()(x, x, jnp.ones(4), CLOUD)
    with pytest.raises(ValueError, match="rel_h1 needs a uniform grid"):
        measure("rel_h1", x, x, jnp.ones(4), CLOUD)


# Uncertainty ----------------------------------------------------------------------------------------------------------


def test_probabilistic_metrics_of_a_calibrated_forecast():
    """For y ~ N(m, s²): E crps = s/√π, coverage 90 %, spread = rmse = s; from the density and from draws.

    A coverage of 0.9 over 4000 points has the standard error 0.0047.
    """
    rng = np.random.default_rng(0)
    n, s = 4000, np.float32([0.5, 3.0])
    mean, weights = jnp.float32(rng.normal(size=(n, 2))), jnp.full(n, 1 / n)
    truth = mean + s * jnp.float32(rng.normal(size=(n, 2)))
    draws = mean + s * jnp.float32(rng.normal(size=(64, n, 2)))
    for forecast in (GaussianForecast(mean, jnp.broadcast_to(s, (n, 2))), SampleForecast(mean, draws)):
        value = lambda name, f=forecast: measure(name, f, truth, weights, CLOUD)  # noqa: E731
        np.testing.assert_allclose(value("crps"), s / np.sqrt(np.pi), rtol=0.03)
        np.testing.assert_allclose(value("coverage_90"), 0.9, atol=0.015)
        np.testing.assert_allclose(value("spread"), s, rtol=0.02)
        np.testing.assert_allclose(value("rmse"), s, rtol=0.04)


def test_the_crps_of_samples_is_its_definition_and_that_of_no_spread_the_absolute_error():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(7, 5, 1)).astype(np.float32), rng.normal(size=(5, 1)).astype(np.float32)
    pairs = np.abs(x[:, None] - x[None]).sum((0, 1)) / (2 * 7 * 6)
    expected = np.abs(x - y).mean(0) - pairs
    np.testing.assert_allclose(
        SampleForecast(jnp.array(x[0]), jnp.array(x)).crps(jnp.array(y)), expected, rtol=1e-4, atol=1e-6
    )
    sure = GaussianForecast(jnp.array(x[0]), jnp.zeros((5, 1)))
    np.testing.assert_allclose(sure.crps(jnp.array(y)), np.abs(x[0] - y), rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 10, 19, 32])
def test_intervals_of_few_draws_are_those_of_exchangeable_ranks(n):
    """NumPy's method "weibull"; a truth like the draws is inside with probability 0.9, or (n − 1)/(n + 1) for few draws."""
    rng = np.random.default_rng(2)
    draws = rng.normal(size=(n, 4000, 1)).astype(np.float32)
    forecast = SampleForecast(jnp.zeros((4000, 1)), jnp.array(draws))
    expected = np.quantile(draws, [0.05, 0.95], axis=0, method="weibull")
    np.testing.assert_allclose(jnp.stack(forecast.interval(0.9)), expected, rtol=1e-4, atol=1e-5)
    truth = jnp.array(rng.normal(size=(4000, 1)).astype(np.float32))
    covered = measure("coverage_90", forecast, truth, jnp.full(4000, 1 / 4000), CLOUD)
    np.testing.assert_allclose(covered, min(0.9, (n - 1) / (n + 1)), atol=0.025)


def test_a_value_alone_has_no_uncertainty():
    x = jnp.ones((4, 1))
    for name in (
        set(known_metrics()) - set(POINT_METRICS) - {"data_misfit"}
    ):  # which `evaluate` asks of posteriors alone
        with pytest.raises(TypeError, match="needs a surrogate with `std` or `samples`"):
            measure(name, x, x, jnp.ones(4), CLOUD)


# The objective --------------------------------------------------------------------------------------------------------


class Average(eqx.Module):
    """The mean over the four neighbours of every point: commutes with all symmetries of a periodic square."""

    def __call__(self, x):
        return sum(jnp.roll(x, s, axis) for s in (1, -1) for axis in (0, 1)) / 4


class Shift(eqx.Module):
    """The right neighbour of every point: commutes with translations alone."""

    def __call__(self, x):
        return jnp.roll(x, -1, 0)


@pytest.fixture(scope="module")
def square():
    a, u = np.random.default_rng(0).normal(size=(2, 6, 5, 5)).astype(np.float32)
    data = sx.from_arrays({"a": a}, {"u": u}, grid=sx.Grid.unit_square(5, "periodic"))
    return data, sx.Task.fit(data, "a", "u")


@pytest.mark.nightly
@pytest.mark.parametrize("layout", ["periodic", "nodes"])
def test_the_symmetry_group_moves_input_and_target_together(square, layout):
    """Of a model that commutes with the group the loss does not change, of another one it does."""
    data = square[0]
    if layout == "nodes":
        data = sx.from_arrays({"a": data["a"]}, {"u": data["u"]}, grid=sx.Grid.unit_square(5))
    task = sx.Task.fit(data, "a", "u")
    batch = data.read()
    pointwise = eqx.nn.Lambda(jnp.tanh)
    equivariant, other = (Average(), Shift()) if layout == "periodic" else (pointwise, Shift())

    def losses(network):
        model = sx.wrap(network, task)
        run = lambda objective, key: float(objective(model, None, batch, key)[0])  # noqa: E731
        plain = run(sx.Supervised(), jax.random.key(0))
        return plain, [run(sx.Supervised(symmetry=sx.Dihedral()), jax.random.key(i)) for i in range(3)]

    plain, seen = losses(equivariant)
    np.testing.assert_allclose(seen, plain, rtol=1e-5)
    plain, seen = losses(other)
    assert len({round(x, 6) for x in (plain, *seen)}) == 4


def test_symmetries_need_one_layout(square):
    data, _ = square
    grid = sx.Grid(sx.Box(x=(0, 1), y=(0, 1, "periodic")), (5, 5), ("nodes", "periodic"))
    mixed = sx.from_arrays({"a": data["a"]}, {"u": data["u"]}, grid=grid)
    model = sx.wrap(Average(), sx.Task.fit(mixed, "a", "u"))
    with pytest.raises(ValueError, match="symmetries act on grids of one layout"):
        sx.Supervised(symmetry=sx.Dihedral())(model, None, mixed.read(), jax.random.key(0))


class Factor(eqx.Module):
    """Each frame is a factor times the one before."""

    factor: jax.Array

    def __call__(self, x):
        return self.factor * x[..., -1:]


@pytest.mark.parametrize("gradient", ["full", "last"])
def test_unrolling_averages_the_losses_of_all_its_steps_or_of_the_first_and_the_last(gradient):
    w = np.random.default_rng(0).normal(1, 0.3, (4, 5, 6)).astype(np.float32)
    data = sx.from_arrays({"w": w}, grid=sx.Grid.unit(6, 1, "periodic"), times=np.arange(5))
    task = sx.Task.fit(data, "w", "w", mode=sx.Autoregressive(2))
    task = eqx.tree_at(lambda t: t.normalizers, task, jax.tree.map(jnp.zeros_like, task.normalizers))
    task = eqx.tree_at(lambda t: t.normalizers["w"].std, task, jnp.ones(1))
    batch = {"w": w}

    def loss(factor):
        model = sx.wrap(Factor(factor), task)
        return sx.Supervised(unroll=sx.Unroll(3, gradient))(model, None, batch, jax.random.key(0))[0]

    def error(x, t):
        return np.mean(np.linalg.norm(x - w[:, t], axis=1) / np.linalg.norm(w[:, t], axis=1))

    def by_hand(f, held=None):
        """`held`: the factor of the steps whose gradient is stopped."""
        held = f if held is None else held
        first, second, third = (error(factor * w[:, 1].astype(float), t)
                                for factor, t in ((f, 2), (held * f, 3), (held**2 * f, 4)))  # fmt: skip
        return (first + third) / 2 if gradient == "last" else (first + second + third) / 3

    value, slope = jax.jit(jax.value_and_grad(loss))(jnp.float32(0.8))
    np.testing.assert_allclose(value, by_hand(0.8), rtol=1e-5)
    held = 0.8 if gradient == "last" else None
    expected = (by_hand(0.8 + 1e-4, held) - by_hand(0.8 - 1e-4, held)) / 2e-4
    np.testing.assert_allclose(slope, expected, rtol=1e-3)


def test_noise_on_inputs_is_that_of_their_deviation_and_leaves_the_targets():
    """The mean square error of the identity is the variance of the noise, twice it after two predictions in a row."""
    w = np.repeat(np.random.default_rng(0).normal(1, 0.3, (64, 1, 50)), 4, 1).astype(np.float32)
    data = sx.from_arrays({"w": w, "p": 0 * w + 1}, grid=sx.Grid.unit(50, 1, "periodic"), times=np.arange(4))
    task = sx.Task.fit(data, ("w", "p"), "w", mode=sx.Autoregressive(1))
    model = sx.wrap(lambda x: x[..., :1], task)
    std = float(task.normalizers["w"].std[0])
    for steps in (1, 2):
        objective = model.objective(data, loss=sx.losses.MSE(), noise=0.1, unroll=sx.Unroll(steps))
        value = objective(model, None, data.read(), jax.random.key(0))[0]
        np.testing.assert_allclose(value, 0.01 * (steps + 1) / 2, rtol=0.05)  # in units of the standard deviation
    silent = model.objective(data, loss=sx.losses.MSE())(model, None, data.read(), jax.random.key(0))[0]
    assert silent < 1e-10 and std > 0
    with pytest.raises(ValueError, match=r"fit\(noise=-1.0\): expected a finite number 0 or more"):
        model.objective(data, noise=-1.0)
    with pytest.raises(ValueError, match=r"Supervised\(noise=nan\): expected a finite number"):
        sx.Supervised(noise=float("nan"))
    alone = sx.from_arrays(targets={"u": w[:, 0]}, parameters={"p": w[:, 0, 0]}, grid=sx.Grid.unit(50, 1))
    with pytest.raises(ValueError, match="no input fields that could be noisy"):
        sx.DeepONet(sx.Task.fit(alone, "p", "u"), key=jax.random.key(0)).objective(alone, noise=0.1)


@pytest.mark.nightly
def test_teacher_forcing_fades_and_its_steps_see_the_true_frames():
    """Without free predictions every step starts from the truth; later the first ones feed back. It trains through `fit`."""
    w = np.random.default_rng(0).normal(1, 0.3, (4, 6, 6)).astype(np.float32)
    data = sx.from_arrays({"w": w}, grid=sx.Grid.unit(6, 1, "periodic"), times=np.arange(6))
    task = sx.Task.fit(data, "w", "w", mode=sx.Autoregressive(1))
    task = eqx.tree_at(lambda t: t.normalizers, task, jax.tree.map(jnp.zeros_like, task.normalizers))
    task = eqx.tree_at(lambda t: t.normalizers["w"].std, task, jnp.ones(1))
    unroll = sx.Unroll(4, curriculum=100)
    objective = sx.Supervised(unroll=unroll)
    assert [int(unroll.free(s)) for s in (0, 30, 50, 70, 100, 1000)] == [1, 1, 2, 4, 4, 4]

    def relative(x, t):
        return np.mean(np.linalg.norm(x - w[:, t], axis=1) / np.linalg.norm(w[:, t], axis=1))

    def by_hand(f, free):
        frames, last = [], w[:, 0]
        for call in range(4):
            last = f * (last if call < free else w[:, call])
            frames.append(relative(last, call + 1))
        return np.mean(frames)

    model = sx.wrap(Factor(jnp.asarray(0.9)), task)
    for done, free in ((0, 1), (50, 2), (100, 4)):
        points = objective.draw(jnp.asarray(done), {"w": w}, jax.random.key(0))
        assert float(objective.value(model, points)[0]) == pytest.approx(by_hand(0.9, free), rel=1e-5)
    state = objective.init(jax.random.key(0))
    _, after, _ = objective(model, state, {"w": w}, jax.random.key(0))
    assert int(after) == 1
    fitted = sx.fit(model, data, optimizer=optax.adam(1e-2), steps=3, batch_size=2, unroll=unroll, progress=False)
    assert float(fitted.last.network.network.factor) != 0.9
    with pytest.raises(ValueError, match=r"Unroll\(curriculum=0\): expected 1 or more"):
        sx.Unroll(2, curriculum=0)
