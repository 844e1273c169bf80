"""FNO against neuraloperator's FNO on neuraloperator's own small Darcy files, at 16² and zero-shot at 32².

    python benchmarks/neuraloperator_darcy.py --data DIR [--quick | --smoke] [--self-only] [--peer-python PATH]

Both sides train on the first 900 of the 1000 training samples; the last 100 served every choice. The test set (50 samples;
the 16² one is every second point of the 32² one) is read once per trained network, here. Errors are means over samples of
√Σ(u − v)² / √Σv². The peer is trained by `peers/neuraloperator_darcy.py` in its own environment; its results are kept in
`results/neuraloperator_darcy_peer/` and used again while they are there. --quick: one seed, few epochs, a check and no
result. --smoke: the same on a few samples made here, without the files.

Last line: JSON. `ours` is trained with symmetry augmentation, `ours_no_symmetry` and `peer` without;
`paired_difference` and `paired_difference_no_symmetry` are the peer's error minus that of ours in the same sample, mean
and standard error.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common.command_line import options
from common.peers import TORCH, PeerProcess
from common.record import record

import surrogax as sx


class Size(NamedTuple):
    """How much to run: seeds, epochs of ours and of the peer, batch, our network, training samples and the last of them that
    are held out."""

    seeds: tuple[int, ...]
    epochs: int
    peer_epochs: int
    batch: int
    network: dict
    samples: int
    held_out: int


# Chosen on the 100 validation samples; every trial is listed in docs/decisions.md.
PEAK = 4e-3
NETWORK = dict(width=20, modes=6, depth=4, padding=0.25, channel_mlp=0.5)
FULL = Size((0, 1, 2), 100, 300, batch=10, network=NETWORK, samples=1000, held_out=100)
QUICK = FULL._replace(seeds=(0,), epochs=10, peer_epochs=3)
SMOKE = Size((0,), 2, 0, batch=4, network=dict(width=4, modes=2, depth=1, padding=0.25), samples=12, held_out=4)


class Data(NamedTuple):
    """The training set at 16², the test sets by points per axis."""

    train: sx.Dataset
    tests: dict[int, sx.Dataset]


def read(folder: Path) -> Data:
    return Data(sx.open(folder / "darcy_train_16.pt"), {n: sx.open(folder / f"darcy_test_{n}.pt") for n in (16, 32)})


def made_here(samples: int) -> Data:
    """Solutions for a = 3 and 12, given as 0 and 1, on the grids of the files."""

    def drawn(key, count: int, n: int) -> sx.Dataset:
        # On 32², so that the 16² set can be every second point.
        law, fine = sx.random.Threshold(1, 0), sx.Grid.unit_square(33)
        a = np.stack([law.sample(k, fine)[: -1 : 32 // n, : -1 : 32 // n] for k in jax.random.split(key, count)])
        grid = sx.Grid(sx.Box.unit(2), (n, n), ("periodic",) * 2)
        return sx.from_arrays({"a": a}, {"u": solve(a, (3.0, 12.0))}, grid=grid)

    keys = jax.random.split(jax.random.key(0))
    return Data(drawn(keys[0], samples, 16), {n: drawn(keys[1], 2, n) for n in (16, 32)})


def train(data: sx.Dataset, symmetry: bool, seed: int, size: Size, runs: Path):
    fitted = size.samples - size.held_out
    train, val = data.select(slice(0, fitted)), data.select(slice(fitted, size.samples))
    task = sx.Task.fit(train, "a", "u")
    key = jax.random.key(seed)
    rate = optax.cosine_onecycle_schedule(size.epochs * (fitted // size.batch), PEAK, pct_start=0.15)
    return sx.fit(
        sx.FNO(task, key=key, **size.network),
        train,
        val=val,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=1e-4)),
        epochs=size.epochs,
        batch_size=size.batch,
        symmetry=sx.Dihedral() if symmetry else None,
        run=runs / f"symmetry={symmetry},seed={seed},epochs={size.epochs}",
        key=key,
    )


def coefficient_values(train: sx.Dataset) -> tuple[float, float]:
    """The two values of the coefficient for f = 1, from the training data: 1 / median of −Δ_h u inside homogeneous patches."""
    a, u = train["a"], train["u"]
    h = 1 / a.shape[1]
    neighbours = [np.roll(x, s, axis) for x in (a,) for axis in (1, 2) for s in (1, -1)]
    same = np.all([n == a for n in neighbours], axis=0)
    laplacian = sum(u - np.roll(u, s, axis) for axis in (1, 2) for s in (1, -1)) / h**2
    inner = np.zeros_like(same)
    inner[:, 2:-2, 2:-2] = True
    return tuple(float(1 / np.median(laplacian[same & inner & (a == value)])) for value in (0.0, 1.0))


def solve(a: np.ndarray, values: tuple[float, float]) -> np.ndarray:
    """Harmonic finite volumes on the data's own grid with the right side's missing coefficient repeated from the last point."""
    grid = sx.Grid.unit_square(a.shape[1] + 1)
    darcy = sx.problem("darcy", f=1.0)

    def one(a):
        a = jnp.pad(jnp.where(a > 0.5, values[1], values[0]), ((0, 1), (0, 1)), mode="edge")
        return darcy.solve({"a": a}, grid)["u"][:-1, :-1]

    return np.asarray(jax.jit(jax.vmap(one))(a))


def errors(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    flat = lambda x: x.reshape(len(x), -1)  # noqa: E731
    return np.linalg.norm(flat(predicted - truth), axis=1) / np.linalg.norm(flat(truth), axis=1)


def peer_results(arguments) -> list[dict]:
    results = []
    for seed in arguments.size.seeds:
        kept = arguments.folder / "neuraloperator_darcy_peer" / f"encoded_seed{seed}.json"
        if not kept.exists():
            if arguments.python is None:
                print(f"peer, seed {seed}: not run")
                continue
            kept.parent.mkdir(parents=True, exist_ok=True)
            settings = ["--seed", seed, "--epochs", arguments.size.peer_epochs, "--targets", "encoded", "--shuffle"]
            script = "neuraloperator_darcy.py"
            PeerProcess(arguments.python, script, "--data", arguments.data, *settings, "--out", kept).close()
        results.append(json.loads(kept.read_text()))
    return results


def paired(peer: list[np.ndarray], ours: list[np.ndarray]) -> tuple[float, float]:
    """Mean and standard error over samples of the difference of the means over seeds."""
    d = np.mean(peer, 0) - np.mean(ours, 0)
    return float(d.mean()), float(d.std(ddof=1) / np.sqrt(len(d)))


def main():
    files = "folder with darcy_{train_16,test_16,test_32}.pt"
    arguments = options(
        __doc__,
        full=FULL,
        quick=QUICK,
        smoke=SMOKE,
        peer=TORCH,
        data=dict(type=Path, default=os.environ.get("SURROGAX_DARCY_DATA"), help=files),
        runs=dict(type=Path, default="runs/neuraloperator_darcy", help="folder of the trainings; they resume"),
    )
    if arguments.data is None and not arguments.smoke:
        print("not run: no --data, and SURROGAX_DARCY_DATA is not set")
        return
    size, runs = arguments.size, arguments.folder / "runs" if arguments.smoke else arguments.runs
    data = made_here(size.samples) if arguments.smoke else read(arguments.data)
    tests = data.tests

    rows, per_sample = {}, {}
    for name, symmetry in (("ours", True), ("ours, no symmetry", False)):
        for seed in size.seeds:
            result = train(data.train, symmetry, seed, size, runs)
            seconds = sum(result.history.seconds)
            row = {"val": float(result.history.val[-1][0]), "seconds": seconds, "parameters": result.parameters}
            for n, test in tests.items():
                values = errors(result.last.predict(test)["u"], test["u"])
                per_sample.setdefault((name, n), []).append(values)
                row[n] = float(values.mean())
            rows.setdefault(name, []).append(row)
            print(f"{name}, seed {seed}: {row}", flush=True)
    peer = peer_results(arguments)
    for p in peer:
        for n in tests:
            per_sample.setdefault(("peer", n), []).append(np.asarray(p[f"test_{n}"]["per_sample"]))
    values = coefficient_values(data.train)
    for n, test in tests.items():
        per_sample["solver", n] = [errors(solve(test["a"], values), test["u"])]

    print(f"\ncoefficients read off the data: {values[0]:.4g} and {values[1]:.4g} (f = 1)")
    print("\n| | 16² | 32² |\n| --- | ---: | ---: |")
    summary = {}
    for name in ("ours", "ours, no symmetry", "peer", "solver"):
        cells = []
        for n in tests:
            found = per_sample.get((name, n))
            mean = None if found is None else float(np.mean(found))
            summary[f"{name}_{n}"] = mean
            spread = "" if found is None or len(found) < 2 else f" ± {100 * np.std(np.mean(found, 1), ddof=1):.2g}"
            cells.append("not run" if mean is None else f"{100 * mean:.2f} %{spread}")
        print(f"| {name} | {' | '.join(cells)} |")
    differences = {}
    for name in ("ours", "ours, no symmetry"):
        found = {str(n): paired(per_sample["peer", n], per_sample[name, n]) if peer else None for n in tests}
        differences[name] = found
        for n, (mean, error) in found.items() if peer else ():
            print(f"{n}²: peer − {name} = {100 * mean:.2f} % ± {100 * error:.2f} % (standard error, paired)")
    record(
        "neuraloperator_darcy",
        arguments,
        {
            **{f"{who}_{n}": summary[f"{who}_{n}"] for who in ("ours", "peer", "solver") for n in tests},
            **{f"ours_no_symmetry_{n}": summary[f"ours, no symmetry_{n}"] for n in tests},
            "paired_difference": differences["ours"],
            "paired_difference_no_symmetry": differences["ours, no symmetry"],
            "parameters": rows["ours"][0]["parameters"],
            "peer_parameters": peer[0]["parameters_real"] if peer else None,
            "epochs": size.epochs,
            "peer_epochs": peer[0]["epochs"] if peer else None,
            "peer_seeds": len(peer),
            "runs": rows,
        },
    )


if __name__ == "__main__":
    main()
