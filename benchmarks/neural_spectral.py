"""Neural spectral methods on the periodic Poisson equation, trained without data, beside the FFT solve.

    python benchmarks/neural_spectral.py [--quick | --smoke]

−Δu = f on the unit square; f is a periodic Gaussian process of length 0.2 whose waves a grid of 16² points holds; 31 modes per
axis, new sources in every step, Adam (b2 = 0.95) with a rate that falls exponentially to a thousandth. Errors are means over 128
sources of the relative L2 error on 64² points against the exact solution in float64 (all waves of f are known). The paper reports
0.057 % after 30 000 steps of a network of width 64 and depth 4. "with linear path" has a trained number per coefficient beside
the network, which could solve this equation alone; "as in the paper" has not.

The FFT solve in float32 needs no training; a network has to be judged against it at equal error. --quick: a tenth of the
steps; --smoke: 20 steps of a tiny network.

Last line: JSON. `poisson_rel_l2` is the first row; `rows` have error, steps, seconds of training and milliseconds per source of a
batch of 128; `fft` has error and milliseconds.
"""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common.command_line import options
from common.record import record

import surrogax as sx


class Size(NamedTuple):
    """How much to run: steps, modes, width, depth, test sources and points per axis."""

    steps: int
    modes: int
    width: int
    depth: int
    tests: int
    points: int


FULL = Size(6000, modes=31, width=16, depth=2, tests=128, points=64)
QUICK = FULL._replace(steps=600)
SMOKE = Size(20, modes=15, width=2, depth=1, tests=4, points=16)
LAW = sx.random.PeriodicGP(0.2, modes=15)
KEY, SAMPLES, PEAK = jax.random.key(0), 8, 1e-2
ROWS = {
    "with linear path": dict(),
    "as in the paper": dict(linear=False),
}


def solve(f):
    """u by FFT in the precision of f, a batch of sources."""
    n = f.shape[-1]
    k = 2 * np.pi * np.fft.fftfreq(n, 1 / n)
    squares = (k[:, None] ** 2 + k[: n // 2 + 1] ** 2).astype(f.dtype)
    squares[0, 0] = np.inf
    xp = np if isinstance(f, np.ndarray) else jnp
    return xp.fft.irfft2(xp.fft.rfft2(f) / squares, s=(n, n)).astype(f.dtype)


def error(predicted, exact) -> float:
    apart, whole = (np.linalg.norm(x.reshape(len(x), -1), axis=1) for x in (predicted - exact, exact))
    return float((apart / whole).mean())


def milliseconds(run, n: int) -> float:
    """Median of ten calls, per source."""
    jax.block_until_ready(run())
    found = []
    for _ in range(10):
        start = time.perf_counter()
        jax.block_until_ready(run())
        found.append(time.perf_counter() - start)
    return 1e3 * float(np.median(found)) / n


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE)
    size = arguments.size
    problem = sx.problem("poisson", f=LAW, box=sx.Box.unit(2, "periodic"))
    grid = problem.box.grid(size.points)
    keys = jax.random.split(jax.random.key(1), size.tests)
    f = jax.jit(jax.vmap(lambda key: LAW.sample(key, grid)))(keys)
    exact = solve(np.asarray(f, np.float64))
    fft = jax.jit(solve)
    reference = {"rel_l2": error(np.asarray(fft(f)), exact), "ms": milliseconds(lambda: fft(f), size.tests)}
    print("| | relative L2 | steps | training, s | ms per source |\n| --- | ---: | ---: | ---: | ---: |")
    print(f"| FFT, float32 | {100 * reference['rel_l2']:.5f} % | | | {reference['ms']:.4f} |")
    rows = {}
    for name, settings in ROWS.items():
        model = sx.NeuralSpectral(problem, modes=size.modes, width=size.width, depth=size.depth, key=KEY, **settings)
        rate = optax.exponential_decay(PEAK, size.steps, 1e-3)
        start = time.perf_counter()
        trained = sx.fit(
            model, optimizer=optax.adam(rate, b2=0.95), steps=size.steps, samples=SAMPLES, key=KEY, progress=False
        ).last
        seconds = time.perf_counter() - start
        predict = jax.jit(jax.vmap(lambda f, model=trained: model({"f": f})["u"]))
        rows[name] = {
            "rel_l2": error(trained.predict({"f": f})["u"], exact), "steps": size.steps, "seconds": seconds,
            "ms": milliseconds(lambda predict=predict: predict(f), size.tests), "parameters": trained.parameters,
        }  # fmt: skip
        row = rows[name]
        print(f"| {name} | {100 * row['rel_l2']:.4f} % | {size.steps} | {seconds:.0f} | {row['ms']:.3f} |", flush=True)
    record(
        "neural_spectral",
        arguments,
        {"poisson_rel_l2": rows["with linear path"]["rel_l2"], "rows": rows, "fft": reference},
    )


if __name__ == "__main__":
    main()
