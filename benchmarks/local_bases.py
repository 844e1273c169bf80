"""Local bases on unseen data: which clustering, how many modes, and what a classifier loses against the oracle.

    python benchmarks/local_bases.py [--quick | --smoke]

Five data sets, drawn anew for every seed: moving Gaussians (seed 0 is the reference setting), Burgers with random viscosity
and mean velocity, Darcy with a two-valued coefficient, a travelling tanh front, Kuramoto-Sivashinsky from random initial
fields. Train and unseen snapshots come from different samples, of time-dependent problems from different trajectories. Every
number is the mean over the unseen snapshots of ‖u − P u‖/‖u‖ in the norm of the grid, then mean ± standard deviation over
seeds.

"oracle" assigns an unseen snapshot by its distance to the medoid or centre, for which the solution must be known.
"network" is a classifier of what is known before a solve: parameters, time, and coefficients of input fields in a POD basis
of the training inputs; "blend" adds the projections on its two most probable bases with the predicted shares, and "best of
two" keeps the better one, for which the solution must be known. Beside them one global POD basis of N and one of K·N modes.
Clusters of fewer than N members are dissolved; `bases` in the details counts those that stay.

--quick: two seeds, but for the Gaussians 200 snapshots and one (K, N); --smoke: one seed, 22
snapshots of three data sets, two clusterings, K = N = 2.

Last line: JSON. `gaussians_…` are those of seed 0; `worst_vs_best_other` is the largest ratio over all other data sets and
(K, N) of the mean error of "sine" to that of the best other clustering, assigned by the oracle; `…_classifier`, by "network".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from common.command_line import options
from common.record import record
from common.snapshots import moving_gaussians as draw_gaussians

import surrogax as sx
from surrogax.surrogates.reduced import fit_classifier, local_bases, pod

METHODS = ("kmeans", "normalized_kmeans", "l2", "normalized_l2", "sine")
CHOICES = ("oracle", "network", "blend", "best of two")


class Snapshots(NamedTuple):
    """Fields `(n, points)`, what is known of each before a solve `(n, d)`, quadrature weights `(points,)`."""

    u: np.ndarray
    z: np.ndarray
    weights: np.ndarray | None = None


def moving_gaussians(seed: int, n: int) -> tuple[Snapshots, Snapshots]:
    return Snapshots(*draw_gaussians(2 * seed, n)), Snapshots(*draw_gaussians(2 * seed + 1, n))


def travelling_front(seed: int, n: int) -> tuple[Snapshots, Snapshots]:
    """½(1 − tanh((x − x0 − ct)/2ε)) at 11 instants of [0, 1]."""
    grid, times = sx.Grid.unit_interval(512), np.linspace(0, 1, 11)

    def draw(rng) -> Snapshots:
        x0, c = rng.uniform(0.1, 0.2, n // 11), rng.uniform(0.4, 0.7, n // 11)
        width = 10 ** rng.uniform(np.log10(0.005), np.log10(0.02), n // 11)
        z = np.stack([np.repeat(p, 11) for p in (x0, c, np.log(width))] + [np.tile(times, n // 11)], 1)
        front = z[:, 0] + z[:, 1] * z[:, 3]
        u = 0.5 * (1 - np.tanh((grid.coordinates[0] - front[:, None]) / (2 * np.exp(z[:, 2:3]))))
        return Snapshots(u, z, grid.weights)

    return draw(np.random.default_rng([seed, 0])), draw(np.random.default_rng([seed, 1]))


@dataclass(frozen=True)
class Wave(sx.random.Distribution):
    """m + sin 2πx with a mean velocity m that is uniform in [0.5, 1.5]: the shock travels."""

    is_field, isotropic, smooth = True, False, True

    def sample(self, key, grid):
        return jax.random.uniform(key, minval=0.5, maxval=1.5) + np.sin(2 * np.pi * grid.coordinates[0])


def generated(problem: sx.Problem, size: int, times: np.ndarray | None, inputs: str, rank: int) -> Callable:
    """Solutions of a declared problem; known are the logarithm of the viscosity, if any, the time, and `rank`
    coefficients of the input field."""

    def draw(seed: int, n: int) -> tuple[Snapshots, Snapshots]:
        instants = 1 if times is None else len(times)
        n //= instants
        grid = problem.box.grid(size)
        settings = dict(times=times, label_samples=0, cache=False, progress=False)
        data = sx.generate(problem, n=2 * n, grid=grid, key=jax.random.key(seed), **settings)
        fields = data[inputs].reshape(2 * n, -1).astype(np.float64)
        mean, weights = fields[:n].mean(0), grid.weights.ravel()
        modes = pod(fields[:n] - mean, weights, rank=rank).modes
        columns = [((fields - mean) * weights) @ modes]
        if "nu" in problem.laws:
            columns.append(np.log(data["nu"]).reshape(-1, 1))
        z = np.repeat(np.concatenate(columns, 1), instants, axis=0)
        if times is not None:
            z = np.concatenate([z, np.tile(times, 2 * n)[:, None]], 1)
        u = data["u"].reshape(2 * n * instants, -1).astype(np.float64)
        half = n * instants
        return Snapshots(u[:half], z[:half], weights), Snapshots(u[half:], z[half:], weights)

    return draw


CASES = {
    "gaussians": moving_gaussians,
    "burgers": generated(
        sx.problem("burgers", nu=sx.random.LogUniform(2e-3, 5e-2), u0=Wave()), 256, np.linspace(0, 1, 11), "u0", 1
    ),
    "darcy": generated(sx.problem("darcy"), 33, None, "a", 24),
    "front": travelling_front,
    "kuramoto": generated(sx.problem("kuramoto_sivashinsky"), 64, np.linspace(0, 10, 6), "u0", 12),
}


class Size(NamedTuple):
    """How much to run: data sets, clusterings, seeds, snapshots and pairs (K, N)."""

    cases: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: int
    gaussians: int
    of_gaussians: tuple[tuple[int, int], ...]
    others: int
    of_others: tuple[tuple[int, int], ...]


GRID = ((5, 3), (5, 5), (5, 8), (10, 3), (10, 5), (10, 8))
FULL = Size(tuple(CASES), METHODS, 5, 500, GRID, 600, GRID)
QUICK = Size(tuple(CASES), METHODS, 2, 500, ((5, 3), (10, 8)), 200, ((10, 8),))
SMOKE = Size(("gaussians", "front", "burgers"), ("kmeans", "sine"), 1, 22, ((2, 2),), 22, ((2, 2),))


def errors_of(local, train: Snapshots, unseen: Snapshots, key) -> dict[str, float]:
    """Mean error on unseen snapshots by way of choice."""
    errors, rows = local.projection_errors(unseen.u), np.arange(len(unseen.u))
    on_train = local.projection_errors(train.u)
    classify = fit_classifier("network", train.z, local.labels, k=len(local.bases), errors=on_train, key=key)
    labels, shares = (np.asarray(x) for x in most_probable(classify, unseen.z))
    found = {
        "oracle": errors[rows, local.assign(unseen.u)],
        "network": errors[rows, labels[:, 0]],
        "blend": blended(local, labels, shares, unseen),
        "best of two": errors[rows[:, None], labels].min(1),
    }
    return {choice: float(values.mean()) for choice, values in found.items()}


@eqx.filter_jit
def most_probable(classify, z):
    return jax.vmap(classify.top)(z)


def blended(local, labels, shares, unseen: Snapshots) -> np.ndarray:
    weights = np.ones(unseen.u.shape[1]) if unseen.weights is None else unseen.weights
    rest = unseen.u.copy()
    for which, share in zip(labels.T, shares.T, strict=True):
        for k, basis in enumerate(local.bases):
            own = which == k
            rest[own] -= share[own, None] * ((unseen.u[own] * weights) @ basis) @ basis.T
    return np.sqrt((rest**2 @ weights) / (unseen.u**2 @ weights))


def measure(case: str, seed: int, sizes: tuple[tuple[int, int], ...], n: int, methods: tuple[str, ...]) -> dict:
    """Errors of one seed by (K, N), method and choice."""
    train, unseen = CASES[case](seed, n)
    found, key = {}, jax.random.key(seed)
    whole = local_bases(train.u, 1, max(k * r for k, r in sizes), train.weights)
    for k, rank in sizes:
        found[k, rank, "global N", "oracle"] = float(whole.truncated(rank).projection_errors(unseen.u).mean())
        found[k, rank, "global K·N", "oracle"] = float(whole.truncated(k * rank).projection_errors(unseen.u).mean())
        for method in methods:
            local = local_bases(train.u, k, rank, train.weights, clustering=method, key=key)
            found[k, rank, method, "bases"] = len(local.bases)
            for choice, error in errors_of(local, train, unseen, key).items():
                found[k, rank, method, choice] = error
    return found


def worst_ratio(results: dict, choice: str) -> float:
    """Of all data sets but the Gaussians: largest mean error of "sine" relative to that of the best other clustering."""
    ratios = []
    for case, seeds in results.items():
        mean = {key: np.mean([found[key] for found in seeds]) for key in seeds[0] if key[3] == choice}
        for k, rank, method, _ in mean:
            if case != "gaussians" and method == "sine":
                others = [mean[k, rank, other, choice] for other in METHODS[:-1] if (k, rank, other, choice) in mean]
                ratios.append(mean[k, rank, "sine", choice] / min(others))
    return max(ratios)


def main() -> None:
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE)
    size = arguments.size

    results = {}
    line = "{:>10} {:>3} {:>3}  {:<18}" + "{:>18}" * len(CHOICES)
    print(line.format("data", "K", "N", "basis", *CHOICES))
    for case in size.cases:
        n, wanted = (size.gaussians, size.of_gaussians) if case == "gaussians" else (size.others, size.of_others)
        results[case] = [measure(case, seed, wanted, n, size.methods) for seed in range(size.seeds)]
        for k, rank in wanted:
            for method in ("global N", "global K·N", *size.methods):
                cells = []
                for choice in CHOICES:
                    values = [
                        found[k, rank, method, choice] for found in results[case] if (k, rank, method, choice) in found
                    ]
                    cells.append(f"{np.mean(values):.5f} ± {np.std(values):.5f}" if values else "")
                print(line.format(case, k, rank, method, *cells), flush=True)

    first = results["gaussians"][0]
    values = {
        **{
            f"gaussians_k{k}_n{rank}{suffix}": first.get((k, rank, "sine", choice))
            for suffix, choice in (("", "oracle"), ("_classifier", "network"))
            for k, rank in ((5, 3), (10, 8))
        },
        "worst_vs_best_other": worst_ratio(results, "oracle"),
        "worst_vs_best_other_classifier": worst_ratio(results, "network"),
        "details": {
            case: {
                f"K={k} N={rank} {method} {choice}": [found[k, rank, method, choice] for found in seeds]
                for k, rank, method, choice in seeds[0]
            }
            for case, seeds in results.items()
        },
    }
    record("local_bases", arguments, values)


if __name__ == "__main__":
    main()
