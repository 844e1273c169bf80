"""Training step and inference of one FNO, here and in neuraloperator 2.0 (PyTorch), at equal weights and outputs.

    python benchmarks/fno_training.py [--quick | --smoke] [--self-only] [--peer-python PATH]

The graph is neuraloperator's default (four blocks, channel MLP with soft gating, exact GELU) in float32. Cases: batch 8 on
64² with 32 channels and 16 frequencies per axis and sign; batch 8 on 128² with 32 and 24; batch 20 on 1024 points with 64
and 16. A training step is forward, backward and AdamW on the relative L2 loss. Here it is the compiled loop of `fit`;
there PyTorch eager and `torch.compile`, of which the faster counts. Before anything is timed the weights are ported,
outputs must agree to 1e-5 and the losses of three training steps to 1e-4. Both sides take turns and use all cores.
--quick: fewer rounds, PyTorch eager alone; --smoke: batch 2 on 16² and 32 points with 4 channels and 4 frequencies.

Last line: JSON. `train_ratio` and `inference_ratio` are the smallest ratios of the peer's seconds to ours over the cases
(null without the peer), `floor_fraction` the smallest fraction of a training step that its matrix products would take
alone, at the rate of a large product measured in this run (transforms counted as dense or fast ones, whichever needs fewer
operations).
"""

import dataclasses
import itertools
import json
import math
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common.command_line import options
from common.peers import TORCH, PeerProcess
from common.record import record
from common.timing import repeated
from common.training_step import TrainingStep, fastest_ratio, in_turns, unscaled_task

import surrogax as sx
from surrogax.solvers.kernels.fourier import dft_operations, fft_operations
from surrogax.surrogates.operators import from_neuraloperator

OPTIMIZER = optax.adamw(1e-3, weight_decay=1e-4)


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    batch: int
    shape: tuple[int, ...]
    width: int
    modes: int

    @property
    def kept(self) -> tuple[int, ...]:
        return (*(2 * self.modes,) * (len(self.shape) - 1), self.modes + 1)


CASES = (
    Case("2D 64²", 8, (64, 64), 32, 16),
    Case("2D 128²", 8, (128, 128), 32, 24),
    Case("1D 1024", 20, (1024,), 64, 16),
)


class Size(NamedTuple):
    """How much to run: `calls` of ours in each of `rounds`, and PyTorch in `modes` when it is there."""

    cases: tuple[Case, ...]
    modes: tuple[str, ...]
    rounds: int
    calls: int
    product: int  # side of the matrices of the large product


FULL = Size(CASES, ("eager", "compile"), rounds=10, calls=2, product=2048)
QUICK = Size(CASES, ("eager",), rounds=3, calls=1, product=2048)
SMOKE = Size((Case("2D 16²", 2, (16, 16), 4, 4), Case("1D 32", 2, (32,), 4, 4)), (), rounds=1, calls=1, product=256)


def ours_of(case: Case, parameters: dict, a: np.ndarray, u: np.ndarray) -> TrainingStep:
    """The surrogate with given weights."""
    grid = sx.Box.unit(len(case.shape), "periodic").grid(case.shape)
    data = sx.from_arrays({"a": a[:, 0], "u": u[:, 0]}, grid=grid)
    surrogate = sx.NetworkSurrogate(network=from_neuraloperator(parameters), task=unscaled_task(data), state=None)
    return TrainingStep(surrogate, data, OPTIMIZER)


class Peer(PeerProcess):
    """The process of the peer; see `peers/fno_training.py`."""

    def __init__(self, python: Path, case: Case, folder: Path):
        self.data = folder / "peer.npz"
        arguments = ["--batch", case.batch, "--width", case.width, "--modes", case.modes, "--shape", *case.shape]
        arguments += ["--threads", os.cpu_count(), "--device", "cuda" if jax.default_backend() == "gpu" else "cpu"]
        super().__init__(python, "fno_training.py", *arguments, "--out", self.data)
        self.read()  # the data are written

    def seconds(self, mode: str, what: str, count: int) -> list[float]:
        return json.loads(self.ask(mode, what, count))


def products(case: Case) -> float:
    """Real operations of the matrix products of one forward pass."""
    points, width = math.prod(case.shape), case.width
    pointwise = 2 * points * ((1 + len(case.shape)) * 2 * width + 2 * width * width)  # lifting
    pointwise += 2 * points * (width * 2 * width + 2 * width)  # projection
    pointwise += 4 * 2 * points * 2 * width * width  # skips and channel MLPs
    transforms = 4 * 2 * width * min(dft_operations(case.shape, case.kept), fft_operations(case.shape))
    return case.batch * (pointwise + transforms + 4 * 8 * math.prod(case.kept) * width * width)


def product_rate(side: int) -> float:
    """Operations per second of a product of two float32 matrices `(side, side)`."""
    a = jnp.ones((side, side))
    call = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    _, *seconds = repeated(call, a, repeats=6)
    return 2 * side**3 / min(seconds)


def compare(case: Case, python: Path | None, size: Size, rate: float) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        if python is None:
            generator = np.random.default_rng(0)
            a, u = (generator.normal(size=(case.batch, 1, *case.shape)).astype(np.float32) for _ in range(2))
            ours, peer = ours_of(case, random_parameters(case), a, u), None
        else:
            peer = Peer(python, case, Path(folder))
            stored = np.load(peer.data)
            parameters = {n.removeprefix("param/"): stored[n] for n in stored.files if n.startswith("param/")}
            ours = ours_of(case, parameters, stored["x"], stored["target"])
            np.testing.assert_allclose(ours.output, stored["output"], atol=1e-5 * abs(stored["output"]).max())
            np.testing.assert_allclose(ours.losses[:3], stored["losses"], rtol=1e-4)
    peers = {} if peer is None else dict.fromkeys(size.modes, peer)
    found = in_turns(ours, peers, size.rounds, size.calls)
    if peer is not None:
        peer.close()
    ratios = {f"{what}_ratio": fastest_ratio(found, what, peers) for what in ("train", "infer")}
    row = {"case": case.name, **found, **ratios, "floor": 3 * products(case) / rate}
    print(
        ", ".join(
            f"{k} {1e3 * v:.1f} ms" if isinstance(v, float) and "ratio" not in k else f"{k} {v}" for k, v in row.items()
        )
    )
    return row


def random_parameters(case: Case) -> dict[str, np.ndarray]:
    """Parameters by the peer's names, where the peer is missing: the time does not depend on them."""
    generator, width, ndim = np.random.default_rng(0), case.width, len(case.shape)

    def dense(n_out, n_in):
        return generator.normal(size=(n_out, n_in, 1)).astype(np.float32) / math.sqrt(n_in)

    p = {}
    for name, sizes in (("lifting", (1 + ndim, 2 * width, width)), ("projection", (width, 2 * width, 1))):
        for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
            p[f"{name}.fcs.{i}.weight"], p[f"{name}.fcs.{i}.bias"] = dense(n_out, n_in), np.zeros(n_out, np.float32)
    for i in range(4):
        spectral = generator.normal(size=(2, width, width, *case.kept)) / math.sqrt(2 * width)
        p[f"fno_blocks.convs.{i}.weight.tensor"] = (spectral[0] + 1j * spectral[1]).astype(np.complex64)
        p[f"fno_blocks.convs.{i}.bias"] = np.zeros(width, np.float32)
        p[f"fno_blocks.fno_skips.{i}.conv.weight"] = dense(width, width)
        for j, sizes in enumerate(((width // 2, width), (width, width // 2))):
            p[f"fno_blocks.channel_mlp.{i}.fcs.{j}.weight"] = dense(*sizes)
            p[f"fno_blocks.channel_mlp.{i}.fcs.{j}.bias"] = np.zeros(sizes[0], np.float32)
        p[f"fno_blocks.channel_mlp_skips.{i}.weight"] = np.ones(width, np.float32)
    return p


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=TORCH)
    rate = product_rate(arguments.size.product)
    rows = [compare(case, arguments.python, arguments.size, rate) for case in arguments.size.cases]

    def least(name: str):
        return min((row[name] for row in rows if row[name] is not None), default=None)

    values = {
        "train_ratio": least("train_ratio"),
        "inference_ratio": least("infer_ratio"),
        "floor_fraction": round(min(row["floor"] / row["ours train"] for row in rows), 2),
        "cases": rows,
        "device": jax.devices()[0].device_kind,
    }
    record("fno_training", arguments, values)


if __name__ == "__main__":
    main()
