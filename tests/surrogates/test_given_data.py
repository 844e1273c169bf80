"""Predictions from arrays, dicts, files and datasets without targets; results of `fit` in place of surrogates."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.core.storage import StorageError
from surrogax.datasets.formats.well_writer import write_well
from surrogax.surrogates.training.history import History

RNG = np.random.default_rng(0)
A = RNG.normal(size=(8, 12)).astype(np.float32)
P = RNG.uniform(1, 2, 8).astype(np.float32)
GRID = sx.Grid.unit_interval(12)


@pytest.fixture(scope="module")
def steady():
    data = sx.from_arrays({"a": A}, {"u": 2 * A}, grid=GRID, parameters={"p": P})
    return data, sx.FNO(sx.Task.fit(data, ("a", "p"), "u"), width=4, modes=3, depth=1, key=jax.random.key(0))


def test_arrays_dicts_and_files_predict_like_the_dataset(steady, tmp_path):
    data, model = steady
    expected = model.predict(data)["u"]
    without_targets = sx.from_arrays({"a": A}, grid=GRID, parameters={"p": P})
    for given in (without_targets, {"a": A, "p": P}, {"a": A.tolist(), "p": jnp.asarray(P)}):
        np.testing.assert_array_equal(model.predict(given)["u"], expected)
    write_well(tmp_path / "new.hdf5", without_targets.source, name="new")
    np.testing.assert_array_equal(model.predict(tmp_path / "new.hdf5")["u"], expected)
    alone = sx.FNO(sx.Task.fit(data, "a", "u"), width=4, modes=3, depth=1, key=jax.random.key(0))
    for given in (A, jnp.asarray(A), A.tolist(), {"a": A}):
        np.testing.assert_array_equal(alone.predict(given)["u"], alone.predict(data)["u"])


def test_arrays_may_have_another_resolution(steady):
    _, model = steady
    assert model.predict({"a": RNG.normal(size=(3, 23)), "p": P[:3]})["u"].shape == (3, 23)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": A}, r"the inputs \['p'\] are missing"),
        ({"a": A, "p": P, "q": P}, r"\['q'\] are no inputs"),
        ({"a": A[0], "p": P[:1]}, r"'a' has shape \(12,\); expected \(sample, 12\)"),
        ({"a": A, "p": P[:3]}, "different numbers of samples"),
        (A, "a single array is not enough"),
    ],
)
def test_arrays_that_do_not_suit_the_task_are_named(steady, given, message):
    with pytest.raises((KeyError, ValueError), match=message):
        steady[1].predict(given)


def test_a_forecast_needs_the_given_frames_alone():
    t, w = np.arange(6) / 4, RNG.normal(size=(3, 6, 12)).astype(np.float32)
    data = sx.from_arrays({"w": w}, grid=GRID, times=t)
    task = sx.Task.fit(data, "w", "w", mode=sx.Autoregressive(2))
    model = sx.FNO(task, width=4, modes=3, depth=1, key=jax.random.key(0))
    expected = model.rollout(data, 7)
    frames = sx.from_arrays({"w": w[:, :2]}, grid=GRID, times=t[:2])
    for given in (frames, {"w": w[:, :2]}, w[:, :2]):
        rolled = model.rollout(given, 7)
        np.testing.assert_array_equal(rolled["w"], expected["w"])
        np.testing.assert_allclose(rolled.times, 0.5 + np.arange(7) / 4)
    with pytest.raises(ValueError, match="1 instants are too few"):
        model.rollout(w[:, :1], 7)


def test_points_of_clouds_are_not_told_by_arrays():
    cloud = sx.PointCloud(RNG.uniform(size=(12, 2)))
    data = sx.from_arrays({"a": A}, {"u": A}, points=cloud, parameters={"p": P})
    model = sx.wrap(lambda x: x[..., :1], sx.Task.fit(data, "a", "u"))
    np.testing.assert_allclose(model.predict(data)["u"].std(), model.predict(data)["u"].std())
    with pytest.raises(ValueError, match=r"make a dataset: from_arrays\(…, points=…\)"):
        model.predict(A)


def test_a_result_is_its_best_seed_and_serves_like_it(steady):
    data, model = steady
    members = tuple(sx.FNO(model.task, width=4, modes=3, depth=1, key=jax.random.key(i)) for i in range(3))
    result = sx.FitResult(members, members, History(seeds=3, loss=[[1.0] * 3], val=[[0.3, 0.1, 0.2]], seconds=[1.0]))
    assert result.best is members[1] and result.last is members[1] and result.best_seed == 1
    assert repr(result) == (
        "FitResult(NetworkSurrogate, 3 seeds, 1 epoch in 1 s, loss 1, best validation error 0.1 (seed 1))"
    )
    np.testing.assert_array_equal(result.predict(data)["u"], members[1].predict(data)["u"])
    with pytest.raises(TypeError, match="has no standard deviation"):
        result.predict_std(data)
    pod = sx.fit(sx.PODRegression(sx.Task.fit(data, "p", "u"), rank=2), data)
    np.testing.assert_array_equal(pod.predict_std(data)["u"], pod.best.predict_std(data)["u"])
    with pytest.raises(ValueError, match="no epoch was recorded"):
        pod.history.plot()


@pytest.mark.nightly
def test_seeds_without_validation_count_from_the_first(steady):
    data, model = steady
    result = sx.fit(model, data, optimizer=optax.adam(1e-3), epochs=1, seeds=2, progress=False)
    assert result.best_seed == 0 and result.best is result.members[0]


_PROGRAM = """
import pathlib, sys
import jax, numpy as np
arrays = dict(np.load("inputs.npz"))
program = jax.export.deserialize(pathlib.Path("model.stablehlo").read_bytes())
for size in (1, 5):
    np.save(f"{size}.npy", program.call({name: x[:size] for name, x in arrays.items()})["u"])
assert not any(name.startswith("surrogax") for name in sys.modules)
"""


def test_an_exported_program_runs_without_this_library_for_batches_of_any_size(steady, tmp_path):
    _, model = steady
    model.export(tmp_path / "model.stablehlo")
    np.savez(tmp_path / "inputs.npz", a=A[:5], p=P[:5])
    subprocess.run([sys.executable, "-c", _PROGRAM], cwd=tmp_path, check=True, timeout=120)
    for size in (1, 5):
        expected = model.predict({"a": A[:size], "p": P[:size]})["u"]
        np.testing.assert_allclose(np.load(tmp_path / f"{size}.npy"), expected, atol=1e-5)


@pytest.mark.nightly
def test_exports_of_other_kinds_and_what_cannot_be_exported(steady, tmp_path):
    data, model = steady
    path, fine = tmp_path / "program", sx.Grid.unit_interval(23)

    def exported(result, **options):
        result.export(path, platforms=["cpu"], **options)
        inputs = data.read(list(result.task.input_names()))
        return jax.export.deserialize(path.read_bytes()).call(inputs)["u"]

    np.testing.assert_allclose(exported(model, at=fine), model.predict(data, at=fine)["u"], atol=1e-5)
    pod = sx.fit(sx.PODRegression(sx.Task.fit(data, ("a", "p"), "u"), rank=2, regressor="gp"), data)
    np.testing.assert_allclose(exported(pod), pod.predict(data)["u"], atol=1e-5)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"export: unknown platform 'gpu'; expected .*cpu, cuda, rocm, tpu"):
        model.export(path, platforms=("gpu",))
    far = sx.from_arrays({"a": A}, {"u": A + 1e6}, grid=data.grid)
    with pytest.raises(ValueError, match="export: values of u vary little about a large mean"):
        sx.MeanField(sx.Task.fit(far, "a", "u")).export(path)
    with pytest.raises(ValueError, match="export: MeanField has no inputs"):
        sx.MeanField(sx.Task.fit(data, (), "u")).export(path)
    assert path.read_bytes() == before


def test_a_network_warns_of_parameters_outside_its_range(steady, tmp_path):
    _, model = steady
    model.save(tmp_path / "model")
    for each in (model, sx.load(tmp_path / "model")):
        with pytest.warns(UserWarning, match=r"1 of 2 samples have p outside the training range"):
            each.predict({"a": A[:2], "p": np.array([1.5, 5.1])})
    model.predict({"a": A[:2], "p": P[:2]})  # warnings are errors here


def test_networks_ask_for_points_of_their_own_layout(steady):
    data, model = steady
    with pytest.raises(ValueError, match="needs points of the same layout"):
        model.predict(data, at=sx.Grid.unit_interval(12, "cells"))


def test_inputs_on_another_grid_are_refused():
    sensors = sx.Box(x=(0.2, 0.4)).grid(12)
    data = sx.from_arrays({"a": A}, {"u": A}, grid=GRID, elsewhere={"a": sensors})
    with pytest.raises(ValueError, match="FNO needs all fields on one grid"):
        sx.FNO(sx.Task.fit(data, "a", "u"), width=4, modes=3, depth=1, key=jax.random.key(0))


def test_a_wrapped_network_is_loaded_for_its_own_task_alone(tmp_path):
    def build(inputs, targets):
        data = sx.from_arrays({"a": A, "b": -A}, {"u": 2 * A, "v": A}, grid=GRID)
        return sx.wrap(lambda x: 3 * x, sx.Task.fit(data, inputs, targets))

    build("a", "u").save(tmp_path / "model")
    again = sx.load(tmp_path / "model", like=build("a", "u"))
    np.testing.assert_array_equal(again.predict(A)["u"], build("a", "u").predict(A)["u"])
    for other in (build("b", "u"), build("a", "v")):
        with pytest.raises(StorageError, match=r"was saved for Task\(a → u"):
            sx.load(tmp_path / "model", like=other)
    with pytest.raises(StorageError, match="load it without like"):
        sx.MeanField(build("a", "u").task).save(tmp_path / "mean")
        sx.load(tmp_path / "mean", like=build("a", "u"))
    with pytest.raises(ValueError, match="is a folder"):
        sx.load(tmp_path)


def test_uneven_instants_are_told_and_not_mixed_with_even_ones():
    w = RNG.normal(size=(3, 5, 12)).astype(np.float32)
    even = sx.from_arrays({"w": w}, grid=GRID, times=np.arange(5.0))
    uneven = sx.from_arrays({"w": w}, grid=GRID, times=np.array([0, 0.1, 0.3, 0.7, 1.5]))
    with pytest.warns(UserWarning, match=r"instants of the data are uneven \(0, 0\.1, 0\.3, 0\.7, …\)"):
        task = sx.Task.fit(uneven, "w", "w", mode=sx.Autoregressive(1))
    with pytest.raises(ValueError, match="uneven instants"):
        sx.Persistence(task).rollout(uneven, 2)
    steps = sx.Persistence(sx.Task.fit(even, "w", "w", mode=sx.Autoregressive(1)))
    with pytest.raises(ValueError, match="instants 1 apart, those of the dataset are uneven"):
        steps.predict(uneven)
