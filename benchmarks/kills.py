"""Trainings, data sets and saved surrogates killed (SIGKILL) at random times: every one goes on to the same bits.

    python benchmarks/kills.py [--quick]

Three jobs, each in a child process that is killed after a time drawn uniformly over what the job takes undisturbed, and
started again until it ends; then its results are compared with those of an undisturbed run, byte for byte or array for
array. All of them write most of the time.

- train: 30 epochs with data on the device, a checkpoint after every epoch.
- stream: 10 epochs streamed from a file in pieces of one batch, a checkpoint after every step.
- files: 12 files of generated data, and a surrogate saved over itself 200 times; whatever lies under the final name after a
  kill must be whole.

100 kills in all; --quick: 8. Last line: JSON. `kills`, `different` (arrays or files that are not those of the undisturbed
run), `damaged` (files under their final name that cannot be read).
"""

import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
from common import options, record

import surrogax as sx
from surrogax.datasets import generate
from surrogax.surrogates.training import batches

N = 16


def fields() -> sx.Dataset:
    a = np.random.default_rng(0).normal(size=(40, N)).astype(np.float32)
    return sx.from_arrays({"a": a}, {"u": np.roll(a, 1, 1) + a**2}, grid=sx.Grid.unit(N, 1, "periodic"))


def surrogate(data: sx.Dataset):
    return sx.FNO(sx.Task.fit(data, "a", "u"), width=8, modes=4, depth=2, key=jax.random.key(0))


def train(folder: Path, epochs: int = 30, **settings):
    data, val = fields().split(train=32, val=8)
    settings |= dict(val=val, optimizer=optax.adam(1e-2), batch_size=8, progress=False, checkpoint_every=0)
    sx.fit(surrogate(data), data, epochs=epochs, run=folder / "run", **settings)


def stream(folder: Path):
    batches._CHUNK_BYTES = 1
    train(folder, 10, stream=True)


def files(folder: Path):
    generate._CHUNK = 4
    poisson = sx.problem("darcy", a=sx.random.Threshold(12, 3))
    sx.generate(poisson, 48, 17, jax.random.key(0), cache=folder / "data", label_samples=0, progress=False)
    model = surrogate(fields())
    for _ in range(200):
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
    metrics = {f"epoch {i}": np.array([x["epoch"], *x["loss"], *x["val_rel_l2"]]) for i, x in enumerate(lines)}
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
    arguments = options(__doc__, quick="8 kills")
    warnings.simplefilter("ignore")  # a killed process leaves temporary folders; orbax mentions them
    jobs, random_ = {"train": train, "stream": stream, "files": files}, random.Random(0)
    wanted, kills, different, damaged = (8 if arguments.quick else 100), dict.fromkeys(jobs, 0), 0, 0
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
            before = kills[job]
            while True:
                start = time.monotonic()
                pid = child(jobs[job], folder)
                end = time.monotonic() + random_.uniform(0, seconds[job])
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
            if sum(kills.values()) >= wanted and turn >= len(jobs) - 1:
                break
    record(
        "kills",
        arguments.quick,
        {"kills": sum(kills.values()), "different": different, "damaged": damaged, "by_job": kills},
    )


if __name__ == "__main__":
    main()
