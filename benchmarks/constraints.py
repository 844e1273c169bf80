"""Hard constraints inside samplers against exact conditionals.

    python benchmarks/constraints.py [--quick | --smoke]

The bed: 1024 solutions of a PDE family on 32 × 32 points of space and time, each widened to a Gaussian of standard deviation
0.1 with a smooth covariance, so that the denoiser is known and so is the law given linear equations A x = b: the mixture of
the conditional Gaussians with the weights N(b; A u_j, A C Aᵀ). Families (of the ECI and PCFM papers): heat, sin(x + φ) e^(−νt),
given the initial state, or given the initial state and the mass at all times; Stokes' second problem, given the values on the
moving wall. The values b are those of samples that the methods do not see.

Methods: no constraint but a projection at the end; projections at every evaluation in the ODE; ECI with 1 or 5 visits of every
level, keeping or renewing its noise; PCFM, whose correction has a weight λ; moment-matched guidance with a small error,
projected at the end; ours, `Constraint(h)`, in the ODE and in an SDE. Scores are the relative errors of the pointwise mean and
standard deviation over `samples` samples, averaged over cases; "exact draws" is what that many independent samples of the exact
law have. With --quick one case and fewer samples.

Last line: JSON. `residual_max`: the largest |A x − b| of ours; errors of ours, and of ECI and PCFM in their best settings;
`exact_mean_error`, `exact_std_error`: of exact draws.
"""

import time
from typing import NamedTuple

import jax
import numpy as np
from common.command_line import options
from common.record import record
from common.solution_families import Family, heat, stokes

import surrogax as sx
from surrogax.solvers import diffusion as sd


class Size(NamedTuple):
    """How much to run."""

    points: int
    solutions: int
    samples: int
    cases: int
    values: int
    methods: tuple[str, ...] | None = None


FULL, QUICK, SMOKE = (
    Size(32, 1024, 256, 3, 2),
    Size(32, 1024, 64, 1, 1),
    Size(8, 16, 4, 1, 1, ("ECI, mix 1, first noise", "PCFM, λ = 1", "guidance, projected", "ours, ODE 20")),
)
SPREAD, EDM = 0.1, sd.EDM(sigma_max=40.0)


def cases(size: Size):
    """By name: the family and the rows `(m, n, n)` of its equations."""
    n = size.points
    first = np.eye(n * n).reshape(n, n, n, n)[:, 0]  # x[:, 0] along the second axis, time
    wall = np.eye(n * n).reshape(n, n, n, n)[0]
    mass = np.zeros((n - 1, n, n))
    mass[np.arange(n - 1), :, np.arange(1, n)] = 1 / n
    made = {
        "heat, initial state": lambda: (Family.of(heat, n, size.solutions, SPREAD), first),
        "heat, initial state and mass": lambda: (
            Family.of(heat, n, size.solutions, SPREAD),
            np.concatenate([first, mass]),
        ),
        "Stokes, wall": lambda: (Family.of(stokes, n, size.solutions, SPREAD), wall),
    }
    return {name: make() for name, make in list(made.items())[: size.cases]}


def methods(rows: np.ndarray, values: np.ndarray, denoise):
    """By name: the denoiser, the solver, its evaluations and its constraint."""
    h = sd.LinearCondition(rows, values)
    guided = sd.MomentMatched(sx.linear.CG(rtol=1e-4, max_steps=100))(
        denoise, sd.Observation(lambda x: h.residual(x) + h.values, np.asarray(h.values), std=1e-2)
    )
    sde = sd.DPMSolverPP(2, eta=1.0)
    found = {
        "projection at the end": (denoise, sd.UniPC(3), 40, sd.Constraint(h, when=0.0)),
        "projection, ODE": (denoise, sd.UniPC(3), 40, sd.Constraint(h, metric="euclidean")),
        "projection, SDE": (denoise, sde, 80, sd.Constraint(h, metric="euclidean")),
    }
    for mix, renew, steps in ((1, None, 100), (1, 1, 100), (5, None, 100), (5, 1, 100), (5, 5, 100)):
        name = f"ECI, mix {mix}, {'first noise' if renew is None else f'renewed every {renew}'}"
        found[name] = denoise, sd.DDIM(), steps * mix, sd.Constraint.eci(h, mix, renew)
    for relax in (0.1, 1.0):  # λ = 0 is ECI that visits every level once and keeps its noise
        found[f"PCFM, λ = {relax:g}"] = denoise, sd.DDIM(), 100, sd.Constraint.pcfm(h, relax)
    found["guidance, projected"] = guided, sd.UniPC(3), 20, sd.Constraint(h, when=0.0)
    found["ours, ODE 20"] = denoise, sd.UniPC(3), 20, sd.Constraint(h)
    found["ours, SDE 40"] = denoise, sde, 40, sd.Constraint(h)
    return found


def flow_grid(times: int, mix: int):
    """The uniform times of flow matching, which ECI and PCFM use, in the levels of EDM: s = (1 − t)/t."""
    t = np.linspace(1 / (1 + EDM.sigma_max), 1, times // mix, endpoint=False)
    return [*((1 - t) / t)]


def run(size: Size, name: str, family: Family, rows: np.ndarray) -> dict[str, dict[str, float]]:
    """The scores of every method, averaged over several values of the equations."""
    denoise, rng, rows_of = family.denoiser(), np.random.default_rng(7), {}
    for case, truth in enumerate(family.draws(rng, size.values)):
        values = np.einsum("mab,ab->m", rows, truth)
        exact = family.conditional(rows, values)
        mean, std = exact.mean, exact.std
        print(f"{name}, values {case + 1}: {exact.components:.0f} components, std {std.mean():.3f}", flush=True)

        def scores(x, seconds, calls, mean=mean, std=std, values=values):
            x = np.asarray(x, np.float64).reshape(len(x), -1)
            return {
                "mean_error": float(np.linalg.norm(x.mean(0) - mean) / np.linalg.norm(mean)),
                "std_error": float(np.linalg.norm(x.std(0, ddof=1) - std) / np.linalg.norm(std)),
                "std_ratio": float(x.std(0, ddof=1).mean() / std.mean()),
                "residual": float(np.abs(x @ rows.reshape(len(rows), -1).T - values).max()),
                "seconds": seconds,
                "calls": calls,
            }

        rows_of.setdefault("exact draws", []).append(scores(exact.draws(rng, size.samples), 0.0, 0))
        for method, (function, solver, evaluations, constraint) in methods(rows, values, denoise).items():
            if size.methods is not None and method not in size.methods:
                continue
            times = evaluations
            if constraint.mix:
                levels = flow_grid(evaluations, constraint.mix)
                times = sd.GivenTimes(evaluations, at=tuple(levels))
            start = time.perf_counter()
            x = sd.sample(
                function, solver, schedule=EDM, times=times, shape=family.variances.shape, n=size.samples,
                key=jax.random.key(case), constraint=constraint,
            ).block_until_ready()  # fmt: skip
            rows_of.setdefault(method, []).append(scores(x, time.perf_counter() - start, evaluations))
    means = {m: {k: float(np.mean([s[k] for s in each])) for k in each[0]} for m, each in rows_of.items()}
    for method, each in rows_of.items():
        means[method]["residual"] = max(s["residual"] for s in each)
    print(f"{name}\n{'':28}{'mean':>8}{'std':>8}{'ratio':>8}{'residual':>10}{'calls':>7}{'s':>7}")
    for method, s in means.items():
        print(
            f"{method:28}{s['mean_error']:8.3f}{s['std_error']:8.3f}{s['std_ratio']:8.2f}{s['residual']:10.1e}{s['calls']:7.0f}"
            f"{s['seconds']:7.1f}",
            flush=True,
        )
    return means


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE)
    size = arguments.size
    found = {name: run(size, name, *case) for name, case in cases(size).items()}

    def over_cases(method: str, score: str) -> float:
        return float(np.mean([each[method][score] for each in found.values()]))

    def best(kind: str) -> str:
        return min(
            (m for m in next(iter(found.values())) if m.startswith(kind)), key=lambda m: over_cases(m, "mean_error")
        )

    ours, eci, pcfm = best("ours"), best("ECI"), best("PCFM")
    line = {
        "residual_max": max(s["residual"] for each in found.values() for m, s in each.items() if m.startswith("ours")),
        "ours": ours, "ours_mean_error": over_cases(ours, "mean_error"), "ours_std_error": over_cases(ours, "std_error"),
        "eci": eci, "eci_mean_error": over_cases(eci, "mean_error"), "eci_std_error": over_cases(eci, "std_error"),
        "pcfm_mean_error": over_cases(pcfm, "mean_error"), "pcfm_std_error": over_cases(pcfm, "std_error"),
        "guidance_mean_error": over_cases("guidance, projected", "mean_error"),
        "exact_mean_error": over_cases("exact draws", "mean_error"), "exact_std_error": over_cases("exact draws", "std_error"),
    }  # fmt: skip
    record("constraints", arguments, {**line, "cases": found})


if __name__ == "__main__":
    main()
