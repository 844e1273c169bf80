"""One training on several devices and processes: losses, collectives, memory, and what streaming costs.

    python benchmarks/scaling.py [--quick]

On a CPU eight devices are simulated, which share its cores: there the seconds say what dividing costs, not what it gains. On a
GPU or TPU host all its devices are used. Parts:

- Weak scaling: the FNO of the demo on 1, 2, 4, 8 devices with 20 samples each: seconds per sample of a training step, and
  the collectives of the compiled program.
- The same loss: 10 steps with batches of 40 samples on every number of devices, and on two processes
  (`jax.distributed`, streamed, each reading its half of every batch).
- Space: a training step on one field of 512² points, 32 channels, divided along its first axis: bytes per device by
  the compiler's account.
- Streaming: epochs of the demo's training from a file, through grain, beside data on the device.

--quick: smaller fields and fewer steps. Last line: JSON. `max_loss_difference`, relative, over devices and processes;
`reductions_per_step`, the all-reduces of a step divided by samples; `space_memory`, bytes of temporaries and arguments per
device over those of one device; `weak_scaling`, seconds per sample over those of one device; `stream_over_resident`, seconds
per epoch, and `waiting`, the share of an epoch that training waits for batches.
"""

import argparse
import collections
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import options, record

import surrogax as sx
from surrogax.datasets.formats.well_writer import write_well
from surrogax.surrogates.training.batches import Resident, Stream
from surrogax.surrogates.training.devices import Devices
from surrogax.surrogates.training.objectives import Supervised
from surrogax.surrogates.training.runner import Runner
from surrogax.surrogates.training.samples import Samples

OPTIMIZER = optax.adam(1e-3)
COLLECTIVES = r" (all-reduce|all-to-all|all-gather|collective-permute|reduce-scatter)(?:-start)?\("


def data_of(n: int, samples: int) -> sx.Dataset:
    """Smooth random fields and a map of them, without a solver: only their size matters here."""
    rng = np.random.default_rng(0)
    x = 2 * np.pi * np.arange(n) / n
    c = rng.normal(size=(2, samples, 3, 1, 1))
    a = sum(c[0, :, k] * np.sin((k + 1) * x)[:, None] + c[1, :, k] * np.cos((k + 1) * x) for k in range(3))
    a = a.astype(np.float32)
    return sx.from_arrays({"a": a}, {"u": np.roll(a, 1, 1) + a**2 / 4}, grid=sx.Box.unit(2, "periodic").grid(n))


def demo_network(task: sx.Task):
    return sx.FNO(task, width=24, modes=10, key=jax.random.key(0))


def started(surrogate, data: sx.Dataset, batch_size: int, mesh):
    """The compiled training of `fit`, its first state and its batches."""
    devices = Devices.of(mesh, batch_size=batch_size, seeds=1)
    runner, state = Runner.start([surrogate], Supervised(), OPTIMIZER, 0.0, devices, jax.random.key(0))
    return runner, state, Resident.of(Samples.of(surrogate.task, data), batch_size, devices)


def mesh_of(count: int, axis: str) -> jax.sharding.Mesh | None:
    return None if count == 1 else jax.make_mesh((count,), (axis,), devices=jax.devices()[:count])


def counts() -> list[int]:
    return [n for n in (1, 2, 4, 8) if n <= jax.device_count()]


def weak_scaling(data: sx.Dataset, task, steps: int, repeats: int) -> list[dict]:
    rows = []
    for count in counts():
        runner, state, batches = started(demo_network(task), data, 20 * count, mesh_of(count, "data"))
        found = collections.Counter(re.findall(COLLECTIVES, runner.compiled(batches, state, steps).as_text()))
        state, _ = runner.train(batches, state, 0, steps)
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            state, _ = runner.train(batches, state, 0, steps)
            seconds.append((time.perf_counter() - start) / (steps * 20 * count))
        rows.append({"devices": count, "ms_per_sample": 1e3 * statistics.median(seconds), "collectives": dict(found)})
        print(f"weak scaling: {rows[-1]}", flush=True)
    return rows


def losses(data: sx.Dataset, task, epochs: int, mesh=None) -> np.ndarray:
    settings = dict(optimizer=OPTIMIZER, epochs=epochs, batch_size=40, progress=False, mesh=mesh)
    return np.array(sx.fit(demo_network(task), data, **settings).history.loss).ravel()


def two_processes(n: int, samples: int, epochs: int) -> np.ndarray:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    sizes = [str(x) for x in (n, samples, epochs)]
    command = [sys.executable, "-W", "ignore", __file__, "--process"]
    processes = [
        subprocess.Popen([*command, str(rank), str(port), *sizes], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    printed = [process.communicate(timeout=550)[0] for process in processes]
    found = [np.array(json.loads(text.splitlines()[-1])) for text in printed]
    np.testing.assert_array_equal(found[0], found[1])
    return found[0]


def one_of_two(rank: int, port: int, n: int, samples: int, epochs: int):
    jax.config.update("jax_platforms", "cpu")
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=rank)
    data = data_of(n, samples)
    print(json.dumps(losses(data, sx.Task.fit(data, "a", "u"), epochs).tolist()))


def space_memory(n: int) -> list[dict]:
    data, rows = data_of(n, 1), []
    task = sx.Task.fit(data, "a", "u")
    surrogate = sx.FNO(task, width=32, modes=(32, 32), remat=True, key=jax.random.key(0))
    for count in counts():
        runner, state, batches = started(surrogate, data, 1, mesh_of(count, "space"))
        memory = runner.compiled(batches, state, 1).memory_analysis()
        size = memory.temp_size_in_bytes + memory.argument_size_in_bytes
        parameters = sum(x.nbytes for x in jax.tree.leaves(eqx.filter(state, eqx.is_array)) if x.dtype == jnp.float32)
        rows.append({"devices": count, "MiB": size / 2**20, "MiB_of_parameters_and_their_states": parameters / 2**20})
        print(f"space: {rows[-1]}", flush=True)
    return rows


def streaming(data: sx.Dataset, task, repeats: int) -> dict:
    """Seconds per epoch in turns."""
    with tempfile.TemporaryDirectory() as folder:
        write_well(Path(folder) / "data.hdf5", data, name="fields")
        stored = sx.open(Path(folder) / "data.hdf5")
        runner, state, resident = started(demo_network(task), data, 20, None)
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
                state, _ = runner.train(piece[1], state, 0, piece[0])
            return time.perf_counter() - start, waited

        for kind in ("resident", "streamed") * (repeats + 1):
            source = iter([(count, resident)]) if kind == "resident" else stream.chunks(0, count)
            total, waited = epoch(source)
            seconds[kind].append(total)
            if kind == "streamed":
                waiting.append(waited / total)
    found = {kind: statistics.median(values[1:]) for kind, values in seconds.items()}  # the first ones compile
    print(f"streaming: {found}, waiting {statistics.median(waiting[1:]):.3f}", flush=True)
    return {**found, "waiting": statistics.median(waiting[1:])}


def main():
    process = dict(type=int, nargs=5, help=argparse.SUPPRESS)
    arguments = options(__doc__, quick="smaller fields and fewer steps", process=process)
    if arguments.process:
        return one_of_two(*arguments.process)
    jax.config.update("jax_num_cpu_devices", 8)  # of a CPU only
    quick = arguments.quick
    n, samples, epochs = (32, 80, 2) if quick else (57, 200, 2)
    data = data_of(n, samples)
    task = sx.Task.fit(data, "a", "u")
    steps = 2 if quick else 5
    weak = weak_scaling(data_of(n, 160 * steps), task, steps, steps)
    expected = losses(data, task, epochs)
    found = {f"{c} devices": losses(data, task, epochs, mesh_of(c, "data")) for c in counts()[1:]}
    found["two processes"] = two_processes(n, samples, epochs)
    differences = {name: float(abs(values / expected - 1).max()) for name, values in found.items()}
    print(f"losses: relative differences {differences}", flush=True)
    space = space_memory(128 if quick else 512)
    demo = data_of(29, 200 if quick else 1000)
    stream = streaming(demo, sx.Task.fit(demo, "a", "u"), 2 if quick else 7)
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
    record("scaling", quick, values)


if __name__ == "__main__":
    main()
