"""A sparse system solved by SciPy and pyamg, as peers for `benchmarks/linear_solvers.py`; runs in the peer environment.

Prints one JSON object: for every solver and tolerance the medians of the set-up and solve seconds, the iterations and the
true relative residual. Each solver runs at the loosest tolerance (halved from the target) whose true residual meets the target.
"""

import argparse
import json
import statistics
import time

import numpy as np
import pyamg
import scipy.sparse as sp
from scipy.sparse.linalg import cg


def timed(function):
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def scipy_cg(a, b, tolerance):
    count = 0

    def step(_):
        nonlocal count
        count += 1

    x, _ = cg(a, b, rtol=tolerance, maxiter=100_000, callback=step)
    return x, count


def accelerated(hierarchy, b, tolerance):
    residuals: list[float] = []
    x = hierarchy.solve(b, tol=tolerance, maxiter=200, accel="cg", residuals=residuals)
    return x, len(residuals) - 1


def loosest(solve, a, b, target):
    """The tolerance below or at `target` that meets it, by a factor of 2 to a power."""
    tolerance = target
    while True:
        x, _ = solve(tolerance)
        if np.linalg.norm(b - a @ x) <= target * np.linalg.norm(b):
            return tolerance
        if tolerance < target / 1e4:
            return None
        tolerance /= 2


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help=".npz file with data, indices, indptr, b")
    parser.add_argument("--targets", type=float, nargs="+", required=True)
    parser.add_argument("--repeats", type=int, required=True)
    parser.add_argument("--without-cg", action="store_true", help="leave out plain conjugate gradients")
    arguments = parser.parse_args()

    stored = np.load(arguments.data)
    b = stored["b"]
    a = sp.csr_array((stored["data"], stored["indices"], stored["indptr"]), shape=(b.size, b.size))
    matrix = sp.csr_matrix(a)
    setups = {
        "pyamg RS-CG": lambda: pyamg.ruge_stuben_solver(matrix),
        "pyamg SA-CG": lambda: pyamg.smoothed_aggregation_solver(matrix),
    }
    found = []
    for name, setup in setups.items():
        built, seconds = zip(*(timed(setup) for _ in range(arguments.repeats)), strict=True)
        hierarchy = built[-1]
        for target in arguments.targets:
            found.append(measure(name, lambda t, h=hierarchy: accelerated(h, b, t), a, b, target, arguments.repeats))
            found[-1]["setup"] = statistics.median(seconds)
    if not arguments.without_cg:
        for target in arguments.targets:
            found.append({**measure("scipy CG", lambda t: scipy_cg(a, b, t), a, b, target, 1), "setup": 0.0})
    print(json.dumps(found))


def measure(name, solve, a, b, target, repeats):
    tolerance = loosest(solve, a, b, target)
    if tolerance is None:
        return {"solver": name, "target": target, "solve": None, "iterations": None, "residual": None}
    runs = [timed(lambda: solve(tolerance)) for _ in range(repeats)]
    x, iterations = runs[-1][0]
    residual = np.linalg.norm(b - a @ x) / np.linalg.norm(b)
    solve_seconds = statistics.median(s for _, s in runs)
    return {"solver": name, "target": target, "solve": solve_seconds, "iterations": iterations, "residual": residual}


if __name__ == "__main__":
    main()
