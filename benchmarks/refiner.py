"""Rollouts of the Kuramoto-Sivashinsky equation, plain and refined (PDE-Refiner).

    python benchmarks/refiner.py [--quick | --smoke] [--kept PATH]

u_t + u u_x + u_xx + u_xxxx = 0 on (0, 64), periodic, 64 points (a quarter of those it is solved on), frames 0.8 apart from t =
100 on: the Lyapunov time is about 12. An FNO learns the increments of one frame from 256 trajectories of 60 frames. Three
models per seed: "plain", the FNO after half of the steps; "longer", the same with as many steps as plain and refined have
together; "refined", a `Refiner` around "plain" with K rounds. 32 unseen trajectories are rolled out, each model from three
seeds. σ_min and K are chosen on other trajectories among a few pairs, by correlation time at the first seed, and all trials are
listed.

The correlation time is the last time at which the correlation of prediction and truth, averaged over trajectories, has been above
0.8 throughout. Of 8 random trajectories of the refined model per start: √((n + 1)/n) times the root mean variance over the root
mean squared error of the ensemble's mean (spread-skill; 1 is calibrated), at half of the correlation time.

--kept PATH keeps the training of the full run, which then goes on where it was interrupted. --quick: one seed, few steps.

Last line: JSON. `correlation_time_ratio`: refined over plain, mean over seeds; `ratios`: of every seed; `ratio_to_longer`; times;
`spread_skill`.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
from common.command_line import options
from common.record import record

import surrogax as sx

KEY, STEP, LENGTH, POINTS = jax.random.key(0), 0.8, 64.0, 64


class Size(NamedTuple):
    """How much to run."""

    train: int
    frames: int
    test: int
    rollout: int
    steps: int
    seeds: int
    width: int
    trials: tuple[tuple[int, float], ...]
    longer: bool = True


TRIALS = ((1, 1e-2), (1, 1e-3), (3, 1e-2), (3, 1e-3), (3, 1e-4), (3, 1e-5), (3, 1e-6))
FULL = Size(256, 60, 32, 100, 12_000, 3, 32, TRIALS)
QUICK = Size(64, 40, 16, 60, 600, 1, 24, ((3, 1e-2),))
SMOKE = Size(4, 8, 2, 4, 2, 1, 4, ((2, 1e-2),), longer=False)


def trajectories(n: int, frames: int, key) -> sx.Dataset:
    law = sx.random.GaussianField(4, 1, 2.5, "periodic")
    problem = sx.problem("kuramoto_sivashinsky", u0=law, box=sx.Box(x=(0, LENGTH, "periodic")))
    times = 100 + STEP * np.arange(frames)
    data = sx.generate(problem, n, 4 * POINTS, key, times=times, cache=False, progress=False)
    return data.subsample(space=4)


def fitted(model, data: dict[str, sx.Dataset], steps: int, folder: Path | None, name: str):
    batch = min(64, len(data["train"]) * (data["train"].instants - 1))
    per_epoch = len(data["train"]) * (data["train"].instants - 1) // batch
    epochs = max(1, steps // per_epoch)
    rate = optax.cosine_decay_schedule(1e-3, epochs * per_epoch, 1e-2)
    loss = {} if isinstance(model, sx.Refiner) else {"loss": sx.losses.MSE()}
    return sx.fit(
        model, data["train"], val=data["val"], optimizer=optax.adam(rate), epochs=epochs, batch_size=batch, ema=0.995,
        progress=False, run=None if folder is None else folder / name, **loss,
    ).last  # fmt: skip


def correlations(model, data: sx.Dataset, steps: int) -> np.ndarray:
    """Mean over trajectories of the correlation of every frame."""
    found, true = np.asarray(model.rollout(data, steps)["u"]), np.asarray(data["u"])[:, 1 : steps + 1]
    return np.mean(_correlation(found, true), 0)


def _correlation(a, b):
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    with np.errstate(all="ignore"):
        return np.nan_to_num((a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1)), nan=-1.0)


def correlation_time(curve: np.ndarray) -> float:
    below = np.flatnonzero(curve < 0.8)
    return STEP * float(below[0] if len(below) else len(curve))


def spread_skill(model, data: sx.Dataset, frames: int, members: int = 8) -> float:
    drawn = model.ensemble_rollout(data, frames, members, key=jax.random.key(9))["u"][:, :, -1]
    error = np.mean((drawn.mean(1) - np.asarray(data["u"])[:, frames]) ** 2)
    return float(np.sqrt((members + 1) / members * drawn.var(1, ddof=1).mean() / error))


def main():
    arguments = options(
        __doc__, full=FULL, quick=QUICK, smoke=SMOKE,
        kept={"type": Path, "default": None, "help": "folder in which the training of the full run is kept"},
    )  # fmt: skip
    size, kept = arguments.size, arguments.kept
    keys = jax.random.split(KEY, 4)
    data = {
        "train": trajectories(size.train, size.frames, keys[0]),
        "val": trajectories(max(size.test // 2, 2), size.rollout + 1, keys[1]),
        "test": trajectories(size.test, size.rollout + 1, keys[2]),
    }
    fits = {**data, "val": data["val"].select(slice(0, 4))}
    task = sx.Task.fit(data["train"], inputs="u", targets="u", mode=sx.Autoregressive(increments=True))
    config = sx.FNO.config(width=size.width, modes=min(24, POINTS // 2 - 1), depth=4)
    rows, trials, chosen = [], {}, size.trials[0]
    for seed in range(size.seeds):
        key = jax.random.fold_in(keys[3], seed)
        model = sx.NetworkSurrogate.build(config, task, key)
        plain = fitted(model, fits, size.steps // 2, kept, f"plain-{seed}")
        longer = fitted(model, fits, size.steps, kept, f"longer-{seed}") if size.longer else plain
        for rounds, smallest in size.trials if seed == 0 and len(size.trials) > 1 else (chosen,):
            refined = sx.Refiner(
                plain, network=config, refinements=rounds, smallest=smallest, key=jax.random.fold_in(key, 1)
            )
            refined = fitted(refined, fits, size.steps // 2, kept, f"refined-{seed}-{rounds}-{smallest:g}")
            time = correlation_time(correlations(refined, data["val"], size.rollout))
            trials[f"K {rounds}, σ {smallest:g}, seed {seed}"] = time
            print(f"seed {seed}, K {rounds}, σ_min {smallest:g}: {time:.1f} on validation", flush=True)
            if seed == 0 and time >= max(trials.values()):
                chosen, best = (rounds, smallest), refined
        refined = best if seed == 0 else refined
        times = {
            name: correlation_time(correlations(m, data["test"], size.rollout))
            for name, m in (("plain", plain), ("longer", longer), ("refined", refined))
        }
        half = max(1, round(times["refined"] / STEP / 2))
        rows.append({**times, "spread_skill": spread_skill(refined, data["test"], half)})
        print(f"seed {seed}: " + ", ".join(f"{k} {v:.2f}" for k, v in rows[-1].items()), flush=True)

    def mean(name: str) -> float:
        return float(np.mean([row[name] for row in rows]))

    ratios = [row["refined"] / row["plain"] if row["plain"] else None for row in rows]
    record(
        "refiner",
        arguments,
        {
            "correlation_time_ratio": float(np.mean([r for r in ratios if r is not None] or [np.nan])),
            "ratios": ratios,
            "ratio_to_longer": mean("refined") / mean("longer") if mean("longer") else None,
            "correlation_time": {name: mean(name) for name in ("plain", "longer", "refined")},
            "spread_skill": mean("spread_skill"),
            "refinements": chosen[0],
            "smallest": chosen[1],
            "trials": trials,
        },
    )


if __name__ == "__main__":
    main()
