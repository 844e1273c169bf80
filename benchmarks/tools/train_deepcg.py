"""Train and store the shipped search directions of DeepCG.

    python benchmarks/tools/train_deepcg.py multilevel  # surrogates/learned_solvers/weights/deepcg-poisson-64.sgx
    python benchmarks/tools/train_deepcg.py paper       # runs/deepcg-paper-2d-64.sgx: the paper's network, loss and data

`multilevel` trains 600 steps by the rate on its own residuals, on `MixedDomains` of 32² (weights do not belong to a size), with
coarse levels down to few unknowns, so that all levels are seen. It keeps the best direction by validation: steps per decimal
digit of the residual over the first four, on domains of 64² drawn from a key of their own, none of which `deep_cg.py` measures.
Weights do not belong to a dimension either: the 3D member has those of 2D if they are better on 3D domains than untrained ones.
`paper` trains by the residual on fresh `SineSystems` of 64², for 3000 steps. Seeds are fixed.
"""

import sys
from pathlib import Path

import equinox as eqx
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
    MixedDomains,
    MultilevelDirection,
    SineSystems,
)

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "surrogates" / "learned_solvers" / "weights" / "deepcg-poisson-64.sgx"
STEPS = 4
RUNS = ROOT / "runs"


def validation(systems, key, domains: int):
    """`measure(direction)`: DeepCG steps per digit of the residual over the first `STEPS`, mean over `domains` systems."""

    def one(direction, key):
        operator, _, r = systems.sample(key, 1)
        method = DeepCG(direction, max_steps=STEPS, history=True).bind(operator)
        _, stats = method(operator, r[0], jnp.zeros_like(r[0]), jnp.zeros(()))  # max_steps ends it
        return jnp.log10(jnp.maximum(stats.history[-1], 1e-12))

    keys = jax.random.split(key, domains)
    digits = jax.jit(lambda direction: jax.lax.map(lambda k: one(direction, k), keys))
    return lambda direction: -STEPS / jnp.nanmean(digits(direction))


def schedule(rate: float, steps: int, last: float):
    rates = optax.warmup_cosine_decay_schedule(rate / 10, rate, 50, steps, last)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rates, b2=0.98))


def multilevel(side: int, steps: int):
    start = MultilevelDirection(2, coarsest=64, key=jax.random.key(0))
    measure = validation(MixedDomains(2 * side), jax.random.key(100), 24)
    print(f"{sx.count_parameters(start)} parameters, untrained {float(measure(start)):.2f}", flush=True)
    fitted = sx.fit(
        start, objective=DirectionObjective(MixedDomains(side), "rate"), val=measure,
        optimizer=schedule(2e-3, steps, 1e-4), steps=steps, check_every=steps // 10, key=jax.random.key(1),
        run=RUNS / "deepcg-2d",
    )  # fmt: skip
    best = min(start, fitted.best, key=measure)
    plain = [MultilevelDirection(dim, key=jax.random.key(0)) for dim in (2, 3)]
    trained = [eqx.tree_at(lambda d: (d.geometry, d.base), d, (best.geometry, best.base)) for d in plain]
    in_space = validation(MixedDomains(20, 3), jax.random.key(100), 8)
    print(f"trained {float(measure(trained[0])):.2f}", flush=True)
    print(f"3D: untrained {float(in_space(plain[1])):.2f}, trained in 2D {float(in_space(trained[1])):.2f}", flush=True)
    storage.save(WEIGHTS, DirectionFamily((trained[0], min(plain[1], trained[1], key=in_space))))


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
        case ["multilevel"]:
            multilevel(32, 600)
        case ["paper"]:
            paper(64, 3000, ROOT / "runs" / "deepcg-paper-2d-64.sgx")
        case _:
            raise SystemExit(__doc__)
