"""Two processes over `jax.distributed`: the losses of one, one writer, and differences between processes refused."""

import json
import socket
import subprocess
import sys

import numpy as np
import pytest

# What every process runs: its rank (-1: alone), the coordinator's port, the run folder. Two first try to differ.
_SCRIPT = """
import json, sys
import jax, numpy as np, optax

rank, port, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
if rank >= 0:
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=rank)
import surrogax as sx

N = 16
a = np.random.default_rng(0).normal(size=(20, N)).astype(np.float32)
data = sx.from_arrays({"a": a}, {"u": np.roll(a, 1, 1) / 2 + a**2}, grid=sx.Grid.unit(N, 1, "periodic"))
train, val = data.split(train=14, val=6)
task = sx.Task.fit(data, "a", "u")

def fit(train, epochs=3, seeds=1, **options):
    model = sx.FNO(task, width=4, modes=4, depth=1, key=jax.random.key(0))
    return sx.fit(model, train, val=val, optimizer=optax.adam(1e-2), epochs=epochs, batch_size=4, seeds=seeds, **options)

for data, epochs in ((train[:13], 3), (train[::-1], 3), (train, 4)) if rank >= 0 else ():
    try:
        fit(*((data, epochs) if rank == 1 else (train, 3)))
    except ValueError as error:
        print("refused:", error, flush=True)
result = fit(train, seeds=2, run=f"{folder}/run", checkpoint_every=0)
prediction = float(np.abs(result.predict(val)["u"]).sum())
print(json.dumps([result.history.loss, result.history.val, prediction]), flush=True)
"""


def started(folder, rank: int, port: int) -> subprocess.Popen:
    script = folder / "script.py"
    script.write_text(_SCRIPT)
    command = [
        sys.executable,
        "-W",
        "ignore",
        str(script),
        str(rank),
        str(port),
        str(folder / str(min(rank, 0))),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)


def both(folder) -> list[tuple[list[str], str]]:
    """Lines printed, and what went to the error channel, of two processes that work together."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    processes = [started(folder, rank, port) for rank in range(2)]
    try:
        found = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(out.splitlines(), error) for out, error in found]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    one = started(folder, -1, 0)
    together = both(folder)
    alone, _ = one.communicate(timeout=200)
    return folder, together, alone.splitlines()


def results(lines: list[str]) -> list:
    return [json.loads(line) for line in lines if line.startswith("[[")]


def test_two_processes_train_to_the_losses_of_one(runs):
    _, together, alone = runs
    for lines, error in together:
        assert len(results(lines)) == 1, error[-2000:]
        for found, expected in zip(results(lines), results(alone), strict=True):
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=2e-5)


def test_the_first_process_alone_logs_and_prints(runs):
    folder, together, _ = runs
    logged = [json.loads(line)["epoch"] for line in (folder / "0" / "run" / "metrics.jsonl").read_text().splitlines()]
    assert logged == [1, 2, 3]
    assert "3/3, loss" in together[0][1] and "3/3, loss" not in together[1][1]


@pytest.mark.nightly
def test_one_process_goes_on_where_two_stopped(runs):
    """A finished run of two processes gives one process its result."""
    folder, _, alone = runs
    (folder / "-1").rename(folder / "set aside")
    (folder / "0").rename(folder / "-1")
    again, error = started(folder, -1, 0).communicate(timeout=200)
    found = results(again.splitlines())
    assert len(found) == 1, error[-2000:]
    for a, b in zip(found, results(alone), strict=True):
        np.testing.assert_allclose(a[2], b[2], rtol=1e-4)


def test_processes_that_differ_stop_before_the_first_step(runs):
    """In the number of samples, in their order, in the number of steps."""
    _, together, _ = runs
    for lines, error in together:
        refused = [line for line in lines if line.startswith("refused: fit: the processes differ in")]
        assert [line.split("differ in ")[1].split(";")[0] for line in refused] == ["train", "train", "steps"], error[
            -2000:
        ]
