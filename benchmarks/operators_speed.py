"""Training step and inference of operators, here and in PyTorch: FNO in 3D, TFNO, F-FNO, U-shaped operator, DeepONet.

    python benchmarks/operators_speed.py [--quick | --smoke] [--self-only] [--peer-python PATH]

float32, AdamW on the relative L2 loss. "FNO 3D" (batch 4, 32³, 20 channels, 8 frequencies per axis and sign) and "TFNO" (batch
8, 64², 64 channels, 16 frequencies, Tucker weights of a tenth of the parameters) have the weights of neuraloperator 2.0:
outputs agree to 1e-5 before anything is timed. "DeepONet" (batch 100, 128 sensors, 128 points, branch and trunk of three
layers of 128) stands beside DeepXDE's Cartesian one with layers of the same sizes; it has an activation more after its trunk.
"F-FNO" and "UNO" (batch 8, 64²) have no peer of the same function and are timed alone, beside our FNO. The peer is PyTorch
eager and `torch.compile`, of which the faster counts; both sides take turns on all cores. Compilation is apart, in `compile_s`.
--quick: fewer rounds, PyTorch eager alone; --smoke: tiny sizes, without the peer.

Last line: JSON. `train_ratio_torch_min` and `inference_ratio_torch_min` are the smallest ratios of the peer's seconds to ours
(null without the peer); `ratio_jax_min` is null: no JAX peer is timed yet.
"""

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
from common.command_line import options
from common.peers import TORCH, PeerProcess
from common.record import record
from common.training_step import TrainingStep, beside_peer, unscaled_task

import surrogax as sx
from surrogax.surrogates.operators import NEURALOPERATOR, from_neuraloperator

OPTIMIZER, KEY = optax.adamw(1e-3, weight_decay=1e-4), jax.random.key(0)


@dataclasses.dataclass(frozen=True)
class Case:
    """`kind` is "fno", "tfno", "deeponet" (with a peer), "ffno" or "uno"; `modes` per axis and sign."""

    name: str
    kind: str
    batch: int
    shape: tuple[int, ...]
    width: int
    modes: int = 0
    rank: float = 0.1


CASES = (
    Case("FNO 3D", "fno", 4, (32, 32, 32), 20, 8),
    Case("TFNO", "tfno", 8, (64, 64), 64, 16),
    Case("DeepONet", "deeponet", 100, (128,), 128),
    Case("FNO 2D", "fno", 8, (64, 64), 32, 16),
    Case("F-FNO", "ffno", 8, (64, 64), 32, 16),
    Case("UNO", "uno", 8, (64, 64), 32, 16),
)
TINY = tuple(
    dataclasses.replace(case, batch=2, shape=(8,) * len(case.shape), width=4, modes=min(case.modes, 2), rank=0.5)
    for case in CASES[1:5]
)


class Size(NamedTuple):
    """How much to run: `calls` of ours in each of `rounds`, and PyTorch in `modes` when it is there."""

    cases: tuple[Case, ...]
    modes: tuple[str, ...]
    rounds: int
    calls: int


FULL = Size(CASES, ("eager", "compile"), rounds=10, calls=2)
QUICK = Size(CASES, ("eager",), rounds=3, calls=1)
SMOKE = Size(TINY, (), rounds=1, calls=1)


class Peer(PeerProcess):
    """The process of the peer; see `peers/operators_speed.py`."""

    def __init__(self, python: Path, case: Case, folder: Path):
        self.data = folder / "peer.npz"
        super().__init__(python, "operators_speed.py", json.dumps(dataclasses.asdict(case)), os.cpu_count(), self.data)
        self.read()  # the data are written

    def seconds(self, mode: str, what: str, calls: int) -> list[float]:
        return json.loads(self.ask(mode, what, calls))


def surrogate_of(case: Case, task: sx.Task, stored: dict[str, np.ndarray]) -> sx.NetworkSurrogate:
    parameters = {name.removeprefix("param/"): value for name, value in stored.items() if name.startswith("param/")}
    if parameters and case.kind in ("fno", "tfno"):
        return sx.NetworkSurrogate(network=from_neuraloperator(parameters), task=task, state=None)
    if case.kind in ("fno", "tfno"):
        factors = {"factorization": "tucker", "rank": case.rank} if case.kind == "tfno" else {}
        return sx.FNO(task, width=case.width, modes=case.modes, key=KEY, **{**NEURALOPERATOR, **factors})
    if case.kind == "deeponet":
        hidden = (case.width,) * 2
        return sx.DeepONet(task, basis=case.width, branch=hidden, trunk=hidden, key=KEY)
    family = {"ffno": sx.FFNO, "uno": sx.UNO}[case.kind]
    return family(task, width=case.width, modes=case.modes, key=KEY)


def compare(case: Case, python: Path | None, size: Size) -> dict:
    python = python if case.kind in ("fno", "tfno", "deeponet") else None
    with tempfile.TemporaryDirectory() as folder:
        peer = None if python is None else Peer(python, case, Path(folder))
        stored = {} if peer is None else dict(np.load(peer.data))
    generator = np.random.default_rng(0)
    a, u = (
        stored.get(name, generator.normal(size=(case.batch, *case.shape)).astype(np.float32))
        for name in ("x", "target")
    )
    # The trunk of a DeepONet reads coordinates, not their sines.
    layout = "nodes" if case.kind == "deeponet" else "periodic"
    data = sx.from_arrays({"a": a}, {"u": u}, grid=sx.Grid.unit(case.shape, layout=layout))
    ours = TrainingStep(surrogate_of(case, unscaled_task(data), stored), data, OPTIMIZER)
    if "output" in stored:
        np.testing.assert_allclose(ours.output[:, 0], stored["output"], atol=1e-5 * abs(stored["output"]).max())
    found = beside_peer(ours, peer, size.modes, size.rounds, size.calls)
    if peer is not None:
        peer.close()
    row = {"case": case.name, **found, "compile_s": round(ours.compile_seconds, 2)}
    print(row, flush=True)
    return row


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=TORCH)
    rows = [compare(case, arguments.python, arguments.size) for case in arguments.size.cases]

    def least(name: str):
        return min((row[name] for row in rows if row[name] is not None), default=None)

    values = {
        "train_ratio_torch_min": least("train_ratio"),
        "inference_ratio_torch_min": least("infer_ratio"),
        "ratio_jax_min": None,
        "cases": rows,
    }
    record("operators_speed", arguments, values)


if __name__ == "__main__":
    main()
