"""One training on several devices and processes: losses, collectives, memory, and what streaming costs.

    python benchmarks/scaling.py [--quick | --smoke]

On a CPU eight devices are simulated, which share its cores: there the seconds say what dividing costs, not what it gains.
On a GPU or TPU host all its devices are used. Parts:

- Weak scaling: the FNO of the demo on 1, 2, 4, 8 devices with 20 samples each: seconds per sample of a training step, and
  the collectives of the compiled program.
- The same loss: 10 steps with batches of 40 samples on every number of devices, and on two processes
  (`jax.distributed`, streamed, each reading its half of every batch).
- Space: a training step on one field of 512² points, 32 channels, divided along its first axis: bytes per device by
  the compiler's account.
- Streaming: epochs of the demo's training from a file, through grain, beside data on the device.

--quick: smaller fields and fewer steps; --smoke: one and two devices. Last line: JSON. `max_loss_difference`, relative,
over devices and processes; `reductions_per_step`, the all-reduces of a step divided by samples; `space_memory`, bytes of
temporaries and arguments per device over those of one device; `weak_scaling`, seconds per sample over those of one device;
`stream_over_resident`, seconds per epoch, and `waiting`, the share of an epoch that training waits for batches.
"""

import argparse
import collections
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from common.collectives import collectives
from common.command_line import options
from common.record import record
from common.timing import timed

import surrogax as sx
from surrogax.datasets.formats.well_writer import write_well
from surrogax.surrogates.training.batches import Resident, Stream
from surrogax.surrogates.training.devices import Devices
from surrogax.surrogates.training.runner import Runner
from surrogax.surrogates.training.samples import Samples
from surrogax.surrogates.training.steps import as_step

OPTIMIZER = optax.adam(1e-3)


class Size(NamedTuple):
    """How much to run: networks of the demo and of the divided field, devices, points per axis and samples of the losses,
    steps of weak scaling, points of the divided field, points and samples of streaming and its repeats."""

    network: dict
    divided_network: dict
    devices: tuple[int, ...]
    points: int
    samples: int
    steps: int
    divided: int
    streamed: tuple[int, int]
    repeats: int


DEMO, WIDE, TINY = dict(width=24, modes=10), dict(width=32, modes=(32, 32)), dict(width=4, modes=4, depth=1)
FULL = Size(DEMO, WIDE, (1, 2, 4, 8), 57, 200, steps=5, divided=512, streamed=(29, 1000), repeats=7)
QUICK = Size(DEMO, WIDE, (1, 2, 4, 8), 32, 80, steps=2, divided=128, streamed=(29, 200), repeats=2)
SMOKE = Size(TINY, TINY, (1, 2), 16, 40, steps=1, divided=16, streamed=(16, 40), repeats=1)
EPOCHS = 2


def data_of(n: int, samples: int) -> sx.Dataset:
    """Smooth random fields and a map of them, without a solver: only their size matters here."""
    rng = np.random.default_rng(0)
    x = 2 * np.pi * np.arange(n) / n
    c = rng.normal(size=(2, samples, 3, 1, 1))
    a = sum(c[0, :, k] * np.sin((k + 1) * x)[:, None] + c[1, :, k] * np.cos((k + 1) * x) for k in range(3))
    a = a.astype(np.float32)
    return sx.from_arrays({"a": a}, {"u": np.roll(a, 1, 1) + a**2 / 4}, grid=sx.Box.unit(2, "periodic").grid(n))


def fno(task: sx.Task, settings: dict):
    return sx.FNO(task, **settings, key=jax.random.key(0))


def started(surrogate, data: sx.Dataset, batch_size: int, mesh):
    """The compiled training of `fit`, its first state and its batches."""
    devices = Devices.of(mesh, batch_size=batch_size, seeds=1)
    runner, state = Runner.start([surrogate], sx.Supervised(), as_step(OPTIMIZER), 0.0, devices, jax.random.key(0))
    return runner, state, Resident.of(Samples.of(surrogate.task, data), batch_size, devices)


def mesh_of(count: int, axis: str) -> jax.sharding.Mesh | None:
    return None if count == 1 else jax.make_mesh((count,), (axis,), devices=jax.devices()[:count])


def weak_scaling(counts: list[int], surrogate, size: Size) -> list[dict]:
    """`size.steps` repeats of as many steps."""
    rows, steps = [], size.steps
    data = data_of(size.points, 160 * steps)
    for count in counts:
        runner, state, batches = started(surrogate, data, 20 * count, mesh_of(count, "data"))
        found = collectives(runner.compiled(batches, state, steps).as_text())
        state, *_ = runner.train(batches, state, 0, steps)
        seconds = []
        for _ in range(steps):
            took, (state, *_) = timed(runner.train, batches, state, 0, steps)
            seconds.append(took / (steps * 20 * count))
        numbers = {kind: number for kind, (number, _) in found.items()}
        rows.append({"devices": count, "ms_per_sample": 1e3 * statistics.median(seconds), "collectives": numbers})
        print(f"weak scaling: {rows[-1]}", flush=True)
    return rows


def losses(data: sx.Dataset, surrogate, mesh=None) -> np.ndarray:
    settings = dict(optimizer=OPTIMIZER, epochs=EPOCHS, batch_size=40, progress=False, mesh=mesh)
    return np.array(sx.fit(surrogate, data, **settings).history.loss).ravel()


def two_processes() -> np.ndarray:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-W", "ignore", *sys.argv, "--process"]
    processes = [
        subprocess.Popen([*command, str(rank), str(port)], stdout=subprocess.PIPE, text=True) for rank in range(2)
    ]
    printed = [process.communicate(timeout=550)[0] for process in processes]
    found = [np.array(json.loads(text.splitlines()[-1])) for text in printed]
    np.testing.assert_array_equal(found[0], found[1])
    return found[0]


def one_of_two(rank: int, port: int, size: Size):
    jax.config.update("jax_platforms", "cpu")
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=rank)
    data = data_of(size.points, size.samples)
    print(json.dumps(losses(data, fno(sx.Task.fit(data, "a", "u"), size.network)).tolist()))


def space_memory(counts: list[int], size: Size) -> list[dict]:
    data, rows = data_of(size.divided, 1), []
    task = sx.Task.fit(data, "a", "u")
    surrogate = fno(task, size.divided_network | {"remat": True})
    for count in counts:
        runner, state, batches = started(surrogate, data, 1, mesh_of(count, "space"))
        memory = runner.compiled(batches, state, 1).memory_analysis()
        needed = memory.temp_size_in_bytes + memory.argument_size_in_bytes
        parameters = sum(x.nbytes for x in jax.tree.leaves(eqx.filter(state, eqx.is_array)) if x.dtype == jnp.float32)
        rows.append({"devices": count, "MiB": needed / 2**20, "MiB_of_parameters_and_their_states": parameters / 2**20})
        print(f"space: {rows[-1]}", flush=True)
    return rows


def streaming(size: Size) -> dict:
    """Seconds per epoch in turns."""
    data = data_of(*size.streamed)
    task = sx.Task.fit(data, "a", "u")
    with tempfile.TemporaryDirectory() as folder:
        write_well(Path(folder) / "data.hdf5", data, name="fields")
        stored = sx.open(Path(folder) / "data.hdf5")
        runner, state, resident = started(fno(task, size.network), data, 20, None)
        key = np.asarray(jax.random.key_data(state.key))[None]
        stream = Stream(Samples.of(task, stored), key, 20, Devices())
        count, seconds, waiting = stream.per_round, collections.defaultdict(list), []

        def epoch(source):
            nonlocal state
            start, waited = time.perf_counter(), 0.0
            for _ in range(count):
                mark = time.perf_counter()
                piece = next(source, None)
                waited += time.perf_counter() - mark
                if piece is None:
                    break
                state, *_ = runner.train(piece[1], state, 0, piece[0])
            return time.perf_counter() - start, waited

        for kind in ("resident", "streamed") * (size.repeats + 1):
            source = iter([(count, resident)]) if kind == "resident" else stream.chunks(0, count)
            total, waited = epoch(source)
            seconds[kind].append(total)
            if kind == "streamed":
                waiting.append(waited / total)
    found = {kind: statistics.median(values[1:]) for kind, values in seconds.items()}  # the first ones compile
    print(f"streaming: {found}, waiting {statistics.median(waiting[1:]):.3f}", flush=True)
    return {**found, "waiting": statistics.median(waiting[1:])}


def main():
    process = dict(type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, process=process)
    if arguments.process:
        return one_of_two(*arguments.process, arguments.size)
    jax.config.update("jax_num_cpu_devices", 8)  # of a CPU only
    size = arguments.size
    counts = [n for n in size.devices if n <= jax.device_count()]
    data = data_of(size.points, size.samples)
    surrogate = fno(sx.Task.fit(data, "a", "u"), size.network)
    weak = weak_scaling(counts, surrogate, size)
    expected = losses(data, surrogate)
    found = {f"{c} devices": losses(data, surrogate, mesh_of(c, "data")) for c in counts[1:]}
    found["two processes"] = two_processes()
    differences = {name: float(abs(values / expected - 1).max()) for name, values in found.items()}
    print(f"losses: relative differences {differences}", flush=True)
    space = space_memory(counts, size)
    stream = streaming(size)
    values = {
        "max_loss_difference": max(differences.values()),
        "reductions_per_step": max(row["collectives"].get("all-reduce", 0) for row in weak),
        "space_memory": {row["devices"]: round(row["MiB"] / space[0]["MiB"], 3) for row in space},
        "weak_scaling": {row["devices"]: round(row["ms_per_sample"] / weak[0]["ms_per_sample"], 2) for row in weak},
        "stream_over_resident": round(stream["streamed"] / stream["resident"], 3),
        "waiting": round(stream["waiting"], 4),
        "loss_differences": differences,
        "cases": [*({"part": "weak scaling", **r} for r in weak), *({"part": "space", **r} for r in space)],
    }
    record("scaling", arguments, values)


if __name__ == "__main__":
    main()
