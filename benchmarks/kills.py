"""Trainings, data sets and saved surrogates killed (SIGKILL) at random times: every one goes on to the same bits.

    python benchmarks/kills.py [--quick | --smoke]

Three jobs, each in a child process that is killed after a time drawn uniformly over what the job takes undisturbed, and
started again until it ends; then its results are compared with those of an undisturbed run, byte for byte or array for
array. All of them write most of the time.

- train: 30 epochs with data on the device, a checkpoint after every epoch.
- stream: 10 epochs streamed from a file in pieces of one batch, a checkpoint after every step.
- files: 12 files of generated data, and a surrogate saved over itself 200 times; whatever lies under the final name after a
  kill must be whole.

100 kills in all; --quick: 8; --smoke: at most one in a turn, with a tenth of the epochs and files. Last line: JSON. `kills`,
`different` (arrays or files that are not those of the undisturbed run), `damaged` (files under their final name that cannot
be read).
"""

import functools
import itertools
import json
import math
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
from common.command_line import options
from common.record import record

import surrogax as sx
from surrogax.datasets import generation
from surrogax.surrogates.training import batches

N = 16


class Size(NamedTuple):
    """How many kills in all, at most how many until a job may end, and how much each job does."""

    kills: int
    kills_per_turn: float
    epochs: int
    streamed_epochs: int
    samples: int
    saves: int


FULL = Size(100, math.inf, epochs=30, streamed_epochs=10, samples=48, saves=200)
QUICK = FULL._replace(kills=8)
SMOKE = Size(1, 1, epochs=3, streamed_epochs=1, samples=8, saves=20)


def fields() -> sx.Dataset:
    a = np.random.default_rng(0).normal(size=(40, N)).astype(np.float32)
    return sx.from_arrays({"a": a}, {"u": np.roll(a, 1, 1) + a**2}, grid=sx.Grid.unit(N, 1, "periodic"))


def surrogate(data: sx.Dataset):
    return sx.FNO(sx.Task.fit(data, "a", "u"), width=8, modes=4, depth=2, key=jax.random.key(0))


def train(folder: Path, epochs: int, **settings):
    data, val = fields().split(train=32, val=8)
    settings |= dict(val=val, optimizer=optax.adam(1e-2), batch_size=8, progress=False, checkpoint_every=0)
    sx.fit(surrogate(data), data, epochs=epochs, run=folder / "run", **settings)


def stream(folder: Path, epochs: int):
    batches._CHUNK_BYTES = 1
    train(folder, epochs, stream=True)


def files(folder: Path, samples: int, saves: int):
    generation._CHUNK = 4
    poisson = sx.problem("darcy", a=sx.random.Threshold(12, 3))
    sx.generate(poisson, samples, 17, jax.random.key(0), cache=folder / "data", label_samples=0, progress=False)
    model = surrogate(fields())
    for _ in range(saves):
        model.save(folder / "model.sgx")


def contents(job: str, folder: Path) -> dict[str, np.ndarray]:
    """What a job leaves: arrays by name."""
    if job == "files":
        found = {f"data {i}": sx.open(path)["u"] for i, path in enumerate(sorted((folder / "data").rglob("*.hdf5")))}
        leaves = jax.tree.leaves(sx.load(folder / "model.sgx").network)
        return found | {f"model {i}": np.asarray(x) for i, x in enumerate(leaves)}
    with ocp.CheckpointManager(folder / "run" / "checkpoints") as manager:
        state = manager.restore(manager.latest_step(), args=ocp.args.Composite(state=ocp.args.StandardRestore()))[
            "state"
        ]
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    metrics = {f"epoch {i}": np.array([x["epoch"], *x["loss"], *x["val"]]) for i, x in enumerate(lines)}
    return metrics | {f"array {k}": np.asarray(v) for k, v in state.items()}


def whole(folder: Path) -> int:
    """Files under their final names that cannot be read."""
    damaged = 0
    for path in itertools.chain(folder.rglob("data/**/*.hdf5"), folder.glob("model.sgx")):
        try:
            sx.open(path).read() if path.suffix == ".hdf5" else sx.load(path)
        except Exception as error:  # whatever a damaged file raises is what is counted
            print(f"damaged: {path}: {error}", flush=True)
            damaged += 1
    return damaged


def child(function, *arguments) -> int:
    """Start `function` in a fork: imports are paid once, and this process never touches a device."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = int(function(*arguments) or 0)
        finally:
            sys.stdout.flush()
            os._exit(code)
    return pid


def finished(pid: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0 or code == 1:
        raise RuntimeError(f"a process ended with {code}")
    return code


def differing(job: str, folder: Path, reference: Path) -> int:
    """2 + the number of arrays that differ, as an exit status."""
    a, b = contents(job, folder), contents(job, reference)
    return 2 + sum(name not in a or name not in b or not np.array_equal(a[name], b[name]) for name in a | b)


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE)
    size = arguments.size
    warnings.simplefilter("ignore")  # a killed process leaves temporary folders; orbax mentions them
    jobs = {
        "train": functools.partial(train, epochs=size.epochs),
        "stream": functools.partial(stream, epochs=size.streamed_epochs),
        "files": functools.partial(files, samples=size.samples, saves=size.saves),
    }
    random_, kills, different, damaged = random.Random(0), dict.fromkeys(jobs, 0), 0, 0
    with tempfile.TemporaryDirectory() as root:
        jax.config.update("jax_compilation_cache_dir", f"{root}/programs")
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        seconds = {}
        for job, run in jobs.items():
            for name in ("programs", "reference"):  # the first run compiles
                (Path(root) / job / name).mkdir(parents=True)
                start = time.monotonic()
                if (code := os.waitstatus_to_exitcode(os.waitpid(child(run, Path(root) / job / name), 0)[1])) != 0:
                    raise RuntimeError(f"the undisturbed {job} ended with {code}")
                seconds[job] = time.monotonic() - start
        print(f"undisturbed: {seconds}", flush=True)
        for turn in itertools.count():
            job = list(jobs)[turn % len(jobs)]
            folder = Path(root) / job / f"turn {turn}"
            folder.mkdir()
            before, limit = kills[job], kills[job] + size.kills_per_turn
            while True:
                start = time.monotonic()
                pid = child(jobs[job], folder)
                end = time.monotonic() + (random_.uniform(0, seconds[job]) if kills[job] < limit else math.inf)
                while time.monotonic() < end and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    time.sleep(0.001)
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    os.kill(pid, signal.SIGKILL)
                if (code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])) == 0:
                    if kills[job] == before:  # undisturbed, and perhaps faster than at first
                        seconds[job] = min(seconds[job], time.monotonic() - start)
                    break
                if code != -signal.SIGKILL:
                    raise RuntimeError(f"{job}, started again, ended with {code}")
                kills[job] += 1
                damaged += finished(child(lambda folder=folder: 2 + whole(folder))) - 2
            different += finished(child(differing, job, folder, Path(root) / job / "reference")) - 2
            print(f"turn {turn}, {job}: kills so far {kills}, different {different}, damaged {damaged}", flush=True)
            if sum(kills.values()) >= size.kills and turn >= len(jobs) - 1:
                break
    values = {"kills": sum(kills.values()), "different": different, "damaged": damaged, "by_job": kills}
    record("kills", arguments, values)


if __name__ == "__main__":
    main()
