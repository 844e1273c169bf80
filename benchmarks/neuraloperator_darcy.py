"""FNO against neuraloperator's FNO on neuraloperator's own small Darcy files, at 16² and zero-shot at 32².

    python benchmarks/neuraloperator_darcy.py --data DIR [--quick] [--self-only] [--peer-python PATH]

Both sides train on the first 900 of the 1000 training samples; the last 100 served every choice. The test set (50 samples;
the 16² one is every second point of the 32² one) is read once per trained network, here. Errors are means over samples of
√Σ(u − v)² / √Σv². The peer is trained by `peers/neuraloperator_darcy.py` in its own environment; its results are kept in
`results/neuraloperator_darcy_peer/` and used again while they are there.

Last line: JSON.
"""

import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import PEER, RESULTS, PeerProcess, options, record

import surrogax as sx

SEEDS = (0, 1, 2)

# Chosen on the 100 validation samples; every trial is listed in docs/decisions.md.
EPOCHS, BATCH, PEAK = 100, 10, 4e-3
NETWORK = dict(width=20, modes=6, depth=4, padding=0.25, channel_mlp=0.5)


def train(data: Path, symmetry: bool, seed: int, epochs: int, runs: Path):
    everything = sx.open(data / "darcy_train_16.pt")
    train, val = everything.select(slice(0, 900)), everything.select(slice(900, 1000))
    task = sx.Task.fit(train, "a", "u")
    key = jax.random.key(seed)
    rate = optax.cosine_onecycle_schedule(epochs * (900 // BATCH), PEAK, pct_start=0.15)
    return sx.fit(
        sx.FNO(task, key=key, **NETWORK),
        train,
        val=val,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=1e-4)),
        epochs=epochs,
        batch_size=BATCH,
        symmetry=sx.Dihedral() if symmetry else None,
        run=runs / f"symmetry={symmetry},seed={seed},epochs={epochs}",
        key=key,
    )


def coefficient_values(data: Path) -> tuple[float, float]:
    """The two values of the coefficient for f = 1, from the training data: 1 / median of −Δ_h u inside homogeneous patches."""
    train = sx.open(data / "darcy_train_16.pt")
    a, u = train["a"], train["u"]
    h = 1 / a.shape[1]
    neighbours = [np.roll(x, s, axis) for x in (a,) for axis in (1, 2) for s in (1, -1)]
    same = np.all([n == a for n in neighbours], axis=0)
    laplacian = sum(u - np.roll(u, s, axis) for axis in (1, 2) for s in (1, -1)) / h**2
    inner = np.zeros_like(same)
    inner[:, 2:-2, 2:-2] = True
    return tuple(float(1 / np.median(laplacian[same & inner & (a == value)])) for value in (0.0, 1.0))


def solve(test: sx.Dataset, values: tuple[float, float]) -> np.ndarray:
    """Harmonic finite volumes on the data's own grid with the right side's missing coefficient repeated from the last point."""
    n = test.grid.shape[0]
    grid = sx.Grid.unit_square(n + 1)
    darcy = sx.problem("darcy", f=1.0)

    def one(a):
        a = jnp.pad(jnp.where(a > 0.5, values[1], values[0]), ((0, 1), (0, 1)), mode="edge")
        return darcy.solve({"a": a}, grid)["u"][:-1, :-1]

    return np.asarray(jax.jit(jax.vmap(one))(test["a"]))


def errors(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    flat = lambda x: x.reshape(len(x), -1)  # noqa: E731
    return np.linalg.norm(flat(predicted - truth), axis=1) / np.linalg.norm(flat(truth), axis=1)


def peer_results(data: Path, seeds, epochs: int, python: Path | None, quick: bool) -> list[dict]:
    results = []
    for seed in seeds:
        kept = RESULTS / "neuraloperator_darcy_peer" / f"encoded_seed{seed}.json"
        if quick or not kept.exists():
            if python is None:
                print(f"peer, seed {seed}: not run")
                continue
            kept = Path("/tmp") / f"surrogax_peer_{seed}.json" if quick else kept
            kept.parent.mkdir(parents=True, exist_ok=True)
            arguments = ["--seed", seed, "--epochs", epochs, "--targets", "encoded", "--shuffle", "--out", kept]
            PeerProcess(python, "neuraloperator_darcy.py", "--data", data, *arguments).close()
        results.append(json.loads(kept.read_text()))
    return results


def main():
    files = "folder with darcy_{train_16,test_16,test_32}.pt"
    arguments = options(
        __doc__,
        "one seed, few epochs: a check of the script, no result",
        PEER,
        data=dict(type=Path, default=os.environ.get("SURROGAX_DARCY_DATA"), help=files),
        runs=dict(type=Path, default="runs/neuraloperator_darcy", help="folder of the trainings; they resume"),
    )
    if arguments.data is None:
        print("not run: no --data, and SURROGAX_DARCY_DATA is not set")
        return
    seeds, epochs = (SEEDS[:1], 10) if arguments.quick else (SEEDS, EPOCHS)
    tests = {n: sx.open(arguments.data / f"darcy_test_{n}.pt") for n in (16, 32)}

    rows, per_sample = {}, {}
    for name, symmetry in (("ours", True), ("ours, no symmetry", False)):
        for seed in seeds:
            result = train(arguments.data, symmetry, seed, epochs, arguments.runs)
            seconds = sum(result.history.seconds)
            row = {"val": float(result.history.val[-1][0]), "seconds": seconds, "parameters": result.parameters}
            for n, test in tests.items():
                values = errors(result.last.predict(test)["u"], test["u"])
                per_sample.setdefault((name, n), []).append(values)
                row[n] = float(values.mean())
            rows.setdefault(name, []).append(row)
            print(f"{name}, seed {seed}: {row}", flush=True)
    peer = peer_results(arguments.data, seeds, 3 if arguments.quick else 300, arguments.python, arguments.quick)
    for p in peer:
        for n in tests:
            per_sample.setdefault(("peer", n), []).append(np.asarray(p[f"test_{n}"]["per_sample"]))
    values = coefficient_values(options.data)
    for n, test in tests.items():
        per_sample["solver", n] = [errors(solve(test, values), test["u"])]

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
    paired = {}
    for n in tests:
        if peer:  # differences per sample of the means over seeds
            d = np.mean(per_sample["peer", n], 0) - np.mean(per_sample["ours", n], 0)
            paired[n] = (float(d.mean()), float(d.std(ddof=1) / np.sqrt(len(d))))
            print(
                f"{n}²: peer − ours = {100 * paired[n][0]:.2f} % ± {100 * paired[n][1]:.2f} % (standard error, paired)"
            )
    record(
        "neuraloperator_darcy",
        arguments.quick,
        {
            **{f"{who}_{n}": summary[f"{who}_{n}"] for who in ("ours", "peer", "solver") for n in tests},
            **{f"ours_no_symmetry_{n}": summary[f"ours, no symmetry_{n}"] for n in tests},
            "paired_difference": {str(n): paired.get(n) for n in tests},
            "parameters": rows["ours"][0]["parameters"],
            "peer_parameters": peer[0]["parameters_real"] if peer else None,
            "epochs": epochs,
            "peer_epochs": peer[0]["epochs"] if peer else None,
            "peer_seeds": len(peer),
            "runs": rows,
            "quick": arguments.quick,
        },
    )


if __name__ == "__main__":
    main()
