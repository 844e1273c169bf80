"""Fields and parameters whose mean is much larger than their spread: predictions are right to the spread."""

import jax
import numpy as np
import optax
import pytest

import surrogax as sx

N, POINTS = 40, 24
S = np.linspace(0.1, 1, N)
SHAPE = np.sin(6 * S)[:, None] * np.sin(np.pi * np.linspace(0, 1, POINTS))
GRID = sx.Grid.unit_interval(POINTS)


def data(offset: float, spread: float = 1.0, parameter: float = 0.0):
    return sx.from_arrays(
        {"a": offset + spread * SHAPE}, {"u": offset + spread * SHAPE**2}, parameters={"p": parameter + S}, grid=GRID
    )


def trained(ds, inputs=("a",), **options):
    model = sx.FNO(sx.Task.fit(ds, inputs, "u"), width=8, modes=4, depth=2, key=jax.random.key(0))
    return sx.fit(model, ds, val=ds, optimizer=optax.adam(3e-3), epochs=30, batch_size=10, progress=False, **options)


def error(result, ds) -> float:
    u = np.asarray(ds["u"], np.float64)
    return float(np.sqrt(((result.predict(ds)["u"] - u) ** 2).mean()) / u.std())


@pytest.fixture(scope="module")
def plain():
    ds = data(0.0)
    return error(trained(ds), ds)


@pytest.mark.parametrize(("offset", "spread"), [pytest.param(101325.0, 1e-2, marks=pytest.mark.nightly), (1e8, 1.0)])
def test_fields_about_a_large_mean_are_learned_like_others(offset, spread, plain):
    ds = data(offset, spread)
    result = trained(ds)
    assert plain < 0.2 and error(result, ds) < max(2 * plain, 0.2)
    assert result.history.best_error[0] < 1 and result.predict(ds)["u"].dtype == np.float64


@pytest.mark.nightly
def test_parameters_about_a_large_mean_are_told_apart():
    # dates in days and in seconds: single precision holds 1/16 of a day, and 128 seconds
    ds = data(0.0)
    expected = trained(ds, ("a", "p")).predict(ds)["u"]
    for parameter in (7.3e5, 1.7e9):
        ds = data(0.0, parameter=parameter)
        task = sx.Task.fit(ds, ("p",), "u")
        assert dict(task.origins)["p"] == (pytest.approx(parameter + 0.55),)
        relative = task.relative({"p": ds["p"]})["p"].astype(np.float32)
        assert len(np.unique(relative)) == N
        np.testing.assert_allclose(trained(ds, ("a", "p")).predict(ds)["u"], expected, atol=1e-3)


def test_tables_measure_to_the_spread():
    ds = data(101325.0, 1e-2)
    ds = sx.from_arrays({"a": SHAPE}, {"u": 2 * ds["a"]}, grid=GRID)
    task = sx.Task.fit(ds, "a", "u")
    linear = sx.fit(sx.LinearSpectral(task, modes=6), ds)
    table = sx.evaluate({"linear": linear, "mean": sx.MeanField(task)}, ds, metrics=("rmse", "rel_l2"), timing=False)
    u = np.asarray(ds["u"], np.float64)
    w = GRID.weights
    by_hand = np.sqrt((((u - u.mean(0)) ** 2) * w).sum(1)).mean()
    assert table.value("mean", metric="rmse") == pytest.approx(by_hand, rel=1e-3)
    assert table.value("linear", metric="rmse") < 0.05 * by_hand
    assert table.value("mean") == pytest.approx(by_hand / 202650, rel=1e-3)


def test_rollouts_and_files_keep_the_origin(tmp_path):
    t = np.arange(8.0)
    w = 300 + 1e-3 * np.sin(S[:6, None, None] + t[:, None] + np.linspace(0, 1, POINTS))
    ds = sx.from_arrays({"w": w}, grid=GRID, times=t)
    task = sx.Task.fit(ds, "w", "w", mode=sx.Autoregressive(1))
    assert [name for name, _ in task.origins] == ["w"]
    persistence = sx.Persistence(task)
    rolled = persistence.rollout(ds, 3)
    np.testing.assert_allclose(rolled["w"], np.repeat(w[:, :1], 3, 1), rtol=1e-10)
    model = sx.FNO(task, width=4, modes=3, depth=1, key=jax.random.key(0))
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(sx.load(tmp_path / "model").predict(ds)["w"], model.predict(ds)["w"])
    sx.check_surrogate(model)


def test_a_direct_call_reads_physical_values():
    ds = data(101325.0, 10.0)
    model = sx.FNO(sx.Task.fit(ds, "a", "u"), width=8, modes=4, depth=2, key=jax.random.key(0))
    direct = model({"a": np.asarray(ds["a"][0], np.float32)})["u"]
    np.testing.assert_allclose(direct, model.predict(ds)["u"][0], atol=0.05)  # single precision: 0.008


@pytest.mark.nightly
@pytest.mark.parametrize("scale", [1e19, 1e-20])
@pytest.mark.parametrize(
    "loss",
    [sx.losses.RelativeL2(), pytest.param(sx.losses.MSE(), marks=pytest.mark.nightly)],
    ids=["RelativeL2", "MSE"],
)
def test_the_unit_of_a_target_does_not_matter(scale, loss):
    found = []
    for factor in (1.0, scale):
        ds = sx.from_arrays({"a": SHAPE}, {"u": factor * (SHAPE**2 + 1)}, grid=GRID)
        result = trained(ds, loss=loss)
        u = np.asarray(ds["u"]) / factor
        found.append(np.linalg.norm(result.predict(ds)["u"].astype(float) / factor - u) / np.linalg.norm(u))
        assert np.isfinite(result.history.val).all()
    assert found[0] < 0.1 and found[1] == pytest.approx(found[0], rel=0.2)


@pytest.mark.nightly
def test_the_unit_of_one_field_does_not_change_how_another_is_learned():
    found = []
    for unit in (1.0, 1e3):
        ds = sx.from_arrays({"a": SHAPE}, {"u": SHAPE**2, "p": unit * (1 + SHAPE)}, grid=GRID)
        model = sx.FNO(sx.Task.fit(ds, "a", ("u", "p")), width=8, modes=4, depth=2, key=jax.random.key(0))
        result = sx.fit(model, ds, val=ds, optimizer=optax.adam(3e-3), epochs=20, batch_size=10, progress=False)
        found.append(error(result, ds))
    assert found[1] == pytest.approx(found[0], rel=0.05)


@pytest.mark.nightly
def test_weights_choose_which_field_is_learned():
    ds = sx.from_arrays({"a": SHAPE}, {"u": SHAPE**2, "p": 1 + SHAPE}, grid=GRID)
    task = sx.Task.fit(ds, "a", ("u", "p"))
    model = sx.FNO(task, width=8, modes=4, depth=2, key=jax.random.key(0))

    def loss_of(weights):
        objective = sx.Supervised.of(task, ds, loss=sx.losses.RelativeL2(weights=weights))
        return float(objective.validate(model, ds.read()).mean())

    alone = {name: loss_of({name: 1.0, other: 0.0}) for name, other in (("u", "p"), ("p", "u"))}
    assert loss_of({}) == pytest.approx((alone["u"] + alone["p"]) / 2, rel=1e-5)
    assert loss_of({"p": 0.25}) == pytest.approx((alone["u"] + 0.25 * alone["p"]) / 1.25, rel=1e-5)
    with pytest.raises(ValueError, match=r"the weights name \['q'\]; the targets are \['u', 'p'\]"):
        sx.fit(model, ds, loss=sx.losses.RelativeL2(weights={"q": 1.0}), optimizer=optax.adam(1e-3), epochs=1)
    for wrong in ({"u": -1.0}, {"u": "large"}):
        with pytest.raises((ValueError, TypeError), match="RelativeL2"):
            sx.losses.RelativeL2(weights=wrong)
    with pytest.raises(ValueError, match="all weights are zero"):
        sx.fit(model, ds, loss=sx.losses.MSE(weights={"u": 0, "p": 0}), optimizer=optax.adam(1e-3), epochs=1)


def test_a_loss_of_ones_own_is_told_that_it_sees_rounded_values():
    ds = data(101325.0, 1e-2)
    model = sx.FNO(sx.Task.fit(ds, "a", "u"), width=4, modes=3, depth=1, key=jax.random.key(0))
    with pytest.warns(UserWarning, match=r"\['a', 'u'\] vary little about a large mean.*use a loss of `losses`"):
        sx.fit(model, ds, loss=mean_square, optimizer=optax.adam(1e-3), epochs=1, progress=False)


def mean_square(u, reference, weights, domain):
    return ((u - reference) ** 2).mean()
