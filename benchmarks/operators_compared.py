"""Neural operators beside linear maps and reduced bases on Burgers (1D) and Darcy (2D), at equal samples and equal epochs.

    python benchmarks/operators_compared.py [--quick | --smoke]

Burgers: from the initial field to t = 1 on (0, 2π), ν = 0.1, the law of the Fourier neural operator's data, 128 points. Darcy:
from a coefficient of values 12 and 3 to the solution on 29² nodes of a solve on 57². All rows see the same 500 training samples;
errors are means over 100 others of the relative L2 error in the norm of the grid, of the last parameters. Networks are trained
by Adam on the relative L2 loss, batch 20, one seed, a cosine schedule from the same peak, for the same number of epochs;
"DeepONet, 10 × epochs" trains ten times as long, because a step of it costs a fraction of a step of the FNO. POD bases come from
the training samples alone. Seconds are those of the whole fit with compilation, on a machine that may be busy.
--quick: 100 samples and a tenth of the epochs; --smoke: Burgers, 20 samples, two epochs, tiny networks.

Last line: JSON. Per problem and row `rel_l2`, `seconds` and `parameters`.
"""

import math
from typing import NamedTuple

import numpy as np
from common.command_line import options
from common.operator_rows import (
    KEY,
    Direct,
    Plan,
    Trained,
    cosine,
    deep_rows,
    direct_rows,
    fourier_rows,
    measured,
    result_of,
)
from common.record import record

import surrogax as sx


class Size(NamedTuple):
    """How much to run: training and test samples, epochs per problem, the width of the networks."""

    train: int
    test: int
    epochs: dict[str, int]
    width: int


FULL = Size(500, 100, {"burgers": 200, "darcy": 100}, width=32)
QUICK = Size(100, 50, {"burgers": 20, "darcy": 10}, width=32)
SMOKE = Size(20, 4, {"burgers": 2}, width=4)
PEAK, BATCH = 2e-3, 20


def burgers(n: int) -> sx.Dataset:
    """Pairs of u(0) and u(1)."""
    problem = sx.problem("burgers", nu=0.1, box=sx.Box(x=(0.0, 2 * math.pi, "periodic")))
    data = sx.generate(problem, n, 128, KEY, times=np.array([0.0, 1.0]), refine=2, cache=False, progress=False)
    return sx.from_arrays({"u0": data["u0"]}, {"u": data["u"][:, -1]}, grid=data.grid)


def darcy(n: int) -> sx.Dataset:
    data = sx.generate(sx.problem("darcy", a=sx.random.Threshold(12, 3)), n, 57, KEY, cache=False, progress=False)
    return data.subsample(space=2)


def rows_of(name: str, width: int) -> dict[str, Direct | Trained]:
    modes, padding = (16, 0.0) if name == "burgers" else (8, 0.25)
    deep = deep_rows(width)
    return {
        **direct_rows(modes, 64),
        "DeepONet": deep["DeepONet"],
        "DeepONet, 10 × epochs": deep["DeepONet"]._replace(factor=10),
        "POD-DeepONet": deep["POD-DeepONet"],
        "FNO": fourier_rows(width, modes, padding)["FNO"],
    }


def rows(name: str, data: sx.Dataset, size: Size) -> dict[str, dict[str, float]]:
    train, test = data.split(train=size.train, test=size.test)
    task = sx.Task.fit(train, *(("u0", "u") if name == "burgers" else ("a", "u")))
    plan, found = Plan(size.epochs[name], BATCH, 1, cosine(PEAK)), {}
    print(f"\n{name}, {size.train} samples, {size.epochs[name]} epochs\n")
    print("| | relative L2 | parameters | s |\n| --- | ---: | ---: | ---: |")
    for label, row in rows_of(name, size.width).items():
        entry = measured(*result_of(row, task, train, plan), {"test": test})
        (error,) = entry["rel_l2"]["test"]
        found[label] = {**entry, "rel_l2": error}
        print(f"| {label} | {100 * error:.2f} % | {entry['parameters']} | {entry['seconds']:.0f} |", flush=True)
    return found


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE)
    size = arguments.size
    problems = {"burgers": burgers, "darcy": darcy}
    values = {name: rows(name, problems[name](size.train + size.test), size) for name in size.epochs}
    record("operators_compared", arguments, values)


if __name__ == "__main__":
    main()
