"""Training without data beside DeepXDE (PyTorch) and jinns (JAX): seconds to a relative error of 1e-3, and seconds per step.

    python benchmarks/pinn_speed.py [--quick | --smoke] [--self-only] [--peer-python …]

Problems: Burgers ν = .01/π and Helmholtz (1, 4) with u = 0 on the sides, as in `common/equations.py`.

- step: the same work everywhere: 3 × 20 tanh, float32, 2540 fixed points inside, 80 on both sides and 160 at the start (Burgers)
  or 240 on the sides (Helmholtz), conditions by the loss, full batch, Adam 1e-3. Ours draws the points of the conditions anew in
  every step and evaluates a residual on independent points too (here 1). jinns draws batches of its whole sample.
- time to accuracy: each in its own way. DeepXDE by the recipe of its Burgers example, Adam 1e-3 for 15000 steps, then L-BFGS
  (Helmholtz with weight 100 of the sides), for at most 900 s. Ours by Levenberg-Marquardt, conditions exact, with compilation.
  Errors on 101² points are looked at every 500 steps of theirs and every 5 of ours, outside of the time.

Peers need `peers/requirements-physics.txt`. A peer that does not reach 1e-3 within its 900 s counts with 900 s, and says so.

--quick: Burgers, fewer steps, no time to accuracy of the peers; --smoke: a few steps of ours.

Last line: JSON: ratios peer / ours, geometric means over both problems, "rows" with all seconds.
"""

import math
import time
from dataclasses import dataclass

import jax
import numpy as np
import optax
from common.command_line import options, temporary_folder
from common.equations import EQUATIONS, Errors
from common.peers import PHYSICS, PeerProcess
from common.record import record

import surrogax as sx

NAMES = {"burgers": "burgers", "helmholtz": "helmholtz_dirichlet"}
WANTED, LIMIT = 1e-3, 900.0


class Reached(Exception):
    """The error is small enough."""


@dataclass(frozen=True)
class Size:
    steps: int  # of Adam that are timed
    accurate: int  # largest number of steps of Levenberg-Marquardt
    points: int
    width: int
    problems: tuple[str, ...] = tuple(NAMES)
    theirs: bool = True  # time to accuracy of the peers too


FULL, QUICK, SMOKE = (
    Size(3000, 300, 3000, 20),
    Size(500, 60, 1500, 12, ("burgers",), False),
    Size(3, 2, 30, 4, ("burgers",), False),
)


def step_seconds(name: str, steps: int) -> float:
    """Seconds per step of Adam, without compilation: from rounds of one compiled program, the fastest of three."""
    problem = EQUATIONS[NAMES[name]]().problem
    sides = 40 if name == "burgers" else 60  # per side; as many at the start, of which peers have 160
    model = sx.PINN(problem, width=20, depth=3, exact_boundary=False, exact_initial=False, key=jax.random.key(0))
    found = sx.fit(
        model, sampler=sx.FixedPoints(2540), boundary_points=sides, independent=1, optimizer=optax.adam(1e-3),
        steps=4 * steps, check_every=steps, penalty=1.0 if name == "burgers" else 100.0, progress=False,
    )  # fmt: skip
    return min(found.history.seconds[1:]) / steps


def accuracy_seconds(name: str, size: Size) -> tuple[float | None, float]:
    """Seconds of Levenberg-Marquardt until the error is below 1e-3, None if it never is, and the last error."""
    error = Errors(EQUATIONS[NAMES[name]](), 5 if size.steps < 10 else None)
    problem = EQUATIONS[NAMES[name]]().problem
    seconds, errors, clock = 0.0, [], time.perf_counter()

    def measure(model):
        nonlocal seconds, clock
        seconds += time.perf_counter() - clock
        errors.append(error(model))
        if errors[-1] < WANTED:
            raise Reached
        clock = time.perf_counter()
        return errors[-1]

    try:
        sx.fit(
            sx.PINN(problem, width=size.width, depth=3, key=jax.random.key(0)), sampler=sx.R3(size.points),
            optimizer=sx.LevenbergMarquardt(hold=2), steps=size.accurate, check_every=min(5, size.accurate),
            val=measure, progress=False,
        )  # fmt: skip
    except Reached:
        return seconds, errors[-1]
    return None, errors[-1]


def peer_rows(python, name: str, size: Size) -> dict:
    row = {}
    for script, key in (("pinn_deepxde.py", "deepxde"), ("pinn_jinns.py", "jinns")):
        peer = PeerProcess(python, script)
        row[f"{key}_step"] = float(peer.ask("step", name, size.steps))
        if key == "deepxde" and size.theirs:
            axes = EQUATIONS[NAMES[name]]().problem.space_time.axes
            lines = [np.linspace(axis.start, axis.stop, 101) for axis in axes]
            points = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, 2)
            file = temporary_folder() / "points.npz"
            np.savez(file, points=points.astype(np.float32), exact=EQUATIONS[NAMES[name]]().exact(points))
            answer = peer.ask("accuracy", name, WANTED, LIMIT, file).strip()
            row["deepxde_accuracy"] = None if answer == "null" else float(answer)
        peer.close()
    return row


def mean_ratio(rows: dict, theirs: str, ours: str) -> float | None:
    ratios = [row[theirs] / row[ours] for row in rows.values() if row.get(theirs) and row.get(ours)]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=PHYSICS)
    size, rows = arguments.size, {}
    for name in size.problems:
        seconds, last = accuracy_seconds(name, size)
        rows[name] = {"step": step_seconds(name, size.steps), "accuracy": seconds, "error": last}
        if arguments.python is not None:
            rows[name] |= peer_rows(arguments.python, name, size)
            if size.theirs and rows[name]["deepxde_accuracy"] is None:
                rows[name] |= {"deepxde_accuracy": LIMIT, "deepxde_reached": False}
        print(name, rows[name], flush=True)
    values = {
        "time_to_accuracy_ratio": mean_ratio(rows, "deepxde_accuracy", "accuracy"),
        "step_ratio_deepxde": mean_ratio(rows, "deepxde_step", "step"),
        "step_ratio_jinns": mean_ratio(rows, "jinns_step", "step"),
        "rows": rows,
    }
    record("pinn_speed", arguments, values)


if __name__ == "__main__":
    main()
