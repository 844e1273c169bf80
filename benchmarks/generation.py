"""Trajectories of periodic problems beside exponax and a pseudo-spectral code in NumPy and SciPy: seconds per step, error.

Navier-Stokes in 2D (64², 256²), Burgers, Kuramoto-Sivashinsky in 1D and 2D, Korteweg-de Vries and Gray-Scott, one trajectory and
several at once. All by ETDRK4 with the same modes kept, precision, step, initial states and number of steps; exponax steps in
Fourier space with its conservative forms. Ours and the peers take turns. Errors are relative, in time, against our solution in
float64 with an eighth of the step. (Exponax 0.2 has the order 1 where the linear part is imaginary, as for Korteweg-de Vries.)

    python benchmarks/generation.py [--quick | --smoke] [--self-only] [--peer-python PATH]

`--quick` runs float32 alone, with fewer repeats. The last line is a JSON object: `ratio_exponax_min` is the least ratio of
the seconds of exponax to ours over the cases in which our error is equal or lower, `ratio_exponax_cpu_min` the same of
seconds of processors, which a busy machine disturbs less. `transforms` in a case counts real transforms per evaluation of
the products: ours and those of exponax; a complex one counts as two.
"""

import json
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common.command_line import options
from common.peers import EXPONAX, PeerProcess
from common.record import record

import surrogax as sx


@dataclass(frozen=True)
class Case:
    """A problem with its arguments, points per axis, step and number of steps, trajectories at once, transforms of ours and
    exponax's."""

    problem: str
    n: int
    dt: float
    steps: int
    transforms: tuple[int, int]
    arguments: dict = field(default_factory=dict)
    unknowns: tuple[str, ...] = ("u",)
    degree: int = 2
    batches: tuple[int, ...] = (1, 16)

    def declared(self, dt: float) -> sx.Problem:
        return sx.problem(self.problem, **self.arguments, dt=dt)


class Size(NamedTuple):
    """Repeats, precisions, the share of steps, which batches of a case, and the number of cases."""

    repeats: int
    dtypes: tuple[str, ...]
    share: float
    batches: slice
    cases: int


CASES = (
    Case("navier_stokes", 64, 5e-3, 200, (4, 5), {"nu": 1e-4, "f": 0.0}, ("w",)),
    Case("navier_stokes", 256, 2e-3, 40, (4, 5), {"nu": 1e-4, "f": 0.0}, ("w",), batches=(1, 4)),
    Case("burgers", 256, 2e-3, 400, (2, 2), {"nu": 0.02}, batches=(1, 64)),
    Case("kuramoto_sivashinsky", 128, 0.05, 400, (2, 2), {"box": sx.Box(x=(0, 44, "periodic"))}, batches=(1, 64)),
    Case("kuramoto_sivashinsky_2d", 128, 0.05, 60, (3, 3), {}),
    Case("korteweg_de_vries", 256, 1e-3, 400, (2, 2), {"mu": 0.022}, batches=(1, 64)),
    Case("gray_scott", 128, 1.0, 60, (3, 4), {}, ("u", "v"), degree=3),
)
FULL = Size(7, ("float32", "float64"), 1.0, slice(None), len(CASES))
QUICK = Size(3, ("float32",), 0.25, slice(None), len(CASES))
SMOKE = Size(1, ("float32",), 0.02, slice(1), 3)


def starts(case: Case, batch: int, dtype: str) -> np.ndarray:
    """`(batch, unknown, *space)`: smooth random fields of size 1; for Gray-Scott 1 and spots."""
    grid, law = case.declared(1.0).box.grid(case.n), sx.random.GaussianField(5.0, 6.0, 4.0, "periodic")
    unit = sx.Box.unit(grid.ndim, "periodic").grid(case.n)
    draw = jax.vmap(lambda key: law.sample(key, unit))
    u = np.asarray(draw(jax.random.split(jax.random.key(0), batch)), np.float64)
    u = u / u.std(tuple(range(1, u.ndim)), keepdims=True)
    if case.problem == "gray_scott":
        return np.stack([1 - 0.5 * np.exp(-(u**2)), 0.25 * np.exp(-(u**2))], 1).astype(dtype)
    return u[:, None].astype(dtype)


def ours(case: Case, fields: np.ndarray, dt: float, steps: int):
    """`() -> final states (batch, unknown, *space)`."""
    declared = case.declared(dt)
    grid, inputs = declared.box.grid(case.n), [declared.initial[name] for name in case.unknowns]

    def final(u):
        solved = declared.solve(dict(zip(inputs, u, strict=True)), grid, times=[steps * dt])
        return jnp.stack([solved[name][0] for name in case.unknowns])

    run = jax.jit(final if len(fields) == 1 else jax.vmap(final))
    given = jnp.asarray(fields[0] if len(fields) == 1 else fields)
    return lambda: np.asarray(run(given)).reshape(fields.shape)


def reference(case: Case, fields: np.ndarray, steps: int) -> np.ndarray:
    with jax.enable_x64(True):
        return ours(case, fields.astype(np.float64), case.dt / 8, 8 * steps)()


def error(found: np.ndarray, exact: np.ndarray) -> float:
    """The mean relative error over trajectories and unknowns."""
    axes = tuple(range(2, exact.ndim))
    return float((np.sqrt(((found - exact) ** 2).sum(axes)) / np.sqrt((exact**2).sum(axes))).mean())


def seconds(run) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def compare(case: Case, batch: int, dtype: str, size: Size, peer: PeerProcess | None, folder: Path) -> dict:
    steps = max(1, round(case.steps * size.share))
    fields = starts(case, batch, dtype)
    exact = reference(case, fields, steps)
    with jax.enable_x64(dtype == "float64"):
        run = ours(case, fields, case.dt, steps)
        errors = {"ours": error(run(), exact)}
        if peer is not None:
            file = folder / "starts.npy"
            np.save(file, fields)
            box = case.declared(case.dt).box
            numbers = {"feed": 0.04, "kill": 0.06} | {k: v for k, v in case.arguments.items() if isinstance(v, float)}
            request = {
                "problem": case.problem,
                "length": box.extent[0],
                "ndim": len(box.axes),
                "degree": case.degree,
                **numbers,
            }
            peer.ask(json.dumps({**request, "dt": case.dt, "steps": steps, "dtype": dtype, "file": str(file)}))
            for name in ("exponax", "numpy"):
                errors[name] = error(np.load(folder / f"starts-{name}.npy"), exact)
        rounds: dict[str, list[dict]] = {name: [] for name in errors}
        for _ in range(size.repeats):
            for name, found in rounds.items():
                found.append(seconds(run) if name == "ours" else json.loads(peer.ask(json.dumps({"time": name}))))
    row = {
        "problem": case.problem,
        "n": case.n,
        "batch": batch,
        "dtype": dtype,
        "steps": steps,
        "transforms": case.transforms,
    }
    for name, found in rounds.items():
        for clock in ("wall", "cpu"):
            row[f"{name}_{clock}"] = statistics.median(s[clock] for s in found) / steps / batch
        row[f"{name}_error"] = errors[name]
    return row


def ratio(row: dict, clock: str) -> float | None:
    """Of exponax to ours, if our error is equal (to a twentieth: rounding in float32) or lower."""
    if "exponax_wall" not in row or not row["ours_error"] <= 1.05 * row["exponax_error"]:
        return None
    return row[f"exponax_{clock}"] / row[f"ours_{clock}"]


def show(row: dict) -> None:
    text = f"{row['problem']:24}{row['n']:>5}{row['batch']:>4} {row['dtype']}"
    for name in ("ours", "exponax", "numpy"):
        if f"{name}_wall" in row:
            wall, cpu = (1e6 * row[f"{name}_{clock}"] for clock in ("wall", "cpu"))
            text += f"  {name} {wall:9.1f} ({cpu:9.1f} cpu) {row[f'{name}_error']:.1e}"
    print(text, flush=True)


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=EXPONAX)
    size = arguments.size
    peer = None if arguments.python is None else PeerProcess(arguments.python, "generation.py")
    rows = []
    print("microseconds per step and trajectory, relative error")
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES[: size.cases]:
            for batch in case.batches[size.batches]:
                for dtype in size.dtypes:
                    rows.append(compare(case, batch, dtype, size, peer, Path(folder)))
                    show(rows[-1])
    if peer is not None:
        peer.close()
    least = {}
    for clock, name in (("wall", "ratio_exponax_min"), ("cpu", "ratio_exponax_cpu_min")):
        found = [ratio(row, clock) for row in rows]
        known = [r for r in found if r is not None]
        least[name] = round(min(known), 2) if known else None
        for row, r in zip(rows, found, strict=True):
            row[name.removesuffix("_min")] = None if r is None else round(r, 2)
    record("generation", arguments, {**least, "cases": rows})


if __name__ == "__main__":
    main()
