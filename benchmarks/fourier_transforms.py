"""Truncated Fourier transforms: FFT against dense real products, forward plus gradient.

Times a round trip (transform, coefficients weighted, transform back) with its gradient under jit and vmap, the work of
a spectral layer. "dft/fft" is the ratio of operations that `choose_method` compares with `FFT_COST_RATIO` of the
platform.

    python benchmarks/fourier_transforms.py [--quick | --smoke]

--quick: four cases and five repeats instead of 15; --smoke: two small cases. Last line: JSON. `cost_ratio`, for that
table, is the threshold that loses the least time over all rows.
"""

import math
import statistics
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common.command_line import options
from common.record import record
from common.spectral_layer import round_trip
from common.timing import in_turns

from surrogax.solvers.kernels import fourier

# (batch, grid, channels, kept frequencies)
FEW = [
    (20, (1024,), 64, (16,)),
    (8, (64, 64), 32, (32, 17)),
    (8, (64, 64), 32, (16, 9)),
    (2, (32, 32, 32), 16, (12, 12, 7)),
]
MANY = [
    *FEW,
    (20, (8192,), 64, (16,)),
    (20, (1024,), 64, (256,)),
    (20, (256,), 64, (64,)),
    (8, (64, 64), 32, (64, 33)),
    (8, (128, 128), 32, (24, 13)),
    (4, (256, 256), 32, (32, 17)),
    (4, (256, 256), 32, (128, 65)),
    (4, (421, 421), 32, (24, 13)),
    (1, (64, 64, 64), 16, (24, 24, 13)),
]


class Size(NamedTuple):
    """How much to run."""

    cases: list[tuple]
    repeats: int


FULL = Size(MANY, repeats=15)
QUICK = Size(FEW, repeats=5)
SMOKE = Size([(2, (32,), 2, (4,)), (2, (8, 8), 2, (4, 3))], repeats=1)


def measure(case: tuple, repeats: int) -> dict:
    batch, grid, channels, kept = case
    x = jax.random.normal(jax.random.key(0), (batch, *grid, channels))
    weights = jax.random.normal(jax.random.key(1), (*kept, channels))
    functions = {method: round_trip(kept, method) for method in ("fft", "dft")}
    results = {method: f(x, weights) for method, f in functions.items()}
    for fft, dft in zip(*map(jax.tree.leaves, results.values()), strict=True):
        np.testing.assert_allclose(fft, dft, rtol=0, atol=1e-5 * float(jnp.max(jnp.abs(fft))))

    times = in_turns({method: lambda f=f: f(x, weights) for method, f in functions.items()}, repeats)
    fft_ms, dft_ms = (1e3 * statistics.median(times[method]) for method in ("fft", "dft"))
    return {
        "batch": batch,
        "grid": grid,
        "channels": channels,
        "kept": kept,
        "fft_ms": fft_ms,
        "dft_ms": dft_ms,
        "operations": fourier.dft_operations(grid, kept) / fourier.fft_operations(grid),
        "chosen": fourier.choose_method(grid, kept),
    }


def best_threshold(rows: list[dict]) -> float:
    """Ratio of operations up to which to choose "dft", by the geometric mean of chosen over best time."""

    def loss(threshold: float) -> float:
        chosen = (row["dft_ms"] if row["operations"] <= threshold else row["fft_ms"] for row in rows)
        return sum(math.log(time / min(row["dft_ms"], row["fft_ms"])) for time, row in zip(chosen, rows, strict=True))

    return min((row["operations"] for row in rows), key=loss)


def main() -> None:
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE)
    header = ("batch", "grid", "channels", "kept", "fft ms", "dft ms", "dft/fft", "chosen")
    line = "{:>5}  {:>14}  {:>8}  {:>14}  {:>8}  {:>8}  {:>8}  {:>6}".format
    print(line(*header))
    rows = []
    for case in arguments.size.cases:
        row = measure(case, arguments.size.repeats)
        rows.append(row)
        sizes = ["x".join(map(str, row[key])) for key in ("grid", "kept")]
        numbers = [f"{row[key]:.2f}" for key in ("fft_ms", "dft_ms", "operations")]
        print(line(row["batch"], sizes[0], row["channels"], sizes[1], *numbers, row["chosen"]), flush=True)

    values = {"platform": jax.default_backend(), "cost_ratio": best_threshold(rows), "cases": rows}
    record("fourier_transforms", arguments, values)


if __name__ == "__main__":
    main()
