"""Call public functions with one argument of a wrong kind at a time. `test_wrong_kinds.py` runs it without type checks.

Every call must either return or fail by a `raise` of this library; arguments listed with `must` have to fail. It prints one line
per call that does neither.
"""

import linecache
import os
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import surrogax as sx

warnings.simplefilter("ignore")
os.chdir(tempfile.mkdtemp())  # a path of a wrong kind may be a file name
OURS = Path(sx.__file__).resolve().parents[2]
WRONG = [None, "nonsense", -3, 0, 1.5, float("nan"), True, object(), dict, [], {}, np.array(["x"]), jnp.zeros(3)]

RNG = np.random.default_rng(0)
A = RNG.normal(size=(6, 8)).astype(np.float32)
P = RNG.uniform(1, 2, 6).astype(np.float32)
GRID = sx.Grid.unit_interval(8)
DATA = sx.from_arrays({"a": A}, {"u": 2 * A}, grid=GRID, parameters={"p": P})
TIMED = sx.from_arrays({"w": RNG.normal(size=(4, 6, 8)).astype(np.float32)}, grid=GRID, times=np.arange(6.0))
TASK = sx.Task.fit(DATA, ("a", "p"), "u")
STEP = sx.Task.fit(TIMED, "w", "w", mode=sx.Autoregressive(1))
KEY = jax.random.key(0)
FNO = sx.FNO(TASK, width=4, modes=2, depth=1, key=KEY)
FORECASTER = sx.FNO(STEP, width=4, modes=2, depth=1, key=KEY)
TABLE = sx.evaluate({"FNO": FNO}, DATA, timing=False)

FIT = {
    "model": FNO, "data": DATA, "val": DATA, "optimizer": optax.adam(1e-3), "epochs": 1, "batch_size": 3, "seeds": 1,
    "ema": 0.5, "patience": 2, "key": KEY, "checkpoint_every": 30.0, "mesh": None, "stream": False, "log": (),
    "loss": sx.losses.RelativeL2(), "metric": "rmse", "symmetry": None, "unroll": sx.Unroll(), "dtype": "float32",
    "objective": None, "run": None,
}  # fmt: skip

# Name, function, arguments that work, and the arguments that no value of WRONG suits but None and those of the same type.
CALLS = [
    ("fit", lambda **k: sx.fit(**k, progress=False), FIT, "data epochs batch_size seeds key unroll optimizer"),
    ("Task.fit", sx.Task.fit, {"train": DATA, "inputs": "a", "targets": "u", "mode": sx.Steady()}, "train targets mode"),
    ("Autoregressive", sx.Autoregressive, {"history": 1, "horizon": 1, "increments": False}, "history horizon increments"),
    ("SpaceTime", sx.SpaceTime, {"frames": 2, "history": 1}, "frames history"),
    ("Unroll", sx.Unroll, {"steps": 2, "gradient": "full"}, "steps gradient"),
    ("FNO", sx.FNO, {"task": TASK, "width": 4, "modes": 2, "depth": 1, "key": KEY}, "task width modes depth key"),
    ("predict", FNO.predict, {"data": DATA, "at": GRID, "batch_size": 4}, "data at batch_size"),
    ("rollout", FORECASTER.rollout, {"data": TIMED, "steps": 2}, "data steps"),
    ("evaluate", lambda **k: sx.evaluate(timing=False, **k),
     {"surrogates": FNO, "datasets": DATA, "metrics": ("rmse",), "batch_size": 4, "samples": 4},
     "surrogates datasets metrics batch_size samples"),
    ("rollouts", lambda **k: sx.evaluate(FORECASTER, TIMED, timing=False, **k), {"rollout": 2}, "rollout"),
    ("pareto", TABLE.pareto, {"x": "parameters", "y": "rel_l2"}, "x y"),
    ("plot", sx.evaluate(FORECASTER, TIMED, rollout=2, timing=False).plot, {"y": "rel_l2", "x": "t"}, "x y"),
    ("value", TABLE.value, {"surrogate": "FNO"}, "surrogate"),
    ("Ensemble", sx.Ensemble, {"members": (FNO, FNO)}, "members"),
    ("MeanField", sx.MeanField, {"task": TASK}, "task"),
    ("Persistence", sx.Persistence, {"task": STEP}, "task"),
    ("LinearSpectral", lambda **k: sx.fit(sx.LinearSpectral(**k), DATA), {"task": TASK, "modes": 2, "ridge": 1e-6},
     "task modes"),
    ("register_metric", lambda **k: sx.metrics.register_metric(**k)(lambda *a: 0), {"name": "of_its_own"}, "name"),
    ("SolverSource", lambda **k: sx.SolverSource(sx.problem("poisson"), **k), {"grid": 9, "key": KEY, "round": 5},
     "key round"),
    ("RelativeL2", sx.losses.RelativeL2, {"weights": {"u": 1.0}}, ""),
    ("wrap", sx.wrap, {"network": lambda x: x, "task": TASK}, "network task"),
    ("check_surrogate", sx.check_surrogate, {"surrogate": FNO, "data": DATA}, "surrogate data"),
    ("load", sx.load, {"path": "nonsense.sgx"}, "path"),
]  # fmt: skip


def ours(error: BaseException) -> bool:
    """Whether the error was raised by a `raise` of this library, not by something that it called."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    text = linecache.getline(frame.f_code.co_filename, line).strip()
    return OURS in Path(frame.f_code.co_filename).resolve().parents and text.startswith("raise")


def same(a, b) -> bool:
    return a is b or (type(a) is type(b) and not isinstance(a, np.ndarray | jax.Array | float) and a == b)


found = 0
names = sys.argv[1:]
for name, function, right, must in CALLS:
    if names and name not in names:
        continue
    for argument in right:
        for value in WRONG:
            if same(value, right[argument]):
                continue
            shown = f"{name}({argument}={value!r})"
            try:
                function(**{**right, argument: value})
            except FileNotFoundError:
                continue
            except Exception as error:
                if not ours(error):
                    found += 1
                    print(f"{shown}: {type(error).__name__}: {str(error)[:150]!r}")
            else:
                meant = value is None or (isinstance(value, int | float | str) and type(value) is type(right[argument]))
                if argument in must.split() and not meant:
                    found += 1
                    print(f"{shown}: accepted")
print(f"{found} faults")
