"""Darcy systems solved by SciPy's `spsolve` and by pyamg, the peers of `benchmarks/darcy_solver.py`.

    python darcy_solver.py systems.npz 1e-6

Runs in the peer environment (`requirements-linear.txt`). Reads matrices and right-hand sides, writes the direct solutions
to `direct.npy` beside the file, finds pyamg's loosest tolerance (steps of √10) that meets the error, then answers every line
on the standard input with the seconds per sample of each solver as JSON.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pyamg
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve


def main():
    path, target = Path(sys.argv[1]), float(sys.argv[2])
    stored = np.load(path)
    b = stored["b"].reshape(len(stored["b"]), -1)
    pattern, shape = (stored["indices"], stored["indptr"]), (b.shape[1],) * 2
    systems = [sp.csr_matrix((entries, *pattern), shape=shape) for entries in stored["entries"]]
    direct = np.stack([spsolve(a.tocsc(), rhs) for a, rhs in zip(systems, b, strict=True)])
    np.save(path.parent / "direct.npy", direct.reshape(stored["b"].shape))

    def multigrid(tolerance):
        solve = lambda a, rhs: pyamg.ruge_stuben_solver(a).solve(rhs, tol=tolerance, accel="cg", maxiter=200)  # noqa: E731
        return np.stack([solve(a, rhs) for a, rhs in zip(systems, b, strict=True)])

    def error(u):
        return (np.linalg.norm(u - direct, axis=1) / np.linalg.norm(direct, axis=1)).max()

    tolerance = next(t for t in 10.0 ** -np.arange(3, 12.5, 0.5) if error(multigrid(t)) <= target)
    solvers = {
        "spsolve": lambda: [spsolve(a.tocsc(), rhs) for a, rhs in zip(systems[:4], b[:4], strict=True)],
        "pyamg RS-CG": lambda: multigrid(tolerance),
    }
    print("ready", flush=True)
    for _ in sys.stdin:
        found = {}
        for name, solver in solvers.items():
            start = time.perf_counter()
            solutions = solver()
            found[name] = (time.perf_counter() - start) / len(solutions)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
