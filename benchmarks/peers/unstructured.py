"""Sparse systems solved by pyamg and SciPy, as peers for `benchmarks/unstructured.py`; runs in the peer environment.

Asked `setup FILE TOLERANCE` it builds its solvers for the system in that .npz file and answers with their set-up seconds by
name; asked `solve NAME` it answers with the seconds, the iterations and the true relative residual of one solve. All
answers are JSON in one line.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import pyamg
import scipy.sparse as sp
from scipy.sparse.linalg import splu


def solvers(stored) -> dict[str, Callable]:
    """Set-ups by name. The thresholds of the strength of connection: pyamg's default and the usual one; 0.25 took 4 to 12 times
    the iterations."""
    n, block = len(stored["b"]), int(stored["block"])
    matrix = sp.csr_matrix((stored["data"], stored["indices"], stored["indptr"]), shape=(n, n))
    blocks = matrix.tobsr((block, block)) if block > 1 else matrix
    options = {"B": stored["candidates"]} if block > 1 else {}
    if not stored["symmetric"]:
        options["symmetry"] = "nonsymmetric"
    found = {
        f"pyamg SA {theta}": lambda theta=theta: pyamg.smoothed_aggregation_solver(
            blocks, strength=("symmetric", {"theta": theta}), **options
        )
        for theta in (0.0, 0.08)
    }
    if block == 1:
        found["pyamg RS"] = lambda: pyamg.ruge_stuben_solver(matrix)
    found["SciPy LU"] = lambda: splu(sp.csc_matrix(matrix))
    return found


def solve(solver, stored, tolerance: float):
    if not isinstance(solver, pyamg.multilevel.MultilevelSolver):
        return solver.solve(stored["b"]), 1
    residuals: list[float] = []
    accel = "cg" if stored["symmetric"] else "fgmres"
    x = solver.solve(stored["b"], tol=tolerance, maxiter=300, accel=accel, residuals=residuals)
    return x, len(residuals) - 1


def main():
    warnings.filterwarnings("ignore")
    for line in sys.stdin:
        match line.split():
            case ["setup", file, wanted]:
                stored, tolerance, built, seconds = dict(np.load(file)), float(wanted), {}, {}
                for name, setup in solvers(stored).items():
                    start = time.perf_counter()
                    built[name] = setup()
                    seconds[name] = time.perf_counter() - start
                answer = seconds
            case ["solve", *words]:
                start = time.perf_counter()
                x, iterations = solve(built[" ".join(words)], stored, tolerance)
                seconds = time.perf_counter() - start
                n, b = len(x), stored["b"]
                matrix = sp.csr_matrix((stored["data"], stored["indices"], stored["indptr"]), shape=(n, n))
                residual = float(np.linalg.norm(b - matrix @ x) / np.linalg.norm(b))
                answer = {"solve": seconds, "iterations": iterations, "residual": residual}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
