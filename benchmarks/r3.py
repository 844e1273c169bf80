"""What samplers of collocation points change: convection β = 50 and Allen-Cahn at the published point counts of R3.

    python benchmarks/r3.py [--quick | --smoke] [--only convection50:r3:float32,…] [--seeds 5]

The equations are stated in `common/equations.py`; the Allen-Cahn residual contains u_xx, where the published code has u_xt.
Network and losses as published (Daw et al., ICML 2023): convection 4 × 50 tanh, initial values by the loss with weight 100, Adam
1e-3 × .9 per 5000 steps; Allen-Cahn 4 × 128 tanh on 10 periodic waves, initial values by the loss with weight 100; 1000 points.
Ours is periodic by construction on convection too, by one wave.

Rows problem:sampler:precision, with Adam at equal steps: fixed, uniform (redrawn in every step), rad, r3, causal; float32 and
float64. Beside them with R3 "lbfgs" (float64), "gradient" (Adam with the penalty 1e-4 on the gradient of the residual) and
"lm" (3000 points). "features" are random features with one step of least squares. Conditions of these two are exact, but for
Allen-Cahn's initial value.

Published: 300000 steps (convection), 200000 (Allen-Cahn). Here 20000, or --steps: at 1000 points about 10 ms (convection) and
60 ms (Allen-Cahn) per step on two cores, so 4 and 20 minutes per row and seed. "per_wave" are the points along one wave of the
solution, (n ∏ 2π / k L)^½; below 5 hardly anything is seen of it.

--quick: fixed, uniform, R3 on convection, one seed, 1500 steps, and features; --smoke: two steps of two rows.

Last line: JSON: mean errors per problem and sampler in float32, "convection50_best" with its row "best", "rows".
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import jax
import optax
from common.command_line import options
from common.equations import EQUATIONS, Errors
from common.record import record
from common.seed_rows import measured, unfinished

import surrogax as sx

SAMPLERS = {
    "fixed": sx.FixedPoints, "uniform": sx.UniformSampler, "rad": sx.RAD, "r3": sx.R3, "causal": sx.CausalR3,
}  # fmt: skip
OTHERS = ("lbfgs:float64", "gradient:float32", "lm:float64", "features:float64")
CASES = {"convection50": "convection", "allen_cahn": "allen_cahn"}
ROWS = tuple(
    f"{case}:{row}"
    for case in CASES
    for row in (*(f"{s}:{d}" for d in ("float32", "float64") for s in SAMPLERS), *OTHERS)
)


@dataclass(frozen=True)
class Size:
    seeds: int
    steps: int
    points: int
    second_order: int  # steps of Levenberg-Marquardt
    rows: tuple[str, ...] = ROWS


FULL = Size(5, 20_000, 1000, 200)
QUICK_ROWS = ("fixed:float32", "uniform:float32", "r3:float32", "features:float64")
QUICK = Size(1, 1500, 1000, 25, tuple(f"convection50:{row}" for row in QUICK_ROWS))
SMOKE = Size(1, 2, 20, 2, ("convection50:causal:float32", "convection50:features:float64"))


def trained(case: str, method: str, precision: str, size: Size, key):
    """The model, the optimiser, the number of steps, and options of `fit`."""
    problem, tiny = EQUATIONS[CASES[case]]().problem, size.steps == 2
    # The initial value of allen_cahn has a kink where the axis closes, which a solution that holds it exactly would keep.
    exact, seen = ({"exact_initial": False}, {"boundary_points": 400}) if case == "allen_cahn" else ({}, {})
    if method == "features":
        features = {"convection50": (1200, 36.0), "allen_cahn": (1000, 60.0)}[case]
        model = sx.RandomFeatures(problem, features=20 if tiny else features[0], scale=features[1], key=key, **exact)
        steps = 1 if case == "convection50" else 15
        return model, sx.GaussNewton(), steps, {"sampler": sx.UniformSampler(3 * size.points), **seen}
    if method == "lm":
        network = {
            "convection50": {"width": 20, "depth": 2, "activation": "sine", "frequency": 20.0},
            "allen_cahn": {"width": 24, "depth": 3, "harmonics": 5},
        }[case]
        network = {**network, "width": 4, "depth": 1} if tiny else network
        model = sx.PINN(problem, **network, key=key, **exact)
        return model, sx.LevenbergMarquardt(), size.second_order, {"sampler": sx.R3(3 * size.points), **seen}
    network = {
        "convection50": {"width": 50, "depth": 4}, "allen_cahn": {"width": 128, "depth": 4, "harmonics": 10},
    }[case]  # fmt: skip
    network = {**network, "width": 4, "depth": 1} if tiny else network
    model = sx.PINN(problem, **network, exact_initial=False, key=key)
    # The published gate moves for 20 / rate updates; here it passes within half of the steps.
    causal = {"rate": max(1e-3, 40 / size.steps)} if method == "causal" else {}
    sampler = SAMPLERS.get(method, sx.R3)(size.points, **causal)
    settings = {"sampler": sampler, "penalty": 100.0, "dtype": precision}
    if method == "gradient":
        settings["gradient_penalty"] = 1e-4
    step = sx.LBFGS(hold=1000) if method == "lbfgs" else optax.adam(optax.exponential_decay(1e-3, 5000, 0.9))
    return model, step, size.steps, settings


def measure(rows: dict[str, dict], name: str, size: Size) -> Iterator[None]:
    """Measure row `name`, and stop after each seed."""
    case, method, precision = name.split(":")
    error = Errors(EQUATIONS[CASES[case]](), 5 if size.steps == 2 else None)

    def run(seed: int) -> dict:
        model, step, steps, settings = trained(case, method, precision, size, jax.random.key(seed))
        start = time.perf_counter()
        found = sx.fit(
            model, optimizer=step, steps=steps, check_every=steps, progress=False, key=jax.random.key(seed), **settings
        )
        seconds = time.perf_counter() - start
        per_wave = found.history.metrics["points_per_wave"][-1][0]
        return {"error": error(found.last), "seconds": seconds, "per_wave": per_wave}

    model, _, steps, settings = trained(case, method, precision, size, jax.random.key(0))
    stated = {"parameters": model.parameters, "steps": steps, "points": settings["sampler"].n}
    yield from measured(rows, name, stated, size.seeds, run)


def main():
    arguments = options(
        __doc__, full=FULL, quick=QUICK, smoke=SMOKE,
        only={"default": "", "help": "rows to measure again, separated by commas"},
        seeds={"type": int, "default": None, "help": "number of seeds"},
        steps={"type": int, "default": None, "help": "number of steps of Adam and L-BFGS"},
    )  # fmt: skip
    size, file = arguments.size, arguments.folder / "r3.json"
    if arguments.seeds:
        size = replace(size, seeds=arguments.seeds)
    if arguments.steps:
        size = replace(size, steps=arguments.steps)
    rows = json.loads(file.read_text())["values"]["rows"] if file.exists() else {}
    wanted = arguments.only.split(",") if arguments.only else unfinished(rows, size.rows, size.seeds)
    if unknown := set(wanted) - set(ROWS):
        raise SystemExit(f"unknown rows {sorted(unknown)}; they are {list(ROWS)}")
    for name in wanted:
        for _ in measure(rows, name, size):
            keys = [f"{case}_{sampler}" for case in CASES for sampler in SAMPLERS]
            found = {key: rows.get(f"{':'.join(key.rsplit('_', 1))}:float32") for key in keys}
            convection = {n: row["error"] for n, row in rows.items() if n.startswith("convection50")}
            best = min(convection, key=lambda n: convection[n]) if convection else None
            values = {key: None if row is None else row["error"] for key, row in found.items()}
            values |= {"convection50_best": None if best is None else convection[best], "best": best}
            record("r3", arguments, {**values, "rows": rows})


if __name__ == "__main__":
    main()
