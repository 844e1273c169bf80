"""Posteriors by guided diffusion against exact ones: mean, spread, coverage, network calls and derivative products.

    python benchmarks/guidance.py [--quick | --smoke] [--self-only] [--peer-python PATH]

Two beds of periodic Gaussian fields with variances ∝ ((2π|k|)² + 9)^−2 and unit variance at a point, errors of 0.05:

- F: 64 points, 8 sensors (every eighth point), 18, 50 and 200 steps, EDM levels 80 to 0.002.
- F2: 64² points, 500 random sensors, at most 20 network calls but for those that name more.

The exact posterior is dense algebra. Scores: the relative error of the mean, the ratio of the samples' standard deviation to the
exact one, and the share of the exact posterior between the samples' 5 % and 95 % quantiles, which is .9 if calibrated. "calls"
are evaluations of the network per sample, "products" its vector-Jacobian products, averaged over levels and samples (of the
linear solves: iterations, the two products that their verdict takes, and the last one).

Settings: `MomentMatched`, `SketchedMoments`, `PiGDM`, `DMPS` as they are, in Heun's method on Karras' levels (2N − 1 calls for
N steps) and with the solver "auto" (N calls). `DPS`, `MCG`, `EnKG` and `DiffPIR` have a knob; the best of some values by
|log std ratio| + mean error is shown, chosen on the bed itself, and so are those of the peers: diffuse-jax (DPS, Tweedie
moment projection, FPS; over its schedules and integrators) and diffusionjax (moment-matched guidance, PiGDM, DPS), in an
environment of their own. With --quick N = 18 alone, 512 samples, and 32 samples in F2.

Last line: JSON. `f2_mean_error`, `f2_std_ratio`, `f2_coverage`, `f2_calls`: of `MomentMatched` with UniPC-3 at 20
calls; `best_peer_f_std_ratio`: that of the peers' method whose ratio is nearest to 1 at the largest number of steps.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from common.command_line import options
from common.peers import DIFFUSION_JAX, PEERS
from common.posterior_beds import PosteriorBed
from common.record import record

from surrogax.solvers import diffusion as sd
from surrogax.solvers.diffusion.guidance import Here, data_solution


class Size(NamedTuple):
    """How much to run."""

    steps: tuple[int, ...]
    samples: int
    side: int
    sensors: int
    field_samples: int
    knobs: int
    rows: int


FULL = Size((18, 50, 200), 2048, 64, 500, 256, 9, 99)
QUICK = Size((18,), 512, 64, 500, 32, 1, 99)
SMOKE = Size((4,), 4, 8, 10, 4, 1, 0)
EDM, KEY = sd.EDM(), jax.random.key(0)
STEPS_DPS = 24.0, 6.0, 12.0, 18.0, 30.0


def fixed(n: int) -> dict:
    """Guidances without a knob by name, with the solver and its number of calls for n steps."""
    heun, calls = sd.Heun(), 2 * n - 1
    sketch = sd.SketchedMoments(32, key=jax.random.key(1))
    return {
        "moment matched, Heun": (sd.MomentMatched(), heun, calls),
        "moment matched": (sd.MomentMatched(), "auto", n),
        "sketched moments, rank 32": (sketch, "auto", n),
        "PiGDM, Heun": (sd.PiGDM(), heun, calls),
        "PiGDM": (sd.PiGDM(), "auto", n),
        "DMPS, Heun": (sd.DMPS(), heun, calls),
        "DAPS": (sd.DAPS(), sd.Renoised(), n),
        "PnP-DM, 8 calls per round": (sd.PnPDM(), sd.SplitGibbs(8), 8 * n),
    }


def tuned(n: int, knobs: int) -> dict:
    """Guidances with a knob: by name, settings to choose from."""
    euler = sd.DDIM()
    return {
        "DPS": {f"ζ {z:g}": (sd.DPS(z), euler, n) for z in STEPS_DPS[:knobs]},
        "DPS squared": {f"ζ {z:g}": (sd.DPS(z, squared=True), euler, n) for z in (20.0, 5.0, 10.0, 40.0)[:knobs]},
        "MCG": {f"ζ {z:g}": (sd.MCG(z), euler, n) for z in STEPS_DPS[:knobs]},
        "DiffPIR": {
            f"λ {w:g}, η {eta:g}": (sd.DiffPIR(w), sd.DDIM(eta), n)
            for w, eta in [(8.0, 1.0), (1.0, 1.0), (1.0, 0.5), (8.0, 0.5), (1.0, 0.0)][:knobs]
        },
        "EnKG": {f"ζ {z:g}": (sd.EnKG(z), euler, n) for z in (1.0, 0.3, 0.6, 1.5, 2.0)[:knobs]},
    }


def run(bed: PosteriorBed, guidance, solver, calls: int, samples: int) -> dict:
    """Scores, calls, products and seconds of one guidance."""
    guided = guidance(bed.denoiser, bed.observation)
    times = calls
    if isinstance(solver, sd.SplitGibbs):  # from the size of the data to that of the posterior
        times = sd.LogSNR(calls, start=5.0, end=0.03)
    start = time.perf_counter()
    drawn = sd.sample(
        guided, solver, schedule=EDM, times=times, shape=bed.variances.shape, n=samples, key=KEY, trajectory=True
    )
    assert isinstance(drawn, sd.Trajectory)
    seconds = time.perf_counter() - start
    found = bed.scores(drawn.samples)
    return {**found, "calls": len(drawn.levels), "products": products(guided, drawn), "seconds": seconds}


def products(guided: sd.Guided, drawn: sd.Trajectory) -> float:
    """Vector-Jacobian products of the network per sample."""
    guidance = guided.guidance
    if isinstance(guidance, sd.MomentMatched):
        points, levels = drawn.points[:16], np.asarray(drawn.levels, drawn.points.dtype)
        return float(len(levels) * (3 + np.mean(_iterations(guided, points, levels))))
    each = guidance.rank if isinstance(guidance, sd.SketchedMoments) else 1
    return float(each * len(drawn.levels) * isinstance(guidance, sd.SketchedMoments | sd.PiGDM | sd.DPS | sd.MCG))


@eqx.filter_jit
def _iterations(guided, points, levels):
    """`(samples, levels)` iterations of the linear solves."""

    def one(x, s):
        def plain(x):
            return guided.denoiser(x, s)

        mean, pull = jax.vjp(plain, x)
        here = Here(x, s, plain, None)
        seen = guided.evidence.linearised(mean)
        return data_solution(seen, lambda u: s**2 * here.colour(pull(u)[0]), guided.guidance.method).iterations

    return jax.vmap(jax.vmap(one), (0, None))(points, levels)


def merit(row: dict) -> float:
    return abs(np.log(row["std_ratio"])) + row["mean_error"] if np.isfinite(row["std_ratio"]) else np.inf


def table(bed: PosteriorBed, n: int, size: Size) -> dict[str, dict]:
    """One row per guidance, with the best setting of those that have knobs."""
    rows = {name: run(bed, *setting, size.samples) for name, setting in list(fixed(n).items())[: size.rows]}
    for name, settings in list(tuned(n, size.knobs).items())[: size.rows + 1]:
        tried = {label: run(bed, *setting, size.samples) for label, setting in settings.items()}
        best = min(tried, key=lambda label: merit(tried[label]))
        rows[name] = {**tried[best], "setting": best, "tried": {label: merit(row) for label, row in tried.items()}}
    return rows


def field_table(bed: PosteriorBed, size: Size) -> dict[str, dict]:
    """F2: guidances at 10 and 20 calls."""
    most = 20 if size is not SMOKE else 4
    sketch = sd.SketchedMoments(min(128, size.sensors), key=jax.random.key(1))
    rows = {
        f"moment matched, UniPC-3, {most} calls": (sd.MomentMatched(), sd.UniPC(3), most),
        "moment matched, 20 calls": (sd.MomentMatched(), "auto", 20),
        "moment matched, 10 calls": (sd.MomentMatched(), "auto", 10),
        f"sketched moments, rank {sketch.rank}, 20 calls": (sketch, "auto", 20),
        "PiGDM, 20 calls": (sd.PiGDM(), "auto", 20),
        "DPS, ζ 300, 200 calls": (sd.DPS(300.0), sd.DDIM(), 200),
        "DiffPIR, 20 calls": (sd.DiffPIR(), sd.DDIM(1.0), 20),
        "DAPS, 50 calls": (sd.DAPS(), sd.Renoised(), 50),
    }
    kept = 1 if size is SMOKE else 2 if size is QUICK else len(rows)
    return {name: run(bed, *setting, size.field_samples) for name, setting in list(rows.items())[:kept]}


def peer_rows(python: Path, bed: PosteriorBed, steps, samples: int) -> dict[str, dict]:
    """The best setting of every method of the peers, by "method, N steps"."""
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "given.npz", Path(folder) / "answer.npz"
        np.savez(
            given, variances=bed.variances, rows=bed.rows, values=bed.values, std=bed.std, steps=steps, samples=samples
        )
        subprocess.run([python, PEERS / "guidance.py", given, answer], check=True, stdout=sys.stderr)
        found = dict(np.load(answer))
    calls = json.loads(str(found.pop("calls")))
    best = {}
    for name, x in found.items():
        method, setting, n = name.split("|")
        if not np.isfinite(x).all():
            continue
        row = {**bed.scores(x), "setting": setting, **calls[name]}
        key = f"{method}, {n} steps"
        if key not in best or merit(row) < merit(best[key]):
            best[key] = row
    return best


def show(title: str, rows: dict[str, dict]) -> None:
    print(f"{title}\n{'':44}{'mean error':>11}{'std ratio':>10}{'coverage':>10}{'calls':>7}{'products':>9}{'s':>7}")
    for name, row in rows.items():
        label = f"{name}{', ' + row['setting'] if 'setting' in row else ''}"
        numbers = f"{row['mean_error']:11.4f}{row['std_ratio']:10.3f}{row['coverage_90']:10.3f}"
        print(f"{label:44}{numbers}{row['calls']:7}{row['products']:9.0f}{row['seconds']:7.1f}", flush=True)


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=DIFFUSION_JAX)
    size = arguments.size
    points = 16 if size is SMOKE else 64
    bed = PosteriorBed.of((points,), np.arange(0, points, points // 8))
    tables = {}
    for n in size.steps:
        tables[n] = table(bed, n, size)
        show(f"F, {n} steps", tables[n])
    side = size.side
    sensors = np.sort(np.random.default_rng(1).choice(side * side, size.sensors, replace=False))
    fields = field_table(PosteriorBed.of((side, side), sensors), size)
    show("F2", fields)
    ends = sorted({size.steps[0], size.steps[-1]})
    peers = {} if arguments.python is None else peer_rows(arguments.python, bed, ends, size.samples)
    if peers:
        show("F, peers", peers)
    most = [row["std_ratio"] for name, row in peers.items() if name.endswith(f"{size.steps[-1]} steps")]
    ours = next(iter(fields.values()))
    record("guidance", arguments, {
        "f2_mean_error": ours["mean_error"], "f2_std_ratio": ours["std_ratio"], "f2_coverage": ours["coverage_90"],
        "f2_calls": ours["calls"], "best_peer_f_std_ratio": min(most, key=lambda r: abs(np.log(r)), default=None),
        "f": {str(n): rows for n, rows in tables.items()}, "f2": fields, "peers": peers,
    })  # fmt: skip


if __name__ == "__main__":
    main()
