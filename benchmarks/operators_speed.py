"""Training step and inference of operators, here, in PyTorch and in other JAX packages: FNO, TFNO, F-FNO, UNO, DeepONet.

    python benchmarks/operators_speed.py [--quick | --smoke] [--self-only] [--peer-python PATH] [--jax-python PATH]
                                         [--cases TFNO UNO …]

float32, AdamW on the relative L2 loss. "FNO 3D" (batch 4, 32³, 20 channels, 8 frequencies per axis and sign) and "TFNO" (batch
8, 64², 64 channels, 16 frequencies, Tucker weights of a tenth of the parameters) have the weights of neuraloperator 2.0:
outputs agree to 1e-5 before anything is timed. neojax-operators has networks of the same structure with weights of its own.
"FNO 2D" and "FNO 3D, plain" have the original structure without a channel MLP, beside opifex (in 2D; its 3D one has fewer
frequencies) and foundax, which applies one activation more. "DeepONet" (batch 100, 128 sensors, 128 points, branch and trunk of
three layers of 128) stands beside DeepXDE's Cartesian one with layers of the same sizes; it has an activation more after its
trunk. "F-FNO" and "UNO" (batch 8, 64²) have no peer of the same function and are timed alone. PyTorch runs eagerly and by
`torch.compile`, of which the faster counts; the JAX peers run in a compiled loop like ours, on the newest jax that they allow.
All sides take turns on all cores. Compilation is apart, in `compile_s`. Cases are recorded as they end, and --cases measures some
again. --quick: fewer rounds, PyTorch eager alone; --smoke: tiny sizes, without peers.

Peers: `peers/requirements.txt` with deepxde; `peers/requirements-operators-jax.txt`.

Last line: JSON. `train_ratio_torch_min` and `inference_ratio_torch_min` are the smallest ratios of the peer's seconds to ours,
`ratio_jax_min` the smallest of both in JAX (null without the peer); `parameters` in the rows show whether sizes are equal.
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
from common.peers import OPERATORS_JAX, TORCH, PeerProcess
from common.record import record
from common.training_step import TrainingStep, fastest_ratio, in_turns, unscaled_task

import surrogax as sx
from surrogax.surrogates.operators import NEURALOPERATOR, from_neuraloperator

OPTIMIZER, KEY = optax.adamw(1e-3, weight_decay=1e-4), jax.random.key(0)


@dataclasses.dataclass(frozen=True)
class Case:
    """`kind` is "fno", "tfno" (neuraloperator's structure), "plain" (the original FNO), "deeponet", "ffno" or "uno"; `modes` per
    axis and sign; `jax` are the JAX packages beside it."""

    name: str
    kind: str
    batch: int
    shape: tuple[int, ...]
    width: int
    modes: int = 0
    rank: float = 0.1
    jax: tuple[str, ...] = ()


CASES = (
    Case("FNO 3D", "fno", 4, (32, 32, 32), 20, 8, jax=("neojax",)),
    Case("TFNO", "tfno", 8, (64, 64), 64, 16, jax=("neojax",)),
    Case("DeepONet", "deeponet", 100, (128,), 128),
    Case("FNO 2D", "plain", 8, (64, 64), 32, 16, jax=("foundax", "opifex")),
    Case("FNO 3D, plain", "plain", 4, (32, 32, 32), 20, 8, jax=("foundax",)),
    Case("F-FNO", "ffno", 8, (64, 64), 32, 16),
    Case("UNO", "uno", 8, (64, 64), 32, 16),
)
TINY = tuple(
    dataclasses.replace(case, batch=2, shape=(8,) * len(case.shape), width=4, modes=min(case.modes, 2), rank=0.5)
    for case in (*CASES[1:4], CASES[5])
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
    """The process of PyTorch, which writes its data to `data`, or of a JAX package; see `peers/operators_speed.py` and
    `peers/operators_speed_jax.py`. `first` is its first line."""

    def __init__(self, python: Path, script: str, case: Case, *arguments):
        super().__init__(python, script, json.dumps(dataclasses.asdict(case)), *arguments)
        self.first = self.read()

    def seconds(self, mode: str, what: str, count: int) -> list[float]:
        return json.loads(self.ask(mode, what, count))


def surrogate_of(case: Case, task: sx.Task, stored: dict[str, np.ndarray]) -> sx.NetworkSurrogate:
    parameters = {name.removeprefix("param/"): value for name, value in stored.items() if name.startswith("param/")}
    if parameters and case.kind in ("fno", "tfno"):
        return sx.NetworkSurrogate(network=from_neuraloperator(parameters), task=task, state=None)
    if case.kind in ("fno", "tfno"):
        factors = {"factorization": "tucker", "rank": case.rank} if case.kind == "tfno" else {}
        return sx.FNO(task, width=case.width, modes=case.modes, key=KEY, **{**NEURALOPERATOR, **factors})
    if case.kind == "plain":
        return sx.FNO(task, width=case.width, modes=case.modes, key=KEY)
    if case.kind == "deeponet":
        hidden = (case.width,) * 2
        return sx.DeepONet(task, basis=case.width, branch=hidden, trunk=hidden, key=KEY)
    family = {"ffno": sx.FFNO, "uno": sx.UNO}[case.kind]
    return family(task, width=case.width, modes=case.modes, key=KEY)


def compare(case: Case, python: Path | None, jax_python: Path | None, size: Size) -> dict:
    torch = jax_peer = None
    stored: dict[str, np.ndarray] = {}
    if python is not None and case.kind in ("fno", "tfno", "deeponet"):
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "peer.npz"
            torch = Peer(python, "operators_speed.py", case, os.cpu_count(), data)
            stored = dict(np.load(data))
    if jax_python is not None and case.jax:
        jax_peer = Peer(jax_python, "operators_speed_jax.py", case)
    generator = np.random.default_rng(0)
    a, u = (
        stored.get(name, generator.normal(size=(case.batch, *case.shape)).astype(np.float32))
        for name in ("x", "target")
    )
    # The trunk of a DeepONet reads coordinates, not their sines.
    layout = "nodes" if case.kind == "deeponet" else "periodic"
    data = sx.from_arrays({"a": a}, {"u": u}, grid=sx.Grid.unit(case.shape, layout=layout))
    surrogate = surrogate_of(case, unscaled_task(data), stored)
    ours = TrainingStep(surrogate, data, OPTIMIZER)
    if "output" in stored:
        np.testing.assert_allclose(ours.output[:, 0], stored["output"], atol=1e-5 * abs(stored["output"]).max())
    by_torch = {} if torch is None else dict.fromkeys(size.modes, torch)
    by_jax = {} if jax_peer is None else dict.fromkeys(case.jax, jax_peer)
    found = in_turns(ours, by_torch | by_jax, size.rounds, size.calls)
    parameters = {"ours": sx.count_parameters(surrogate), **({} if jax_peer is None else json.loads(jax_peer.first))}
    for peer in (torch, jax_peer):
        if peer is not None:
            peer.close()
    ratios = {
        f"{what}_ratio{name}": fastest_ratio(found, what, modes)
        for what in ("train", "infer")
        for name, modes in (("", by_torch), ("_jax", by_jax))
    }
    row = {"case": case.name, **found, **ratios, "parameters": parameters, "compile_s": round(ours.compile_seconds, 2)}
    print(row, flush=True)
    return row


def main():
    arguments = options(
        __doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=TORCH,
        cases={"nargs": "*", "default": [], "help": "the cases to measure; all by default"},
        **{"jax-python": {"type": Path, "default": OPERATORS_JAX, "help": "Python of the environment of the JAX peers"}},
    )  # fmt: skip
    with_jax = arguments.jax_python.exists() and not arguments.self_only and not arguments.smoke
    jax_python = arguments.jax_python if with_jax else None
    file = arguments.folder / "operators_speed.json"
    kept = json.loads(file.read_text())["values"]["cases"] if file.exists() else []
    rows = {row["case"]: row for row in kept}
    names = [case.name for case in arguments.size.cases]
    if unknown := set(arguments.cases) - set(names):
        raise SystemExit(f"unknown cases {sorted(unknown)}; there are {names}")
    for case in arguments.size.cases:
        if case.name in (arguments.cases or names):
            rows[case.name] = compare(case, arguments.python, jax_python, arguments.size)
            record("operators_speed", arguments, summary([rows[name] for name in names if name in rows]))


def summary(rows: list[dict]) -> dict:
    """The values of the record."""

    def least(*names: str):
        return min((row[name] for row in rows for name in names if row[name] is not None), default=None)

    return {
        "train_ratio_torch_min": least("train_ratio"),
        "inference_ratio_torch_min": least("infer_ratio"),
        "ratio_jax_min": least("train_ratio_jax", "infer_ratio_jax"),
        "cases": rows,
    }


if __name__ == "__main__":
    main()
