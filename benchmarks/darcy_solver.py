"""Darcy flow solved here, by SciPy's direct solver and by pyamg, at equal error.

    python benchmarks/darcy_solver.py [--quick] [--self-only] [--peer-python PATH]

−∇·(a∇u) = 1 on the unit square, u = 0 on its sides, harmonic finite volumes on 128² and 421² nodes; a threshold fields (12 and 3)
and lognormal ones of contrast about 400; batches of 16 in float64. Every solver runs at the loosest tolerance, in steps of
√10, at which all 16 solutions are within 1e-6 of the direct solve (relative, Euclidean). Seconds are per sample, medians of
runs in turns; pyamg's (Ruge-Stüben with conjugate gradients) and ours hold the set-up of every sample.

Ours: conjugate gradients with fast sine transforms (what `problem("darcy").solve` does) or with multigrid, the batch by
`vmap` or one sample after another by `lax.map`. "float32, refined" corrects in float32 (`Refinement`). --quick: threshold
fields and `lax.map` alone, two runs instead of five, batches of 4.

Last line: JSON. `ratio_pyamg_128` and `ratio_pyamg_421` are the smaller of the two laws' ratios of pyamg's seconds to those of
our fastest float64 row, `max_rel_error` the largest error of any row of ours.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from common import LINEAR_PEER, PeerProcess, options, record

import surrogax as sx
from surrogax.solvers.linear import CG, FastPoisson, Multigrid, Refinement, solve

TARGET = 1e-6
TOLERANCES = 10.0 ** -np.arange(3, 11.5, 0.5)
LAWS = {"threshold 12/3": sx.random.Threshold(12, 3), "lognormal": sx.random.Lognormal(1.0)}


class System:
    """A batch of coefficients on n² nodes and what is solved with them."""

    def __init__(self, n: int, law, batch: int):
        self.grid = sx.Box.unit(2).grid(n)
        self.darcy = sx.problem("darcy", a=law)
        keys = jax.random.split(jax.random.key(0), batch)
        self.a = jnp.stack([law.sample(key, self.grid).astype(float) for key in keys])
        self.scaled = getattr(law, "smooth", False)

    def solver(self, kind: str, many):
        """`(tolerance) -> u`, `(batch, n − 2, n − 2)`."""

        def one(a, rtol):
            operator, b = self.darcy.operator({"a": a}, self.grid)
            scaling = a[1:-1, 1:-1] ** -0.5 if self.scaled else None
            fast = FastPoisson(self.grid.spacing, operator.boundaries, scaling, dtype="float32")
            method = {
                "sine transforms": CG(fast, rtol=rtol, norm="natural"),
                "multigrid": CG(Multigrid(), rtol=rtol, norm="natural"),
                "float32, refined": Refinement(CG(fast, rtol=1e-3), rtol=rtol),
            }[kind]
            return solve(operator, b, method).value

        # The coefficients are an argument: as constants their set-up would be computed by the compiler.
        run = jax.jit(lambda a, rtol: many(lambda a: one(a, rtol), a))
        return lambda rtol: run(self.a, jnp.asarray(rtol)).block_until_ready()


def vmapped(function, xs):
    return jax.vmap(function)(xs)


def compare(n: int, name: str, quick: bool, python: Path | None) -> list[dict]:
    batch = 4 if quick else 16
    system = System(n, LAWS[name], batch)
    solvers = {
        f"{kind}, {how}": system.solver(kind, many)
        for kind in ("sine transforms", "multigrid", "float32, refined")
        for how, many in ((("map", jax.lax.map),) if quick else (("vmap", vmapped), ("map", jax.lax.map)))
    }
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "systems.npz"
        save(data, system)
        peer = None if python is None else PeerProcess(python, "darcy_solver.py", data, TARGET)
        if peer is None:
            direct = reference(system)
        else:
            peer.read()  # the direct solutions are written
            direct = np.load(data.parent / "direct.npy")
        size = np.linalg.norm(direct, axis=(1, 2))

        def error(u) -> float:
            return float((np.linalg.norm(np.asarray(u) - direct, axis=(1, 2)) / size).max())

        tolerances = {key: next((t for t in TOLERANCES if error(s(t)) <= TARGET), None) for key, s in solvers.items()}
        seconds: dict[str, list[float]] = {key: [] for key in solvers}
        theirs: dict[str, list[float]] = {}
        for _ in range(2 if quick else 5):
            for key, solver in solvers.items():
                if tolerances[key] is not None:
                    start = time.perf_counter()
                    solver(tolerances[key])
                    seconds[key].append((time.perf_counter() - start) / batch)
            if peer is not None:
                for key, value in json.loads(peer.ask("run")).items():
                    theirs.setdefault(key, []).append(value)
        rows = [
            {
                "n": n,
                "law": name,
                "solver": key,
                "tolerance": tolerances[key],
                "seconds": statistics.median(seconds[key]) if seconds[key] else None,
                "error": error(solvers[key](tolerances[key])) if seconds[key] else None,
            }
            for key in solvers
        ]
        rows += [{"n": n, "law": name, "solver": key, "seconds": statistics.median(v)} for key, v in theirs.items()]
        if peer is not None:
            peer.close()
    for row in rows:
        shown = "not reached" if row["seconds"] is None else f"{1e3 * row['seconds']:9.2f} ms"
        print(f"{n:4}² {name:16} {row['solver']:24} {shown}", flush=True)
    return rows


def save(path: Path, system: System) -> None:
    """Face coefficients and right-hand sides for the peer."""
    operator, b = jax.vmap(lambda a: system.darcy.operator({"a": a}, system.grid))(system.a)
    np.savez(path, x=operator.faces[0], y=operator.faces[1], spacing=system.grid.spacing, b=b)


def reference(system: System) -> np.ndarray:
    """Without the peer: our own solution at the tightest tolerance."""
    return np.asarray(system.solver("sine transforms", jax.lax.map)(1e-13))


def main():
    arguments = options(__doc__, "threshold fields and `lax.map` alone, fewer runs, batches of 4", LINEAR_PEER)
    laws = list(LAWS)[:1] if arguments.quick else list(LAWS)
    rows = []
    with jax.enable_x64(True):
        for n in (128, 421):
            for name in laws:
                rows += compare(n, name, arguments.quick, arguments.python)

    def ratio(n: int) -> float | None:
        found = []
        for name in laws:
            case = [row for row in rows if (row["n"], row["law"]) == (n, name) and row["seconds"] is not None]
            pyamg = [row["seconds"] for row in case if row["solver"] == "pyamg RS-CG"]
            ours = [row["seconds"] for row in case if "error" in row and "float32" not in row["solver"]]
            found += [pyamg[0] / min(ours)] if pyamg else []
        return round(min(found), 2) if found else None

    values = {
        "ratio_pyamg_128": ratio(128),
        "ratio_pyamg_421": ratio(421),
        "max_rel_error": max(row["error"] for row in rows if row.get("error") is not None),
        "cases": rows,
    }
    record("darcy_solver", arguments.quick, values)


if __name__ == "__main__":
    main()
