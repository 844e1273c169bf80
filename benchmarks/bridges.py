"""Schrödinger bridges between two distributions against known plans: errors of ends and of the coupling.

    python benchmarks/bridges.py [--quick | --smoke] [--runs FOLDER] [--rows ROW …]

dx = √ε dW conditioned on both ends, ε = 0.1, 1 and 10 (with --quick 1), 5000 samples of either end, in two beds:

- "Gaussian": between two Gaussians in 2 dimensions whose covariances do not commute; the plan is Gaussian, in closed form.
- "potential": from N(0, 1) in 4 dimensions to the end of the bridge whose potential is a mixture of five Gaussians, so that its
  plan is a mixture in closed form (the benchmark of Gushchin et al. 2023).

`LightBridge` has its form; on both beds it is given ten components. The simplified diffusion bridge (`BridgeHalfObjective`) has
two networks of 64 × 3, trained in turn from independent pairs on, 17 times 2000 steps, and paths of 40 steps; "Brownian" starts
from the pairs of Brownian motion instead, which is iterative proportional fitting (at the smallest ε; at the others both starts
converge within the rounds). Every row is kept in `--runs` when it is finished; all take about 25 minutes of one core. Errors are
taken on 2000 starts that no training saw, by 20 ends of each:

- "mean": root mean square of E[x₁ | x₀] − its exact value over the standard deviation of x₁ (20 samples leave about 0.1 of the
  bridge's own spread, which "exact" shows: the same count of samples of the exact plan);
- "ends": the Bures-Wasserstein distance between the Gaussians with the moments of the ends, over the variance of x₁, in percent.

Last line: JSON, both errors by bed, ε and method; `light_mean_max` and `simplified_mean_max`, the largest, and
`light_over_exact_max` and `simplified_over_exact_max`, the largest ratio to the error of exact draws; null unless all rows ran.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from common.command_line import options
from common.kept_rows import NOT_RUN, KeptRows, row_options
from common.record import record
from scipy.linalg import sqrtm

import surrogax as sx
from surrogax.solvers.diffusion import LightBridge
from surrogax.surrogates import generative

KEYS = jax.random.split(jax.random.key(0), 8)


class Size(NamedTuple):
    """How much to run: ε, training samples, starts of the test, rounds of the simplified bridge, copies of every sample in its
    pairs, steps of a training."""

    epsilons: tuple[float, ...]
    samples: int
    tested: int
    rounds: int
    copies: int
    steps: int


FULL = Size((0.1, 1.0, 10.0), 5000, 2000, 8, 4, 2000)
QUICK = Size((1.0,), 2000, 500, 2, 4, 500)
SMOKE = Size((1.0,), 50, 20, 1, 1, 2)
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


def simplified(x0, x1, epsilon: float, size: Size, independent: bool):
    """Ends of given starts, by two networks trained in turn, first on independent pairs or on those of Brownian motion."""
    there, back = (generative.VectorField(x0.shape[1], 64, 3, key=k) for k in KEYS[3:5])
    x0, x1 = (np.tile(np.asarray(x, np.float32), (size.copies, 1)) for x in (x0, x1))
    rng = np.random.default_rng(5)

    def half(model, starts, ends, key):
        objective = generative.BridgeHalfObjective(starts, ends, epsilon=epsilon)
        rate = optax.cosine_decay_schedule(2e-3, size.steps)
        return sx.fit(
            model, objective=objective, optimizer=optax.adam(rate), steps=size.steps, progress=False, key=key
        ).last

    def reached(model, starts, key):
        return generative.bridge_paths(model, starts, epsilon=epsilon, key=key)[:, -1]

    if independent:
        there = half(there, x0, rng.permutation(x1), jax.random.key(10))
        ends = reached(there, x0, jax.random.key(11))
    else:
        ends = x0 + np.float32(np.sqrt(epsilon)) * rng.standard_normal(x0.shape, np.float32)
    for key in jax.random.split(KEYS[5], size.rounds):
        keys = jax.random.split(key, 4)
        back = half(back, ends, x0, keys[0])
        there = half(there, reached(back, x1, keys[1]), x1, keys[2])
        ends = reached(there, x0, keys[3])
    return lambda starts, key: reached(there, starts, key)


METHODS = {
    "exact": lambda plan, *_: plan.ends,
    "light": lambda plan, *given: light(*given),
    "simplified": lambda plan, *given: simplified(*given, independent=True),
    "simplified, Brownian": lambda plan, *given: simplified(*given, independent=False),
}


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


def row(bed: str, epsilon: float, method: str, size: Size) -> dict[str, float]:
    """The errors of a method."""
    plan, rng = BEDS[bed].of(epsilon), np.random.default_rng(4)
    x0, other, starts = (plan.starts(rng, n) for n in (size.samples, size.samples, size.tested))
    ends = METHODS[method](plan, x0, plan.ends(other, KEYS[7]), epsilon, size)
    # The second moments of the exact ends, by more samples than any training saw.
    return errors(plan, ends, starts, plan.ends(plan.starts(rng, 50 * size.tested), jax.random.key(9)))


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, **row_options("bridges"))
    size = arguments.size
    cases = {
        (bed, e, m): f"{bed}, ε = {e:g}, {m}"
        for bed in BEDS for e in size.epsilons for m in METHODS if m != "simplified, Brownian" or e == min(size.epsilons)
    }  # fmt: skip
    rows, found = KeptRows(arguments, size, cases.values()), {}
    print(f"{'':42}{'mean':>8}{'ends %':>9}")
    for case, label in cases.items():
        found[case] = here = rows.row(label, lambda case=case: row(*case, size))
        shown = NOT_RUN if here == NOT_RUN else f"{here['mean']:8.4f}{here['ends']:9.3f}"
        print(label.ljust(42), shown, flush=True)

    def largest(method: str, over_exact: bool = False) -> float | None:
        pairs = [(found[bed, e, method], found[bed, e, "exact"]) for bed, e, m in cases if m == method]
        if any(NOT_RUN in pair for pair in pairs):
            return None
        return max(one["mean"] / (exact["mean"] if over_exact else 1.0) for one, exact in pairs)

    values = {f"{method}_mean_max": largest(method) for method in ("light", "simplified")}
    values |= {f"{method}_over_exact_max": largest(method, True) for method in ("light", "simplified")}
    record("bridges", arguments, values | {"cases": {cases[case]: one for case, one in found.items()}})


if __name__ == "__main__":
    main()
