"""Loading: random windows of trajectories from one HDF5 file, samples per second.

1000 trajectories of 50 × 64² float32 (819 MB; with --quick 300, with --smoke 4) in The Well's layout, batches of 32 windows
of 1 + 1 and of 4 + 1 frames, warm (the file is in the memory of the system) and cold (it is dropped before every pass). Ours is
the stream of `fit`, which hands JAX arrays to the training loop and refuses NaN. Peers: PyTorch's `DataLoader` over h5py, by
items and by whole batches, and The Well's `WellDataset`, each with 0, 1 and 2 workers. The floor reads the same number of
random windows by `os.preadv` into a new array per batch, by 1 and by 2 threads. All take turns; medians.

    python benchmarks/loading.py [--quick | --smoke] [--self-only] [--peer-python PATH]

The last line is a JSON object: `ratio_best_peer` is samples per second of ours over those of the fastest peer and
`floor_multiple` the time of ours over that of the faster floor, both warm with 1 + 1 frames, the default of both libraries;
`cases` holds all, in samples per second.
"""

import json
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import h5py
import jax
import numpy as np
from common.command_line import options
from common.peers import LOADING, PeerProcess
from common.record import record

import surrogax as sx
from surrogax.surrogates.training.batches import Stream
from surrogax.surrogates.training.devices import Devices
from surrogax.surrogates.training.samples import Samples

BATCH = 32


class Size(NamedTuple):
    """Trajectories in the file, windows of one pass (of The Well's loader a part), rounds, window lengths."""

    trajectories: int
    windows: int
    rounds: int
    histories: tuple[int, ...]


FULL = Size(1000, 25_600, 5, (1, 4))
QUICK = Size(300, 3200, 3, (1, 4))
SMOKE = Size(4, 64, 1, (1,))


def write(path: Path, trajectories: int) -> None:
    values = np.random.default_rng(0).standard_normal((trajectories, 50, 64, 64), np.float32)
    grid = sx.Box(x=(0, 1, "periodic"), y=(0, 1, "periodic")).grid(64)
    sx.from_arrays({"u": values}, grid=grid, times=np.arange(50.0)).save(path)


def cool(path: Path) -> None:
    """Drop a file from the memory of the system."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Ours:
    """The stream of `fit`. A pass begins where the last one ended."""

    def __init__(self, path: Path, history: int, windows: int):
        data = sx.open(path)
        task = sx.Task.fit(data.select(slice(0, 2)), "u", "u", mode=sx.Autoregressive(history))
        self.samples = Samples.of(task, data)
        key = np.asarray(jax.random.key_data(jax.random.key(0)))[None]
        self.stream = Stream(self.samples, key, BATCH, Devices.of(None, batch_size=BATCH, seeds=1))
        self.steps, self.done = windows // BATCH, 0
        jax.block_until_ready(jax.device_put(self.stream._orders(0)))  # compiles

    def sum(self, row: int, start: int) -> float:
        found = self.samples.read(np.array([row * self.samples.starts + start]))["u"]
        return float(found.astype(np.float64).sum())

    def __call__(self) -> float:
        begin, seen = time.perf_counter(), 0
        for count, chunk in self.stream.chunks(self.done, self.done + self.steps):
            jax.block_until_ready(chunk.fields)
            seen += count
        assert seen == self.steps
        self.done += self.steps
        return time.perf_counter() - begin


class Floor:
    """Random windows read by the system alone."""

    def __init__(self, path: Path, history: int, windows: int, threads: int):
        with h5py.File(path) as file:
            values = file["t0_fields/u"]
            rows, instants = values.shape[:2]
            frame, offset = values[0, 0].nbytes, values.id.get_offset()
        rng = np.random.default_rng(threads)
        numbers = rng.integers(rows, size=windows) * instants + rng.integers(instants - history, size=windows)
        self.places, self.size, self.threads = (offset + frame * numbers).tolist(), frame * (history + 1), threads
        self.descriptor = os.open(path, os.O_RDONLY)

    def _batch(self, begin: int) -> None:
        found = memoryview(np.empty((BATCH, self.size), np.uint8)).cast("B")
        for k, place in enumerate(self.places[begin : begin + BATCH]):
            os.preadv(self.descriptor, [found[k * self.size : (k + 1) * self.size]], place)

    def __call__(self) -> float:
        begin = time.perf_counter()
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(self._batch, range(0, len(self.places), BATCH)))
        return time.perf_counter() - begin


def peer_pass(peer: PeerProcess, kind: str, workers: int, history: int, windows: int, seed: int) -> float:
    """Seconds of a pass of the peer; those of The Well's slow loader are of a 32nd of the windows, times 32."""
    part = min(32, windows // BATCH) if kind == "well" else 1
    asked = {"loader": kind, "workers": workers, "samples": windows // part, "history": history, "seed": seed}
    return part * json.loads(peer.ask(json.dumps(asked)))


def compare(path: Path, history: int, size: Size, peer: PeerProcess | None) -> dict:
    """Samples per second of every loader, warm and cold."""
    ours = Ours(path, history, size.windows)
    runs = {"surrogax": lambda seed: ours()}
    for threads in (1, 2):
        floor = Floor(path, history, size.windows, threads)
        runs[f"raw reads, {threads} threads"] = lambda seed, floor=floor: floor()
    if peer is not None:
        for row, start in ((0, 0), (size.trajectories - 1, 50 - history - 1), (size.trajectories // 2, 17)):
            asked = json.dumps({"sum": [row, start], "history": history})
            np.testing.assert_allclose(json.loads(peer.ask(asked)), ours.sum(row, start), rtol=1e-9, atol=1e-9)
        for kind, title in (
            ("items", "DataLoader, items"),
            ("batches", "DataLoader, batches"),
            ("well", "WellDataset"),
        ):
            for workers in (0, 1, 2):
                runs[f"{title}, {workers} workers"] = lambda seed, kind=kind, workers=workers: peer_pass(
                    peer, kind, workers, history, size.windows, seed
                )
    found = {}
    for state in ("warm", "cold"):
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        if state == "warm":
            for run in runs.values():  # also opens files and compiles
                run(size.rounds)
        for turn in range(size.rounds):
            for name, run in runs.items():
                if state == "cold":
                    cool(path)
                seconds[name].append(run(turn))
        found[state] = {name: round(size.windows / statistics.median(times)) for name, times in seconds.items()}
    print(f"windows of {history} + 1 frames of 64²\n{'samples per second':34}{'warm':>10}{'cold':>10}")
    for name in runs:
        print(f"{name:34}{found['warm'][name]:10}{found['cold'][name]:10}", flush=True)
    return found


def verdict(speeds: dict[str, int]) -> dict:
    """Ours against the fastest peer and the fastest floor."""
    ours = speeds["surrogax"]
    peers = [speed for name, speed in speeds.items() if name.startswith(("DataLoader", "WellDataset"))]
    floor = max(speed for name, speed in speeds.items() if name.startswith("raw"))
    return {
        "ratio_best_peer": round(ours / max(peers), 2) if peers else None, "floor_multiple": round(floor / ours, 2)
    }  # fmt: skip


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=LOADING)
    size = arguments.size
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "windows.hdf5"
        write(path, size.trajectories)
        peer = None
        if arguments.python is not None:
            peer = PeerProcess(arguments.python, "loading.py", path, BATCH)
            print("peers:", peer.read().strip())
        cases = {f"{history} + 1 frames": compare(path, history, size, peer) for history in size.histories}
        if peer is not None:
            peer.close()
    first = cases[f"{size.histories[0]} + 1 frames"]
    others = {f"{name}, {state}": verdict(case[state]) for name, case in cases.items() for state in ("warm", "cold")}
    record("loading", arguments, {**verdict(first["warm"]), "verdicts": others, "cases": cases})


if __name__ == "__main__":
    main()
