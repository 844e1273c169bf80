"""Training runs as a user meets them: Ctrl-C, logs, finished folders, samples without a relative error, metrics, symmetries."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.surrogates.training.interruption import Interruption

RNG = np.random.default_rng(0)
A = RNG.normal(size=(20, 16)).astype(np.float32)
DATA = sx.from_arrays({"a": A}, {"u": 2 * A}, grid=sx.Grid.unit_interval(16, "periodic"))
TASK = sx.Task.fit(DATA, "a", "u")


def model():
    return sx.FNO(TASK, width=4, modes=3, depth=1, key=jax.random.key(0))


def fit(data=DATA, **options):
    settings = {"val": DATA, "optimizer": optax.adam(1e-2), "epochs": 4, "batch_size": 10, "progress": False}
    return sx.fit(model(), data, **{**settings, **options})


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard():
    """Programs started in the background by a shell ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_after(epochs: int):
    return lambda step, values: os.kill(os.getpid(), signal.SIGINT) if values["epoch"] == epochs else None


def test_ctrl_c_returns_the_best_model_so_far_and_the_run_goes_on(tmp_path):
    with pytest.warns(UserWarning, match=r"interrupted after 4 of 8 steps; the best model so far .* goes on"):
        stopped = fit(log=interrupt_after(2), run=tmp_path / "run")
    assert stopped.history.rounds == 2
    np.testing.assert_array_equal(stopped.predict(DATA)["u"], fit(epochs=2).predict(DATA)["u"])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed, whole = fit(run=tmp_path / "run"), fit()
    assert resumed.history.val == whole.history.val
    np.testing.assert_array_equal(resumed.predict(DATA)["u"], whole.predict(DATA)["u"])


def test_ctrl_c_without_validation_returns_the_last_model():
    with pytest.warns(UserWarning, match="interrupted after 2 of 8 steps"):
        stopped = fit(val=None, log=interrupt_after(1))
    np.testing.assert_array_equal(stopped.predict(DATA)["u"], fit(val=None, epochs=1).predict(DATA)["u"])


def test_a_second_ctrl_c_is_a_keyboard_interrupt():
    with Interruption() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.interrupted.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.pthread_kill  # noqa: B018 (a byte code, at which Python runs the handler)


def test_logs_are_called_after_every_epoch():
    first, second = [], []
    result = fit(log=[lambda step, values: first.append((step, values)), lambda step, values: second.append(step)])
    assert [step for step, _ in first] == second == [2, 4, 6, 8]
    assert [values["val"] for _, values in first] == [v for (v,) in result.history.val]
    assert [values["loss"] for _, values in first] == [v for (v,) in result.history.loss]
    assert {"epoch", "loss", "val", "seconds"} <= first[0][1].keys()


def test_a_folder_with_more_epochs_is_refused(tmp_path):
    whole = fit(run=tmp_path / "run")
    with pytest.raises(ValueError, match=r"holds 8 steps \(4 epochs\), more than the 4 asked for"):
        fit(run=tmp_path / "run", epochs=2)
    assert fit(run=tmp_path / "run").history.val == whole.history.val


def test_samples_without_a_relative_error_are_named():
    a = A.copy()
    a[[3, 7]] = 0
    zero = sx.from_arrays({"a": a}, {"u": 2 * a}, grid=DATA.grid)
    with pytest.raises(FloatingPointError, match=r"training samples \[3, 7\] are zero everywhere.*losses\.MSE"):
        fit(zero, val=None)
    with pytest.warns(UserWarning, match=r"never finite.*validation samples \[3, 7\] are zero everywhere"):
        result = fit(val=zero)
    np.testing.assert_array_equal(result.predict(DATA)["u"], result.last.predict(DATA)["u"])
    learned = fit(zero, val=zero, loss=sx.losses.MSE(), metric="rmse")
    assert np.isfinite(learned.history.val).all()


def test_the_validation_error_is_the_metric_of_that_name():
    chosen = fit(metric="rmse")
    table = sx.evaluate(chosen, DATA, metrics=["rmse"], timing=False)
    assert table.value("NetworkSurrogate", metric="rmse") == pytest.approx(chosen.history.best_error[0], rel=1e-4)
    with pytest.raises(ValueError, match="unknown metric 'nonsense'"):
        fit(metric="nonsense")
    with pytest.raises(ValueError, match="needs the uncertainty"):
        fit(metric="crps")


@pytest.fixture(scope="module")
def gradients():
    """Scalars and their gradients on a periodic square."""
    x, y = np.moveaxis(sx.Grid.unit_square(12, "periodic").points, -1, 0)
    c = RNG.normal(size=(6, 3, 1, 1))
    psi = c[:, 0] * np.sin(2 * np.pi * x) + c[:, 1] * np.cos(2 * np.pi * y) + c[:, 2] * np.sin(2 * np.pi * (x + y))
    v = np.stack([np.roll(psi, -1, k) - np.roll(psi, 1, k) for k in (1, 2)], -1)
    return sx.from_arrays(
        {"psi": psi.astype(np.float32)}, {"v": v.astype(np.float32)}, grid=sx.Grid.unit_square(12, "periodic")
    )


def test_the_gradient_of_a_turned_field_is_the_turned_gradient(gradients):
    group, data = sx.Dihedral(vectors=("v",)), {k: jnp.asarray(v) for k, v in gradients.read().items()}
    for element in group.elements():
        psi = group.transform(element, data["psi"][0], "periodic")
        turned = group.turn(element, group.transform(element, data["v"][0], "periodic"))
        expected = np.stack([np.roll(psi, -1, k) - np.roll(psi, 1, k) for k in (0, 1)], -1)
        np.testing.assert_allclose(turned, expected, atol=1e-5)


@pytest.mark.nightly
def test_components_are_turned_only_if_they_are_declared(gradients):
    task = sx.Task.fit(gradients, "psi", "v")
    net = sx.FNO(task, width=4, modes=3, depth=1, key=jax.random.key(0))
    options = {"optimizer": optax.adam(1e-3), "epochs": 1, "batch_size": 6, "progress": False}
    with pytest.raises(ValueError, match=r"'v' has components; pass Dihedral\(vectors=\('v',\)\)"):
        sx.fit(net, gradients, symmetry=sx.Dihedral(), **options)
    with pytest.raises(ValueError, match="'psi' is no vector"):
        sx.fit(net, gradients, symmetry=sx.Dihedral(vectors=("psi", "v")), **options)
    for group in (sx.Dihedral(vectors=("v",)), sx.Dihedral(scalars=("v",))):
        sx.fit(net, gradients, symmetry=group, **options)
