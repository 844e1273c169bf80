"""`fit`: what training reaches, what a run folder survives, and what it refuses."""

import inspect
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import surrogax as sx
from surrogax.core.files import StorageError
from surrogax.surrogates.training.steps import as_step

N = 9
TRACES = {"loss": 0}


class Toy(eqx.Module):
    """u_i from a_{i−1}, a_i, a_{i+1}: a linear and a tanh unit."""

    weight: jax.Array

    def __init__(self, key):
        self.weight = jax.random.normal(key, (2, 3)) / 2

    def __call__(self, x):
        near = jnp.concatenate([jnp.roll(x, 1, 0), x, jnp.roll(x, -1, 0)], -1)
        return near @ self.weight[0][:, None] + jnp.tanh(near @ self.weight[1][:, None])


def make_data(n: int = 16) -> sx.Dataset:
    rng = np.random.default_rng(0)
    x = 2 * np.pi * np.arange(N) / N
    a = rng.normal(size=(n, 1)) * np.sin(x) + rng.normal(size=(n, 1)) * np.cos(x)
    u = 0.3 + a - 0.4 * np.roll(a, 1, 1) + 0.2 * a**2
    return sx.from_arrays({"a": np.float32(a)}, {"u": np.float32(u)}, grid=sx.Grid.unit(N, 1, "periodic"))


TRAIN, VAL = make_data().split(train=12, val=4)
# The same inputs, ids and sizes with one other value.
OTHER = TRAIN.with_fields({"a": TRAIN["a"], "u": TRAIN["u"] + np.eye(12, N, dtype=np.float32)})


@pytest.fixture(scope="module")
def task():
    return sx.Task.fit(TRAIN, "a", "u")


@pytest.fixture(scope="module")
def fit(task):
    """`fit` of the toy with small settings, any of which can be given anew; 3 steps make an epoch."""

    def run(model=None, data=TRAIN, **changes):
        settings = dict(val=VAL, optimizer=optax.adam(3e-2), epochs=4, batch_size=4, progress=False)
        model = (lambda key: sx.wrap(Toy(key), task)) if model is None else model
        return sx.fit(model, data, **(settings | changes))

    return run


def counted_loss(u, reference, weights, domain):
    TRACES["loss"] += 1
    return sx.losses.RelativeL2()(u, reference, weights, domain)


@pytest.fixture(scope="module")
def trained(fit):
    return fit(epochs=40, loss=counted_loss)


@pytest.fixture(scope="module")
def finished(fit, tmp_path_factory):
    """Two uninterrupted runs of four epochs with their results: a plain one, and one of two seeds with averages."""
    root = tmp_path_factory.mktemp("runs")
    plain = fit(run=root / "plain", checkpoint_every=0)
    averaged = fit(run=root / "averaged", seeds=2, ema=0.8)
    return {"plain": (root / "plain", plain), "averaged": (root / "averaged", averaged)}


def checkpoint(folder) -> tuple[int, list[np.ndarray], dict]:
    """Number, arrays (parameters, optimiser state, keys, the best) and history of the newest checkpoint."""
    with ocp.CheckpointManager(Path(folder) / "checkpoints") as manager:
        step = manager.latest_step()
        args = ocp.args.Composite(state=ocp.args.StandardRestore(), history=ocp.args.JsonRestore())
        found = manager.restore(step, args=args)
    return step, [np.asarray(found["state"][k]) for k in sorted(found["state"])], found["history"]


def assert_same_run(a, b):
    (step_a, arrays_a, history_a), (step_b, arrays_b, history_b) = checkpoint(a), checkpoint(b)
    assert step_a == step_b and len(arrays_a) == len(arrays_b) > 5
    for x, y in zip(arrays_a, arrays_b, strict=True):
        np.testing.assert_array_equal(x, y)
    assert history_a["loss"] == history_b["loss"] and history_a["val"] == history_b["val"]


def assert_same_surrogates(a, b):
    for x, y in zip(jax.tree.leaves((a.members, a.lasts)), jax.tree.leaves((b.members, b.lasts)), strict=True):
        np.testing.assert_array_equal(x, y)


def epochs_logged(folder) -> list[int]:
    return [json.loads(line)["epoch"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def contents(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def relative_error(u, v) -> float:
    return float(np.mean(np.linalg.norm(u - v, axis=1) / np.linalg.norm(v, axis=1)))


# What training reaches ------------------------------------------------------------------------------------------------


def test_training_lowers_the_loss_and_beats_the_mean(trained):
    assert trained.history.loss[-1][0] < trained.history.loss[0][0] / 3
    mean = np.broadcast_to(TRAIN["u"].mean(0), VAL["u"].shape)
    assert relative_error(trained.predict(VAL)["u"], VAL["u"]) < relative_error(mean, VAL["u"]) / 2


def test_best_has_the_lowest_validation_error_and_last_the_last_one(fit):
    result = fit(optimizer=optax.sgd(0.7), epochs=8)  # a rate at which the error goes up and down
    errors = [e[0] for e in result.history.val]
    assert min(errors) < 0.99 * errors[-1]
    np.testing.assert_allclose(relative_error(result.predict(VAL)["u"], VAL["u"]), min(errors), rtol=1e-5)
    np.testing.assert_allclose(relative_error(result.last.predict(VAL)["u"], VAL["u"]), errors[-1], rtol=1e-5)


def test_all_epochs_run_one_compiled_program(trained):
    assert len(trained.history.loss) == 40 and TRACES["loss"] == 1


def test_without_validation_best_is_last(fit):
    result = fit(val=None, epochs=1)
    assert result.history.val == [] and result.best is result.last


@pytest.mark.nightly
def test_lbfgs_on_the_full_batch_lowers_the_loss_faster_than_gradient_descent(fit):
    start = dict(epochs=8, batch_size=99, val=None, key=jax.random.key(3))
    lbfgs = fit(optimizer=optax.lbfgs(), **start).history.loss
    descent = fit(optimizer=optax.sgd(0.3), **start).history.loss
    assert lbfgs[0] == descent[0], "the same starting point"
    assert lbfgs[-1][0] < 0.85 * descent[-1][0] < 0.85 * descent[0][0]


def test_clipping_schedules_and_averages_act_and_steps_are_counted_exactly(fit, task, tmp_path):
    model = sx.wrap(Toy(jax.random.key(5)), task)
    rate = optax.piecewise_constant_schedule(0.25, {1: 0.0})  # one step, then none
    optimizer = optax.chain(optax.clip_by_global_norm(1e-2), optax.sgd(rate))
    result = fit(model, optimizer=optimizer, epochs=None, steps=4, ema=0.75, run=tmp_path / "run")
    moved = result.last.network.network.weight - model.network.network.weight
    np.testing.assert_allclose(np.linalg.norm(moved), (1 - 0.75**4) * 0.25 * 1e-2, rtol=1e-4)
    assert checkpoint(tmp_path / "run")[0] == 4 and len(result.history.loss) == 2, (
        "an epoch of three steps, and one more"
    )


def test_patience_stops_early_and_a_stopped_run_stays_stopped(fit, tmp_path):
    for _ in range(2):
        result = fit(optimizer=optax.sgd(0.0), patience=2, epochs=30, run=tmp_path / "run")
        assert len(result.history.loss) == 3, "the first epoch is the best, two more without a better one"


@pytest.mark.nightly
def test_history_draws_one_line_per_curve_and_a_band_over_seeds(trained, finished):
    figure = trained.history.plot()
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [40, 40]
    assert len(figure.axes[0].collections) == 0
    assert len(finished["averaged"][1].history.plot().axes[0].collections) == 2


@pytest.mark.nightly
def test_seeds_of_a_function_of_a_key_start_and_stay_different(finished):
    result = finished["averaged"][1]
    a, b = (m.network.network.weight for m in result.members)
    assert len(result.members) == len(result.lasts) == 2 and not np.allclose(a, b)
    assert all(len(errors) == 2 for errors in result.history.val)


# Run folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", pytest.param("averaged", marks=pytest.mark.nightly)])
def test_two_calls_of_n_epochs_are_one_of_2n_bit_for_bit(fit, finished, tmp_path, name):
    reference, result = finished[name]
    options = {"plain": {}, "averaged": {"seeds": 2, "ema": 0.8}}[name]
    fit(epochs=2, run=tmp_path / "run", **options)
    assert epochs_logged(tmp_path / "run") == [1, 2]
    again = fit(run=tmp_path / "run", **options)
    assert_same_run(tmp_path / "run", reference)
    assert_same_surrogates(again, result)
    assert epochs_logged(tmp_path / "run") == [1, 2, 3, 4]


def test_a_finished_run_gives_its_result_without_training(fit, finished, tmp_path):
    shutil.copytree(finished["plain"][0], tmp_path / "run")
    before = contents(tmp_path / "run")
    assert_same_surrogates(fit(run=tmp_path / "run"), finished["plain"][1])
    assert contents(tmp_path / "run") == before


def damage(step: Path, how: str):
    files = [p for p in step.rglob("*") if p.is_file()]
    assert files
    for path in files:
        if how == "cut short":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        elif "d" in path.parts[-2:]:
            path.unlink()


# What orbax was still reading when it failed is reported when it is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["cut short", "data files gone"])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(fit, finished, tmp_path, how):
    run = tmp_path / "run"
    shutil.copytree(finished["plain"][0], run)
    damage(run / "checkpoints" / "12", how)
    with pytest.warns(UserWarning, match=r"the checkpoint of step 12 is damaged .* going on from step 9"):
        fit(run=run)
    assert_same_run(run, finished["plain"][0])
    assert epochs_logged(run) == [1, 2, 3, 4]


def test_a_half_written_checkpoint_is_ignored(fit, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished["plain"][0], run)
    (run / "checkpoints" / "12").rename(run / "checkpoints" / "12.orbax-checkpoint-tmp")
    fit(run=run)
    assert_same_run(run, finished["plain"][0])


def test_damaged_checkpoints_alone_are_an_error_in_one_sentence(fit, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished["plain"][0], run)
    for step in ("9", "12"):
        damage(run / "checkpoints" / step, "cut short")
    with pytest.raises(
        StorageError, match=r"run/checkpoints: no checkpoint can be read \(of step 12: .*remove the run"
    ):
        fit(run=run)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"batch_size": 6}, "batch_size was 4, now 6"),
        ({"data": VAL}, "train.samples was 12, now 4"),
        ({"data": OTHER}, r"train.checksums.u was \d+, now"),
        ({"seeds": 2}, "seeds was 1, now 2"),
        ({"optimizer": optax.sgd(0.1)}, "optimizer"),
        ({"optimizer": optax.adam(3.1e-2)}, "optimizer.* was -0.03, now -0.031"),
        ({"loss": sx.losses.MSE()}, "objective.*RelativeL2, now .*MSE"),
        ({"key": 7}, r"key\[1\]\[1\] was 0, now 7"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
@pytest.mark.quick("data-0", "optimizer-1", "loss-")
def test_the_folder_of_another_configuration_is_refused_and_left_alone(fit, finished, change, named):
    folder = finished["plain"][0]
    before = contents(folder)
    if "key" in change:
        change = {"key": jax.random.key(change["key"])}
    with pytest.raises(ValueError, match=f"belongs to another configuration: {named}"):
        fit(run=folder, **change)
    assert contents(folder) == before


def test_a_damaged_settings_file_is_named(fit, finished, tmp_path):
    shutil.copytree(finished["plain"][0], tmp_path / "run")
    (tmp_path / "run" / "settings.json").write_text('{"network": ')
    with pytest.raises(StorageError, match=r"settings\.json is damaged"):
        fit(run=tmp_path / "run")


# kill -9 and SIGTERM. One process imports everything (this file too, so it must not touch a device) and forks children
# that train, so that a start costs little.
_SCRIPT = """
import os, random, signal, sys, time
import equinox, jax, optax, orbax.checkpoint
import surrogax as sx
from surrogax.surrogates.training import batches
sys.path.insert(0, {folder!r})
import test_fit_toy as toy

jax.config.update("jax_compilation_cache_dir", "cache")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

def start(run, epochs):
    # Streamed runs save after every step, in the middle of epochs.
    batches._CHUNK_BYTES = 1
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            task = sx.Task.fit(toy.TRAIN, "a", "u")
            sx.fit(lambda key: sx.wrap(toy.Toy(key), task), toy.TRAIN, val=toy.VAL, optimizer=optax.adam(1e-2),
                   epochs=epochs, batch_size=4, run=run, progress=False, checkpoint_every=0,
                   stream=run.startswith("streamed"))
            code = 0
        except SystemExit as stop:
            code = stop.code
        finally:
            os._exit(code)
    return pid

def entries(run):
    try:
        return set(os.listdir(run + "/checkpoints"))
    except FileNotFoundError:
        return set()

def stop(run, epochs, sign, new):
    seen = entries(run)
    pid = start(run, epochs)
    while len(entries(run) - seen) == 0 or (seen := seen | entries(run)) and (new := new - 1) > 0:
        assert os.waitpid(pid, os.WNOHANG)[0] == 0, "training ended before it could be stopped"
        time.sleep(0.0002)
    time.sleep(random.uniform(0, 0.02))
    os.kill(pid, sign)
    return os.waitpid(pid, 0)[1]

def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

for kind, epochs, kills in (("", 24, 2), ("streamed ", 5, 1)):
    assert wait(start(kind + "reference", epochs)) == 0
    for kill in range(kills):
        assert stop(kind + "killed", epochs, signal.SIGKILL, new=2) == signal.SIGKILL
    assert wait(start(kind + "killed", epochs)) == 0
status = stop("terminated", 240, signal.SIGTERM, new=3)
print("exit", os.waitstatus_to_exitcode(status), max(int(e) for e in entries("terminated") if e.isdigit()))
assert wait(start("terminated", 24)) == 0
"""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Folder with the runs `reference` (never stopped), `killed` (twice), the same streamed (once) and
    `terminated` (once); what was printed."""
    folder = tmp_path_factory.mktemp("stopped")
    shutil.copy(__file__, folder / "test_fit_toy.py")
    (folder / "script.py").write_text(_SCRIPT.format(folder=str(folder)))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "script.py"], cwd=folder, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout


@pytest.mark.parametrize("kind, epochs", [("", 24), ("streamed ", 5)])
def test_a_run_killed_several_times_ends_bit_for_bit_like_an_uninterrupted_one(stopped, kind, epochs):
    folder, _ = stopped
    assert_same_run(folder / f"{kind}killed", folder / f"{kind}reference")
    assert epochs_logged(folder / f"{kind}killed") == list(range(1, epochs + 1))


def test_sigterm_saves_and_exits_with_143_and_the_run_can_go_on(stopped):
    folder, printed = stopped
    code, step = (int(word) for word in printed.split()[1:])
    assert code == 143
    assert step % 3 == 0 and 3 <= step < 72
    assert_same_run(folder / "terminated", folder / "reference")


# What it refuses ------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_longer_finite_stops_with_finite_parameters_in_the_checkpoint(fit, tmp_path):
    run = tmp_path / "run"
    rates = optax.piecewise_constant_schedule(1e-2, {4: 1e30})  # the fifth step throws the parameters out of range
    settings = dict(optimizer=optax.sgd(rates), loss=sx.losses.MSE(), run=run, checkpoint_every=0)
    with pytest.raises(FloatingPointError, match=r"not finite at step 5; .*last good state is in .*run.*learning rate"):
        fit(**settings)
    step, arrays, history = checkpoint(run)
    assert step == 6 and len(history["loss"]) == 1
    assert all(np.isfinite(a).all() for a in arrays)
    assert epochs_logged(run) == [1]


def test_nan_in_the_data_is_an_error_with_the_positions_of_the_samples(fit):
    values = VAL.read()
    values["u"][[1, 3], 2] = [np.nan, np.inf]
    broken = sx.from_arrays({"a": values["a"]}, {"u": values["u"]}, grid=VAL.grid)
    with pytest.raises(ValueError, match=r"field 'u' holds NaN or infinity in 2 of \d+ samples, at positions \[1, 3\]"):
        fit(val=broken)
    with pytest.raises(ValueError, match=r"field 'u' holds NaN or infinity in 2 of \d+ samples, at positions \[1, 3\]"):
        fit(data=broken)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"optimizer": None}, "fit needs an optimizer, for example"),
        ({"steps": 3}, "exactly one of epochs=… and steps=…"),
        ({"epochs": None}, "exactly one of epochs=… and steps=…"),
        ({"data": None}, "fit needs data"),
        ({"seeds": 0}, r"fit\(seeds=0\): expected 1 or more"),
        ({"val": None, "patience": 3}, "needs val="),
        ({"symmetry": True}, "declares no symmetry group"),
        ({"unroll": sx.Unroll(2)}, "only an autoregressive task can be rolled out"),
        (
            {"objective": sx.Supervised(), "loss": sx.losses.MSE()},
            r"fit\(loss=…\) belongs to the model's own objective",
        ),
        ({"objective": sx.Supervised(), "dtype": "bfloat16"}, r"fit\(dtype=…\) belongs to the model's own objective"),
        ({"batch_size": 0}, r"fit\(batch_size=0\): expected 1 or more"),
    ],
    ids=lambda x: "+".join(x) if isinstance(x, dict) else "",
)
def test_arguments_that_do_not_fit_are_named(fit, change, message):
    with pytest.raises(ValueError, match=message):
        fit(**change)


def test_words_and_types_that_nobody_knows_are_named(fit):
    with pytest.raises(TypeError, match=r"fit does not know sampler=…, and the objective of NetworkSurrogate neither"):
        fit(sampler=3)
    with pytest.raises(TypeError, match=r"optimizer=0.001 is no optimiser; pass for example optax.adam"):
        inspect.unwrap(as_step)(1e-3)  # without the type check of the tests


def test_a_network_that_cannot_be_made_anew_needs_a_function_for_seeds(fit, task):
    with pytest.raises(ValueError, match=r"Toy does not know how to make new weights; pass a function of a key"):
        fit(sx.wrap(Toy(jax.random.key(0)), task), seeds=2)
    with pytest.raises(TypeError, match="MeanField has nothing to train"):
        fit(sx.MeanField(task))


# Without data ---------------------------------------------------------------------------------------------------------


class Parabola(sx.AbstractObjective):
    """(w − 3)², a state that counts its steps, and the mean weight as a metric."""

    calls = 1

    def init(self, key):
        return jnp.zeros((), jnp.int32)

    def draw(self, state, batch, key):
        assert batch is None

    def value(self, model, points):
        weight = model.network.network.weight
        return ((weight - 3) ** 2).mean(), sx.Outcome(metrics={"weight": weight.mean()})

    def update(self, state, points, outcome, key):
        return state + 1

    def validate(self, model, batch):
        raise TypeError("this objective has no validation data")


def test_training_without_data_counts_steps_and_goes_on_for_as_many_as_are_missing(fit, tmp_path):
    options = dict(data=None, val=None, objective=Parabola(), optimizer=optax.sgd(0.1), epochs=None, batch_size=20)
    fit(steps=3, run=tmp_path / "run", **options)
    result = fit(steps=5, run=tmp_path / "run", **options)
    step, arrays, _ = checkpoint(tmp_path / "run")
    counts = [int(a) for a in arrays if a.dtype == np.int32 and a.shape == ()]
    assert step == 5 and counts == [5, 5], "the state of the objective and the number of steps"
    first, last = result.history.loss[0][0], result.history.loss[1][0]
    assert math.isfinite(first) and last < first
    first, second = (means[0] for means in result.history.metrics["weight"])
    assert first < second < 3
    with pytest.raises(ValueError, match="without data it counts steps"):
        fit(**(options | {"epochs": 2}))


def test_float64_trains_saves_and_predicts_in_float64(fit, task, tmp_path):
    make = lambda key: sx.FNO(task, width=2, modes=2, depth=1, key=key)  # noqa: E731
    single, double = (fit(make(jax.random.key(0)), epochs=2, dtype=dtype) for dtype in (None, "float64"))
    assert double.best.parameters == single.best.parameters
    assert all(x.dtype != np.float32 for x in jax.tree.leaves(double.last) if eqx.is_inexact_array(x))
    np.testing.assert_allclose(double.history.loss, single.history.loss, rtol=1e-4)
    double.save(tmp_path / "double")
    expected, found = double.predict(VAL)["u"], sx.load(tmp_path / "double").predict(VAL)["u"]
    assert expected.dtype == np.float64
    np.testing.assert_array_equal(found, expected)
