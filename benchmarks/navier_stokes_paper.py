"""Navier-Stokes in the smallest setting of the Fourier neural operator's paper, at equal epochs beside neuraloperator.

    python benchmarks/navier_stokes_paper.py [--quick | --smoke] [--self-only] [--peer-python PATH] [--runs FOLDER] [--rows ROW …]

The vorticity of a forced periodic flow, ν = 1e-3, at t = 1, 2, …, 20 on 64² points; the first ten instants are given, the last
ten predicted. 200 training and 200 test trajectories (JMLR 2023, table 5: N = 200, T = 20), solved in float64 on 64² points, on
which this flow (Reynolds number about 20) is resolved: the error of the labels against 128² is printed and recorded.

"FNO-2D" predicts one instant after the other and is trained through all ten predictions; "FNO-3D" predicts all at once, with
padding by half of the time axis alone. Both have width 20, 8 frequencies per axis and sign and no batch normalisation, as the
networks of the paper's table (their parameters tell). Adam at 1e-3 with decay of weights by 1e-4, halved at every fifth of the
epochs, relative L2 loss, 50 epochs of batches of 20 (2D) and 10 (3D), one seed. "peer" is neuraloperator 2.0 with the same data,
widths, frequencies, optimiser, loss, epochs and batches, in its own process; it has a channel MLP and gated skips in every block.
Errors are means over the test trajectories of the relative L2 error of the ten predicted instants together, as in the paper, of
the last parameters; `last` is that of t = 20.

The paper trains for 500 epochs, so that its values stand beside ours and are no bar for 50. A script that was killed goes on
where it was; `--rows FNO-2D` makes this row only; a row that was never made says "not run". All rows are about two hours on two
cores. --quick: 20 trajectories on 32² points, 3 epochs; --smoke: an epoch of tiny networks.

Published after 500 epochs: FNO-3D .0098, FNO-2D .0129, U-Net .0253, TF-Net .0277 at 64².

Last line: JSON. `published`, `label_error` and `rows`; per row `rel_l2`, `last`, `seconds`, `parameters`.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common.command_line import options
from common.kept_rows import NOT_RUN, KeptRows, row_options
from common.operator_rows import KEY, Plan, Trained, halving, result_of
from common.peers import TORCH, PeerProcess
from common.record import record

import surrogax as sx


class Size(NamedTuple):
    """Training and test trajectories, points per axis, given and predicted instants, epochs, width, modes, blocks."""

    train: int
    test: int
    points: int
    history: int
    frames: int
    epochs: int
    width: int
    modes: int
    depth: int


FULL = Size(200, 200, 64, 10, 10, epochs=50, width=20, modes=8, depth=4)
QUICK = Size(20, 10, 32, 10, 10, epochs=3, width=20, modes=8, depth=4)
SMOKE = Size(4, 2, 12, 1, 2, epochs=1, width=4, modes=2, depth=1)
BATCHES = {"FNO-2D": 20, "FNO-3D": 10}
PUBLISHED = {"FNO-3D": 0.0098, "FNO-2D": 0.0129, "U-Net": 0.0253, "TF-Net": 0.0277}


class Flows(NamedTuple):
    """Trajectories for training and test, and the error of the labels."""

    train: sx.Dataset
    test: sx.Dataset
    label_error: float


def flows(size: Size) -> Flows:
    instants = np.arange(size.history + size.frames + 1.0)
    found = sx.generate(
        sx.problem("navier_stokes", nu=1e-3), size.train + size.test, size.points, KEY, times=instants,
        cache=size is FULL, progress=False,
    )  # fmt: skip
    data = sx.from_arrays({"w": found["w"][:, 1:]}, grid=found.grid, times=instants[1:])
    train, test = data.split(train=size.train, test=size.test)
    return Flows(train, test, float(found.attributes["label_error"]["w"]))


def ours(label: str, data: Flows, size: Size, run: Path) -> dict:
    """The row of one of our networks, or of a surrogate without training."""
    batch = BATCHES.get(label, 20)
    steps, kept = sx.Autoregressive(history=size.history), dict(width=size.width, depth=size.depth, key=KEY)
    if label == "FNO-3D":
        task = sx.Task.fit(data.train, "w", "w", mode=sx.SpaceTime(size.frames, history=size.history))
        row = Trained(lambda task, train: sx.FNO(task, modes=size.modes, padding=(0.5, 0.0, 0.0), **kept))
    else:
        task = sx.Task.fit(data.train, "w", "w", mode=steps)
        row = Trained(
            lambda task, train: sx.FNO(task, modes=size.modes, **kept), options={"unroll": sx.Unroll(size.frames)}
        )
    if label == "persistence":
        model, seconds = sx.Persistence(task), 0.0
    else:
        fitted, seconds = result_of(row, task, data.train, Plan(size.epochs, batch, 1, halving(1e-3)), run)
        model = fitted.last
    at_once = label == "FNO-3D"
    predicted = (model.predict(data.test) if at_once else model.rollout(data.test, steps=size.frames))["w"]
    return {**errors(predicted, data.test["w"], size), "seconds": seconds, "parameters": model.parameters}


def peer(label: str, data: Flows, size: Size, run: Path, python: Path) -> dict:
    """The row of neuraloperator's network, from its own process."""
    name = label.removeprefix("peer ")
    run.mkdir(parents=True, exist_ok=True)
    stored, out = run / "data.npz", run / "out.npz"
    np.savez(stored, train=np.float32(data.train["w"]), test=np.float32(data.test["w"]))
    settings = {
        "ndim": 2 if name == "FNO-2D" else 3, "history": size.history, "width": size.width, "modes": size.modes, "depth":
        size.depth, "epochs": size.epochs, "batch": min(BATCHES[name], size.train), "threads": len(os.sched_getaffinity(0)),
        "seed": 0,
    }  # fmt: skip
    PeerProcess(python, "navier_stokes_paper.py", stored, json.dumps(settings), run, out).close()
    with np.load(out) as found:
        values = errors(found["predicted"], data.test["w"], size)
        seconds, parameters = float(found["seconds"].sum()), int(found["parameters"])
    stored.unlink()
    return {**values, "seconds": seconds, "parameters": parameters}


def errors(predicted: np.ndarray, truth: np.ndarray, size: Size) -> dict[str, float]:
    """Of all predicted instants together and of the last one, means over samples."""
    truth = truth[:, size.history :]

    def relative(u, v):
        u, v = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (u, v))
        return float((np.linalg.norm(u - v, axis=1) / np.linalg.norm(v, axis=1)).mean())

    return {"rel_l2": relative(predicted, truth), "last": relative(predicted[:, -1], truth[:, -1])}


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=TORCH, **row_options("navier_stokes_paper"))
    size = arguments.size
    labels = ("persistence", *BATCHES, *(f"peer {name}" for name in BATCHES))
    rows = KeptRows(arguments, size, labels)
    data = flows(size)
    print(f"error of the labels {100 * data.label_error:.2g} %", flush=True)

    def made(label: str) -> dict | str:
        if not label.startswith("peer"):
            return rows.row(label, lambda: ours(label, data, size, rows.run(label)))
        if arguments.python is None:
            return rows.row(label, None)
        return rows.row(label, lambda: peer(label, data, size, rows.run(label), arguments.python))

    found = {label: made(label) for label in labels}
    print("\n| | ten instants | t = 20 | parameters | s |\n| --- | ---: | ---: | ---: | ---: |")
    for label, row in found.items():
        if row == NOT_RUN:
            print(f"| {label} | {NOT_RUN} | | | |")
        else:
            shown = f"{100 * row['rel_l2']:.2f} % | {100 * row['last']:.2f} %"
            print(f"| {label} | {shown} | {row['parameters']} | {row['seconds']:.0f} |")
    values = {"published": PUBLISHED, "label_error": data.label_error, "epochs": size.epochs, "rows": found}
    record("navier_stokes_paper", arguments, values)


if __name__ == "__main__":
    main()
