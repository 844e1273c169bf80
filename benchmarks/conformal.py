"""Coverage of simultaneous conformal bands on Burgers (1D) and Darcy (2D): in distribution, at another resolution, out of
distribution.

    python benchmarks/conformal.py [--quick | --smoke] [--self-only] [--peer-python PATH] [--runs FOLDER] [--rows ROW …]

Burgers: from u(0) to u(1) on (0, 2π), ν = 0.1, trained and calibrated at 128 points, also asked at 256; out of distribution ν
= 0.03. Darcy: from a coefficient of values 12 and 3 to the solution, trained and calibrated on 29² nodes of a solve on 57²,
also asked there; out of distribution the values are 20 and 3. An ensemble of three FNOs is trained on 300 samples; bands at 90
% hold whole fields and are calibrated on 500 samples, tested on 500 others. "fixed" is the band of one radius around the mean
of the ensemble, "scaled" has the ensemble's standard deviation as its shape. The share of fields inside has a standard
deviation of √(2 · 0.09/500) = 0.019. Widths are means over points and samples, in standard deviations of the target.

The scalar quantile (of one point of the Darcy fields) stands beside crepes and MAPIE, in an environment of their own
(`peers/requirements-conformal.txt`): the largest difference of half widths over six levels, in units of the smallest half width.

A script that was killed goes on where it was; `--rows darcy` makes this problem only, the other says "not run".
--quick: 60 training, 100 calibration and 100 test samples, few epochs; --smoke: tiny networks on 24 samples.

Last line: JSON. Per problem and band `coverage`, `coverage_other_resolution`, `coverage_out_of_distribution`, `width`; and
`quantile_difference` by peer.
"""

import json
import math
import subprocess
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
from common.command_line import options
from common.kept_rows import NOT_RUN, KeptRows, row_options
from common.peers import CONFORMAL, PEERS
from common.record import record

import surrogax as sx


class Size(NamedTuple):
    """Training, calibration and test samples, epochs, width of the networks, problems."""

    train: int
    calibration: int
    test: int
    epochs: int
    width: int
    problems: tuple[str, ...]


FULL = Size(300, 500, 500, 60, 24, ("burgers", "darcy"))
QUICK = Size(60, 100, 100, 10, 16, ("burgers", "darcy"))
SMOKE = Size(8, 12, 4, 1, 4, ("burgers",))
KEY, BATCH, LEVEL = jax.random.key(0), 20, 0.9
LEVELS = (0.5, 0.75, 0.8, 0.9, 0.95, 0.99)


def burgers(n: int, key, *, outside: bool = False) -> sx.Dataset:
    problem = sx.problem("burgers", nu=0.03 if outside else 0.1, box=sx.Box(x=(0.0, 2 * math.pi, "periodic")))
    data = sx.generate(problem, n, 256, key, times=np.array([0.0, 1.0]), cache=False, progress=False)
    return sx.from_arrays({"a": data["u0"]}, {"u": data["u"][:, -1]}, grid=data.grid)


def darcy(n: int, key, *, outside: bool = False) -> sx.Dataset:
    law = sx.random.Threshold(20 if outside else 12, 3)
    return sx.generate(sx.problem("darcy", a=law), n, 57, key, cache=False, progress=False)


def bands(name: str, size: Size, run: Path) -> dict:
    """The `bands` of a problem, and the `errors`, absolute, of the mean at one point of the calibration samples."""
    make = {"burgers": burgers, "darcy": darcy}[name]
    data = make(size.train + size.calibration + size.test, KEY)
    fine = data.split(train=size.train, calibration=size.calibration, test=size.test)
    train, calibration, test = (part.subsample(space=2) for part in fine)
    outside = make(size.test, jax.random.key(1), outside=True).subsample(space=2)
    task = sx.Task.fit(train, "a", "u")
    modes, padding = (16, 0.0) if name == "burgers" else (8, 0.25)
    steps = size.epochs * max(size.train // BATCH, 1)
    fitted = sx.fit(
        sx.FNO(task, width=size.width, modes=modes, padding=padding, key=KEY), train,
        optimizer=optax.adam(optax.cosine_decay_schedule(2e-3, steps)), epochs=size.epochs,
        batch_size=min(BATCH, size.train), seeds=3, key=KEY, run=run, progress=False,
    )  # fmt: skip
    ensemble = sx.Ensemble(tuple(fitted.members))
    mean = Mean(ensemble)
    scale = float(task.normalizers["u"].std[0])
    found = {}
    for kind, surrogate in {"fixed": mean, "scaled": ensemble}.items():
        band = sx.conformal(surrogate, calibration, level=LEVEL)
        low, high = band.predict_interval(test)
        found[kind] = {
            "coverage": band.coverage(test),
            "coverage_other_resolution": band.coverage(fine[2]),
            "coverage_out_of_distribution": band.coverage(outside),
            "width": float((high["u"] - low["u"]).mean()) / scale,
        }
    error = sx.evaluate({"mean": ensemble}, test, timing=False).value("mean")
    print(f"\n{name}, relative L2 error of the ensemble {100 * error:.2f} %\n")
    print("| band | inside | at twice the points | out of distribution | width |\n| --- | ---: | ---: | ---: | ---: |")
    for kind, row in found.items():
        print(f"| {kind} | {' | '.join(f'{value:.3f}' for value in row.values())} |", flush=True)
    errors = np.abs(calibration["u"] - ensemble.predict(calibration)["u"]).reshape(size.calibration, -1)
    return {"bands": found, "errors": errors[:, errors.shape[1] // 2].astype(np.float64).tolist()}


class Mean(sx.AbstractSurrogate):
    """The mean of an ensemble, without its standard deviation."""

    ensemble: sx.Ensemble

    @property
    def task(self) -> sx.Task:
        return self.ensemble.task

    @property
    def capabilities(self) -> sx.Capabilities:
        return sx.Capabilities(resolution_free=True, savable=False)

    def __call__(self, fields, at=None):
        return self.ensemble(fields, at)


def quantiles(errors: np.ndarray, levels: tuple[float, ...]) -> list[float]:
    """Half widths of our bands around zero, with these errors as calibration samples."""
    data = sx.from_arrays({"a": np.zeros((len(errors), 1))}, {"u": errors[:, None]}, grid=sx.Grid.unit(1, 1, "cells"))
    surrogate = sx.wrap(lambda x: 0 * x, sx.Task.fit(data, "a", "u"))
    zero = surrogate.predict(data)["u"][0, 0]
    shifted = sx.from_arrays(
        {"a": np.zeros((len(errors), 1))}, {"u": errors[:, None] + zero}, grid=sx.Grid.unit(1, 1, "cells")
    )
    band = sx.conformal(surrogate, shifted, level=LEVEL)
    found = []
    for level in levels:
        low, high = band.predict_interval(shifted.select(slice(0, 1)), level=level)
        found.append(float(high["u"][0, 0] - low["u"][0, 0]) / 2)
    return found


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=CONFORMAL, **row_options("conformal"))
    size = arguments.size
    rows = KeptRows(arguments, size, size.problems)
    found = {name: rows.row(name, lambda name=name: bands(name, size, rows.run(name))) for name in size.problems}
    values = {name: row if row == NOT_RUN else row["bands"] for name, row in found.items()}
    errors = np.array(next((row["errors"] for row in reversed(found.values()) if row != NOT_RUN), ()))
    levels = tuple(level for level in LEVELS if math.ceil((len(errors) + 1) * level) <= len(errors))
    ours, difference = quantiles(errors, levels), {"crepes": None, "mapie": None}
    if arguments.python is not None:
        words = json.dumps({"errors": errors.tolist(), "levels": levels})
        command = [str(arguments.python), str(PEERS / "conformal.py")]
        answer = subprocess.run(command, input=words, capture_output=True, text=True, check=True).stdout
        theirs = json.loads(answer.splitlines()[-1])
        difference = {
            peer: float(np.abs(np.array(ours) - np.array(half)).max() / min(half)) for peer, half in theirs.items()
        }
    print(f"\nlevels {levels}: half widths {[f'{half:.6g}' for half in ours]}; differences {difference}")
    record("conformal", arguments, {**values, "quantile_difference": difference})


if __name__ == "__main__":
    main()
