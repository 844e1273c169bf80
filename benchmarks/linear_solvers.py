"""Our linear solvers beside SciPy, pyamg, lineax and `jax.scipy` on Poisson and Darcy systems, at equal true residual.

    python benchmarks/linear_solvers.py [--quick] [--self-only] [--peer-python PATH]

Systems in float64: 2D at 256² and 1024² unknowns (Poisson; Darcy with threshold coefficients 12/3 and lognormal ones of contrast
about 400), 3D Poisson at 64³ and 128³, right-hand sides of white noise; and the same with obstacles: discs and balls with u = 0
(Poisson) or without flux (Darcy). --quick leaves out 1024², 128³, lognormal coefficients, the 3D box and float32.

Every solver runs at the loosest tolerance whose true relative residual ‖b − A x‖₂ / ‖b‖₂ meets 1e-6 and 1e-10. Seconds are
medians, compilation excluded; ours and pyamg's hold the set-up, the hierarchy of levels, in every solve. "ours" is
`solve(A, b)` with the method it picks. "ours, float32" solves the float32 system to the smallest residual it reaches there
(the true one, computed in float64), in rows of its own. Pyamg, SciPy and ours take turns case by case.

`floor` is the fraction of the time of an iteration that its least memory traffic takes, at the bandwidth of a copy of the same
arrays measured in this run: passes over arrays of the size of x, 11 for conjugate gradients with a constant
coefficient and 14 with stored ones in 2D (15 in 3D). Where all arrays fit in a cache it is rough, and may exceed 1.

Last line: JSON. `auto_vs_pyamg_box_min` and `auto_vs_pyamg_obstacle_min` are the smallest ratios of the seconds of pyamg's
Ruge-Stüben CG (set-up included) to ours; `cg_vs_lineax_min` and `cg_vs_jax_min` the smallest median ratios of theirs to our
plain CG.
"""

import dataclasses
import json
import statistics
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import scipy.sparse as sp
from common import LINEAR_PEER, PeerProcess, options, record

import surrogax as sx
from surrogax.solvers.kernels import stencil, stencil_matrix
from surrogax.solvers.linear import CG, Diffusion, Laplacian, solve

TARGETS = (1e-6, 1e-10)
FLOOR = 1e-7  # a tolerance that float32 cannot meet: it ends at its floor, as stagnated


def cases(quick: bool) -> dict[str, tuple]:
    """Operator, right-hand side and whether there are obstacles, by name."""
    found = {}
    for n in (256,) if quick else (256, 1024):
        found[f"Poisson {n}²"] = (poisson((n, n)), False)
        found[f"Darcy threshold {n}²"] = (darcy(n, sx.random.Threshold(12, 3)), False)
        if not quick:
            found[f"Darcy lognormal {n}²"] = (darcy(n, sx.random.Lognormal(1.0)), False)
        found[f"Poisson {n}², obstacles"] = (obstructed(poisson((n, n)).as_diffusion(), "dirichlet"), True)
        found[f"Darcy threshold {n}², obstacles"] = (obstructed(darcy(n, sx.random.Threshold(12, 3)), "neumann"), True)
    for n in (64,) if quick else (64, 128):
        if not quick:
            found[f"Poisson {n}³"] = (poisson((n, n, n)), False)
        found[f"Poisson {n}³, obstacles"] = (obstructed(poisson((n, n, n)).as_diffusion(), "dirichlet"), True)
    return {name: (operator, rhs(operator), blocked) for name, (operator, blocked) in found.items()}


def poisson(shape) -> Laplacian:
    return Laplacian(shape, [1 / (n + 1) for n in shape], ["dirichlet"] * len(shape))


def darcy(n: int, law) -> Diffusion:
    grid = sx.Box.unit(2).grid(n + 2)
    a = law.sample(jax.random.key(0), grid).astype(float)
    boundaries = ("dirichlet", "dirichlet")
    return Diffusion(stencil.face_means(a, boundaries, "harmonic"), (n, n), grid.spacing, boundaries)


def obstructed(operator: Diffusion, condition) -> Diffusion:
    """With eight discs or balls, which may overlap, of radius 0.05 to 0.12."""
    rng = np.random.default_rng(0)
    axes = [np.arange(1, n + 1) / (n + 1) for n in operator.shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    solid = np.zeros(operator.shape, bool)
    for _ in range(8):
        centre, radius = rng.uniform(0.15, 0.85, points.shape[-1]), rng.uniform(0.05, 0.12)
        solid |= ((points - centre) ** 2).sum(-1) < radius**2
    return operator.with_obstacle(solid, condition)


def rhs(operator) -> jax.Array:
    b = jnp.asarray(np.random.default_rng(1).normal(size=operator.in_structure().shape))
    if isinstance(operator, Laplacian):
        return b
    closed = operator.diagonal() - stencil.diffusion_diagonal(operator.faces, operator.spacing, operator.boundaries)
    isolated = jnp.abs(closed - operator.diagonal()) <= 1e-12 * operator.diagonal()
    return jnp.where(isolated, 0, b)


def sparse(operator) -> sp.csr_array:
    """The matrix."""
    a = operator.as_diffusion() if isinstance(operator, Laplacian) else operator
    matrix = stencil_matrix.from_faces(a.faces, a.spacing, a.boundaries, a.shift)
    index = np.arange(matrix.diagonal.size).reshape(matrix.shape)
    padded = np.pad(index, 1, constant_values=-1)
    entries = [(index, np.asarray(matrix.diagonal))]
    for delta, _, c in matrix.entries():
        column = padded[tuple(slice(1 + d, 1 + d + n) for d, n in zip(delta, matrix.shape, strict=True))]
        entries.append((column, np.where(column >= 0, np.asarray(c), 0)))
    columns, values = (np.concatenate([e[k].ravel() for e in entries]) for k in (0, 1))
    rows, kept = np.tile(index.ravel(), len(entries)), values != 0
    return sp.csr_array((values[kept], (rows[kept], columns[kept])), shape=(index.size, index.size))


def ours(operator, b, method=None) -> callable:
    """`(rtol) -> (x, iterations)`, compiled once; the set-up is part of it."""
    chosen = sx.linear.choose(operator, max_steps=100_000) if method is None else method

    @jax.jit
    def run(operator, b, rtol):
        found = solve(operator, b, dataclasses.replace(chosen, rtol=rtol))
        return found.value, found.iterations

    return lambda rtol: run(operator, b, jnp.asarray(rtol, b.dtype))


def lineax_cg(operator, b):
    @jax.jit
    def run(operator, b, rtol):
        # Its test is elementwise against atol + rtol |b|; a small atol alone makes it a test in the maximum norm.
        tagged = lx.TaggedLinearOperator(operator, lx.positive_semidefinite_tag)
        solver = lx.CG(rtol=0.0, atol=rtol, stabilise_every=None, max_steps=100_000)
        found = lx.linear_solve(tagged, b, solver, throw=False)
        return found.value, found.stats["num_steps"]

    size = jnp.abs(b).max()
    return lambda rtol: run(operator, b, jnp.asarray(rtol, b.dtype) * size)


def jax_cg(operator, b):
    @jax.jit
    def run(operator, b, rtol):
        return jax.scipy.sparse.linalg.cg(operator.mv, b, tol=rtol, maxiter=100_000)[0], jnp.asarray(-1)

    return lambda rtol: run(operator, b, jnp.asarray(rtol, b.dtype))


def meeting(solver, operator, b, target) -> float | None:
    """The loosest tolerance, in steps of 10^(1/8) around the target, whose true residual meets it."""
    product = jax.jit(lambda x: jnp.linalg.norm(b - operator.mv(x)) / jnp.linalg.norm(b))
    good = lambda t: bool(product(solver(t)[0]) <= target)  # noqa: E731
    step, tolerance = 10**0.125, target
    if good(tolerance):
        while good(tolerance * step) and tolerance < 100 * target:
            tolerance *= step
        return tolerance
    while tolerance > target / 1e4:
        tolerance /= step
        if good(tolerance):
            return tolerance
    return None


def timed(solvers: dict, tolerances: dict, repeats: int) -> dict[str, list[float]]:
    """Seconds of each solver, in turns."""
    found: dict[str, list[float]] = {name: [] for name in solvers}
    for _ in range(repeats):
        for name, solver in solvers.items():
            if tolerances[name] is not None:
                start = time.perf_counter()
                jax.block_until_ready(solver(tolerances[name]))
                found[name].append(time.perf_counter() - start)
    return found


def copy_seconds(b) -> float:
    """Seconds per pass (a read or a write) over an array like b."""
    copy = jax.jit(lambda x: jax.lax.fori_loop(0, 20, lambda i, x: x * 1.0000001, x))
    copy(b).block_until_ready()
    runs = []
    for _ in range(5):
        start = time.perf_counter()
        copy(b).block_until_ready()
        runs.append(time.perf_counter() - start)
    return statistics.median(runs) / 40


def peers(python: Path, operator, b, repeats: int, without_cg: bool) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "system.npz"
        a = sparse(operator)
        np.savez(data, data=a.data, indices=a.indices, indptr=a.indptr, b=np.asarray(b).ravel())
        arguments = ["--data", data, "--repeats", repeats, *["--without-cg"] * without_cg, "--targets", *TARGETS]
        peer = PeerProcess(python, "linear_solvers.py", *arguments)
        found = json.loads(peer.read())
        peer.close()
    return found


def main():
    arguments = options(__doc__, "fewer systems and repeats", LINEAR_PEER)
    rows = []
    with jax.enable_x64(True):
        for name, (operator, b, blocked) in cases(arguments.quick).items():
            rows += compare(name, operator, b, blocked, arguments.python, arguments.quick)
    values = {
        "auto_vs_pyamg_box_min": least(rows, "pyamg RS-CG", "ours", False),
        "auto_vs_pyamg_obstacle_min": least(rows, "pyamg RS-CG", "ours", True),
        "cg_vs_lineax_min": least(rows, "lineax CG", "ours, plain CG", None),
        "cg_vs_jax_min": least(rows, "jax.scipy CG", "ours, plain CG", None),
        "cases": rows,
    }
    record("linear_solvers", arguments.quick, values)


def compare(name, operator, b, blocked, python, quick) -> list[dict]:
    """All rows of one system."""
    large, repeats = b.size > 300_000, 1 if quick else 3
    per_pass = copy_seconds(b)
    coefficients = 0 if isinstance(operator, Laplacian) else b.ndim + 1
    theirs = [] if python is None else peers(python, operator, b, 1 if large else repeats, without_cg=large)
    rows = [{"case": name, "obstacles": blocked, **row} for row in theirs]
    solvers = {"ours": ours(operator, b)}
    if not large or b.ndim == 3:
        solvers["ours, plain CG"] = ours(operator, b, CG(max_steps=100_000))
        solvers["lineax CG"], solvers["jax.scipy CG"] = lineax_cg(operator, b), jax_cg(operator, b)
    for target in TARGETS:
        tolerances = {key: meeting(s, operator, b, target) for key, s in solvers.items()}
        seconds = timed(solvers, tolerances, repeats)
        for key, solver in solvers.items():
            row = {"case": name, "obstacles": blocked, "solver": key, "target": target, "setup": None}
            if tolerances[key] is None:
                rows.append({**row, "solve": None, "iterations": None, "residual": None})
                continue
            x, iterations = solver(tolerances[key])
            residual = float(jnp.linalg.norm(b - operator.mv(x)) / jnp.linalg.norm(b))
            row |= {"solve": statistics.median(seconds[key]), "iterations": int(iterations), "residual": residual}
            if key == "ours":
                row["method"] = sx.linear.choose(operator).describe()
            if key == "ours, plain CG":
                row["floor"] = round((11 + coefficients) * per_pass * int(iterations) / row["solve"], 2)
            rows.append(row)
    if not quick:
        rows.append(in_single_precision(name, operator, b, blocked, repeats))
    show(name, rows)
    return rows


def in_single_precision(name, operator, b, blocked, repeats) -> dict:
    """Our solve of the float32 system at the residual where it ends, the true one of the float64 system."""
    single = jax.tree.map(lambda x: x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x, operator)
    solver = {"ours, float32": ours(single, b.astype(jnp.float32))}
    x, iterations = solver["ours, float32"](FLOOR)
    residual = float(jnp.linalg.norm(b - operator.mv(x.astype(b.dtype))) / jnp.linalg.norm(b))
    seconds = timed(solver, {"ours, float32": FLOOR}, repeats)["ours, float32"]
    row = {"case": name, "obstacles": blocked, "solver": "ours, float32", "target": residual, "setup": None}
    return row | {"solve": statistics.median(seconds), "iterations": int(iterations), "residual": residual}


def show(name: str, rows: list[dict]) -> None:
    print(f"\n{name}\n{'':28}{'residual ≤':>11}{'iterations':>11}{'set-up s':>10}{'solve s':>10}{'floor':>7}")
    for row in sorted(rows, key=lambda r: r["target"], reverse=True):
        label = row["solver"] + (f": {row['method']}" if "method" in row else "")
        numbers = [f"{row[k]:.3f}" if row.get(k) is not None else "-" for k in ("setup", "solve", "floor")]
        count = "-" if row["iterations"] in (None, -1) else row["iterations"]
        print(f"{label:28}{row['target']:11.0e}{count:>11}{numbers[0]:>10}{numbers[1]:>10}{numbers[2]:>7}", flush=True)


def least(rows: list[dict], peer: str, own: str, obstacles: bool | None) -> float | None:
    """The smallest ratio of the peer's seconds to ours over cases and tolerances."""
    found = []
    for row in rows:
        if row["solver"] == peer and obstacles in (None, row["obstacles"]) and row["solve"] is not None:
            mine = next(r for r in rows if (r["case"], r["target"], r["solver"]) == (row["case"], row["target"], own))
            if mine["solve"] is None:
                return None
            found.append(((row["setup"] or 0.0) + row["solve"]) / mine["solve"])
    return round(min(found), 2) if found else None


if __name__ == "__main__":
    main()
