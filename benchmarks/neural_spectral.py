"""Neural spectral methods on the periodic Poisson equation, trained without data, beside the FFT solve and beside losses on
grids.

    python benchmarks/neural_spectral.py [--quick | --smoke] [--runs FOLDER] [--rows ROW …]

−Δu = f on the unit square; f is a periodic Gaussian process of length 0.2 whose waves a grid of 16² points holds; 31 modes per
axis, new sources in every step, Adam (b2 = 0.95) with a rate that falls exponentially to a thousandth. Errors are means over 128
sources of the relative L2 error on 64² points against the exact solution in float64 (all waves of f are known). The paper reports
0.057 % after 30 000 steps of a network of width 64 and depth 4. "with linear path" has a trained number per coefficient beside
the network, which could solve this equation alone; "as in the paper" has not.

The other rows train the network of "as in the paper" for as many seconds on other losses: "grid, exact derivatives" is the mean
square of the residual on 63² points, which equals the spectral loss here, as all of the residual lies in the modes; the others
have the Laplacian of u by differences of second order on 64² and 128² points. Their number of steps follows from the seconds by
which 300 steps take longer than 100.

The FFT solve in float32 needs no training; a network has to be judged against it at equal error. A script that was killed goes on
with the first row that is missing. --quick: a tenth of the steps; --smoke: 20 steps of tiny networks.

Last line: JSON. `poisson_rel_l2` is the first row; `ratio_exact_grid_loss` and `ratio_fd_grid_loss` are the errors of the grid
losses over that of "as in the paper", of the better grid for differences; `rows` have error, steps, seconds of training and
milliseconds per source of a batch of 128; `fft` has error and milliseconds.
"""

import time
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from common.command_line import options
from common.kept_rows import NOT_RUN, KeptRows, row_options
from common.record import record

import surrogax as sx
from surrogax.surrogates.operators import SpectralResidual


class Size(NamedTuple):
    """How much to run: steps, modes, width, depth, test sources and points per axis; points per axis of the losses by
    differences."""

    steps: int
    modes: int
    width: int
    depth: int
    tests: int
    points: int
    grids: tuple[int, ...]


FULL = Size(6000, modes=31, width=16, depth=2, tests=128, points=64, grids=(64, 128))
QUICK = FULL._replace(steps=600)
SMOKE = Size(20, modes=15, width=2, depth=1, tests=4, points=16, grids=(16,))
LAW = sx.random.PeriodicGP(0.2, modes=15)
KEY, SAMPLES, PEAK = jax.random.key(0), 8, 1e-2
SPECTRAL, EXACT = "as in the paper", "grid, exact derivatives"
FIRST = "with linear path"


class Differences(sx.AbstractLeastSquares):
    """The mean square of −Δ_h u − f on a periodic grid, with differences of second order, in units of the mean square of f."""

    exact: SpectralResidual
    grid: sx.Grid = eqx.field(static=True)
    calls = 1

    def init(self, key):
        return None

    def draw(self, state, batch, key):
        keys = jax.random.split(key, self.exact.samples)
        return jax.vmap(lambda key: self.exact.problem.sample_inputs(key, self.grid))(keys)

    def residuals(self, model, points):
        def one(inputs):
            u = self.exact.space.values(model.coefficients(inputs, self.grid), self.grid)[..., 0]
            second = [
                (jnp.roll(u, 1, axis) - 2 * u + jnp.roll(u, -1, axis)) / h**2
                for axis, h in enumerate(self.grid.spacing)
            ]
            return -sum(second, start=inputs["f"])

        return jax.vmap(one)(points) * jnp.sqrt(2 / (points["f"] ** 2).sum()), sx.Outcome(model.state)

    def update(self, state, points, outcome, key):
        return None

    def validate(self, model, batch):
        raise TypeError("no validation data")


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


def objective(label: str, grids: dict[str, int], model: sx.AbstractSurrogate, problem: sx.Problem):
    exact = model.objective(None, samples=SAMPLES, norm="grid" if label == EXACT else "spectral")
    return Differences(exact, problem.box.grid(grids[label])) if label in grids else exact


def trained(model, loss, steps: int):
    """The surrogate after so many steps and the seconds of the training."""
    rate, start = optax.exponential_decay(PEAK, steps, 1e-3), time.perf_counter()
    adam = optax.adam(rate, b2=0.95)
    found = sx.fit(model, objective=loss, optimizer=adam, steps=steps, key=KEY, progress=False).last
    return found, time.perf_counter() - start


def steps_within(seconds: float, model, loss, few: int) -> int:
    """How many steps take so long, from the difference of two short trainings, which compile alike."""
    short, long = (trained(model, loss, steps)[1] for steps in (few, 3 * few))
    return max(round((seconds - short) * 2 * few / max(long - short, 1e-3)) + few, few)


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, **row_options("neural_spectral"))
    size = arguments.size
    grids = {f"grid, differences on {n}²": n for n in size.grids}
    labels = (FIRST, SPECTRAL, EXACT, *grids)
    kept = KeptRows(arguments, size, labels)
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

    def make(label: str) -> dict:
        model = sx.NeuralSpectral(
            problem, modes=size.modes, width=size.width, depth=size.depth, linear=label == FIRST, key=KEY
        )
        loss, steps = objective(label, grids, model, problem), size.steps
        if label in (EXACT, *grids) and not arguments.smoke:
            steps = steps_within(rows[SPECTRAL]["seconds"], model, loss, 100)
        found, seconds = trained(model, loss, steps)
        predict = jax.jit(jax.vmap(lambda f: found({"f": f})["u"]))
        return {
            "rel_l2": error(found.predict({"f": f})["u"], exact), "steps": steps, "seconds": seconds,
            "ms": milliseconds(lambda: predict(f), size.tests), "parameters": found.parameters,
        }  # fmt: skip

    for label in labels:
        beside = label in (FIRST, SPECTRAL) or rows[SPECTRAL] != NOT_RUN
        row = rows[label] = kept.row(label, (lambda label=label: make(label)) if beside else None)
        if row == NOT_RUN:
            print(f"| {label} | {NOT_RUN} | | | |")
            continue
        numbers = f"{100 * row['rel_l2']:.4f} % | {row['steps']} | {row['seconds']:.0f} | {row['ms']:.3f}"
        print(f"| {label} | {numbers} |", flush=True)

    def ratio(*labels: str) -> float | None:
        if NOT_RUN in (rows[SPECTRAL], *(rows[label] for label in labels)):
            return None
        return min(rows[label]["rel_l2"] for label in labels) / rows[SPECTRAL]["rel_l2"]

    first = rows[FIRST]
    values = {
        "poisson_rel_l2": None if first == NOT_RUN else first["rel_l2"], "ratio_fd_grid_loss": ratio(*grids),
        "ratio_exact_grid_loss": ratio(EXACT), "rows": rows, "fft": reference,
    }  # fmt: skip
    record("neural_spectral", arguments, values)


if __name__ == "__main__":
    main()
