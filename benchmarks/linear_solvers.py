"""Our linear solvers beside SciPy, pyamg, lineax and `jax.scipy` on Poisson and Darcy systems, at equal true residual.

    python benchmarks/linear_solvers.py [--quick | --smoke] [--self-only] [--peer-python PATH]

Systems in float64: 2D at 256² and 1024² unknowns (Poisson; Darcy with threshold coefficients 12/3 and lognormal ones of
contrast about 400), 3D Poisson at 64³ and 128³, right-hand sides of white noise; and the same with obstacles: discs and
balls with u = 0 (Poisson) or without flux (Darcy). --quick leaves out 1024², 128³, lognormal coefficients, the 3D box and
float32; --smoke solves Poisson and Darcy systems at 16² to 1e-6.

Every solver runs at the loosest tolerance whose true relative residual ‖b − A x‖₂ / ‖b‖₂ meets 1e-6 and 1e-10. Seconds are
medians, compilation excluded; ours and pyamg's hold the set-up, the hierarchy of levels, in every solve. "ours" is
`solve(A, b)` with the method it picks. "ours, float32" solves the float32 system to the smallest residual it reaches there
(the true one, computed in float64), in rows of its own. Pyamg, SciPy and ours take turns case by case.

`floor` is the fraction of the time of an iteration that its least memory traffic takes, at the bandwidth of a copy of the
same arrays measured in this run: passes over arrays of the size of x, 11 for conjugate gradients with a constant
coefficient and 14 with stored ones in 2D (15 in 3D). Where all arrays fit in a cache it is rough, and may exceed 1.

Last line: JSON. `auto_vs_pyamg_box_min` and `auto_vs_pyamg_obstacle_min` are the smallest ratios of the seconds of pyamg's
Ruge-Stüben CG (set-up included) to ours; `cg_vs_lineax_min` and `cg_vs_jax_min` the smallest median ratios of theirs to our
plain CG.
"""

import dataclasses
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from common.command_line import options
from common.peers import LINEAR, PeerProcess
from common.record import record
from common.systems import balls, diffusion, matrix, poisson
from common.timing import in_turns, median_seconds

import surrogax as sx
from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, Diffusion, Laplacian

FLOOR = 1e-7  # a tolerance that float32 cannot meet: it ends at its floor, as stagnated


class Size(NamedTuple):
    """How much to run."""

    sides_2d: tuple[int, ...]
    sides_3d: tuple[int, ...]
    lognormal: bool
    boxes_3d: bool
    float32: bool
    targets: tuple[float, ...]
    repeats: int


FULL = Size((256, 1024), (64, 128), True, True, True, targets=(1e-6, 1e-10), repeats=3)
QUICK = Size((256,), (64,), False, False, False, targets=(1e-6, 1e-10), repeats=1)
SMOKE = Size((16,), (), False, False, True, targets=(1e-6,), repeats=1)


def cases(size: Size) -> dict[str, tuple]:
    """Operator, right-hand side and whether there are obstacles, by name."""
    found = {}
    for n in size.sides_2d:
        found[f"Poisson {n}²"] = (poisson((n, n)), False)
        found[f"Darcy threshold {n}²"] = (darcy(n, sx.random.Threshold(12, 3)), False)
        if size.lognormal:
            found[f"Darcy lognormal {n}²"] = (darcy(n, sx.random.Lognormal(1.0)), False)
        found[f"Poisson {n}², obstacles"] = (obstructed(poisson((n, n)).as_diffusion(), "dirichlet"), True)
        found[f"Darcy threshold {n}², obstacles"] = (obstructed(darcy(n, sx.random.Threshold(12, 3)), "neumann"), True)
    for n in size.sides_3d:
        if size.boxes_3d:
            found[f"Poisson {n}³"] = (poisson((n, n, n)), False)
        found[f"Poisson {n}³, obstacles"] = (obstructed(poisson((n, n, n)).as_diffusion(), "dirichlet"), True)
    return {name: (operator, rhs(operator), blocked) for name, (operator, blocked) in found.items()}


def darcy(n: int, law) -> Diffusion:
    return diffusion(law.sample(jax.random.key(0), sx.Box.unit(2).grid(n + 2)).astype(float))


def obstructed(operator: Diffusion, condition) -> Diffusion:
    """With eight discs or balls, which may overlap, of radius 0.05 to 0.12."""
    rng, ndim = np.random.default_rng(0), len(operator.shape)
    drawn = [(rng.uniform(0.15, 0.85, ndim), rng.uniform(0.05, 0.12)) for _ in range(8)]
    return operator.with_obstacle(balls(operator.shape, *zip(*drawn, strict=True)), condition)


def rhs(operator) -> jax.Array:
    b = jnp.asarray(np.random.default_rng(1).normal(size=operator.in_structure().shape))
    if isinstance(operator, Laplacian):
        return b
    closed = operator.diagonal() - stencil.diffusion_diagonal(operator.faces, operator.spacing, operator.boundaries)
    isolated = jnp.abs(closed - operator.diagonal()) <= 1e-12 * operator.diagonal()
    return jnp.where(isolated, 0, b)


def ours(operator, b, method=None) -> Callable:
    """`(rtol) -> (x, iterations)`, compiled once; the set-up is part of it."""
    chosen = sx.linear.choose(operator, max_steps=100_000) if method is None else method

    @jax.jit
    def run(operator, b, rtol):
        found = sx.linear.solve(operator, b, dataclasses.replace(chosen, rtol=rtol))
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
    """Seconds of each solver that meets the target, in turns."""
    met = {name: lambda name=name: solvers[name](tolerances[name]) for name in solvers if tolerances[name] is not None}
    return in_turns(met, repeats)


def copy_seconds(b) -> float:
    """Seconds per pass (a read or a write) over an array like b."""
    copy = jax.jit(lambda x: jax.lax.fori_loop(0, 20, lambda i, x: x * 1.0000001, x))
    return median_seconds(copy, b, repeats=5) / 40


def peers(python: Path, operator, b, targets, repeats: int, without_cg: bool) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "system.npz"
        a = matrix(operator.as_diffusion() if isinstance(operator, Laplacian) else operator)
        np.savez(data, data=a.data, indices=a.indices, indptr=a.indptr, b=np.asarray(b).ravel())
        arguments = ["--data", data, "--repeats", repeats, *["--without-cg"] * without_cg, "--targets", *targets]
        peer = PeerProcess(python, "linear_solvers.py", *arguments)
        found = json.loads(peer.read())
        peer.close()
    return found


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=LINEAR)
    rows = []
    with jax.enable_x64(True):
        for name, (operator, b, blocked) in cases(arguments.size).items():
            rows += compare(name, operator, b, blocked, arguments.python, arguments.size)
    values = {
        "auto_vs_pyamg_box_min": least(rows, "pyamg RS-CG", "ours", False),
        "auto_vs_pyamg_obstacle_min": least(rows, "pyamg RS-CG", "ours", True),
        "cg_vs_lineax_min": least(rows, "lineax CG", "ours, plain CG", None),
        "cg_vs_jax_min": least(rows, "jax.scipy CG", "ours, plain CG", None),
        "cases": rows,
    }
    record("linear_solvers", arguments, values)


def compare(name, operator, b, blocked, python, size: Size) -> list[dict]:
    """All rows of one system."""
    large, repeats = b.size > 300_000, size.repeats
    per_pass = copy_seconds(b)
    coefficients = 0 if isinstance(operator, Laplacian) else b.ndim + 1
    rows = []
    if python is not None:
        theirs = peers(python, operator, b, size.targets, 1 if large else repeats, without_cg=large)
        rows = [{"case": name, "obstacles": blocked, **row} for row in theirs]
    solvers = {"ours": ours(operator, b)}
    if not large or b.ndim == 3:
        solvers["ours, plain CG"] = ours(operator, b, CG(max_steps=100_000))
        solvers["lineax CG"], solvers["jax.scipy CG"] = lineax_cg(operator, b), jax_cg(operator, b)
    for target in size.targets:
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
    if size.float32:
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
