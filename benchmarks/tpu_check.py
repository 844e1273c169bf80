"""Compile kernels and training steps for a TPU v5e without one, and report memory, operations and the time that follows.

    make tpu-check, or: .venv-tpu/bin/python benchmarks/tpu_check.py [--quick | --smoke]

XLA's TPU compiler in the wheel `libtpu` compiles for a described topology, v5e:2x4. Cases: the functions of
`tools/export_cases.py` at their test sizes and at useful ones, factorisations, spectral round trips by FFT and by matrix
products, and a training step of an FNO (2D, 256², width 64, modes 32, float32) on one chip and with the batch of 64 over
eight. Nothing runs, no number is a measured time.

Per case: bytes of `memory_analysis` (they fit if they are at most 16 GiB together), `flops` and `bytes` of `cost_analysis`,
collectives of the optimised program. `roofline` = max(`compute`, `memory`) in seconds per chip. `compute` takes the
operations of matrix products, counted in the trace, times the bfloat16 passes that their precision costs (float32 at highest
6, high 3, default 1), everything else once, at 197e12 per second; `memory` the bytes at 819e9 per second. `estimate` is the
compiler's own, the sum of its cycles per fused loop without communication. Loops count as one turn in all of these.

--quick: the test sizes and a small training step. --smoke: two functions and a training step, made ready for a TPU but not
compiled, so that `libtpu` is not needed; their bytes and seconds are null. Last line: JSON. `compiled` counts the cases
that compile, `failed` names the others with the compiler's reason, `too_large` those that need more than 16 GiB; `step` is
the roofline of the training step on one chip in seconds, `step_8` on eight, and `collectives_8` what the latter sends;
`fft_over_dft` is the least ratio of FFT to matrix products in `estimate` over the spectral round trips (null with
--quick).
"""

import functools
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from importlib import metadata, util
from typing import NamedTuple

# Neither a TPU nor the metadata server of a TPU host is there to be asked, and several checks may run at once.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["TPU_SKIP_MDS_QUERY"] = "1"
os.environ["TPU_ACCELERATOR_TYPE"] = "v5litepod-8"
os.environ["TPU_WORKER_HOSTNAMES"] = "localhost"
os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
os.environ["TPU_LOG_DIR"] = "disabled"
os.environ["JAX_NUM_CPU_DEVICES"] = "8"  # stand for chips with --smoke

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from common.collectives import collectives
from common.command_line import options
from common.record import record
from common.spectral_layer import round_trip
from common.timing import timed
from jax.experimental import topologies
from jax.sharding import Mesh, SingleDeviceSharding
from tools import export_cases

import surrogax as sx
from surrogax.solvers.kernels import thin_svd
from surrogax.solvers.kernels.compile_platform import traced_for
from surrogax.solvers.linear import CG, SOR, DeepCG, Multigrid
from surrogax.surrogates.training.devices import Devices
from surrogax.surrogates.training.loop import Loop
from surrogax.surrogates.training.samples import DeviceData
from surrogax.surrogates.training.steps import as_step

TOPOLOGY = "v5e:2x4"
CHIP = {"flops": 197e12, "bytes": 819e9, "memory": 16 * 2**30, "clock": 1.5e9}  # of a v5e; flops in bfloat16
PASSES = {"default": 1, "high": 3, "highest": 6}  # in bfloat16 of a float32 product

# Platforms provide factorisations as custom calls, so they are no case of the export test.
FACTORISATIONS = {
    "singular vectors by Gram matrices": (functools.partial(thin_svd.gram_svd, rank=4, products=2), jnp.ones((8, 300))),
    "singular vectors by a sketch": (
        lambda rows, key: thin_svd.randomized_svd(rows, rank=4, oversampling=2, key=key),
        jnp.ones((8, 300)),
        jax.random.key(0),
    ),
    "k-medoids": (lambda d: sx.reduced.kmedoids(d, 3).medoids, jnp.ones((12, 12))),
}


def sized() -> dict:
    """Export cases at sizes of use."""
    deep = DeepCG(sx.load("deepcg-poisson-64"))
    return {
        "gradient of a Darcy solve, 257²": (export_cases.solve_gradient, jnp.ones((257, 257))),
        "gradient of multigrid-CG, 512²": linear(CG(Multigrid())),
        "gradient of red-black SOR, 512²": linear(SOR()),
        "gradient of deep CG, 512²": linear(deep),
        "gradient of smoke, 128²": (functools.partial(export_cases.smoke_gradient, 128), 1.0),
        "singular vectors by Gram matrices, 256 of 2^20": (
            functools.partial(thin_svd.gram_svd, rank=64),
            jax.ShapeDtypeStruct((256, 2**20), jnp.float32),
        ),
    }


def linear(method) -> tuple:
    return functools.partial(export_cases.linear_gradient, method), jax.ShapeDtypeStruct((512, 512), jnp.float32)


def round_trips() -> dict:
    """A spectral layer's transforms with their gradient, few kept frequencies and all of them."""
    cases = {}
    for shape, kept in (((256, 256), (64, 33)), ((256, 256), (256, 129)), ((1024,), (16,)), ((1024,), (513,))):
        sizes = "{} points, {} kept".format(*("x".join(map(str, n)) for n in (shape, kept)))
        x = jax.ShapeDtypeStruct((8, *shape, 64), jnp.float32)
        weights = jax.ShapeDtypeStruct((*kept, 64), jnp.float32)
        for method in ("fft", "dft"):
            cases[f"spectral round trip, {sizes}, {method}"] = (round_trip(kept, method), x, weights)
    return cases


def training_step(
    devices, size: int, width: int, modes: int, batch: int, *, method: str = "auto", dtype: str | None = None
) -> tuple:
    """One turn of `fit`'s loop on an FNO, what it is called with, and where it runs: the trained state, which is donated, and
    everything else. The samples to choose from lie on every device, those of a batch along the axis "data"."""
    grid = sx.Grid.unit_square(size)
    few = np.arange(2 * size**2, dtype=np.float32).reshape(2, size, size)
    task = sx.Task.fit(sx.from_arrays(inputs={"a": few}, targets={"u": few}, grid=grid), inputs="a", targets="u")
    where = Devices.of(Mesh(np.array(devices), ("data",)), batch_size=batch, seeds=1)

    def start(key):
        surrogate = sx.FNO(task, width=width, modes=modes, method=method, key=key)
        loop = Loop.of(surrogate, sx.Supervised(dtype=dtype), as_step(optax.adamw(1e-3)), 0.0)
        return loop.init(surrogate, key), loop

    state, loop = eqx.filter_eval_shape(start, jax.random.key(0))
    samples = jax.ShapeDtypeStruct((256, size, size), jnp.float32)
    data = DeviceData({"a": samples, "u": samples}, (), 0, 1, len(samples))
    arrays, rest = eqx.partition((loop, data), is_shape)

    def run(state, arrays, order):
        loop, data = eqx.combine(arrays, rest)
        return loop.run(state, order, lambda numbers: where.spread(task, data.take(numbers)))

    order = jax.ShapeDtypeStruct((1, batch), jnp.int32)
    return where, run, *(placed(x, where.sharding()) for x in (state, arrays, order))


def is_shape(x) -> bool:
    return isinstance(x, jax.ShapeDtypeStruct)


def placed(tree, sharding):
    """Shapes of the arrays of a tree, as if they lay on the devices of `sharding`."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def check(name: str, function, *arguments, where: Devices = Devices(), donate: tuple[int, ...] = ()) -> dict:  # noqa: B008
    """The row of a case, called with arguments that are placed."""
    chips = 1 if where.mesh is None else where.mesh.size
    row = {"case": name, "chips": chips}
    with traced_for("tpu"), where.active():
        traced = jax.jit(function, donate_argnums=donate).trace(*arguments)
        try:
            seconds, compiled = timed(lambda: traced.lower().compile())
        except jax.errors.JaxRuntimeError as error:
            row["error"] = str(error).splitlines()[0]
            print(f"{name}: {row['error']}", flush=True)
            return row
    memory, cost, text = compiled.memory_analysis(), compiled.cost_analysis(), compiled.as_text()
    products, has_fft = product_operations(traced.jaxpr)
    by_passes = {passes: operations / chips for passes, operations in products.items()}
    others = max(cost["flops"] - sum(by_passes.values()), 0) * (6 if has_fft else 1)  # an FFT becomes float32 products
    row["arguments"], row["temporaries"] = memory.argument_size_in_bytes, memory.temp_size_in_bytes
    row["needed"] = row["arguments"] + row["temporaries"] + memory.generated_code_size_in_bytes
    row["needed"] += memory.output_size_in_bytes - memory.alias_size_in_bytes
    row |= {"flops": cost["flops"], "products": sum(by_passes.values()), "bytes": cost["bytes accessed"]}
    row["compute"] = (sum(n * operations for n, operations in by_passes.items()) + others) / CHIP["flops"]
    row["memory"] = row["bytes"] / CHIP["bytes"]
    row["roofline"] = max(row["compute"], row["memory"])
    row["estimate"] = sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', text))) / CHIP["clock"]
    row |= {"loops": len(re.findall(r" while\(", text)), "collectives": collectives(text)}
    print(
        f"{name}: " + ", ".join(f"{k} {row[k]:.3g}" for k in ("needed", "flops", "bytes", "roofline", "estimate")),
        end="",
    )
    print(f", collectives {row['collectives']}, compiled in {seconds:.0f} s", flush=True)
    return row


def lower(name: str, function, *arguments, where: Devices = Devices(), donate: tuple[int, ...] = ()) -> dict:  # noqa: B008
    """As `check`, up to the program that a compiler for TPUs would get."""
    with traced_for("tpu"), where.active():
        jax.jit(function, donate_argnums=donate).trace(*arguments).lower(lowering_platforms=("tpu",))
    print(f"{name}: lowered", flush=True)
    return {"case": name, "chips": 1 if where.mesh is None else where.mesh.size}


def product_operations(jaxpr, copies: int = 1) -> tuple[Counter, bool]:
    """Operations of the matrix products of a trace by the number of bfloat16 passes they take, and whether it has an FFT."""
    found, has_fft = Counter(), False
    for eqn in jaxpr.eqns:
        name, parameters = eqn.primitive.name, eqn.params
        has_fft |= name == "fft"
        if name == "dot_general":
            left = eqn.invars[0].aval
            (contracted, _), _ = parameters["dimension_numbers"]
            precision = (parameters["precision"] or ("default",))[0]
            passes = 1 if left.dtype == jnp.bfloat16 else PASSES[str(precision).lower()]
            found[passes] += copies * 2 * eqn.outvars[0].aval.size * math.prod(left.shape[axis] for axis in contracted)
        # Inside `shard_map` the shapes are those of one device.
        inner = copies * (parameters["mesh"].size if name == "shard_map" else 1)
        for part in jax.tree.leaves(list(parameters.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            if hasattr(part, "eqns"):
                more, also = product_operations(part, inner)
                found, has_fft = found + more, has_fft or also
    return found, has_fft


def target_devices(arguments) -> list:
    """The described chips, or with --smoke devices of the CPU in their place."""
    if arguments.smoke:
        return jax.devices()
    if util.find_spec("libtpu") is None:
        sys.exit("tpu_check.py needs XLA's TPU compiler in the wheel libtpu; `make tpu-check` installs it.")
    return topologies.get_topology_desc(platform="tpu", topology_name=TOPOLOGY).devices


class Size(NamedTuple):
    """How much to run: what to do with each case, the cases beside training steps, grid, width, modes and batch of the steps,
    and whether further forms of the step are compared."""

    examine: Callable[..., dict]
    cases: Callable[[], dict]
    step: tuple[int, int, int, int]
    further: bool


FULL = Size(
    check, lambda: {**export_cases.CASES, **FACTORISATIONS, **sized(), **round_trips()}, (256, 64, 32, 64), True
)
QUICK = Size(check, lambda: {**export_cases.CASES, **FACTORISATIONS}, (32, 16, 6, 16), False)
SMOKE = Size(lower, lambda: dict(list({**FACTORISATIONS, **round_trips()}.items())[1:5:3]), (8, 4, 2, 8), False)


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE)
    size, devices = arguments.size, target_devices(arguments)
    one = SingleDeviceSharding(devices[0])
    rows = []
    for name, (function, *given) in size.cases().items():
        rows.append(size.examine(name, function, *placed(jax.eval_shape(lambda *a: a, *given), one)))
    points, width, modes, batch = size.step

    def step(what: str, chips: int, batch: int, **settings):
        where, function, *given = training_step(devices[:chips], points, width, modes, batch, **settings)
        rows.append(size.examine(f"FNO step, batch {batch}, {what}", function, *given, where=where, donate=(0,)))
        return rows[-1]

    alone = step("one chip", 1, batch)
    shared = step("eight chips", 8, batch)
    if size.further:
        step("eight chips, bfloat16", 8, batch, dtype="bfloat16")
        step("one chip", 1, batch // 8)
        step("one chip, fft", 1, batch // 8, method="fft")
        step("one chip, fft", 1, batch, method="fft")
    good = {row["case"]: row for row in rows if "needed" in row}
    matrices = {name[:-3] + "fft": row for name, row in good.items() if name.endswith(" dft")}
    ratios = [good[name]["estimate"] / row["estimate"] for name, row in matrices.items() if name in good]
    values = {
        "compiled": len(good),
        "failed": {row["case"]: row["error"] for row in rows if "error" in row},
        "too_large": [name for name, row in good.items() if row["needed"] > CHIP["memory"]],
        "step": alone.get("roofline"),
        "step_8": shared.get("roofline"),
        "collectives_8": shared.get("collectives"),
        "fft_over_dft": min(ratios, default=None),
        "cases": rows,
        "topology": TOPOLOGY,
        "libtpu": metadata.version("libtpu") if good else None,
    }
    record("tpu_check", arguments, values)


if __name__ == "__main__":
    main()
