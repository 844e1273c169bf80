"""Burgers' equation in the setting of the Fourier neural operator's paper: 1000 training and 200 test samples at 256 points.

    python benchmarks/burgers_paper.py [--quick | --smoke] [--runs FOLDER] [--rows ROW …]

From u(0), drawn from N(0, 625 (−Δ + 25)^−2), to u(1), ν = 0.1, periodic, solved at 8192 points; trained at 256 of them, tested at
256, 1024 and 8192. Whether the paper's interval is (0, 1) or (0, 2π) is disputed: on (0, 1) the solution has nearly decayed and a
linear map of every frequency gets 6.6 %, on (0, 2π) 53 %. All rows are made on (0, 1), "FNO" on (0, 2π) as well, which the row
"linear spectral" tells apart.

Networks are trained as in the paper: 500 epochs, batch 20, relative L2 loss, Adam at 1e-3 with decay of weights by 1e-4,
halved every 100 epochs; here three seeds at once. FNO, TFNO (Tucker weights of a tenth of the parameters) and F-FNO have width
64 and 16 modes, and no batch normalisation; "FNO, ReLU" has the paper's activation, the others GELU. DeepONets have periodic
features in the trunk and POD bases of the training outputs alone. Errors are means over the test samples of the relative L2
error, by seed, of the last parameters; networks that read a fixed number of sensors have none at other resolutions.

A script that was killed goes on where it was; `--rows FNO` makes this row only; a row that was never made says "not run".
All rows are hours on two cores. --quick: 100 samples of 512 points, 20 epochs, one seed; --smoke: two epochs, tiny networks.

Published: FNO .0018 (ReLU, JMLR 2023, table 1; .0160 in the first preprint was an artefact of batch normalisation, as its author
says, and is no bar), DeepONet .0215 and POD-DeepONet .0194 on 128 points (Lu et al. 2022; their basis saw the test outputs).

Last line: JSON. `bars`, `published` and `rows`; per row `rel_l2` by number of points, one value per seed, `seconds` and
`parameters`.
"""

import math
from typing import NamedTuple

import numpy as np
from common.command_line import options
from common.kept_rows import KeptRows, row_options
from common.operator_rows import (
    KEY,
    Direct,
    Plan,
    Trained,
    deep_rows,
    direct_rows,
    fourier_rows,
    halving,
    measured,
    print_rows,
    result_of,
)
from common.record import record

import surrogax as sx


class Size(NamedTuple):
    """Training and test samples, points of the solver, of training and of the tests, epochs, seeds, width, modes, rank of POD."""

    train: int
    test: int
    fine: int
    points: int
    tests: tuple[int, ...]
    epochs: int
    seeds: int
    width: int
    modes: int
    rank: int


FULL = Size(1000, 200, 8192, 256, (256, 1024, 8192), epochs=500, seeds=3, width=64, modes=16, rank=64)
QUICK = Size(100, 50, 512, 256, (256, 512), epochs=20, seeds=1, width=32, modes=16, rank=32)
SMOKE = Size(8, 4, 64, 32, (32, 64), epochs=2, seeds=2, width=4, modes=4, rank=3)
SHORT, LONG = "(0, 1)", "(0, 2π)"
LENGTHS = {SHORT: 1.0, LONG: 2 * math.pi}
BARS = {"FNO": 2.0e-3, "DeepONet": 0.0225, "POD-DeepONet": 0.0215}
PUBLISHED = {
    "FNO (JMLR, ReLU)": 0.0018, "FNO (first preprint, an artefact of batch normalisation)": 0.0160,
    "DeepONet, 128 points": 0.0215, "POD-DeepONet, 128 points, basis of the test outputs": 0.0194,
}  # fmt: skip


def data(length: float, size: Size) -> sx.Dataset:
    """Pairs of u(0) and u(1) at the points of the solver."""
    problem = sx.problem("burgers", nu=0.1, box=sx.Box(x=(0.0, length, "periodic")))
    times, n = np.array([0.0, 1.0]), size.train + size.test
    found = sx.generate(problem, n, size.fine, KEY, times=times, cache=size is FULL, progress=False)
    return sx.from_arrays({"u0": found["u0"]}, {"u": found["u"][:, -1]}, grid=found.grid)


def rows_of(size: Size) -> dict[str, tuple[str, Direct | Trained]]:
    """Interval and row by label."""
    fourier = fourier_rows(size.width, size.modes, 0.0)
    relu = fourier_rows(size.width, size.modes, 0.0, activation="relu")["FNO"]
    direct = direct_rows(size.modes, size.rank)
    found: dict[str, tuple[str, Direct | Trained]] = {
        name: (SHORT, row) for name, row in {**direct, **deep_rows(size.width // 2), **fourier}.items()
    }
    found["FNO, ReLU"] = SHORT, relu
    found[f"linear spectral on {LONG}"] = LONG, direct["linear spectral"]
    found[f"FNO on {LONG}"] = LONG, fourier["FNO"]
    return found


class Parts(NamedTuple):
    """The task, its training samples, the test samples by number of points."""

    task: sx.Task
    train: sx.Dataset
    tests: dict[str, sx.Dataset]


def parts(length: float, size: Size) -> Parts:
    train, test = data(length, size).split(train=size.train, test=size.test)
    train = train.subsample(space=size.fine // size.points)
    return Parts(
        sx.Task.fit(train, "u0", "u"), train, {str(n): test.subsample(space=size.fine // n) for n in size.tests}
    )


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, **row_options("burgers_paper"))
    size = arguments.size
    labels = rows_of(size)
    rows, plan = KeptRows(arguments, size, labels), Plan(size.epochs, 20, size.seeds, halving(1e-3))
    made: dict[str, Parts] = {}  # data are made when the first row needs them

    def make(interval: str, label: str, row: Direct | Trained) -> dict:
        if interval not in made:
            made[interval] = parts(LENGTHS[interval], size)
        task, train, tests = made[interval]
        fitted, seconds = result_of(row, task, train, plan, rows.run(label))
        return measured(fitted, seconds, tests)

    found = {
        label: rows.row(label, lambda label=label, interval=interval, row=row: make(interval, label, row))
        for label, (interval, row) in labels.items()
    }
    print_rows(found, tuple(map(str, size.tests)))
    record("burgers_paper", arguments, {"bars": BARS, "published": PUBLISHED, "rows": found})


if __name__ == "__main__":
    main()
