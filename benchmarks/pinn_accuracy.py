"""How exactly equations are solved without data, and how long that takes: problems times methods, the final relative L2 error.

    python benchmarks/pinn_accuracy.py [--quick | --smoke] [--only helmholtz:lm,burgers:features] [--seeds 3]

The problems are stated in `common/equations.py`, with their references: helmholtz and helmholtz_dirichlet, burgers, convection,
allen_cahn, kdv, cavity, and flow_mixing, klein_gordon, diffusion, of which so far only Gaussians and separable networks
have published numbers.

Methods: "features", random features with (Gauss-)Newton least squares; "lm", a perceptron with Levenberg-Marquardt in float64;
"march", the same in four windows of time, half as many steps in each; "spring", "broyden" and "lbfgs", with SPRING, SSBroyden
and L-BFGS in float64; "lbfgs32" and "adam", with L-BFGS and Adam in float32; "pig", Gaussians with Levenberg-Marquardt.
Conditions on Dirichlet sides and initial values hold by construction, but for the sides of diffusion and the initial value of
allen_cahn, which has a kink where the axis closes. Errors are final ones, not the best during training; mean and standard
deviation over seeds. Seconds contain compilation. "solver" is the classical solution of the same problem: the coarsest grid whose
error is below the lowest of the other rows, and its seconds, for burgers, allen_cahn and kdv, which are those of "march".

Every seed is recorded when it ends, and a full run takes up the rows and seeds that are missing. --only goes on with the named
rows, and measures complete ones again. With --runs a seed that was stopped goes on too, but for "march"; its seconds are those of
all sittings. On two cores a row of three seeds takes 1 to 3 minutes (features), 10 to 25 (lm, pig, spring, two dimensions), 5 to
15 (adam), up to 45 (march, broyden, lbfgs, and all methods in three dimensions).

--quick: random features on five problems, one seed; --smoke: two steps of five methods on one problem.

Last line: JSON: per problem the lowest mean error of any method, "rows" with all errors and seconds, "seconds" of the best row.
"""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import jax
import numpy as np
import optax
from common.command_line import options
from common.equation_references import etdrk4
from common.equations import EQUATIONS, Errors
from common.record import record
from common.seed_rows import measured, unfinished

import surrogax as sx
from surrogax.surrogates.training.steps import AbstractStep


@dataclass(frozen=True)
class Setting:
    """How a problem is trained.

    **Fields:** `network`, arguments of `PINN`; `features` and `scale` of random features, and `newton`, the number of their
    steps; `gaussians` of PIG; `points` as a multiple of those of the size, and `steps` of networks too; `sampler` for networks
    and Gaussians; `exact` conditions; further `options` of the residual.
    """

    network: dict = field(default_factory=lambda: {"width": 20, "depth": 3})
    features: int = 500
    scale: float = 20.0
    newton: int = 1
    gaussians: int = 40
    points: float = 1.0
    steps: float = 1.0
    sampler: type = sx.UniformSampler
    exact: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)


SETTINGS = {
    "helmholtz": Setting(scale=18.0),
    "helmholtz_dirichlet": Setting(scale=14.0),
    # R3 gathers points in the shock, of which uniform candidates, as those of RAD, see one in a hundred.
    "burgers": Setting({"width": 28, "depth": 3}, 1000, 25.0, 15, points=2.0, steps=1.5, sampler=sx.R3),
    "convection": Setting({"width": 20, "depth": 2, "activation": "sine", "frequency": 20.0}, 1200, 36.0),
    "allen_cahn": Setting(
        {"width": 20, "depth": 3, "harmonics": 5},
        1000,
        60.0,
        15,
        points=1.5,
        exact={"exact_initial": False},
        options={"boundary_points": 400},
    ),
    "kdv": Setting({"width": 20, "depth": 3, "harmonics": 5}, 1000, 40.0, 15, points=1.5, steps=1.7, sampler=sx.R3),
    "cavity": Setting({"width": 20, "depth": 3}, 300, 6.0, 15),
    "flow_mixing": Setting({"width": 20, "depth": 3}, 1000, 6.0, points=1.5),
    "klein_gordon": Setting(
        {"width": 16, "depth": 3, "activation": "sine", "frequency": 4.0}, 800, 12.0, 8, points=1.5
    ),
    "diffusion": Setting({"width": 20, "depth": 3}, 1000, 8.0, 10, points=1.5, exact={"exact_boundary": False}),
}
assert set(SETTINGS) == set(EQUATIONS)

MARCHED, WINDOWS = ("burgers", "allen_cahn", "kdv"), 4
METHODS = ("features", "lm", "march", "pig", "spring", "broyden", "lbfgs", "lbfgs32", "adam")


@dataclass(frozen=True)
class Size:
    seeds: int
    points: int
    steps: int
    methods: tuple[str, ...] = METHODS
    cases: tuple[str, ...] = tuple(EQUATIONS)


PLANE = ("helmholtz", "helmholtz_dirichlet", "burgers", "convection", "allen_cahn")
FULL, QUICK = Size(3, 3000, 300), Size(1, 2000, 300, ("features",), PLANE)
SMOKE = Size(1, 50, 2, ("features", "lm"), ("burgers",))


def trained(name: str, method: str, size: Size, key):
    """The model, the optimiser, the number of steps, and options of `fit`."""
    problem, setting, tiny = EQUATIONS[name]().problem, SETTINGS[name], size.steps == 2
    sampler, points = setting.sampler, round(setting.points * size.points)
    if method == "features":
        features = 20 if tiny else setting.features
        model = sx.RandomFeatures(problem, features=features, scale=setting.scale, key=key, **setting.exact)
        return (
            model,
            sx.GaussNewton(),
            min(setting.newton, size.steps),
            {"sampler": sx.UniformSampler(points), **setting.options},
        )
    if method == "pig":
        model = sx.PIG(problem, gaussians=3 if tiny else setting.gaussians, spread=0.2, key=key, **setting.exact)
        return model, sx.LevenbergMarquardt(), size.steps, {"sampler": sampler(points), **setting.options}
    model = perceptron(name, problem, key, tiny)
    step, factor, others = {
        "lm": (sx.LevenbergMarquardt(hold=2), 1, {}),
        "march": (sx.LevenbergMarquardt(hold=2), 0.5, {}),
        "spring": (sx.SPRING(), 1, {}),
        "broyden": (sx.SSBroyden(), 20, {}),
        "lbfgs": (sx.LBFGS(), 30, {}),
        "lbfgs32": (sx.LBFGS(), 30, {"dtype": "float32"}),
        "adam": (optax.adam(optax.exponential_decay(1e-2, 1000, 0.85)), 50, {}),
    }[method]
    steps = 2 if tiny else round(size.steps * setting.steps * factor)
    return model, step, steps, {"sampler": sampler(points), **setting.options, **others}


def perceptron(name: str, problem: sx.Problem, key, tiny: bool):
    """The network of a problem, or of a window of time of it."""
    setting, whole = SETTINGS[name], EQUATIONS[name]().problem
    network = {**setting.network, "width": 4, "depth": 1} if tiny else setting.network
    first = problem.time is None or problem.time.start == whole.time.start
    return sx.PINN(problem, **network, key=key, **(setting.exact if first else {}))


def measure(rows: dict[str, dict], name: str, size: Size, runs: Path | None) -> Iterator[None]:
    """Measure row `name`, and stop after each seed; `runs` is the folder of checkpoints."""
    case, method = name.split(":")
    error = Errors(EQUATIONS[case](), 5 if size.steps == 2 else None)

    def run(seed: int) -> dict:
        key = jax.random.key(seed)
        model, step, steps, others = trained(case, method, size, key)
        options = dict(optimizer=step, steps=steps, key=key, check_every=max(1, steps // 20), progress=False, **others)
        if method == "march":
            make = lambda window: perceptron(case, window, key, size.steps == 2)  # noqa: E731
            found = sx.march(EQUATIONS[case]().problem, make, windows=WINDOWS, **options)
        else:
            folder = runs and runs / f"{case}-{method}-{seed}"
            found = sx.fit(model, run=folder, **options)
            if folder is not None:
                shutil.rmtree(folder)
        return {
            "error": error(found.last),
            "seconds": sum(found.history.seconds),
            "loss": found.history.loss[-1][0],
            "independent_residual": found.history.metrics["independent_residual"][-1][0],
        }

    model, step, steps, others = trained(case, method, size, jax.random.key(0))
    settings = {
        "parameters": model.parameters * (WINDOWS if method == "march" else 1),
        "steps": steps * (WINDOWS if method == "march" else 1),
        "sampler": type(others["sampler"]).__name__,
        "points": others["sampler"].n,
        "optimizer": shown_optimizer(step),
    }
    yield from measured(rows, name, settings, size.seeds, run)


def shown_optimizer(step) -> str:
    return repr(step) if isinstance(step, AbstractStep) else "Adam"


def solver_row(name: str, wanted: float) -> dict | None:
    """Of Fourier modes with ETDRK4 the coarsest grid whose error at 101 instants is at most `wanted`; None for other problems."""
    equation = EQUATIONS[name]()
    if equation.waves is None:
        return None
    times, n, steps = np.linspace(0, 1, 101), 64, 100
    points = np.stack(np.meshgrid(-1 + 2 * np.arange(64) / 64, times, indexing="ij"), -1).reshape(-1, 2)
    exact = equation.exact(points).reshape(64, len(times))
    while n <= 4096:
        begin = time.perf_counter()
        with np.errstate(all="ignore"):
            values = etdrk4(*equation.waves.law, times, n, steps).T
        seconds = time.perf_counter() - begin
        error = float(np.linalg.norm(values[:: n // 64] - exact) / np.linalg.norm(exact))
        if error <= wanted:
            return {"error": error, "seconds": seconds, "modes": n, "steps": steps}
        n, steps = 2 * n, 2 * steps
    return None


def main():
    arguments = options(
        __doc__, full=FULL, quick=QUICK, smoke=SMOKE,
        only={"default": "", "help": "rows to measure again, problem:method, separated by commas"},
        seeds={"type": int, "default": None, "help": "number of seeds"},
        runs={"type": Path, "default": None, "help": "folder of checkpoints, with which a stopped seed goes on"},
    )  # fmt: skip
    size, file = arguments.size, arguments.folder / "pinn_accuracy.json"
    if arguments.seeds:
        size = replace(size, seeds=arguments.seeds)
    kept = json.loads(file.read_text())["values"] if file.exists() else {}
    rows, solvers = kept.get("rows", {}), kept.get("solver", {})
    names = [f"{case}:{m}" for m in size.methods for case in size.cases if m != "march" or case in MARCHED]
    wanted = arguments.only.split(",") if arguments.only else unfinished(rows, names, size.seeds)
    known = {f"{case}:{m}" for m in METHODS for case in EQUATIONS if m != "march" or case in MARCHED}
    if unknown := set(wanted) - known:
        raise SystemExit(f"unknown rows {sorted(unknown)}; problems {list(EQUATIONS)}, methods {list(METHODS)}")
    for name in wanted:
        for _ in measure(rows, name, size, arguments.runs):
            record("pinn_accuracy", arguments, summary(rows, solvers))
        case = name.split(":")[0]
        if summary(rows, solvers)["best"][case] == name and not arguments.smoke:
            solvers[case] = solver_row(case, rows[name]["error"])
            record("pinn_accuracy", arguments, summary(rows, solvers))


def summary(rows: dict[str, dict], solvers: dict[str, dict | None]) -> dict:
    """The values of the record."""
    best = {
        case: min((n for n in rows if n.startswith(f"{case}:")), key=lambda n: rows[n]["error"], default=None)
        for case in EQUATIONS
    }
    error = {case: None if name is None else rows[name]["error"] for case, name in best.items()}
    seconds = {case: None if name is None else rows[name]["seconds"] for case, name in best.items()}
    error["convection50"], seconds["convection50"] = error.pop("convection"), seconds.pop("convection")
    return {**error, "seconds": seconds, "best": best, "solver": solvers, "rows": rows}


if __name__ == "__main__":
    main()
