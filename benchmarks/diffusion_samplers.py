"""Samplers of diffusion models against exact flows: error over network evaluations.

    python benchmarks/diffusion_samplers.py [--quick | --smoke] [--self-only] [--peer-python PATH]

The error is the median over samples of the root mean square at the end, in float64. Beds:

- A: mixtures in 8 dimensions, 6 components, with standard deviations 0.45 to 0.75 ("smooth") and 0.1 to 0.4 ("sharp"),
  VP-linear, t from 1 to 1e-3, beside classical Runge-Kutta with 2500 steps.
- A': 64 and 256 dimensions, 6 to 50 components, other spreads and schedules (EDM, VE, cosine).
- B: the log-likelihood of "smooth" beside its exact density. C: "smooth" moved by a mean to which noise returns. D: points under
  the Student-t noise of PFGM++. (E, bridges, have processes and tests of their own.)
- A Gaussian field on 32² points, diagonal in the spectrum, with its exact flow. "fields": mixtures of Gaussian fields.
- A small trained denoiser of fields on 64 points, beside its own fine solution.

The time grid of `solver="auto"` and its rule were optimised on mixtures of seeds 1000 to 1207 and chosen on seeds 2000 to 2005;
every bed that is scored here has another seed, and those of A' and the others have dimensions, spreads or kinds of data that
are in neither. Its rule for fields (the last four beds) was chosen on mixtures of fields of seeds 3000 to 3011
(`tools/choose_for_fields.py`).

Two tables: solvers without training, every solver on every grid (the one of "auto" included); and fitted ones with the network
evaluations that they cost once: `choose` (a trial of all pairs on a few samples of other noise), DPM-Solver-v3, and learned
tables (least squares; trained). The peer is diffusers, called through its public interface with all grids that this offers. With
--quick fewer samples, evaluations and beds, with --smoke the smallest of each.

Last line: JSON. `auto_vs_oracle_max`: the largest ratio, over beds and 5, 10, 20 evaluations, of "auto" to the best of every
solver and grid on that bed, `auto_vs_oracle_median` and `auto_vs_oracle_90`: the quantiles of these ratios;
`auto_vs_oracle_mixtures`: the largest over A and A'. The largest of all is that of D, whose 40 points have no width: at the noise
level 0.002 that is left, the data prediction D of late evaluations is the point itself, and solvers that extrapolate it are
exact there (5e-5 at 10 evaluations) while those that extrapolate the noise keep a share of it (5e-2). `auto_vs_classical_max`:
to the best on usual grids; `chosen_vs_oracle_max`: of `choose` to the best of all. `nfe5_free`, `nfe10_free`: "auto" on
"smooth"; `nfe5_fitted`, `nfe10_fitted`: the best fitted; `nfe5_best_peer`, `nfe10_best_peer`: the best of the peer there, null
without it. `v3_logsnr_10`, `v3_quadratic_10`: DPM-Solver-v3 with three nodes in predictor
and corrector. `least_squares_5`: learned weights in closed form, four evaluations wide, uniform log-SNR.
`teleportation_saving`: the median share of calls that a jump to noise level 12 saves UniPC-3 at the errors of 10 to 20 calls.
`rank_agreement`: Kendall's τ of all solvers and grids between the trained denoiser and "smooth". `orders`: between 40 and 80.
"""

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
from common.command_line import options
from common.field_mixtures import FieldMixture
from common.mixtures import SHARP, SMOOTH, Mixture
from common.peers import DIFFUSION, PEERS
from common.record import record
from common.sampling_beds import Bed, GaussianField, PointCloud, Shifted, exact_flow, median_error
from common.trained_denoiser import trained_denoiser
from scipy.stats import kendalltau

import surrogax as sx
from surrogax.solvers import diffusion as sd
from surrogax.solvers.diffusion.automatic import automatic_grid
from surrogax.surrogates import learned_solvers as ls

VP, EDM = sd.VPLinear(), sd.EDM()


AUTO = "auto", "auto"


class Size(NamedTuple):
    """How much to run."""

    samples: int
    evaluations: tuple[int, ...]
    beds: int
    scored: tuple[int, ...]
    training: int


FULL = Size(256, (4, 5, 6, 8, 10, 15, 20, 40, 80), 99, (5, 10, 20), 800)
QUICK = Size(64, (5, 10, 40, 80), 2, (5, 10), 200)
SMOKE = Size(4, (4,), 1, (4,), 2)

GRIDS = {
    "log-SNR": sd.LogSNR,
    "quadratic": sd.VPQuadratic,
    "rho 7": sd.Rho,
    "uniform": sd.UniformTime,
    "tuned": sd.Tuned,
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


def beds(size: Size) -> dict[str, Bed]:
    """All beds by name; the field and the trained denoiser are the slowest and come last."""
    rng, samples = np.random.default_rng(6), size.samples
    smooth = Mixture.random(0, SMOOTH)
    cloud = PointCloud(0.8 * rng.standard_normal((40, 8)) + 0.2, 128.0)
    wide = sd.VE(0.01, 50.0)
    made = {
        "A smooth": lambda: Bed.of_mixture(smooth, VP, samples),
        "A sharp": lambda: Bed.of_mixture(Mixture.random(0, SHARP), VP, samples),
        "A' 64, K 10": lambda: Bed.of_mixture(Mixture.random(20, (0.2, 0.9), 64, 10), VP, samples // 2),
        "A' 256, K 50": lambda: Bed.of_mixture(Mixture.random(21, (0.3, 0.6), 256, 50), VP, samples // 4),
        "A' smooth, EDM": lambda: Bed.of_mixture(Mixture.random(22, SMOOTH), EDM, samples),
        "A' 64, K 6, cosine": lambda: Bed.of_mixture(
            Mixture.random(23, (0.15, 0.35), 64, 6), sd.VPCosine(), samples // 2
        ),
        "A' 16, K 20, VE": lambda: Bed.of_mixture(Mixture.random(24, (0.3, 1.0), 16, 20), wide, samples),
        "C shifted": lambda: Bed.of_denoiser(Shifted(smooth, np.full(8, 3.0)), VP, _start(VP, samples, (8,)) + 3.0),
        "D PFGM++": lambda: Bed.of_denoiser(cloud, EDM, 80 * cloud.noise(rng, samples)),
        "Gaussian field": lambda: Bed.of_field(GaussianField.of(), VP, samples // 8),
        "fields, line": lambda: Bed.of_mixture(FieldMixture.random(30), VP, samples // 4),
        "fields, plane": lambda: Bed.of_mixture(FieldMixture.random(31), EDM, samples // 4),
        "trained": lambda: Bed.of_denoiser(trained_denoiser(2500), EDM, _start(EDM, samples // 4, (64, 1)), 200),
    }
    return {name: bed() for name, bed in list(made.items())[: size.beds]}


def _start(schedule, samples, shape):
    return schedule.level(np.float64(schedule.start)) * np.random.default_rng(3).standard_normal((samples, *shape))


def free_errors(bed: Bed, evaluations) -> dict[tuple[str, str, int], float]:
    """Errors by grid, solver and number of evaluations, `AUTO` among them; pairs that cannot make that number are left out."""
    tables = {}
    for n in evaluations:
        grid = dataclasses.replace(automatic_grid(bed.schedule, n, bed.of_fields), to_zero=False)
        tables[*AUTO, n] = sd.plan("auto", schedule=bed.schedule, times=grid, field=bed.of_fields)
        for name, kind in GRIDS.items():
            for solver, made in SOLVERS.items():
                try:
                    tables[name, solver, n] = sd.plan(made, schedule=bed.schedule, times=kind(n, to_zero=False))
                except ValueError as refused:
                    if "evaluations" not in str(refused):
                        raise
    return bed.errors(tables)


def chosen_errors(bed: Bed, evaluations, samples: int) -> dict[int, tuple[float, int]]:
    """The errors of what `choose` finds on other noise, and the network evaluations that this costs."""
    found = {
        n: sd.choose(
            bed.data.denoise, schedule=bed.schedule, times=n, shape=bed.start.shape[1:], key=jax.random.key(7),
            samples=samples, to_zero=False,
        )
        for n in evaluations
    }  # fmt: skip
    errors = bed.errors({n: each.fixed_table() for n, each in found.items()})
    return {n: (errors[n], found[n].evaluations) for n in evaluations}


def fitted_errors(bed: Bed, size: Size, evaluations) -> tuple[dict[tuple[str, str, int], float], dict[str, int]]:
    """Errors of fitted solvers by grid, variant and evaluations, and the network evaluations that each cost once."""
    rng, m = np.random.default_rng(5), bed.data
    picked = rng.choice(len(m.weights), size.samples, p=m.weights)
    data = m.means[picked] + m.stds[picked, None] * rng.standard_normal((size.samples, m.means.shape[1]))
    statistics = sd.ModelStatistics.estimate(m.denoise, data, bed.schedule, key=jax.random.key(0))
    variants = {
        "v3, order 1": sd.DPMSolverV3(statistics, 1, 0),
        "v3, order 3": sd.DPMSolverV3(statistics, 3, 0),
        "v3, order 3, corrector": sd.DPMSolverV3(statistics, 3, 3),
    }
    found = {
        (grid, name, n): bed.error(v, GRIDS[grid](n, to_zero=False))
        for grid in ("log-SNR", "quadratic") for name, v in variants.items() for n in evaluations
    }  # fmt: skip
    spent = dict.fromkeys(variants, statistics.evaluations)
    for n in size.scored:
        learned = learned_solvers(bed, n, size)
        spent |= {f"{name}, {n}": solver.evaluations for (_, name), solver in learned.items()}
        errors = bed.errors({key: solver.fixed_table() for key, solver in learned.items()})
        found |= {(*key, n): error for key, error in errors.items()}
    return found, spent


def learned_solvers(bed: Bed, n: int, size: Size) -> dict[tuple[str, str], ls.LearnedSolver]:
    """By grid and name."""
    key, shape = jax.random.key(11), bed.start.shape[1:]

    def made(grid, form=None):
        form = ls.FreeTable() if form is None else form
        times = GRIDS[grid](n, to_zero=False)
        return sx.LearnedSolver(bed.data.denoise, bed.schedule, n, shape=shape, form=form, grid=times)

    def squares(solver):
        return solver.least_squares(key, samples=2 * size.samples)

    found = {("log-SNR", "least squares, 4 wide"): squares(made("log-SNR", ls.FreeTable(4)))}
    found["tuned", "least squares"] = start = squares(made("tuned"))
    if size.training > 10:
        for form in (ls.DODE(), ls.IIA()):
            found["tuned", type(form).__name__] = squares(made("tuned", form))
    rate = optax.cosine_decay_schedule(2e-3 if n < 15 else 5e-4, size.training)
    trained = sx.fit(
        start, optimizer=optax.adam(rate), steps=size.training, key=key, progress=False, samples=min(128, size.samples),
        val=ls.EndError.of(start, jax.random.key(12), samples=size.samples), check_every=max(size.training // 4, 1),
        pool=4 * size.samples,
    )  # fmt: skip
    found["tuned", "trained table"] = trained.best
    return found


def likelihood_errors(bed: Bed, counts: tuple[int, ...]) -> dict[str, float]:
    """Median |log p − exact| for these numbers of steps, by evaluations: the exact trace, and Hutchinson's with 8 probes."""
    m, rng = bed.data, np.random.default_rng(8)
    picked = rng.choice(len(m.weights), 64, p=m.weights)
    end = bed.levels[1]
    x = m.means[picked] + np.sqrt(m.stds[picked, None] ** 2 + end**2) * rng.standard_normal((64, m.means.shape[1]))
    exact = m.log_density(x, end)
    found = {}
    for steps in counts:
        for probes in (None, 8):
            got = sd.log_likelihood(
                m.denoise, x, schedule=bed.schedule, steps=steps, probes=probes, key=jax.random.key(1)
            )
            name = f"{'exact trace' if probes is None else '8 probes'}, {4 * steps} evaluations"
            found[name] = float(np.median(np.abs(np.asarray(got) - exact)))
    return found


def teleportation_saving(bed: Bed, calls=(10, 12, 15, 20)) -> float:
    """The median share of calls that a jump saves at equal error or less."""
    m = bed.data
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
    m, z = bed.data, bed.start / bed.levels[0]
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


def as_table(errors: dict[tuple[str, str, int], float], evaluations) -> dict[str, dict[str, list[float | None]]]:
    """By grid and solver, a list over the evaluations."""
    table = {}
    for grid, name, _ in errors:
        table.setdefault(grid, {})[name] = [errors.get((grid, name, n)) for n in evaluations]
    return table


def show(title: str, table: dict[str, dict[str, list[float | None]]], evaluations) -> None:
    for grid, rows in table.items():
        print(f"{title}, {grid}\n{'':24}" + "".join(f"{n:>9}" for n in evaluations))
        for solver, errors in rows.items():
            print(f"{solver:24}" + "".join(f"{'–':>9}" if e is None else f"{e:9.1e}" for e in errors), flush=True)


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=DIFFUSION)
    jax.config.update("jax_enable_x64", True)
    size, found, ratios, classical, choices = arguments.size, {}, {}, {}, {}
    every, errors = beds(size), {}
    for name, bed in every.items():
        shown = size.evaluations if name in ("A smooth", "A sharp") else size.scored
        errors[name] = free_errors(bed, shown)
        table = as_table(errors[name], shown)
        show(name, table, shown)
        found[name] = {"evaluations": shown, "free": table}
        trials = {} if arguments.smoke else chosen_errors(bed, size.scored, 64 if size is FULL else 8)
        for n in size.scored:
            here = {(grid, solver): e for (grid, solver, m), e in errors[name].items() if m == n}
            auto = here.pop(AUTO)
            best = min(here, key=lambda pair: here[pair])
            ratios[f"{name}, {n}"] = auto / here[best]
            classical[f"{name}, {n}"] = auto / min(e for (grid, _), e in here.items() if grid != "tuned")
            print(f"{name}, {n}: auto {auto:.1e}, best of all {here[best]:.1e}, {best}", flush=True)
            if n in trials:
                choices[f"{name}, {n}"] = {"ratio": trials[n][0] / here[best], "evaluations": trials[n][1]}
                print(f"{name}, {n}: chosen {trials[n][0]:.1e}, after {trials[n][1]} evaluations", flush=True)
    smooth, n = every["A smooth"], size.scored[-1]
    grid = dataclasses.replace(automatic_grid(VP, n), to_zero=False)
    # Tables were run by their matrices: `sample` gives the same.
    assert np.isclose(smooth.error("auto", grid), errors["A smooth"][*AUTO, n], rtol=1e-3)
    fitted, offline = fitted_errors(smooth, size, size.evaluations)
    table = as_table(fitted, size.evaluations)
    show("A smooth, fitted", table, size.evaluations)
    found["A smooth"] |= {"fitted": table, "offline_evaluations": offline}
    peer = {} if arguments.python is None else peer_errors(arguments.python, smooth, size.scored)
    for name, error in sorted(peer.items(), key=lambda pair: pair[1]):
        print(f"diffusers {name:40} {error:.1e}")

    def best_peer(n):
        return min((e for name, e in peer.items() if name.endswith(f"|{n}")), default=None)

    agreement = None
    if "trained" in errors:
        pairs = [k for k in errors["trained"] if k in errors["A smooth"] and np.isfinite(errors["trained"][k])]
        agreement = {
            str(n): float(kendalltau(*([errors[b][k] for k in pairs if k[2] == n] for b in ("trained", "A smooth"))).statistic)
            for n in size.scored
        }  # fmt: skip
    both = {**errors["A smooth"], **fitted}
    orders = {
        name: float(np.log2(both[grid, name, 40] / both[grid, name, 80]))
        for grid, name, n in both if n == 80 and grid == "log-SNR"
    }  # fmt: skip
    record("diffusion_samplers", arguments, {
        "auto_vs_oracle_max": max(ratios.values()),
        "auto_vs_oracle_median": float(np.median(list(ratios.values()))),
        "auto_vs_oracle_90": float(np.quantile(list(ratios.values()), 0.9)),
        "auto_vs_oracle_mixtures": max(r for name, r in ratios.items() if name.startswith("A")),
        "auto_vs_classical_max": max(classical.values()),
        "chosen_vs_oracle_max": max((c["ratio"] for c in choices.values()), default=None),
        **{f"nfe{n}_free": errors["A smooth"].get((*AUTO, n)) for n in (5, 10)},
        **{f"nfe{n}_fitted": min((e for (*_, m), e in fitted.items() if m == n), default=None) for n in (5, 10)},
        **{f"nfe{n}_best_peer": best_peer(n) for n in (5, 10)},
        "v3_logsnr_10": fitted.get(("log-SNR", "v3, order 3, corrector", 10)),
        "v3_quadratic_10": fitted.get(("quadratic", "v3, order 3, corrector", 10)),
        "least_squares_5": fitted.get(("log-SNR", "least squares, 4 wide", 5)),
        "teleportation_saving": None if arguments.smoke else teleportation_saving(smooth),
        "rank_agreement": agreement,
        "likelihood": likelihood_errors(smooth, (2,) if arguments.smoke else (5, 10, 20, 40)), "orders": orders,
        "auto_vs_oracle": ratios, "auto_vs_classical": classical, "chosen": choices, "beds": found, "peer": peer,
    })  # fmt: skip


if __name__ == "__main__":
    main()
