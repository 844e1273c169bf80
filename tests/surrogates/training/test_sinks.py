"""Sinks of the numbers of a training: tables, TensorBoard's files, remote services; none of them can stop a training."""

import csv
import json
import struct
import sys
import threading
import time
import types

import jax
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.surrogates.training import sinks
from surrogax.surrogates.training.event_file import EventFile, _checksum
from surrogax.surrogates.training.history import History
from surrogax.surrogates.training.logs import Logs

A = np.random.default_rng(0).normal(size=(20, 16)).astype(np.float32)
DATA = sx.from_arrays({"a": A}, {"u": 2 * A}, grid=sx.Grid.unit_interval(16, "periodic"))
TASK = sx.Task.fit(DATA, "a", "u")


def fit(**options):
    settings = {"val": DATA, "optimizer": optax.adam(1e-2), "epochs": 3, "batch_size": 10, "progress": False}
    model = sx.FNO(TASK, width=4, modes=3, depth=1, key=jax.random.key(0))
    return sx.fit(model, DATA, **{**settings, **options})


# Logs ------------------------------------------------------------------------------------------------------------------


class Failing(sx.log.AbstractSink):
    def __init__(self, when: str):
        self.when, self.calls = when, 0

    def __call__(self, step, values):
        self.calls += 1
        if self.when == "write":
            raise RuntimeError("no network")

    def close(self):
        if self.when == "close":
            raise OSError("disk full")


def test_a_log_that_fails_is_named_once_and_left_out():
    seen, failing, late = [], Failing("write"), Failing("close")
    logs = Logs([failing, lambda step, values: seen.append((step, values.popitem())), late])
    with pytest.warns(
        UserWarning, match=r"log Failing failed and is left out .* RuntimeError\('no network'\)"
    ) as warned:
        for step in (1, 2):
            logs.write(step, {"loss": 1.0, "val": 2.0})
    assert len(warned) == 1 and failing.calls == 1
    assert seen == [(1, ("val", 2.0)), (2, ("val", 2.0))], "each log has a dict of its own"
    with pytest.warns(UserWarning, match="disk full"):
        logs.close()
    assert late.calls == 2


def test_what_is_no_log_is_refused_before_anything_is_trained():
    with pytest.raises(TypeError, match=r"fit.*log"):
        fit(log=["losses.csv"])


def test_a_training_goes_on_without_a_failing_log_and_closes_the_others(tmp_path):
    table = sx.log.CSV(tmp_path / "new" / "losses.csv")
    optimizer = optax.inject_hyperparams(optax.adam)(optax.linear_schedule(1e-2, 0.0, 6))
    with pytest.warns(UserWarning, match="no network"):
        result = fit(log=[Failing("write"), table], run=tmp_path / "run", optimizer=optimizer)
    assert result.history.rounds == 3
    rows = list(csv.DictReader((tmp_path / "new" / "losses.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    assert [float(row["val"]) for row in rows] == [val for (val,) in result.history.val]
    own = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    assert [{**row, "step": float(row["step"])} for row in own] == [{**row, "step": float(row["step"])} for row in rows]
    # What an epoch reports: the optimiser's numbers, and where the time went.
    rates = [float(row["learning_rate"]) for row in rows]
    np.testing.assert_allclose(rates, [np.mean([1e-2 * (1 - k / 6) for k in (i, i + 1)]) for i in (0, 2, 4)], rtol=1e-5)
    assert all(float(row["gradient_norm"]) > 0 for row in rows)
    for row in rows:
        parts = [float(row[f"seconds_{what}"]) for what in ("data", "training", "validation", "writing")]
        assert all(part >= 0 for part in parts) and sum(parts) == pytest.approx(float(row["seconds"]))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["metrics"]["gradient_norm"] == result.history.metrics["gradient_norm"][0]
    assert set(lines[0]["spent"]) == {"data", "training", "validation", "writing"}


def test_numbers_that_were_not_recorded_from_the_beginning_belong_to_the_last_epochs():
    history = History(loss=[[1.0], [0.5], [0.2]], seconds=[1.0, 2.0, 3.0], metrics={"norm": [[7.0], [8.0]]})
    assert "norm" not in history.row(0) and [history.row(i)["norm"] for i in (1, 2)] == [7.0, 8.0]
    assert history.latest == history.row(2)


def test_a_number_that_comes_later_gets_a_column(tmp_path):
    table = sx.log.CSV(tmp_path / "losses.csv")
    for step, values in ((1, {"loss": 2.0}), (2, {"loss": 1.0, "val": float("nan")}), (3, {"loss": 0.5})):
        table(step, values)
        table.close()
    assert table.path.read_text().split() == ["step,loss,val", "1,2.0,", "2,1.0,nan", "3,0.5,"]


# TensorBoard -----------------------------------------------------------------------------------------------------------


def test_checksums_of_event_files_are_masked_crc32c():
    # RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 8a9136aa; "123456789" has e3069283.
    for data, crc in ((bytes(32), 0x8A9136AA), (b"123456789", 0xE3069283)):
        masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        assert _checksum(data) == struct.pack("<I", masked)


def records(path) -> list[bytes]:
    """The data of an event file, whose lengths and checksums fit."""
    data, found = path.read_bytes(), []
    while data:
        length = struct.unpack("<Q", data[:8])[0]
        event = data[12 : 12 + length]
        assert data[8:12] == _checksum(data[:8]) and data[12 + length : 16 + length] == _checksum(event)
        found.append(event)
        data = data[16 + length :]
    return found


def test_an_event_file_holds_the_numbers(tmp_path):
    file = EventFile(tmp_path, first_step=300)
    file.write(300, {"loss": 0.25, "far": 1e300, "unknown": float("nan")})
    file.close()
    (path,) = tmp_path.iterdir()
    version, session, event = records(path)
    assert version.endswith(b"brain.Event:2") and session.endswith(bytes([0x3A, 2, 8, 1]))
    assert bytes([0x10, 0xAC, 0x02]) in event, "step 300 as a varint"
    assert b"\x0a\x04loss\x15" + struct.pack("<f", 0.25) in event
    assert b"\x0a\x03far\x15" + struct.pack("<f", np.inf) in event


def test_tensorboard_reads_a_run_that_was_resumed(tmp_path):
    reading = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="pip install tensorboard"
    )
    first, again = sx.log.TensorBoard(tmp_path), sx.log.TensorBoard(tmp_path)
    for sink, steps in ((first, (10, 20, 30)), (again, (20, 30, 40))):
        for step in steps:
            sink(step, {"loss": step + (0.5 if sink is again else 0.0)})
        sink.close()
        time.sleep(1.1)  # files are read in the order of their names, which hold seconds
    found = reading.EventAccumulator(str(tmp_path))
    found.Reload()
    assert [(e.step, e.value) for e in found.Scalars("loss")] == [(10, 10.0), (20, 20.5), (30, 30.5), (40, 40.5)]


# Remote services -------------------------------------------------------------------------------------------------------


class Remote(sinks.AbstractRemote):
    def __init__(self, error: BaseException | None = None, wait: threading.Event | None = None):
        super().__init__()
        self.error_at_begin, self.wait, self.sent, self.ended = error, wait, [], False

    def begin(self):
        if self.error_at_begin is not None:
            raise self.error_at_begin
        if self.wait is not None:
            self.wait.wait()

        def end():
            self.ended = True

        return (lambda step, values: self.sent.append((step, values["loss"]))), end


def test_numbers_are_sent_from_another_thread_before_training_ends():
    remote = Remote()
    result = fit(log=remote)
    assert remote.sent == [(2 * i + 2, loss) for i, (loss,) in enumerate(result.history.loss)] and remote.ended


def test_a_service_that_exits_or_lags_behind_stops_nothing(monkeypatch):
    with pytest.warns(UserWarning, match=r"SystemExit\(1\)"):
        logs = Logs([Remote(error=SystemExit(1))])
        logs.write(1, {"loss": 1.0})
        logs.close()
    monkeypatch.setattr(sinks, "_MOST", 1)
    answer = threading.Event()
    with pytest.warns(UserWarning, match="Remote has 1 epochs still to send"):
        logs = Logs([Remote(wait=answer)])
        for step in range(2):
            logs.write(step, {"loss": 1.0})
    answer.set()


def test_a_service_that_refuses_or_hangs_stops_nothing(monkeypatch):
    refused = Remote(error=ConnectionError("refused"))
    with pytest.warns(UserWarning, match="log Remote failed .*refused"):
        assert fit(log=refused).history.rounds == 3
    monkeypatch.setattr(sinks, "_WAIT", 0.2)
    answer = threading.Event()
    hanging, began = Remote(wait=answer), time.monotonic()
    with pytest.warns(UserWarning, match=r"TimeoutError\('Remote was still sending"):
        hanging(2, {"loss": 1.0})
        Logs([hanging]).close()
    assert time.monotonic() - began < 5
    answer.set()


def test_a_missing_package_is_named_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(sinks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="WeightsAndBiases needs the package wandb: pip install wandb"):
        sx.log.WeightsAndBiases(project="darcy")
    with pytest.raises(ImportError, match="MLflow needs the package mlflow"):
        sx.log.MLflow()


def test_a_folder_of_runs_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "folder_of_runs").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="needs the package folder_of_runs"):
        sinks.needs("Sink", "folder_of_runs")


def test_weights_and_biases_gets_a_run_of_its_own(monkeypatch):
    """A stand-in with the three functions that are used; the real package needs an account, or runs offline (below)."""
    seen: list = []
    run = types.SimpleNamespace(log=lambda values, step: seen.append((step, values)), finish=lambda: seen.append("end"))
    module = types.ModuleType("wandb")
    module.init = lambda **settings: seen.append(settings) or run
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr(sinks, "needs", lambda who, package: None)
    sink = sx.log.WeightsAndBiases(project="darcy", config={"width": 4})
    sink(7, {"loss": 0.5})
    sink.close()
    assert seen == [{"project": "darcy", "config": {"width": 4}}, (7, {"loss": 0.5}), "end"]


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")  # of these packages
def test_the_real_packages_take_the_numbers(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="pip install wandb")
    mlflow = pytest.importorskip("mlflow", reason="pip install mlflow")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(sinks, "_WAIT", 60.0)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    sent = [
        sx.log.WeightsAndBiases(project="darcy", dir=str(tmp_path)),
        sx.log.MLflow("darcy", tracking_uri=uri, name="fno"),
    ]
    result = fit(log=sent)
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("darcy").experiment_id])
    found = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in found] == [(2 * i + 2, loss) for i, (loss,) in enumerate(result.history.loss)]
    assert run.info.status == "FINISHED" and list(tmp_path.rglob("*.wandb"))
