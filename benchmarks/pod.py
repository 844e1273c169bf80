"""POD of a tall matrix beside pyMOR, scikit-learn and NumPy: seconds, usable floor, orthogonality.

1e5 points × 200 snapshots, in full also 1e6 × 500 (the faster method of each library), 50 modes (with --smoke 500 × 60),
singular values 10^(−j/10), float64 and float32. A floor is the smallest singular value, relative to the first, that comes
out right to 10 % together with all before it. Every library gets the matrix in its own container and fastest layout; ours
is compiled before. Peers and ours take turns in one run.

    python benchmarks/pod.py [--quick | --smoke] [--self-only] [--peer-python PATH]

The last line is a JSON object of the first size. `ratio_pymor_default` compares pyMOR's default with ours at an equal or
better floor (method "auto"), `ratio_pymor_qr` its `qr_svd` with "two_grams", `ratio_sklearn_randomized` the faster of two
settings of scikit-learn with "auto"; `gram_multiple` is the time of "auto" over that of one plain Gram product of the same
float64 matrix.
"""

import json
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common.command_line import options
from common.peers import REDUCED, PeerProcess
from common.record import record
from common.timing import repeated

from surrogax.surrogates.reduced import pod

MODES = 50


class Size(NamedTuple):
    """How much to run: points, snapshots, rounds, repeats of ours and of the peers' slow methods; and the large matrix."""

    points: int
    snapshots: int
    rounds: int
    repeats: tuple[int, int]
    large: bool


FULL = Size(100_000, 200, 2, (5, 3), large=True)
QUICK = Size(100_000, 200, 2, (5, 1), large=False)
SMOKE = Size(500, 60, 1, (1, 1), large=False)


def matrix(points: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows `(n, points)` with singular values 10^(−j/10): cosines of n random frequencies, mixed by an orthogonal matrix."""
    rng = np.random.default_rng(0)
    sigma = 10.0 ** (-np.arange(n) / 10)
    mixing, _ = np.linalg.qr(rng.standard_normal((n, n)))
    frequencies = rng.choice(np.arange(1, points), n, replace=False)
    rows = np.empty((n, points))
    for start in range(0, points, 20_000):
        # The phase is reduced by integers first: cos of 1e11 would lose eleven digits.
        odd = 2 * np.arange(start, min(start + 20_000, points), dtype=np.int64) + 1
        phase = (odd * frequencies[:, None].astype(np.int64)) % (4 * points)
        cosines = np.sqrt(2 / points) * np.cos(phase * (np.pi / (2 * points)))
        rows[:, start : start + odd.size] = (mixing * sigma) @ cosines
    return rows, sigma


def floor(values, sigma) -> float:
    values = np.asarray(values)[: len(sigma)]
    wrong = np.flatnonzero(~(np.abs(values / sigma[: len(values)] - 1) < 0.1))
    right = wrong[0] if len(wrong) else len(values)
    return float(sigma[right - 1]) if right else 1.0


def ours(rows, repeats: int, fast_only: bool) -> dict[str, list[float]]:
    """Seconds of every method on rows that are on the device, of one Gram product, and of "auto" from NumPy."""
    with jax.enable_x64(True):
        double = jnp.asarray(rows)
        single = double.astype(jnp.float32)
        product = jax.jit(lambda s: jnp.matmul(s, s.T, precision="highest"))
        compiled = {s.dtype: product.lower(s).compile() for s in (double, single)}
    runs = {
        "one Gram product, float64": lambda: compiled[double.dtype](double),
        "one Gram product, float32": lambda: compiled[single.dtype](single),
        "auto, float64": lambda: pod(double, rank=MODES).modes,
        "two_grams, float64": lambda: pod(double, rank=MODES, method="two_grams").modes,
        "randomized, float64": lambda: pod(double, rank=MODES, method="randomized").modes,
        "auto, float32": lambda: pod(single, rank=MODES).modes,
        "auto, float64, from NumPy": lambda: pod(rows, rank=MODES).modes,
    }
    if fast_only:
        runs = {name: run for name, run in runs.items() if name.startswith(("auto", "one"))}
    for run in runs.values():
        jax.block_until_ready(run())
    return {name: repeated(run, repeats=repeats) for name, run in runs.items()}


def floors(rows, sigma) -> dict[str, float]:
    n = len(rows)
    cases = {
        "auto, float64": (rows, "gram"),  # what "auto" runs for 50 modes
        "two_grams, float64": (rows, "two_grams"),
        "auto, float32": (rows.astype(np.float32), "gram"),
    }
    return {name: floor(pod(s, rank=n, method=m).singular_values, sigma) for name, (s, m) in cases.items()}


def orthogonality(rows) -> dict[str, float]:
    found = {}
    for name, s, method in (
        ("auto, float64", rows, "auto"),
        ("two_grams, float64", rows, "two_grams"),
        ("auto, float32", rows.astype(np.float32), "auto"),
    ):
        modes = np.asarray(pod(s, rank=MODES, method=method).modes, np.float64)
        found[name] = float(np.abs(modes.T @ modes - np.eye(MODES)).max())
    return found


def peers(python: Path, data: Path, repeats: int, slow: int, fast_only: bool) -> dict:
    arguments = ["--data", data, "--modes", MODES, "--repeats", repeats, "--slow-repeats", 1]
    peer = PeerProcess(python, "pod.py", *arguments, *["--fast-only"] * fast_only)
    found = json.loads(peer.read())["methods"]
    peer.close()
    return found


def compare(points: int, n: int, rounds: int, repeats: tuple[int, int], python: Path | None, large: bool) -> dict:
    """Seconds, floors and orthogonality of all methods at one size; a large matrix is not held while the peers run."""
    rows, sigma = matrix(points, n)
    mine: dict[str, list[float]] = {}
    theirs: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.npy"
        np.save(data, rows)
        for _ in range(rounds):
            if python is not None:
                rows = None
                for name, entry in peers(python, data, *repeats, large).items():
                    theirs.setdefault(name, {**entry, "seconds": []})["seconds"] += entry["seconds"]
            rows = np.load(data)
            for name, found in ours(rows, repeats[0], large).items():
                mine.setdefault(name, []).extend(found)
    found = {name: {"seconds": statistics.median(times)} for name, times in mine.items()}
    if not large:
        for name, value in floors(rows, sigma).items():
            found[name]["floor"] = value
        for name, value in orthogonality(rows).items():
            found[name]["orthogonality"] = value
    for name, entry in theirs.items():
        found[name] = {"seconds": statistics.median(entry["seconds"]), "orthogonality": entry["orthogonality"]}
        if "values" in entry:
            found[name]["floor"] = floor(entry["values"], sigma)
    print(f"{points} points × {n} snapshots, {MODES} modes\n{'':45}{'seconds':>9}{'floor':>10}{'|ΦᵀΦ − I|':>12}")
    for name, entry in found.items():
        numbers = (entry["seconds"], entry.get("floor", np.nan), entry.get("orthogonality", np.nan))
        print("{:45}{:9.3f}{:10.1e}{:12.1e}".format(name, *numbers), flush=True)
    return found


def ratio(found: dict, peer: str, own: str) -> float | None:
    times = [entry["seconds"] for name, entry in found.items() if name.startswith(peer)]
    return round(min(times) / found[own]["seconds"], 2) if times else None


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=REDUCED)
    size, python = arguments.size, arguments.python

    found = compare(size.points, size.snapshots, size.rounds, size.repeats, python, large=False)
    values = {
        "ratio_pymor_default": ratio(found, "pymor method_of_snapshots", "auto, float64"),
        "ratio_pymor_qr": ratio(found, "pymor qr_svd", "two_grams, float64"),
        "ratio_sklearn_randomized": ratio(found, "sklearn", "auto, float64"),
        "gram_multiple": ratio(found, "auto, float64", "one Gram product, float64"),
        "floor_fast_f64": found["auto, float64"]["floor"],
        "floor_accurate_f64": found["two_grams, float64"]["floor"],
        "floor_f32": found["auto, float32"]["floor"],
        "cases": {f"{size.points} x {size.snapshots}": found},
    }
    if python is not None and values["floor_fast_f64"] > found["pymor method_of_snapshots"]["floor"]:
        values["ratio_pymor_default"] = None  # the comparison is at an equal or better floor
    if size.large:
        values["cases"]["1000000 x 500"] = compare(1_000_000, 500, 1, (2, 2), python, large=True)
    record("pod", arguments, values)


if __name__ == "__main__":
    main()
