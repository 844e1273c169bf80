"""POD of a tall matrix beside pyMOR, scikit-learn and NumPy: seconds, usable floor, orthogonality.

1e5 points × 200 snapshots (quick) or 1e6 × 500 (full), 50 modes, singular values 10^(−j/10), float64 and float32. A floor is the
smallest singular value, relative to the first, that comes out right to 10 % together with all before it. Every library
gets the matrix in its own container and fastest layout; ours is compiled before. Peers and ours take turns in one run.

    python benchmarks/pod.py [--quick] [--self-only] [--peer-python PATH]

The last line is a JSON object. `ratio_pymor_default` compares pyMOR's default with ours at an equal or better floor (method
"auto"), `ratio_pymor_qr` its `qr_svd` with "two_grams", `ratio_sklearn_randomized` the faster of two settings of
scikit-learn with "auto"; `gram_multiple` is the time of "auto" over that of one plain Gram product of the same float64 matrix.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from common import record

from surrogax.surrogates.reduced.pod import pod

HERE = Path(__file__).parent
MODES = 50


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


def seconds(function, repeats: int) -> list[float]:
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function())
        found.append(time.perf_counter() - start)
    return found


def ours(rows, repeats: int) -> dict[str, list[float]]:
    """Seconds of every method on rows that are on the device, of one Gram product, and of "auto" from NumPy."""
    with jax.enable_x64(True):
        double = jnp.asarray(rows)
        single = double.astype(jnp.float32)
        product = jax.jit(lambda s: jnp.matmul(s, s.T, precision="highest"))
    runs = {
        "one Gram product, float64": lambda: product(double),
        "one Gram product, float32": lambda: product(single),
        "auto, float64": lambda: pod(double, rank=MODES).modes,
        "two_grams, float64": lambda: pod(double, rank=MODES, method="two_grams").modes,
        "randomized, float64": lambda: pod(double, rank=MODES, method="randomized").modes,
        "auto, float32": lambda: pod(single, rank=MODES).modes,
        "auto, float64, from NumPy": lambda: pod(rows, rank=MODES).modes,
    }
    for run in runs.values():
        jax.block_until_ready(run())
    return {name: seconds(run, repeats) for name, run in runs.items()}


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


def peers(python: Path, data: Path, repeats: int, slow: int, spectrum: bool) -> dict:
    command = [
        python,
        HERE / "peers" / "pod.py",
        "--data",
        data,
        "--modes",
        MODES,
        "--repeats",
        repeats,
        "--slow-repeats",
        slow,
    ]
    output = subprocess.run(
        [str(c) for c in command] + ["--spectrum"] * spectrum, check=True, capture_output=True, text=True
    ).stdout
    return json.loads(output.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1e5 × 200")
    parser.add_argument("--self-only", action="store_true", help="without peers: their ratios are null")
    parser.add_argument("--peer-python", type=Path, default=HERE / "peers" / ".venv" / "bin" / "python")
    arguments = parser.parse_args()
    points, n, rounds, repeats, slow = (100_000, 200, 2, 5, 1) if arguments.quick else (1_000_000, 500, 2, 3, 1)

    rows, sigma = matrix(points, n)
    mine: dict[str, list[float]] = {}
    theirs: dict[str, dict] = {}
    have_peer = arguments.peer_python.exists() and not arguments.self_only
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.npy"
        if have_peer:
            np.save(data, rows)
        for turn in range(rounds):
            if have_peer:
                report = peers(arguments.peer_python, data, repeats, slow, spectrum=turn == 0)
                for name, entry in report["methods"].items():
                    theirs.setdefault(name, {**entry, "seconds": []})["seconds"] += entry["seconds"]
            for name, found in ours(rows, repeats).items():
                mine.setdefault(name, []).extend(found)

    time_of = {name: statistics.median(found) for name, found in mine.items()}
    peer_time = {name: statistics.median(entry["seconds"]) for name, entry in theirs.items()}
    our_floors, ours_orthogonal = floors(rows, sigma), orthogonality(rows)
    print(f"{points} points × {n} snapshots, {MODES} modes\n{'':45}{'seconds':>9}{'floor':>10}{'|ΦᵀΦ − I|':>12}")
    for name, entry in theirs.items():
        print(f"{name:45}{peer_time[name]:9.3f}{floor(entry['values'], sigma):10.1e}{entry['orthogonality']:12.1e}")
    for name in time_of:
        print(
            f"{name:45}{time_of[name]:9.3f}{our_floors.get(name, np.nan):10.1e}{ours_orthogonal.get(name, np.nan):12.1e}"
        )

    def ratio(peer: str, own: str) -> float | None:
        found = [t for name, t in peer_time.items() if name.startswith(peer)]
        return round(min(found) / time_of[own], 2) if found else None

    record(
        "pod",
        arguments.quick,
        {
            "ratio_pymor_default": ratio("pymor method_of_snapshots", "auto, float64"),
            "ratio_pymor_qr": ratio("pymor qr_svd", "two_grams, float64"),
            "ratio_sklearn_randomized": ratio("sklearn", "auto, float64"),
            "gram_multiple": round(time_of["auto, float64"] / time_of["one Gram product, float64"], 2),
            "floor_fast_f64": our_floors["auto, float64"],
            "floor_accurate_f64": our_floors["two_grams, float64"],
            "floor_f32": our_floors["auto, float32"],
            "cases": {
                "ours_seconds": time_of,
                "ours_orthogonality": ours_orthogonal,
                "peers": {
                    name: {
                        "seconds": peer_time[name],
                        "floor": floor(e["values"], sigma),
                        "orthogonality": e["orthogonality"],
                    }
                    for name, e in theirs.items()
                },
            },
        },
    )


if __name__ == "__main__":
    main()
