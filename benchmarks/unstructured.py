"""Our solvers for sparse matrices without a grid beside pyamg and SciPy, at equal true residual.

    python benchmarks/unstructured.py [--quick | --smoke] [--self-only] [--peer-python PATH]

Linear triangles on Delaunay meshes of random points in the unit square, float64, right-hand sides of white noise: diffusion
whose coefficient jumps by 1e3, with one Dirichlet node and with all sides fixed; diffusion with a constant coefficient;
plane elasticity, clamped on one side; convection and diffusion. 1e5 points (elasticity half as many), 2e4 with --quick, 600 with
--smoke.

All solve to ‖b − A x‖₂ ≤ 1e-8 ‖b‖₂ from zero, on one core, with their set-up apart: ours CG or FGMRES with smoothed
aggregation, and the sparse LU factors; pyamg the same with smoothed aggregation at two thresholds of the strength of
connection, and Ruge-Stüben. They take turns solve by solve; seconds are medians, compilation excluded.

Last line: JSON. `iterations_over_pyamg`: the largest number of iterations that ours needs more than pyamg's smoothed
aggregation at the threshold with which it needs fewest. `solve_ratio_pyamg`: the smallest ratio of the seconds of its fastest
threshold to ours. `gradient_rel_error`: of a derivative by the entries of the matrix, through the solve, against central
differences.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

if sys.platform == "linux":  # before JAX counts the cores
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from common import meshes
from common.command_line import options
from common.peers import LINEAR, PeerProcess
from common.record import record
from common.timing import timed

from surrogax.solvers.linear import CG, FGMRES, SmoothedAggregation, Solution, Sparse, SparseLU, Status, solve

TOLERANCE = 1e-8


class Size(NamedTuple):
    """How much to run."""

    points: int
    repeats: int


FULL = Size(100_000, 5)
QUICK = Size(20_000, 3)
SMOKE = Size(600, 1)


class System(NamedTuple):
    """A matrix, its near null space and the number of unknowns per node."""

    matrix: sp.csr_array
    candidates: np.ndarray | None = None
    block: int = 1


def systems(points: int) -> dict[str, System]:
    mesh, half = meshes.irregular(points), meshes.irregular(points // 2)
    jumps = meshes.patches(mesh, 1e3)
    return {
        "jumps, one Dirichlet node": System(meshes.diffusion(mesh, jumps, [0])),
        "jumps, Dirichlet sides": System(meshes.diffusion(mesh, jumps, mesh.boundary)),
        "constant, Dirichlet sides": System(meshes.diffusion(mesh, 1.0, mesh.boundary)),
        "elasticity": System(*meshes.elasticity(half), 2),
        "convection": System(meshes.diffusion(mesh, 0.02, mesh.boundary, (1.0, 0.5))),
    }


def compare(name: str, system: System, peer: PeerProcess | None, repeats: int) -> list[dict]:
    """A row per solver."""
    n = system.matrix.shape[0]
    b = np.random.default_rng(1).normal(size=n)
    operator = Sparse.from_scipy(system.matrix)
    krylov = CG if operator.symmetric else FGMRES
    start = time.perf_counter()
    bound = SmoothedAggregation(system.candidates, system.block).bind(operator)
    rows = {"ours SA": {"setup": time.perf_counter() - start}, "ours LU": {"setup": None}}
    methods = {"ours SA": krylov(bound, rtol=TOLERANCE), "ours LU": SparseLU(rtol=TOLERANCE)}
    if peer is not None:
        rows |= {key: {"setup": seconds} for key, seconds in set_up_peer(peer, operator, system, b).items()}
    for key, method in methods.items():
        rows[key] |= judged(solve(operator, jnp.asarray(b), method), system.matrix, b)
    seconds = {key: [] for key in rows}
    for _ in range(repeats):
        for key, row in rows.items():
            if key in methods:
                seconds[key].append(timed(solve, operator, jnp.asarray(b), methods[key])[0])
            else:
                row |= json.loads(peer.ask("solve", key))
                seconds[key].append(row["solve"])
    for key, row in rows.items():
        row["solve"] = statistics.median(seconds[key])
    return [{"case": name, "unknowns": n, "solver": key, **row} for key, row in rows.items()]


def set_up_peer(peer: PeerProcess, operator: Sparse, system: System, b) -> dict[str, float]:
    """The set-up seconds of the peer's solvers by name."""
    matrix = system.matrix
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "system.npz"
        np.savez(
            file, data=matrix.data, indices=matrix.indices, indptr=matrix.indptr, b=b, block=system.block,
            candidates=np.zeros(0) if system.candidates is None else system.candidates, symmetric=operator.symmetric,
        )  # fmt: skip
        return json.loads(peer.ask("setup", file, TOLERANCE))


def judged(solution: Solution, matrix, b) -> dict:
    """Iterations and true relative residual. **Raises:** `RuntimeError` for a solve that did not converge."""
    if solution.status != Status.converged:
        raise RuntimeError(f"{solution.method} ended as {Status(int(solution.status)).name}")
    residual = np.linalg.norm(b - matrix @ np.asarray(solution.value)) / np.linalg.norm(b)
    return {"iterations": int(solution.iterations), "residual": float(residual)}


def gradient_error(points: int) -> float:
    """Of the derivative of wᵀ A⁻¹ b by the entries of A, along a change of the coefficient, against central differences."""
    mesh, rng = meshes.irregular(points), np.random.default_rng(2)
    jumps = meshes.patches(mesh, 1e3)
    operator = Sparse.from_scipy(meshes.diffusion(mesh, jumps, mesh.boundary))
    b, w = (jnp.asarray(rng.normal(size=points)) for _ in range(2))
    method = CG(SmoothedAggregation().bind(operator), rtol=1e-13)
    change = meshes.diffusion(mesh, jumps * rng.uniform(size=len(jumps)), mesh.boundary)
    change = jnp.asarray(change[np.asarray(operator.rows), np.asarray(operator.cols)])

    @jax.jit
    def functional(values):
        return jnp.vdot(w, solve(operator.with_values(values), b, method).value)

    slope, h = jnp.vdot(jax.grad(functional)(operator.values), change), 1e-4
    difference = (functional(operator.values + h * change) - functional(operator.values - h * change)) / (2 * h)
    return float(abs(slope - difference) / abs(difference))


def summary(rows: list[dict]) -> dict:
    """The largest excess of iterations and the smallest ratio of seconds over all cases; None without the peer."""
    excess, ratios = [], []
    for ours in (row for row in rows if row["solver"] == "ours SA"):
        theirs = [r for r in rows if r["case"] == ours["case"] and r["solver"].startswith("pyamg SA")]
        met = [r for r in theirs if r["residual"] <= 1.1 * TOLERANCE]
        if met:
            excess.append(ours["iterations"] - min(r["iterations"] for r in met))
            ratios.append(min(r["solve"] for r in met) / ours["solve"])
    return {"iterations_over_pyamg": max(excess, default=None), "solve_ratio_pyamg": min(ratios, default=None)}


def show(name: str, rows: list[dict]) -> None:
    print(f"\n{name}, {rows[0]['unknowns']} unknowns\n{'':16}{'iterations':>11}{'set-up s':>10}{'solve s':>10}")
    for row in rows:
        setup = "-" if row["setup"] is None else f"{row['setup']:.3f}"
        print(f"{row['solver']:16}{row['iterations']:>11}{setup:>10}{row['solve']:10.4f}", flush=True)


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=LINEAR)
    rows, size = [], arguments.size
    peer = None if arguments.python is None else PeerProcess(arguments.python, "unstructured.py")
    with jax.enable_x64(True):
        for name, system in systems(size.points).items():
            found = compare(name, system, peer, size.repeats)
            show(name, found)
            rows += found
        error = gradient_error(min(size.points, 4000))
    if peer is not None:
        peer.close()
    record("unstructured", arguments, {**summary(rows), "gradient_rel_error": error, "cases": rows})


if __name__ == "__main__":
    main()
