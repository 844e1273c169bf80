"""Gaussian processes in a float32 program beside scikit-learn's in float64: error of the mean, coverage of the intervals.

Smooth curves with more and more samples, many oscillations, an input over four decades, two inputs, noise; and fields of one
and of two parameters through `PODRegression`. x64 is off. The peer fits the same samples by GaussianProcessRegressor with a
constant times an anisotropic Matérn-5/2 kernel, and with a squared exponential one, each plus white noise, on standardised
inputs and outputs, the best of six starts and two kernels by likelihood; for the input over decades it is also given the
logarithm, and its better result counts. For fields it gets the coefficients of a POD by NumPy. Errors are root mean squares on
unseen samples over their spread, coverage the share of |error| < 2 std. Errors below 1e-6 count as 1e-6: float32 results
resolve no more.

    python benchmarks/gaussian_process.py [--quick | --smoke] [--self-only] [--peer-python PATH]

--quick: at most 200 samples; --smoke: one curve of 20. Last line: JSON. `error_ratio_max`, the largest ratio of our error to
that of the peer; `coverage_min` and `coverage_max` over all cases. A truth much smoother than the kernel is covered always.
"""

import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from common.command_line import options
from common.peers import REDUCED, PeerProcess
from common.record import record

import surrogax as sx
from surrogax.surrogates.reduced import fit_gaussian_process

UNSEEN = 300
RESOLVED = 1e-6


class Case(NamedTuple):
    """Inputs and outputs of n samples and of unseen ones; `decades` says that the peer is given logarithms, too. Fields have the
    coordinates of their points."""

    name: str
    z: np.ndarray
    c: np.ndarray
    z_unseen: np.ndarray
    c_unseen: np.ndarray
    decades: bool = False
    points: int = 0


def curve(name: str, n: int, truth: Callable, draw: Callable, noise: float = 0.0, seed: int = 0, **more) -> Case:
    rng = np.random.default_rng(seed)
    z, unseen = draw(rng, n), draw(rng, UNSEEN)
    c, c_unseen = (truth(x) + noise * rng.standard_normal(truth(x).shape) for x in (z, unseen))
    return Case(f"{name}, n = {n}", z, c, unseen, c_unseen, **more)


def uniform(low: float, high: float, d: int = 1) -> Callable:
    return lambda rng, n: rng.uniform(low, high, (n, d))


def decades(rng, n: int) -> np.ndarray:
    return 10 ** rng.uniform(-2, 2, (n, 1))


def waves(periods: int) -> Callable:
    return lambda z: np.concatenate([np.sin(2 * np.pi * periods * z), np.cos(2 * np.pi * periods * z)], 1)


def smooth(z: np.ndarray) -> np.ndarray:
    return np.stack([np.sin(2 * z[:, 0]) * np.cos(z[:, 1]), np.exp(z[:, 0] * z[:, 1])], 1)


X = np.linspace(0, 1, 64)


def decay(z: np.ndarray) -> np.ndarray:
    return np.exp(-z * X)


def two_parameters(z: np.ndarray) -> np.ndarray:
    """A front at z_1 of a steepness given by z_0."""
    return np.tanh((4 + 8 * z[:, :1]) * (X - 0.3 - 0.4 * z[:, 1:]))


def cases(largest: int) -> list[Case]:
    sizes = [n for n in (50, 100, 200, 400) if n <= largest]
    found = [curve("exp(−μx)", n, decay, uniform(0, 3), points=len(X)) for n in sizes]
    found += [curve("front, two parameters", n, two_parameters, uniform(0, 1, 2), points=len(X)) for n in sizes]
    found += [
        curve("tanh over decades", n, lambda z: np.tanh(2 * np.log10(z)), decades, decades=True) for n in sizes[1:3]
    ]
    found += [curve("sin 10z", n, lambda z: np.sin(10 * z), uniform(0, 1)) for n in sizes[2:3]]
    found += [curve("two inputs", n, smooth, uniform(-1, 1, 2)) for n in sizes[2:]]
    found += [curve("two inputs, noise 0.02", n, smooth, uniform(-1, 1, 2), 0.02) for n in sizes[1::2]]
    found += [curve("sine, noise 0.02", n, np.sin, uniform(0, 6), 0.02) for n in sizes[1::2]]
    found += [curve(f"{p} periods", n, waves(p), uniform(0, 1)) for p in (6, 8, 10, 20) for n in sizes[-1:]]
    return found


def ours(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the unseen outputs."""
    if not case.points:
        process = fit_gaussian_process(case.z, case.c)
        return np.asarray(process(case.z_unseen)), np.asarray(process.std(case.z_unseen))
    grid = sx.Grid.unit_interval(case.points)
    train, unseen = (
        sx.from_arrays(targets={"u": u}, parameters={"p": p}, grid=grid)
        for p, u in ((case.z, case.c), (case.z_unseen, case.c_unseen))
    )
    fitted = sx.fit(sx.PODRegression(sx.Task.fit(train, "p", "u"), rank=32), train).best
    return fitted.predict(unseen)["u"], fitted.predict_std(unseen)["u"]


def theirs(peer: PeerProcess, case: Case) -> tuple[float, float]:
    """Error and coverage of the peer, the better of what it is given."""
    mean, modes = case.c.mean(0), np.eye(case.c.shape[1])
    if case.points:
        _, values, right = np.linalg.svd(case.c - mean, full_matrices=False)
        modes = right[: min(32, int((values > 1e-9 * values[0]).sum()))].T
    best = (np.inf, np.nan)
    for transform in (lambda z: z, np.log) if case.decades else (lambda z: z,):
        z, unseen = transform(case.z), transform(case.z_unseen)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "case.npz"
            np.savez(
                path, z=(z - z.mean(0)) / z.std(0), c=(case.c - mean) @ modes, unseen=(unseen - z.mean(0)) / z.std(0)
            )
            answer = json.loads(peer.ask(path))
        predicted, std = np.array(answer["mean"]), np.array(answer["std"])
        field_std = np.sqrt((std**2) @ (modes.T**2))
        best = min(
            best, (error(mean + predicted @ modes.T, case), coverage(mean + predicted @ modes.T, field_std, case))
        )
    return best


def error(predicted: np.ndarray, case: Case) -> float:
    truth = case.c_unseen
    return float(np.linalg.norm(np.float64(predicted) - truth) / np.linalg.norm(truth - truth.mean(0)))


def coverage(predicted: np.ndarray, std: np.ndarray, case: Case) -> float:
    return float((np.abs(np.float64(predicted) - case.c_unseen) < 2 * np.float64(std)).mean())


FULL, QUICK = cases(400), cases(200)
SMOKE = [curve("exp(−μx)", 20, decay, uniform(0, 3), points=len(X))]


def main() -> None:
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=REDUCED)
    assert not jax.config.jax_enable_x64
    peer = PeerProcess(arguments.python, "gaussian_process.py") if arguments.python else None
    rows = []
    warnings.filterwarnings("ignore", message=".*outside the training range")
    print(f"{'':34}{'error':>9}{'peer':>9}{'coverage':>10}{'peer':>7}{'seconds':>9}")
    for case in arguments.size:
        begin = time.perf_counter()
        predicted, std = ours(case)
        row = {"case": case.name, "seconds": time.perf_counter() - begin}
        row |= {"error": error(predicted, case), "coverage": coverage(predicted, std, case)}
        row |= dict(zip(("peer_error", "peer_coverage"), theirs(peer, case) if peer else (np.nan, np.nan), strict=True))
        numbers = (row[k] for k in ("error", "peer_error", "coverage", "peer_coverage", "seconds"))
        print("{:34}{:9.1e}{:9.1e}{:10.3f}{:7.3f}{:9.1f}".format(case.name, *numbers), flush=True)
        rows.append({k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()})
    ratios = [max(r["error"], RESOLVED) / max(r["peer_error"], RESOLVED) for r in rows] if peer else []
    covered = [row["coverage"] for row in rows]
    values = {
        "error_ratio_max": round(max(ratios), 3) if ratios else None,
        "coverage_min": round(min(covered), 3),
        "coverage_max": round(max(covered), 3),
        "cases": rows,
    }
    if peer:
        peer.close()
    record("gaussian_process", arguments, values)


if __name__ == "__main__":
    main()
