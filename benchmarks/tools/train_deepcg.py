"""Train and store the shipped search directions of DeepCG.

    python benchmarks/tools/train_deepcg.py 2d     # surrogates/learned_solvers/weights/deepcg-poisson-64.sgx, its 2D member
    python benchmarks/tools/train_deepcg.py 3d     # and its 3D member
    python benchmarks/tools/train_deepcg.py paper  # runs/deepcg-paper-2d-64.sgx: the paper's network, loss and data, to compare

2d: 2000 steps on 32², where they cost a quarter, then 600 on 64². 3d: 600 steps on 16³, then 150 on 32³ (weights do not
belong to a size). Both train by the energy on their own residuals, on `RandomDomains`, and keep the best direction by
validation: steps per decimal digit of the residual over the first six, on domains of 64² or 32³ drawn from a key of their
own. `paper` trains by the residual on fresh `SineSystems` of 64², for about as long on a CPU as 2d. Seeds are fixed.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

import surrogax as sx
from surrogax.core import storage
from surrogax.solvers.linear import DeepCG
from surrogax.surrogates.learned_solvers import (
    DirectionFamily,
    DirectionNetwork,
    DirectionObjective,
    MultilevelDirection,
    RandomDomains,
    SineSystems,
)

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "surrogates" / "learned_solvers" / "weights" / "deepcg-poisson-64.sgx"
STEPS = 6
RUNS = ROOT / "runs"


def validation(systems, key, domains: int):
    """`measure(direction)`: DeepCG steps per digit of the residual over the first `STEPS`, mean over `domains` systems."""

    def one(direction, key):
        operator, _, r = systems.sample(key, 1)
        # max_steps ends it; the tolerance is out of reach.
        _, stats = DeepCG(direction, rtol=1e-30, max_steps=STEPS, history=True)(operator, r[0], jnp.zeros_like(r[0]))
        return jnp.log10(jnp.maximum(stats.history[-1], 1e-12))

    keys = jax.random.split(key, domains)
    digits = jax.jit(lambda direction: jax.lax.map(lambda k: one(direction, k), keys))
    return lambda direction: -STEPS / jnp.nanmean(digits(direction))


def schedule(rate: float, steps: int, last: float):
    rates = optax.warmup_cosine_decay_schedule(rate / 10, rate, 50, steps, last)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rates, b2=0.98))


def multilevel(dim: int, side: int, first: int, second: int):
    direction = MultilevelDirection(dim, channels=4, hidden=8, key=jax.random.key(0))
    measure = validation(RandomDomains(side, dim), jax.random.key(100), 24 if dim == 2 else 8)
    print(f"{sx.count_parameters(direction)} parameters, untrained {float(measure(direction)):.2f}", flush=True)
    for stage, (n, steps, rate, last) in enumerate([(side // 2, first, 2e-3, 2e-4), (side, second, 5e-4, 1e-5)]):
        objective = DirectionObjective(RandomDomains(n, dim))
        every = 250 if stage == 0 else 100
        fitted = sx.fit(
            direction, objective=objective, val=measure, optimizer=schedule(rate, steps, last), steps=steps,
            check_every=every, key=jax.random.key(1 + stage), run=RUNS / f"deepcg-{dim}d-{stage}",
        )  # fmt: skip
        direction = min(direction, fitted.best, key=measure)
        others = [m for m in storage.load(WEIGHTS).members if m.dim != dim] if WEIGHTS.exists() else []
        members = sorted([*others, direction], key=lambda m: m.dim)
        storage.save(WEIGHTS, DirectionFamily(tuple(members)))


def paper(side: int, steps: int, path: Path):
    """The paper's network for 64³ in 2D, with its loss and its right-hand sides."""
    direction = DirectionNetwork.paper(64, 2, key=jax.random.key(0))
    systems = SineSystems((side, side))
    objective = DirectionObjective(systems, "residual", domains=1, lanes=8, renew=0)
    measure = validation(systems, jax.random.key(100), 8)
    fitted = sx.fit(
        direction, objective=objective, val=measure, optimizer=schedule(1e-3, steps, 1e-5), steps=steps,
        check_every=250, key=jax.random.key(1), run=RUNS / f"{path.stem}",
    )  # fmt: skip
    path.parent.mkdir(exist_ok=True)
    storage.save(path, fitted.best)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["2d"]:
            multilevel(2, 64, 2000, 600)
        case ["3d"]:
            multilevel(3, 32, 600, 150)
        case ["paper"]:
            paper(64, 3000, ROOT / "runs" / "deepcg-paper-2d-64.sgx")
        case _:
            raise SystemExit(__doc__)
