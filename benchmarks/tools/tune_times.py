"""Optimise the density of `diffusion.Tuned`: time grids for `IPNDM(3)` on a family of Gaussian mixtures.

    python benchmarks/tools/tune_times.py [--steps 300] [--evaluations 10 5 20 7 14] [--out FILE.npz]

The family: 16, 8 and 8 mixtures in 8, 32 and 128 dimensions (seeds from 1000, 1100, 1200), 3 to 40 components, sizes 0.7 to 1.3
of those of the benchmark, over the noise levels of VP-linear, EDM, VE and from 150 to 0.01. The logarithm of the density at 27
knots in λ is trained by Adam through the sampler; the loss is the soft maximum over mixtures of the geometric mean error,
relative to the better of two usual grids. The numbers in `solvers/diffusion/tuned_times.py` are from three such runs in a row,
each started from the one before, the first two on fewer mixtures.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common.mixtures import Mixture

from surrogax.solvers.diffusion import VPLinear

KNOTS = np.linspace(-6.0, 7.0, 27)
RANGES = np.array(
    [(-5.0255, 4.5577), (-np.log(80.0), -np.log(0.002)), (-np.log(50.0), -np.log(0.01)), (-np.log(150), -np.log(0.01))]
)
GROUPS = (
    (1000, 16, 8, 10, 24),
    (1100, 8, 32, 16, 16),
    (1200, 8, 128, 40, 12),
)  # seed, mixtures, dimensions, components, samples
BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12))


def padded(mixture: Mixture, components: int) -> Mixture:
    """With further components of no weight."""
    more = components - len(mixture.weights)
    means = np.pad(mixture.means, ((0, more), (0, 0)))
    return Mixture(means, np.pad(mixture.stds, (0, more), constant_values=1), np.pad(mixture.weights, (0, more)))


def family(seed, count, dim, components, samples):
    """Mixtures, starts `(mixtures, samples, dim)`, ranges of λ and exact ends."""
    rng, made = np.random.default_rng(seed), []
    for i in range(count):
        low, size = rng.uniform(0.1, 0.6), rng.uniform(0.7, 1.3)
        one = Mixture.random(seed + i, (low, low + rng.uniform(0.1, 0.6)), dim, int(rng.integers(3, components + 1)))
        made.append(padded(Mixture(size * one.means, size * one.stds, one.weights), components))
    mixtures = jax.tree.map(lambda *a: jnp.asarray(np.stack(a)), *made)
    ranges = RANGES[np.arange(count) % len(RANGES)]
    starts = rng.standard_normal((count, samples, dim)) * np.exp(-ranges[:, :1, None])
    rows = mixtures, jnp.asarray(starts), jnp.asarray(ranges)
    ends = jax.jit(lambda rows: jax.lax.map(lambda row: row[0].flow(row[1], row[2][0], row[2][1], 500), rows))(rows)
    return jax.tree.map(lambda a: a.astype(jnp.float32), (*rows, ends))


def log_snrs(log_density, ends, evaluations):
    """The nodes of `Tuned`."""
    density = jnp.exp(log_density)
    total = jnp.concatenate([jnp.zeros(1, density.dtype), jnp.cumsum((density[1:] + density[:-1]) / 2)])
    first, last = jnp.interp(ends[0], KNOTS, total), jnp.interp(ends[1], KNOTS, total)
    inner = jnp.interp(first + (last - first) * jnp.arange(1, evaluations) / evaluations, total, KNOTS)
    return jnp.concatenate([ends[:1], inner, ends[1:]])


def errors(log_density, rows, evaluations):
    """Logarithms of the geometric mean error of `IPNDM(3)`, by mixture."""
    weights = np.zeros((evaluations, 3))
    for i in range(evaluations):
        order = min(i + 1, 3)
        weights[i, :order] = BASHFORTH[order - 1]
    weights = jnp.asarray(weights, jnp.float32)

    def one(mixture, y, ends, exact):
        s = jnp.exp(-log_snrs(log_density, ends, evaluations))

        def step(carry, row):
            y, noises = carry
            level, target, w = row
            noise = (y - jax.vmap(lambda y: mixture.denoise(y, level))(y)) / level
            noises = jnp.concatenate([noise[None], noises[:2]])
            return (y + (target - level) * jnp.tensordot(w, noises, 1), noises), None

        start = y, jnp.zeros((3, *y.shape), y.dtype)
        (y, _), _ = jax.lax.scan(jax.checkpoint(step), start, (s[:-1], s[1:], weights))
        return jnp.mean(jnp.log(jnp.sqrt(jnp.mean((y - exact) ** 2, -1)) + 1e-5))

    return jax.vmap(one)(*rows)


def tuned(start, data, evaluations, steps):
    usual = np.sqrt(VPLinear().time(KNOTS - 0.01)) - np.sqrt(VPLinear().time(KNOTS + 0.01))
    usual = [jnp.asarray(np.log(usual), jnp.float32), jnp.zeros(len(KNOTS), jnp.float32)]

    @jax.jit
    def every(log_density):
        return jnp.concatenate([errors(log_density, rows, evaluations) for rows in data])

    base = jnp.minimum(*(every(u) for u in usual))
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-2, steps))

    def loss(x):
        return (
            jax.nn.logsumexp(2 * (every(x) - base)) / 2 - np.log(len(base)) / 2 + 2e-4 * jnp.sum(jnp.diff(x, n=2) ** 2)
        )

    @jax.jit
    def step(x, state):
        value, slope = jax.value_and_grad(loss)(x)
        updates, state = optimizer.update(slope, state)
        return optax.apply_updates(x, updates), state, value

    x = usual[0] if start is None else start
    state = optimizer.init(x)
    for _ in range(steps):
        x, state, value = step(x, state)
    ratio = np.exp(every(x) - base)
    print(
        f"{evaluations}: loss {value:.3f}, error over that of the better usual grid {ratio.mean():.2f}, at most {ratio.max():.2f}"
    )
    return x


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[10, 5, 20, 7, 14])
    parser.add_argument("--out", default="tuned_times.npz")
    given = parser.parse_args()
    with jax.enable_x64(True):
        data = [family(*group) for group in GROUPS]
    found, start = {}, None
    for evaluations in given.evaluations:
        found[str(evaluations)] = x = tuned(start, data, evaluations, given.steps)
        start = x if start is None else start
    np.savez(given.out, **{name: np.asarray(x - x.mean()) for name, x in found.items()})


if __name__ == "__main__":
    main()
