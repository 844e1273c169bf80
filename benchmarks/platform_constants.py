"""Constants of the library that depend on the processor, measured here: what they are, what is fastest, what to put in.

    python benchmarks/platform_constants.py [--quick | --smoke]

- `gram._CHUNK`: entries of a chunk of a Gram matrix, 200 rows × 1e6 points (float32).
- `kmedoids._BLOCK_…`: candidates whose swaps are evaluated together, 4096 points, 64 clusters.
- `damped_normal_equations._BLOCKS`: blocks of the symmetric half of JᵀJ, J of 8000 × 2000 (float32).
- `sparse_rows._LARGE`: rows from which a matrix is stored column by column; products of matrices with 9 entries per row.
- `batches._CHUNK_BYTES`: size of one transfer of streamed batches, 500 samples of 2 × 128² points.
- `runner.apart`: whether every step of a convolutional network is a call of its own; a U-Net of width 16, batch 8, 32².

`FFT_COST_RATIO` is measured by `fourier_transforms.py`. Medians of 7 calls after one that compiles, forms in turns. --quick: a
tenth of the sizes, 3 calls; --smoke: two forms of everything at a size of nothing. Last line: JSON; `put_in` names the constants
whose best value is more than 5 % faster than the present one.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.sparse as sp
from common.command_line import options
from common.record import record
from common.timing import in_turns

import surrogax as sx
from surrogax.solvers.kernels import gram, sparse_rows
from surrogax.surrogates.reduced.clustering import kmedoids
from surrogax.surrogates.training import batches, damped_normal_equations
from surrogax.surrogates.training.devices import Devices
from surrogax.surrogates.training.runner import Runner
from surrogax.surrogates.training.samples import Samples
from surrogax.surrogates.training.steps import as_step

_GAIN = 1.05  # a change is worth it from here on


class Size(NamedTuple):
    """How much to run: entries of arrays over those of the full run, repeats, and how many values of each constant."""

    share: float
    repeats: int
    values: int


FULL = Size(1.0, repeats=7, values=9)
QUICK = Size(0.1, repeats=3, values=9)
SMOKE = Size(0.001, repeats=1, values=2)


class Constant(NamedTuple):
    """A constant: its present value here, and calls with each value that is tried."""

    name: str
    now: Any
    calls: dict[Any, Callable[[], Any]]


@contextmanager
def changed(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    before, vars(module)[name] = vars(module)[name], value
    try:
        yield
    finally:
        vars(module)[name] = before


def compiled(function: Callable, *arguments: Any) -> Callable[[], Any]:
    """The function compiled now, with the constants that it has now."""
    program = jax.jit(function).lower(*arguments).compile()
    return functools.partial(program, *arguments)


def powers(first: int, last: int, now: int, size: Size) -> list[int]:
    """Powers of two, with the present value."""
    return sorted({*(2**i for i in range(first, last + 1)), now} if size.values > 2 else {2**first, now})


def chunks_of_gram(size: Size) -> Constant:
    rows = jax.random.normal(jax.random.key(0), (200, int(1e6 * size.share)))
    now = gram._CHUNK.get(jax.default_backend(), gram._CHUNK_ELSEWHERE)
    calls = {}
    for value in powers(17, 28, now, size):
        with changed(gram, "_CHUNK", {jax.default_backend(): value}):
            calls[value] = compiled(lambda x: gram.gram(x), rows)
    return Constant("gram._CHUNK", now, calls)


def blocks_of_kmedoids(size: Size) -> Constant:
    n = max(int(4096 * size.share**0.5), 64)
    points = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32)
    distance = jnp.asarray(np.linalg.norm(points[:, None] - points, axis=-1))
    cpu = jax.default_backend() == "cpu"
    now = min(kmedoids._BLOCK_CPU if cpu else kmedoids._BLOCK_ACCELERATOR, n)
    k = max(n // 64, 2)
    calls = {
        value: functools.partial(sx.reduced.kmedoids, distance, k, block=value)
        for value in powers(3, 12, now, size)
        if value <= n
    }
    return Constant("kmedoids._BLOCK_CPU" if cpu else "kmedoids._BLOCK_ACCELERATOR", now, calls)


def blocks_of_normal_equations(size: Size) -> Constant:
    n = max(int(2000 * size.share**0.5), 16)
    jacobian, calls = jax.random.normal(jax.random.key(0), (4 * n, n)), {}
    for value in (1, 2, 4, 8)[: size.values + 1]:
        with changed(damped_normal_equations, "_BLOCKS", value):
            calls[value] = compiled(lambda a: damped_normal_equations.symmetric_product(a), jacobian)
    return Constant("damped_normal_equations._BLOCKS", damped_normal_equations._BLOCKS, calls)


def rows_of_sparse_matrices(size: Size) -> list[Constant]:
    """One per number of rows: the value says whether a matrix of that size is large."""
    found = []
    for n in (1_000, 10_000, 100_000, 1_000_000) if size.values > 2 else (1_000,):
        n, rng, calls = max(int(n * size.share), 100), np.random.default_rng(0), {}
        matrix = sp.csr_array((rng.normal(size=9 * n), (np.repeat(np.arange(n), 9), rng.integers(0, n, 9 * n))), (n, n))
        x = jnp.asarray(rng.normal(size=n), jnp.float32)
        for large in (False, True):
            with changed(sparse_rows, "_LARGE", 0 if large else 2**60):
                calls[large] = compiled(lambda m, x: m(x), sparse_rows.RowMatrix.from_scipy(matrix, np.float32), x)
        found.append(Constant(f"sparse_rows: {n} rows are large", n >= sparse_rows._LARGE, calls))
    return found


def bytes_of_chunks(size: Size) -> Constant:
    n, side = max(int(500 * size.share), 16), 128 if size.values > 2 else 8
    rng = np.random.default_rng(0)
    fields = {name: rng.normal(size=(n, side, side)).astype(np.float32) for name in ("a", "u")}
    data = sx.from_arrays({"a": fields["a"]}, {"u": fields["u"]}, grid=sx.Grid.unit_square(side))
    stream = batches.Stream(Samples.of(sx.Task.fit(data, "a", "u"), data), np.zeros((1, 2), np.uint32), 8, Devices())

    def one_pass(value: int) -> list:
        with changed(batches, "_CHUNK_BYTES", value):
            return [jax.block_until_ready(chunk.fields) for _, chunk in stream.chunks(0, stream.per_round)]

    calls = {value: functools.partial(one_pass, value) for value in powers(20, 28, batches._CHUNK_BYTES, size)}
    return Constant("batches._CHUNK_BYTES", batches._CHUNK_BYTES, calls)


def convolutions_apart(size: Size) -> Constant:
    n, side, width = (64, 32, 16) if size.values > 2 else (8, 8, 4)
    a = np.random.default_rng(0).normal(size=(n, side, side)).astype(np.float32)
    data = sx.from_arrays({"a": a}, {"u": a}, grid=sx.Grid.unit_square(side))
    task = sx.Task.fit(data, "a", "u")
    model = sx.UNet(task, width=width, key=jax.random.key(0))
    now, calls = False, {}
    for apart in (False, True):
        runner, state = Runner.start(
            [model], sx.Supervised(), as_step(optax.adam(1e-3)), 0.0, Devices(), jax.random.key(0)
        )
        now, runner = runner.apart, Runner(runner.loop, Devices(), 1, apart)
        chunk = batches.Resident.of(Samples.of(task, data), 8, Devices())

        def steps(runner=runner, chunk=chunk, held=[state]):  # noqa: B006 (the state is donated)
            held[0], losses, _ = runner.train(chunk, held[0], 0, n // 8)
            return losses

        calls[apart] = steps
    return Constant("runner.apart", now, calls)


def main() -> None:
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE)
    size: Size = arguments.size
    makers = [
        chunks_of_gram, blocks_of_kmedoids, blocks_of_normal_equations, rows_of_sparse_matrices, bytes_of_chunks,
        convolutions_apart,
    ]  # fmt: skip
    rows, put_in = [], {}
    for make in makers:
        made = make(size)
        for constant in [made] if isinstance(made, Constant) else made:
            for call in constant.calls.values():
                jax.block_until_ready(call())
            times = {value: median(found) for value, found in in_turns(constant.calls, size.repeats).items()}
            best = min(times, key=times.__getitem__)
            gain = times[constant.now] / times[best]
            if gain > _GAIN:
                put_in[constant.name] = best
            rows.append(
                {
                    "constant": constant.name, "now": constant.now, "best": best, "gain": gain,
                    "milliseconds": {str(value): 1e3 * seconds for value, seconds in times.items()},
                }
            )  # fmt: skip
            print(
                f"{constant.name:40} now {constant.now!s:>10}  best {best!s:>10}  {gain:.2f} times faster", flush=True
            )
    record("platform_constants", arguments, {"platform": jax.default_backend(), "put_in": put_in, "constants": rows})


if __name__ == "__main__":
    main()
