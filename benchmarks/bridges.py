"""Schrödinger bridges between two distributions against known plans: errors of ends and of the coupling.

    python benchmarks/bridges.py [--quick | --smoke]

dx = √ε dW conditioned on both ends, ε = 0.1, 1 and 10 (with --quick 1), 5000 samples of either end, in two beds:

- "Gaussian": between two Gaussians in 2 dimensions whose covariances do not commute; the plan is Gaussian, in closed form.
- "potential": from N(0, 1) in 4 dimensions to the end of the bridge whose potential is a mixture of five Gaussians, so that its
  plan is a mixture in closed form (the benchmark of Gushchin et al. 2023).

`LightBridge` has its form; on the second bed it is given ten components, on the first as many. The simplified diffusion bridge
(`BridgeHalfObjective`) has two networks of 64 × 3, trained in turn, and paths of 40 steps. Errors are taken on 2000 starts that
no training saw, by 20 ends of each:

- "mean": root mean square of E[x₁ | x₀] − its exact value over the standard deviation of x₁ (20 samples leave about 0.1 of the
  bridge's own spread, which "exact" shows: the same count of samples of the exact plan);
- "ends": the Bures-Wasserstein distance between the Gaussians with the moments of the ends, over the variance of x₁, in percent.

Last line: JSON, both errors by bed, ε and method; `light_mean_max` and `simplified_mean_max`, the largest.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from common.command_line import options
from common.record import record
from scipy.linalg import sqrtm

import surrogax as sx
from surrogax.solvers.diffusion import LightBridge
from surrogax.surrogates import generative

KEYS = jax.random.split(jax.random.key(0), 8)


class Size(NamedTuple):
    """How much to run: ε, training samples, rounds of the simplified bridge, steps of a training."""

    epsilons: tuple[float, ...]
    samples: int
    tested: int
    rounds: int
    steps: int


FULL = Size((0.1, 1.0, 10.0), 5000, 2000, 6, 1500)
QUICK = Size((1.0,), 2000, 500, 3, 400)
SMOKE = Size((1.0,), 50, 20, 1, 2)
REPEATS = 20


class GaussianPlan(NamedTuple):
    """x₁ = mean + gain (x₀ − start) + noise of the bridge between N(start, A) and N(mean, B)."""

    start: np.ndarray
    mean: np.ndarray
    spread: np.ndarray  # A
    gain: np.ndarray
    rest: np.ndarray  # covariance of x₁ given x₀

    @classmethod
    def of(cls, epsilon: float) -> "GaussianPlan":
        """The covariance C of the ends is A^(1/2) (A^(1/2) B A^(1/2) + ε²/4)^(1/2) A^(−1/2) − ε/2 (Mallasto et al. 2022)."""
        a, b = np.array([[1.0, 0.5], [0.5, 0.6]]), np.array([[0.3, -0.2], [-0.2, 0.8]])
        root = np.real(sqrtm(a))
        inner = np.real(sqrtm(root @ b @ root + epsilon**2 / 4 * np.eye(2)))
        covariance = root @ inner @ np.linalg.inv(root) - epsilon / 2 * np.eye(2)
        gain = np.linalg.solve(a, covariance).T
        return cls(np.array([0.0, 1.0]), np.array([2.0, -1.0]), a, gain, b - gain @ covariance)

    def starts(self, rng, n: int) -> np.ndarray:
        return rng.multivariate_normal(self.start, self.spread, n)

    def means(self, x0: np.ndarray) -> np.ndarray:
        return self.mean + (x0 - self.start) @ self.gain.T

    def ends(self, x0: np.ndarray, key) -> np.ndarray:
        noise = np.asarray(jax.random.normal(key, x0.shape))
        return self.means(x0) + noise @ np.linalg.cholesky(self.rest).T


class MixturePlan(NamedTuple):
    """The plan of a light bridge with known numbers, from N(0, 1)."""

    bridge: LightBridge

    @classmethod
    def of(cls, epsilon: float) -> "MixturePlan":
        rng, bridge = np.random.default_rng(3), LightBridge(4, 5, epsilon, key=KEYS[0])
        centres, scales = 1.5 * rng.standard_normal((5, 4)), rng.uniform(0.2, 0.6, (5, 4))
        fields = lambda b: (b.centres, b.log_scales)  # noqa: E731
        made = jax.tree.map(jnp.asarray, (centres.astype(np.float32), np.log(scales).astype(np.float32)))
        return cls(eqx.tree_at(fields, bridge, made))

    def starts(self, rng, n: int) -> np.ndarray:
        return rng.standard_normal((n, 4))

    def means(self, x0: np.ndarray) -> np.ndarray:
        def one(x):
            shares = jax.nn.softmax(self.bridge.log_shares(x))
            return shares @ (self.bridge.centres + jnp.exp(self.bridge.log_scales) * x)

        return np.asarray(jax.vmap(one)(jnp.asarray(x0, jnp.float32)))

    def ends(self, x0: np.ndarray, key) -> np.ndarray:
        return np.asarray(self.bridge.sample(x0, key))


BEDS = {"Gaussian": GaussianPlan, "potential": MixturePlan}


def light(x0, x1, epsilon: float, size: Size):
    """Ends of given starts, by a light bridge of ten components."""
    dim = x0.shape[1]
    model = generative.TrainableBridge(LightBridge(dim, 10, epsilon, key=KEYS[1]))
    rate = optax.cosine_decay_schedule(1e-2, 3 * size.steps)
    bridge = sx.fit(
        model, starts=x0, ends=x1, optimizer=optax.adam(rate), steps=3 * size.steps, progress=False, key=KEYS[2]
    ).last.bridge
    return lambda starts, key: bridge.sample(starts, key)


def simplified(x0, x1, epsilon: float, size: Size):
    """Ends of given starts, by two networks trained in turn."""
    there, back = (generative.VectorField(x0.shape[1], 64, 3, key=k) for k in KEYS[3:5])
    forward = None

    def half(model, starts, velocity, key):
        objective = generative.BridgeHalfObjective(starts, velocity, epsilon=epsilon, steps=40, batch=128)
        rate = optax.cosine_decay_schedule(2e-3, size.steps)
        return sx.fit(
            model, objective=objective, optimizer=optax.adam(rate), steps=size.steps, progress=False, key=key
        ).last

    for key in jax.random.split(KEYS[5], size.rounds):
        back = half(back, x0, forward, key)
        forward = there = half(there, x1, back, key)

    def ends(starts, key):
        return generative.bridge_paths(there, starts, epsilon=epsilon, steps=40, key=key)[:, -1]

    return ends


def errors(plan, ends, starts: np.ndarray, x1: np.ndarray) -> dict[str, float]:
    """Both errors of a method, whose function `ends(starts, key)` makes one end of every start."""
    found = np.stack([np.asarray(ends(starts, key)) for key in jax.random.split(KEYS[6], REPEATS)])
    scale = np.sqrt(x1.var(0).sum())
    mean = np.sqrt(((found.mean(0) - plan.means(starts)) ** 2).sum(-1).mean()) / scale
    return {"mean": float(mean), "ends": float(100 * bures(found.reshape(-1, starts.shape[1]), x1) / scale**2)}


def bures(x: np.ndarray, y: np.ndarray) -> float:
    """Squared Bures-Wasserstein distance between the Gaussians with the moments of two sets of samples."""
    a, b = np.cov(x.T), np.cov(y.T)
    root = np.real(sqrtm(a))
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * np.real(sqrtm(root @ b @ root))))


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE)
    size = arguments.size
    cases, largest = {}, {"light": 0.0, "simplified": 0.0}
    print(f"{'':40}{'mean':>8}{'ends %':>9}")
    for bed, kind in BEDS.items():
        for epsilon in size.epsilons:
            plan, rng = kind.of(epsilon), np.random.default_rng(4)
            x0, other, starts = (plan.starts(rng, n) for n in (size.samples, size.samples, size.tested))
            x1 = plan.ends(other, KEYS[7])
            methods = {
                "exact": plan.ends,
                "light": light(x0, x1, epsilon, size),
                "simplified": simplified(x0, x1, epsilon, size),
            }
            # The second moments of the exact ends, by more samples than any training saw.
            exact = plan.ends(plan.starts(rng, 50 * size.tested), jax.random.key(9))
            for name, ends in methods.items():
                cases[f"{bed}, ε = {epsilon:g}, {name}"] = found = errors(plan, ends, starts, exact)
                print(f"{bed}, ε = {epsilon:g}, {name:20}".ljust(40), f"{found['mean']:8.4f}{found['ends']:9.3f}")
                if name in largest:
                    largest[name] = max(largest[name], found["mean"])
    record("bridges", arguments, {**{f"{k}_mean_max": v for k, v in largest.items()}, "cases": cases})


if __name__ == "__main__":
    main()
