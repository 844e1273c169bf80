"""Darcy flow in the setting of the Fourier neural operator's paper: 1000 training and 200 test samples on 85² of 421² nodes.

    python benchmarks/darcy_paper.py [--quick | --smoke] [--runs FOLDER] [--rows ROW …]

−∇·(a ∇u) = 1 on the unit square, u = 0 on its sides; a is 12 where a Gaussian field N(0, (−Δ + 9)^−2) is positive and 3
elsewhere, solved by our finite volumes on 421² nodes; trained on every fifth of them, tested there and on 421² ("zero-shot").

Networks are trained for 500 epochs at batch 20 on the relative L2 loss by Adam at 1e-3 with decay of weights by 1e-4, halved
every 100 epochs, as in the paper; one seed. FNO, TFNO (Tucker weights of a tenth of the parameters), F-FNO and the U-shaped
operator have width 32, 12 modes, padding by 10/84 and GELU; the U-Net has width 16 and three levels. Transolver has width 64, 4
blocks, 32 slices (the published one has width 128, 8 blocks, 64 slices, batch 4). "FNO, symmetry" is the FNO on samples that are
turned and mirrored at random. Errors are means over the test samples of the relative L2 error, of the last parameters.

A script that was killed goes on where it was; `--rows FNO` makes this row only; a row that was never made says "not run". The FNO
takes about 100 minutes on two cores. --quick: 100 samples, 10 epochs, on 43² of 85²; --smoke: two epochs of tiny networks.

Published: FNO .0108 (JMLR 2023, ReLU), about .0076 with GELU and padding (its author), F-FNO .0077, Transolver .0057,
Transolver++ .0049, POD-DeepONet .0232 and DeepONet .0298 on 29² (Lu et al. 2022).

Last line: JSON. `bars`, `published` and `rows`; per row `rel_l2` by nodes per axis, one value per seed, `seconds`, `parameters`.
"""

from typing import NamedTuple

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
    """Training and test samples, nodes of the solver, every how manieth is seen, epochs, width, modes, rank of POD."""

    train: int
    test: int
    fine: int
    stride: int
    epochs: int
    width: int
    modes: int
    rank: int


FULL = Size(1000, 200, 421, 5, epochs=500, width=32, modes=12, rank=64)
QUICK = Size(100, 50, 85, 2, epochs=10, width=16, modes=8, rank=32)
SMOKE = Size(8, 4, 25, 2, epochs=2, width=4, modes=2, rank=3)
BARS = {"FNO": 0.0108, "FNO, goal": 0.0076}
PUBLISHED = {
    "FNO (JMLR, ReLU)": 0.0108, "FNO, GELU and padding": 0.0076, "F-FNO": 0.0077, "Transolver": 0.0057,
    "Transolver++": 0.0049, "DeepONet, 29²": 0.0298, "POD-DeepONet, 29²": 0.0232,
}  # fmt: skip


def rows_of(size: Size) -> dict[str, Direct | Trained]:
    width, padding = size.width, 10 / 84
    fourier = fourier_rows(width, size.modes, padding)
    return {
        **direct_rows(size.modes, size.rank),
        **deep_rows(width),
        "UNet": Trained(lambda task, train: sx.UNet(task, width=width // 2, levels=3, key=KEY)),
        "UNO": Trained(lambda task, train: sx.UNO(task, width=width, modes=size.modes, padding=padding, key=KEY)),
        **fourier,
        "FNO, symmetry": fourier["FNO"]._replace(options={"symmetry": sx.Dihedral()}),
        "Transolver": Trained(lambda task, train: sx.Transolver(task, width=2 * width, slices=width, heads=4, key=KEY)),
    }


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, **row_options("darcy_paper"))
    size = arguments.size
    labels = rows_of(size)
    rows, plan = KeptRows(arguments, size, labels), Plan(size.epochs, 20, 1, halving(1e-3))
    data = sx.generate(
        sx.problem("darcy", a=sx.random.Threshold(12, 3)), size.train + size.test, size.fine, KEY,
        cache=size is FULL, progress=False,
    )  # fmt: skip
    train, test = data.split(train=size.train, test=size.test)
    train, seen = (part.subsample(space=size.stride) for part in (train, test))
    task = sx.Task.fit(train, "a", "u")
    tests = {str(part.grid.shape[0]): part for part in (seen, test)}

    def make(label: str, row: Direct | Trained) -> dict:
        return measured(*result_of(row, task, train, plan, rows.run(label)), tests)

    found = {label: rows.row(label, lambda label=label, row=row: make(label, row)) for label, row in labels.items()}
    print_rows(found, tuple(tests))
    record("darcy_paper", arguments, {"bars": BARS, "published": PUBLISHED, "rows": found})


if __name__ == "__main__":
    main()
