"""Samplers of diffusion models against the exact flow of Gaussian mixtures: error over network evaluations.

    python benchmarks/diffusion_samplers.py [--quick | --smoke] [--self-only] [--peer-python PATH]

Beds: mixtures in 8 dimensions, 6 components, standard deviations 0.45 to 0.75 ("smooth") and 0.1 to 0.4 ("sharp"); 64
dimensions with 10 and 256 with 50 components; the smooth one with the levels of EDM. Schedule VP-linear, t from 1 to 1e-3.
The error is the median over samples of the root mean square at the end, in float64, beside classical Runge-Kutta with 2500
steps. With --quick fewer samples, evaluations and beds, with --smoke the smallest of each.

Two tables. Solvers without training: every solver on every grid. Fitted: DPM-Solver-v3, whose statistics cost network
evaluations and Jacobian products once. The peer is diffusers, called through its public interface with all grids that this
offers.

Last line: JSON. `auto_vs_oracle_max`: the largest ratio, over beds and 5, 10, 20 evaluations, of `solver="auto"` to the best
of every solver and grid for that bed. `nfe5_free`, `nfe10_free`: `solver="auto"` on the smooth bed; `nfe5_fitted`,
`nfe10_fitted`: v3 with three nodes in predictor and corrector on the quadratic grid; `nfe5_best_peer`, `nfe10_best_peer`: the
best of the peer there, null without it. `v3_logsnr_10`: the same v3 on uniform log-SNR. `teleportation_saving`: the median
share of calls that a jump to noise level 12 saves UniPC-3 at the errors of 10 to 20 calls. `orders`: measured between 40 and
80 evaluations.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from common.command_line import options
from common.mixtures import SHARP, SMOOTH, Mixture
from common.peers import DIFFUSION, PEERS
from common.record import record

from surrogax.solvers import diffusion as sd

VP, EDM = sd.VPLinear(), sd.EDM()


class Size(NamedTuple):
    """How much to run."""

    samples: int
    evaluations: tuple[int, ...]
    beds: int
    scored: tuple[int, ...]


FULL = Size(256, (4, 5, 6, 8, 10, 15, 20, 40, 80), 5, (5, 10, 20))
QUICK = Size(64, (5, 10, 40, 80), 2, (5, 10))
SMOKE = Size(4, (4,), 1, (4,))

GRIDS = {
    "log-SNR": sd.LogSNR,
    "quadratic": sd.VPQuadratic,
    "rho 7": sd.Rho,
    "uniform": sd.UniformTime,
}
SOLVERS = {
    "DDIM": sd.DDIM(),
    "Heun": sd.Heun(),
    "DPM-Solver-2S": sd.DPMSolver(2),
    "DPM-Solver-3S": sd.DPMSolver(3),
    "DPM++2M": sd.DPMSolverPP(2),
    "DPM++3M": sd.DPMSolverPP(3),
    "UniPC-2": sd.UniPC(2),
    "UniPC-3": sd.UniPC(3),
    "iPNDM-3": sd.IPNDM(3),
    "iPNDM-4": sd.IPNDM(4),
    "DEIS-4 in t": sd.DEIS(4),
    "DEIS-3 in λ": sd.DEIS(3, "log_snr"),
    "DEIS-4 in λ": sd.DEIS(4, "log_snr"),
}


class Bed(NamedTuple):
    """A mixture with states at the noisy end and their exact images at the clean one, in the frame x₀ + s ε."""

    mixture: Mixture
    schedule: sd.AbstractSchedule
    start: np.ndarray
    exact: np.ndarray

    @classmethod
    def of(cls, mixture: Mixture, schedule: sd.AbstractSchedule, samples: int) -> "Bed":
        first, last = schedule.log_snr(np.array([schedule.start, schedule.end]))
        start = np.exp(-first) * np.random.default_rng(1).standard_normal((samples, mixture.means.shape[1]))
        return cls(mixture, schedule, start, exact_flow(mixture, start, first, last))

    def error(self, solver, times, **others) -> float | None:
        """Of a solver; None where it cannot make that many evaluations."""
        initial = self.start * self.schedule.alpha(np.float64(self.schedule.start))
        try:
            x = sd.sample(self.mixture.denoise, solver, schedule=self.schedule, times=times, initial=initial, **others)
        except ValueError as refused:
            if "evaluations" not in str(refused):
                raise
            return None
        return median_error(np.asarray(x) / self.schedule.alpha(np.float64(self.schedule.end)), self.exact)


def exact_flow(mixture: Mixture, start, first: float, last: float):
    flow = eqx.filter_jit(lambda mixture, y: mixture.flow(y, first, last))
    return np.asarray(flow(mixture, jnp.asarray(start)))


def median_error(y, exact) -> float:
    return float(np.median(np.sqrt(np.mean((y - exact) ** 2, -1))))


def beds(size: Size) -> dict[str, Bed]:
    declared = {
        "smooth": (Mixture.random(0, SMOOTH), VP),
        "sharp": (Mixture.random(0, SHARP), VP),
        "64 dimensions": (Mixture.random(20, (0.2, 0.9), 64, 10), VP),
        "256 dimensions": (Mixture.random(21, (0.3, 0.6), 256, 50), VP),
        "smooth, EDM": (Mixture.random(22, SMOOTH), EDM),
    }
    return {name: Bed.of(*bed, size.samples) for name, bed in list(declared.items())[: size.beds]}


def free_table(bed: Bed, evaluations) -> dict[str, dict[str, list[float]]]:
    """Errors by grid and solver."""
    return {
        name: {
            solver: [bed.error(made, grid(n, to_zero=False)) for n in evaluations] for solver, made in SOLVERS.items()
        }
        for name, grid in GRIDS.items()
    }


def automatic(bed: Bed, evaluations: int) -> float:
    """`solver="auto"` on its own grid, which ends at noise here as the others do."""
    return bed.error("auto", sd.VPQuadratic(evaluations, to_zero=False))


def fitted_table(bed: Bed, size: Size, evaluations) -> tuple[dict[str, dict[str, list[float]]], int]:
    """Errors of DPM-Solver-v3 by grid and variant, and the evaluations that its statistics cost."""
    rng, m = np.random.default_rng(5), bed.mixture
    chosen = rng.choice(len(m.weights), size.samples, p=m.weights)
    data = m.means[chosen] + m.stds[chosen, None] * rng.standard_normal((size.samples, m.means.shape[1]))
    statistics = sd.ModelStatistics.estimate(m.denoise, data, bed.schedule, key=jax.random.key(0))
    variants = {
        "v3, order 1": sd.DPMSolverV3(statistics, 1, 0),
        "v3, order 3": sd.DPMSolverV3(statistics, 3, 0),
        "v3, order 3, corrector": sd.DPMSolverV3(statistics, 3, 3),
    }
    found = {
        grid: {name: [bed.error(v, GRIDS[grid](n, to_zero=False)) for n in evaluations] for name, v in variants.items()}
        for grid in ("log-SNR", "quadratic")
    }
    return found, statistics.evaluations


def teleportation_saving(bed: Bed, calls=(10, 12, 15, 20)) -> float:
    """The median share of calls that a jump saves at equal error or less."""
    m = bed.mixture
    mean = m.weights @ m.means
    covariance = np.einsum("k,ki,kj->ij", m.weights, m.means - mean, m.means - mean)
    variances, modes = np.linalg.eigh(covariance + m.weights @ m.stds**2 * np.eye(len(mean)))
    model = sd.Gaussian(mean, variances, modes.T)
    start = float(bed.schedule.time(-np.log(12.0)))

    def jumped(n):
        return bed.error(sd.UniPC(3), sd.LogSNR(n, start=start, to_zero=False), teleport=model)

    saved = []
    for n in calls:
        wanted = bed.error(sd.UniPC(3), sd.LogSNR(n, to_zero=False))
        least = n
        while least > 2 and jumped(least - 1) <= wanted:
            least -= 1
        saved.append(1 - least / n)
    return float(np.median(saved))


def peer_errors(python: Path, bed: Bed, evaluations) -> dict[str, float]:
    """The error of every method of diffusers, named "scheduler, grid|evaluations"."""
    m, z = bed.mixture, bed.start / np.exp(-bed.schedule.log_snr(np.float64(bed.schedule.start)))
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "given.npz", Path(folder) / "answer.npz"
        np.savez(given, means=m.means, stds=m.stds, weights=m.weights, z=z, evaluations=list(evaluations))
        subprocess.run([python, PEERS / "diffusion_samplers.py", given, answer], check=True, stdout=sys.stderr)
        found = dict(np.load(answer))
    exact, errors = {}, {}
    for name in sorted(k.removesuffix("|states") for k in found if k.endswith("|states")):
        start, end = found[f"{name}|levels"]
        ends = float(start), float(max(end, 1e-4))  # below 1e-4 nothing moves
        if ends not in exact:
            exact[ends] = exact_flow(m, z * start, -np.log(ends[0]), -np.log(ends[1]))
        error = median_error(found[f"{name}|states"], exact[ends])
        if np.isfinite(error):
            errors[name] = error
        else:
            print(f"diffusers {name}: not finite")
    return errors


def show(title: str, table: dict[str, dict[str, list[float]]], evaluations) -> None:
    for grid, rows in table.items():
        print(f"{title}, {grid}\n{'':24}" + "".join(f"{n:>9}" for n in evaluations))
        for solver, errors in rows.items():
            print(f"{solver:24}" + "".join(f"{'–':>9}" if e is None else f"{e:9.1e}" for e in errors), flush=True)


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=DIFFUSION)
    jax.config.update("jax_enable_x64", True)
    size, found, ratios = arguments.size, {}, {}
    every = beds(size)
    for name, bed in every.items():
        shown = size.evaluations if name in ("smooth", "sharp") else size.scored
        table = free_table(bed, shown)
        show(name, table, shown)
        found[name] = {"evaluations": shown, "free": table}
        for n in size.scored:
            errors = [e[shown.index(n)] for rows in table.values() for e in rows.values()]
            best = min(e for e in errors if e is not None)
            chosen = automatic(bed, n)
            ratios[f"{name}, {n}"] = chosen / best
            print(f"{name}, {n} evaluations: auto {chosen:.1e}, best of all {best:.1e}", flush=True)
    smooth = every["smooth"]
    fitted, offline = fitted_table(smooth, size, size.evaluations)
    show(f"smooth, fitted with {offline} evaluations", fitted, size.evaluations)
    found["smooth"] |= {"fitted": fitted, "offline_evaluations": offline}
    peer = {} if arguments.python is None else peer_errors(arguments.python, smooth, size.scored)
    for name, error in sorted(peer.items(), key=lambda pair: pair[1]):
        print(f"diffusers {name:40} {error:.1e}")

    def fitted_at(grid, n):
        return fitted[grid]["v3, order 3, corrector"][size.evaluations.index(n)] if n in size.evaluations else None

    def best_peer(n):
        return min((e for name, e in peer.items() if name.endswith(f"|{n}")), default=None)

    errors = found["smooth"]["free"]["log-SNR"] | fitted["log-SNR"]
    measured = {40, 80} <= set(size.evaluations)
    record("diffusion_samplers", arguments, {
        "auto_vs_oracle_max": max(ratios.values()),
        **{f"nfe{n}_free": automatic(smooth, n) for n in (5, 10)},
        **{f"nfe{n}_fitted": fitted_at("quadratic", n) for n in (5, 10)},
        **{f"nfe{n}_best_peer": best_peer(n) for n in (5, 10)},
        "v3_logsnr_10": fitted_at("log-SNR", 10),
        "teleportation_saving": None if arguments.smoke else teleportation_saving(smooth),
        "orders": {s: float(np.log2(e[-2] / e[-1])) for s, e in errors.items()} if measured else {},
        "auto_vs_oracle": ratios, "beds": found, "peer": peer,
    })  # fmt: skip


if __name__ == "__main__":
    main()
