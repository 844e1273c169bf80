"""Truncated Fourier transforms: FFT against dense real products, forward plus gradient.

Times a round trip (transform, coefficients weighted, transform back) with its gradient under jit and vmap, the work of
a spectral layer. "dft/fft" is the ratio of operations that `choose_method` compares with `FFT_COST_RATIO` of the
platform; `cost_ratio` of the last line, for that table, is the threshold that loses the least time over all rows.

    python benchmarks/fourier_transforms.py [--quick]
"""

import json
import math
import platform
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from common import options

from surrogax.solvers.kernels import fourier

# (batch, grid, channels, kept frequencies)
QUICK = [
    (20, (1024,), 64, (16,)),
    (8, (64, 64), 32, (32, 17)),
    (8, (64, 64), 32, (16, 9)),
    (2, (32, 32, 32), 16, (12, 12, 7)),
]
FULL = [
    *QUICK,
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


def round_trip(kept: tuple[int, ...], method: str) -> Callable:
    """Loss and gradient of transform, weighting and inverse transform for a batch of fields."""

    def layer(x, weights):
        re, im = fourier.truncated_rfft(x, kept, method=method)
        return fourier.truncated_irfft((re * weights, im * weights), x.shape[:-1], method=method)

    def loss(x, weights):
        return jnp.sum(jax.vmap(layer, in_axes=(0, None))(x, weights) ** 2)

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


def measure(case: tuple, repeats: int) -> dict:
    batch, grid, channels, kept = case
    x = jax.random.normal(jax.random.key(0), (batch, *grid, channels))
    weights = jax.random.normal(jax.random.key(1), (*kept, channels))
    functions = {method: round_trip(kept, method) for method in ("fft", "dft")}
    results = {method: jax.block_until_ready(f(x, weights)) for method, f in functions.items()}
    for fft, dft in zip(*map(jax.tree.leaves, results.values()), strict=True):
        np.testing.assert_allclose(fft, dft, rtol=0, atol=1e-5 * float(jnp.max(jnp.abs(fft))))

    times = {method: [] for method in functions}
    for _ in range(repeats):
        for method, f in functions.items():
            start = time.perf_counter()
            jax.block_until_ready(f(x, weights))
            times[method].append(time.perf_counter() - start)
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
    quick = options(__doc__, "four cases, five repeats").quick

    header = ("batch", "grid", "channels", "kept", "fft ms", "dft ms", "dft/fft", "chosen")
    line = "{:>5}  {:>14}  {:>8}  {:>14}  {:>8}  {:>8}  {:>8}  {:>6}".format
    print(line(*header))
    rows = []
    for case in QUICK if quick else FULL:
        row = measure(case, repeats=5 if quick else 15)
        rows.append(row)
        sizes = ["x".join(map(str, row[key])) for key in ("grid", "kept")]
        numbers = [f"{row[key]:.2f}" for key in ("fft_ms", "dft_ms", "operations")]
        print(line(row["batch"], sizes[0], row["channels"], sizes[1], *numbers, row["chosen"]), flush=True)

    summary = {
        "benchmark": "fourier_transforms",
        "mode": "quick" if quick else "full",
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "machine": platform.processor() or platform.machine(),
        "jax": jax.__version__,
        "cost_ratio": best_threshold(rows),
        "rows": rows,
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
