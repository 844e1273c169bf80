"""Run folders at addresses: resumed runs are those of one go, bit for bit, also after a kill, in a real object store at night."""

import json
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import surrogax as sx
from surrogax.core.files import StorageError

fsspec = pytest.importorskip("fsspec")

WORK = """
import sys, jax, numpy as np, optax
import surrogax as sx

def trained(run, epochs, width=4, **options):
    a = np.random.default_rng(0).normal(size=(14, 8)).astype(np.float32)
    data = sx.from_arrays({"a": a}, {"u": np.roll(a, 1, 1) + a**2}, grid=sx.Grid.unit(8, 1, "periodic"))
    train, val = data.split(train=12, val=2)
    model = sx.FNO(sx.Task.fit(train, "a", "u"), width=width, modes=2, depth=1, key=jax.random.key(0))
    options = dict(optimizer=optax.adam(1e-2), batch_size=4, progress=False) | options
    return sx.fit(model, train, val=val, epochs=epochs, run=run, **options)
"""
exec(WORK)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SURROGAX_CACHE", str(tmp_path / "cache"))
    fsspec.filesystem("memory").store.clear()


def objects(run="/runs/a") -> list[str]:
    return sorted(name.removeprefix(run + "/") for name in fsspec.filesystem("memory").find(run))


def assert_same(a, b):
    assert a.history.loss == b.history.loss and a.history.val == b.history.val
    for x, y in zip(jax.tree.leaves((a.members, a.lasts)), jax.tree.leaves((b.members, b.lasts)), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.nightly
def test_a_run_at_an_address_goes_on_bit_for_bit():
    once = trained(None, 4)
    trained("memory://runs/a", 1, checkpoint_every=0)
    again = trained("memory://runs/a", 4, checkpoint_every=0)
    assert_same(again, once)
    names = objects()
    assert {"settings.json", "environment.json", "metrics.jsonl", "checkpoints.json", "best.sgx"} <= set(names)
    steps = {name.split("/")[1] for name in names if name.startswith("checkpoints/")}
    assert steps == {"9", "12"}  # the two newest, as in a folder
    epochs = [
        json.loads(line)["epoch"] for line in fsspec.filesystem("memory").cat("/runs/a/metrics.jsonl").splitlines()
    ]
    assert epochs == [1, 2, 3, 4]
    best = sx.load("memory://runs/a/best.sgx")
    for x, y in zip(jax.tree.leaves(best), jax.tree.leaves(once.best), strict=True):
        np.testing.assert_array_equal(x, y)
    with pytest.raises(ValueError, match="run folder memory://runs/a belongs to another configuration"):
        trained("memory://runs/a", 4, width=6)


@pytest.mark.nightly
def test_a_checkpoint_counts_when_the_index_names_it():
    """Files of a checkpoint that was being sent when the process was killed are not read, and removed by the next one."""
    trained("memory://runs/a", 2)
    store = fsspec.filesystem("memory")
    store.pipe("/runs/a/checkpoints/9/state/half", b"x")
    again = trained("memory://runs/a", 3)
    assert_same(again, trained(None, 3))
    assert "checkpoints/9/state/half" not in objects()


# What orbax was still reading when it failed is reported when it is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.nightly
def test_a_damaged_checkpoint_is_replaced_by_the_one_before():
    for epochs in (2, 3):
        trained("memory://runs/a", epochs)
    store = fsspec.filesystem("memory")
    for name in objects():
        if name.startswith("checkpoints/9/state/"):
            store.rm(f"/runs/a/{name}")
    with pytest.warns(UserWarning, match=r"memory://runs/a: the checkpoint of step 9 is damaged .* from step 6"):
        assert_same(trained("memory://runs/a", 4), trained(None, 4))
    store.pipe("/runs/a/checkpoints.json", b'{"writer": null, "steps": {"12": {"../x": 1}}}')
    with pytest.raises(StorageError, match=r"memory://runs/a/checkpoints\.json is damaged \(it names the files"):
        trained("memory://runs/a", 5)


def test_two_processes_in_one_run(monkeypatch):
    def intrude(step, values):
        store = fsspec.filesystem("memory")
        if values["epoch"] == 2:
            index = json.loads(store.cat("/runs/a/checkpoints.json"))
            store.pipe("/runs/a/checkpoints.json", json.dumps({**index, "writer": "other"}).encode())

    with pytest.raises(StorageError, match="another process has written to this run since; this one stops"):
        trained("memory://runs/a", 4, checkpoint_every=0, log=intrude)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    from surrogax.surrogates.training.run_store import RunStore

    with pytest.raises(ValueError, match="several processes need a run folder on a disk that they share"):
        RunStore("memory://runs/b")


@pytest.mark.nightly
def test_a_killed_run_in_a_real_object_store_goes_on_exactly(s3_bucket):
    script = WORK + "\ntrained(sys.argv[1], 400, checkpoint_every=0)\n"
    store, log = fsspec.filesystem("s3"), "bucket/run/metrics.jsonl"
    for least in (1, 30):  # killed twice, somewhere
        process = subprocess.Popen([sys.executable, "-c", script, f"{s3_bucket}/run"])
        try:
            for _ in range(1200):
                store.invalidate_cache()
                if store.exists(log) and store.cat(log).count(b"\n") > least:
                    break
                time.sleep(0.1)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    done = store.cat(log).count(b"\n")
    assert 30 < done < 400
    again = trained(f"{s3_bucket}/run", done + 5)
    assert_same(again, trained(None, done + 5))
    assert sx.load(f"{s3_bucket}/run/best.sgx").parameters == again.parameters
