"""Physics-informed Gaussians at their published settings, and the same trained by second-order methods.

    python benchmarks/pig.py [--quick | --smoke] [--only helmholtz:published,…] [--seeds 3]

Problems, stated in `common/equations.py`, and the settings of the published code ("published"; Kang et al., ICLR 2025):

- helmholtz (u = 0 on the sides of [−1, 1]²): 4 features of 800 Gaussians each, spread .1, network of 16 tanh, fixed 10000 points,
  sides by the loss with weight 1 and the residual with weight 1e-4, L-BFGS; published mean 4.13e-5 ± 2.59e-5, best 2.22e-5.
- flow_mixing: 4000 Gaussians, spread .1, 30³ points redrawn every 100 steps, Adam 1e-2 × .9 per 2000, 50000 steps, residual
  weight 10; 4.51e-4 ± 1.74e-4.
- klein_gordon: 100 Gaussians, spread .5, 16³ points, 50000 steps; 2.76e-3 ± 4.27e-4. Ours is the system with u_t.
- diffusion: 4000 Gaussians, spread .1, 100000 steps at 1e-3; 2.69e-3 ± 6.55e-4.
- allen_cahn: settings were not published; 1.04e-4 ± 4.12e-5. Ours: 400 Gaussians, 10000 points, R3, L-BFGS.

The published numbers are the lowest test errors during training; both that and the final error are shown, the former as "best".
Differences of ours: closed derivatives, periodic Gaussians on allen_cahn, one precision (float32) except for L-BFGS (float64),
and points of conditions that are redrawn with those inside. "lm" has exact conditions (but allen_cahn's start),
40 Gaussians per feature and Levenberg-Marquardt with R3; "full" the same with Gaussians that turn.

Rows are recorded when they end and taken up. Estimates on two cores: lm and full 10 to 30 minutes for three seeds; published
helmholtz and allen_cahn hours per seed, klein_gordon 1 to 2 hours, flow_mixing and diffusion days, for which --steps-share .01
measures a hundredth of the steps (such rows say so, and are no result).

--quick: lm on helmholtz with 60 steps, one seed; --smoke: two steps of published on one problem.

Last line: JSON: per problem the mean final error of "published", null where not run; "device"; "rows".
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import jax
import numpy as np
import optax
from common.command_line import options
from common.equations import EQUATIONS, Errors
from common.record import record
from common.seed_rows import measured, unfinished

import surrogax as sx
from surrogax.surrogates.training.steps import OptaxStep

PUBLISHED = {
    "helmholtz": 4.13e-5, "flow_mixing": 4.51e-4, "klein_gordon": 2.76e-3, "diffusion": 2.69e-3, "allen_cahn": 1.04e-4,
}  # fmt: skip
NAMES = {"helmholtz": "helmholtz_dirichlet"}  # ours of theirs
METHODS = ("lm", "full", "published")


@dataclass(frozen=True)
class Size:
    seeds: int
    share: float  # of the published numbers of steps
    steps: int  # of second-order methods
    gaussians: int
    cases: tuple[str, ...] = tuple(PUBLISHED)
    methods: tuple[str, ...] = METHODS


FULL = Size(3, 1.0, 300, 40)
QUICK = Size(1, 1e-3, 60, 30, ("helmholtz",), ("lm",))
SMOKE = Size(1, 0.0, 2, 3, ("flow_mixing",), ("published",))


def published(case: str, size: Size, key):
    """Model, optimiser, steps, and options of `fit` of the published runs."""
    problem, tiny = EQUATIONS[NAMES.get(case, case)]().problem, not size.share
    gaussians, spread, points, steps, rate = {
        "helmholtz": (800, 0.1, 10_000, 40_000, 1.0),
        "flow_mixing": (4000, 0.1, 30**3, 50_000, 1e-2),
        "klein_gordon": (100, 0.5, 16**3, 50_000, 1e-2),
        "diffusion": (4000, 0.1, 30**3, 100_000, 1e-3),
        "allen_cahn": (400, 0.1, 10_000, 40_000, 1.0),
    }[case]
    steps = max(2, round(steps * size.share))
    model = sx.PIG(
        problem, gaussians=3 if tiny else gaussians, spread=spread, exact_boundary=False, exact_initial=False, key=key
    )
    number = 20 if tiny else points
    if case in ("helmholtz", "allen_cahn"):
        sampler = sx.FixedPoints(number) if case == "helmholtz" else sx.R3(number)
        penalty = 1e4 if case == "helmholtz" else 100.0  # the residual has weight 1e-4 there, the sides 1
        settings = {"sampler": sampler, "penalty": penalty, "boundary_points": 8 if tiny else 2500}
        return model, sx.LBFGS(hold=2000), steps, settings
    schedule = optax.exponential_decay(rate, 2000, 0.9)
    penalty = 0.1 if case == "flow_mixing" else 1.0
    settings = {"sampler": sx.UniformSampler(number), "penalty": penalty, "boundary_points": 8 if tiny else 900}
    return model, held(optax.adam(schedule)), steps, settings


def held(optimizer):
    """An optax optimiser on points that are held for 100 steps, as published."""
    return OptaxStep(optimizer=optax.with_extra_args_support(optimizer), hold=100)


def second_order(case: str, method: str, size: Size, key):
    problem = EQUATIONS[NAMES.get(case, case)]().problem
    full = method == "full" and "periodic" not in problem.box.conditions
    exact = {"diffusion": {"exact_boundary": False}, "allen_cahn": {"exact_initial": False}}.get(case, {})
    model = sx.PIG(
        problem, gaussians=size.gaussians, spread=0.2, covariance="full" if full else "diagonal", key=key, **exact
    )
    return model, sx.LevenbergMarquardt(), size.steps, {"sampler": sx.R3(20 if size.steps == 2 else 4000)}


def measure(rows: dict[str, dict], name: str, size: Size) -> Iterator[None]:
    """Measure row `name`, and stop after each seed."""
    case, method = name.split(":")
    error = Errors(EQUATIONS[NAMES.get(case, case)](), 5 if size.steps == 2 else None)

    def made(seed: int):
        key = jax.random.key(100 * (seed + 1))
        return published(case, size, key) if method == "published" else second_order(case, method, size, key)

    def run(seed: int) -> dict:
        model, step, steps, settings = made(seed)
        start = time.perf_counter()
        found = sx.fit(
            model, optimizer=step, steps=steps, val=error, check_every=max(1, steps // 200), progress=False,
            key=jax.random.key(seed), **settings,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        return {"error": error(found.last), "seconds": seconds, "best": float(np.min(found.history.val))}

    model, _, steps, settings = made(0)
    stated = {
        "parameters": model.parameters,
        "steps": steps,
        "share": size.share if method == "published" else 1.0,
        "points": settings["sampler"].n,
        "published_best": PUBLISHED[case],
    }
    yield from measured(rows, name, stated, size.seeds, run)


def main():
    arguments = options(
        __doc__, full=FULL, quick=QUICK, smoke=SMOKE,
        only={"default": "", "help": "rows to measure again, problem:method, separated by commas"},
        seeds={"type": int, "default": None, "help": "number of seeds"},
        **{"steps-share": {"type": float, "default": None, "help": "share of the published steps"}},
    )  # fmt: skip
    size, file = arguments.size, arguments.folder / "pig.json"
    if arguments.seeds:
        size = replace(size, seeds=arguments.seeds)
    if arguments.steps_share:
        size = replace(size, share=arguments.steps_share)
    rows = json.loads(file.read_text())["values"]["rows"] if file.exists() else {}
    names = [f"{case}:{method}" for method in size.methods for case in size.cases]
    wanted = arguments.only.split(",") if arguments.only else unfinished(rows, names, size.seeds)
    if unknown := set(wanted) - {f"{case}:{method}" for method in METHODS for case in PUBLISHED}:
        raise SystemExit(f"unknown rows {sorted(unknown)}; problems {list(PUBLISHED)}, methods {list(METHODS)}")
    for name in wanted:
        for _ in measure(rows, name, size):
            whole = {case: rows.get(f"{case}:published") for case in PUBLISHED}
            values = {
                case: row["error"] if row and row["settings"]["share"] == 1 else None for case, row in whole.items()
            }
            record("pig", arguments, {**values, "device": jax.devices()[0].device_kind, "rows": rows})


if __name__ == "__main__":
    main()
