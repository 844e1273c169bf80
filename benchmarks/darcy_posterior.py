"""The permeability of Darcy flow from a few sensors of the pressure: a joint diffusion model of both fields, conditioned.

    python benchmarks/darcy_posterior.py [--quick | --smoke] [--kept PATH]

−∇·(e^θ ∇u) = 1 on the unit square, u = 0 on its sides, θ a Gaussian field of standard deviation about 0.9, solved on 65² nodes. A
`Denoiser` of (θ, u) with an FNO beside the Gaussian law of the data and Matérn noise learns from 4000 samples on every other
node, 33²; it never sees which sensors there are. Sensors at 25 random nodes, and at 100, give u with errors of 1 % of its
standard deviation. Guidance draws 39 samples for each of 50 test cases, of which the second smallest and the second largest
value at a point enclose 90 %. It is `MomentMatched` or `PriorCovariance`, whichever has the lower error of θ on 4 validation
cases with 25 sensors (`trials`). The same network, without more training, draws for 10 cases on 65² nodes, beside the Gaussian
law of the 4000 samples there.

Beside it, all with the same sensors: the exact Gaussian posterior under mean and covariance of the 4000 samples (Gaussian
process regression with the best covariance there is); an FNO trained for these sensors, from their values (zero elsewhere) and
places to θ; the mean field. Errors are relative L2 errors of θ on the nodes, the mean over cases. FNO and denoiser have equal
networks and steps.

--kept PATH keeps the training, the solutions and the samples of the full run, which then goes on where it was interrupted.
--quick: a small network, 4 cases. Last line: JSON. `rel_error_a`, `coverage_90`, `std_ratio` (root mean squared error over root
mean variance of the samples), with 25 sensors; `sensors_100`, `finer_grid`: the same there; `gp_…`, `fno_rel_error_a`,
`mean_rel_error_a`; `seconds_per_sample`.
"""

import time
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from common.command_line import options
from common.record import record

import surrogax as sx
from surrogax.solvers import diffusion as sd

KEY, NOISE = jax.random.key(0), sx.random.Matern(0.15, 0.5)


class Size(NamedTuple):
    """How much to run."""

    points: int
    train: int
    cases: int
    finer: int
    samples: int
    width: int
    steps: int
    evaluations: int
    products: int
    sensors: tuple[int, ...] = (25, 100)


FULL = Size(33, 4000, 50, 10, 39, 32, 6000, 16, 12)
QUICK = Size(17, 200, 4, 1, 19, 16, 300, 8, 6)
SMOKE = Size(9, 8, 1, 0, 3, 4, 2, 2, 2, (25,))


def solutions(n: int, points: int, key) -> tuple[np.ndarray, np.ndarray, sx.Grid]:
    """θ and u on 2 · points − 1 nodes along each side."""
    law = sx.random.Lognormal(3.0, sx.random.GaussianField(2, 3))
    data = sx.generate(sx.problem("darcy", a=law), n, 2 * points - 1, key, cache=False, progress=False)
    return np.log(np.asarray(data["a"])), np.asarray(data["u"]), data.grid


def kept_arrays(folder: Path | None, name: str, make) -> dict[str, np.ndarray]:
    """Arrays from a file of the folder, or made and written there."""
    file = None if folder is None else folder / f"{name}.npz"
    if file is not None and file.exists():
        return dict(np.load(file))
    found = make()
    if file is not None:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(file, **found)
    return found


def trained(model, data, val, size: Size, folder: Path | None, name: str, **details):
    batch = min(32, len(data))
    epochs = max(1, size.steps // (len(data) // batch))
    rate = optax.cosine_decay_schedule(2e-3, epochs * (len(data) // batch), 1e-2)
    start = time.perf_counter()
    result = sx.fit(
        model, data, val=val, optimizer=optax.adam(rate), epochs=epochs, batch_size=batch, progress=False,
        run=None if folder is None else folder / name, checkpoint_every=20.0, **details,
    )  # fmt: skip
    print(f"{name}: {epochs} epochs, {time.perf_counter() - start:.0f} s in this process", flush=True)
    return result


def guidances(model: sx.Denoiser, size: Size) -> dict:
    """By name."""
    return {
        "MomentMatched": sd.MomentMatched(sx.linear.CG(rtol=1e-2, max_steps=size.products)),
        "PriorCovariance": sd.PriorCovariance(model.gaussian_law),
    }


@eqx.filter_jit
def drawn(model: sx.Denoiser, guidance, grid: sx.Grid, nodes, values, std: float, size: Size, key):
    """Samples of θ, u `(n, *grid, 2)` given normalised u at some nodes."""
    noise = model.noise_on(grid)
    seen = sd.Observation(lambda x: jnp.ravel(x[..., 1])[nodes], values, std=std)
    guided = guidance(model.denoiser_on(grid), seen, noise=noise)
    return sd.sample(
        guided, sd.UniPC(3), schedule=model.schedule, times=sd.LogSNR(size.evaluations), shape=model.shape(grid),
        n=size.samples, key=key, noise=noise,
    )  # fmt: skip


def scores(truth: np.ndarray, mean: np.ndarray, std: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Over cases `(case, points)`."""
    return {
        "rel_error_a": float(np.mean(np.linalg.norm(mean - truth, axis=1) / np.linalg.norm(truth, axis=1))),
        "coverage_90": float(inside.mean()),
        "std_ratio": float(np.sqrt(np.mean((mean - truth) ** 2) / np.mean(std**2))),
    }


def of_samples(truth: np.ndarray, samples: np.ndarray) -> dict[str, float]:
    """Of samples `(case, n, points)`."""
    ordered, n = np.sort(samples, 1), samples.shape[1]
    k = max(round((n + 1) / 20) - 1, 0)
    inside = (ordered[:, k] <= truth) & (truth <= ordered[:, n - 1 - k])
    return scores(truth, samples.mean(1), samples.std(1, ddof=1) * np.sqrt(1 + 1 / n), inside)


def gaussian_process(train: np.ndarray, seen: np.ndarray, nodes: np.ndarray, values: np.ndarray, std: float):
    """Mean and standard deviation of θ given u at the nodes; `train` θ, `seen` u, both `(sample, points)`."""
    mean, centred = train.mean(0), train - train.mean(0)
    u = seen[:, nodes]
    inner = np.cov(u.T) + std**2 * np.eye(len(nodes))
    cross = centred.T @ (u - u.mean(0)) / (len(train) - 1)
    gain = np.linalg.solve(inner, cross.T).T
    variance = centred.var(0, ddof=1) - np.sum(gain * cross, 1)
    return mean + (values - u.mean(0)) @ gain.T, np.sqrt(np.maximum(variance, 0))


def main():
    arguments = options(
        __doc__, full=FULL, quick=QUICK, smoke=SMOKE,
        kept={"type": Path, "default": None, "help": "folder in which the parts of the full run are kept"},
    )  # fmt: skip
    size, kept = arguments.size, arguments.kept
    total = size.train + size.cases + max(size.cases, 4)

    def make():
        theta, u, _ = solutions(total, size.points, KEY)
        return {"theta": theta, "u": u}

    fields = kept_arrays(kept, "solutions", make)
    theta, u = fields["theta"], fields["u"]
    fine = sx.Grid.unit_square(2 * size.points - 1)
    coarse = sx.Grid.unit_square(size.points)
    parts = {"train": slice(0, size.train), "val": slice(size.train + size.cases, None)}
    coarsened = {"theta": theta[:, ::2, ::2], "u": u[:, ::2, ::2]}
    data = {
        name: sx.from_arrays(targets={k: v[part] for k, v in coarsened.items()}, grid=coarse)
        for name, part in parts.items()
    }
    task = sx.Task.fit(data["train"], targets=("theta", "u"))
    config = sx.FNO.config(width=size.width, modes=min(12, size.points // 2), depth=4, padding=0.125)
    prior = trained(
        sx.Denoiser(task, network=config, noise=NOISE, key=KEY, gaussian=data["train"]),
        data["train"],
        data["val"],
        size,
        kept,
        "denoiser",
        ema=0.999,
    ).last
    normal = task.normalizers["u"]
    deviation = float(normal.std[0])
    flat = {k: v[: size.train].reshape(size.train, -1) for k, v in coarsened.items()}
    tests = slice(size.train, size.train + size.cases)
    truth = coarsened["theta"][tests].reshape(size.cases, -1)
    ways, trials, chosen = guidances(prior, size), {}, ""
    found = {}
    for sensors in size.sensors:
        rng = np.random.default_rng(sensors)
        inner = np.arange(size.points**2).reshape(size.points, size.points)[1:-1, 1:-1].ravel()
        nodes = np.sort(rng.choice(inner, min(sensors, len(inner)), replace=False))
        errors = 0.01 * deviation * rng.standard_normal((total - size.train, len(nodes)))
        unseen = coarsened["u"][size.train :].reshape(len(errors), -1)[:, nodes] + errors
        values = unseen[: size.cases]
        rows, columns = np.divmod(nodes, size.points)
        there = 2 * rows * fine.shape[1] + 2 * columns

        def posterior(model, guidance, case, grid, at, values=unseen):
            encoded = jnp.asarray((values[case] - float(normal.mean[0])) / deviation, jnp.float32)
            key = jax.random.fold_in(jax.random.key(7), case)
            begin = time.perf_counter()
            x = np.asarray(drawn(model, guidance, grid, jnp.asarray(at), encoded, 0.01, size, key))
            took = (time.perf_counter() - begin) / size.samples
            own = task.normalizers["theta"]
            return {"theta": x[..., 0] * float(own.std[0]) + float(own.mean[0]), "seconds": np.asarray(took)}

        def over(cases, model, guidance, grid, at, name, sensors=sensors, posterior=posterior):
            each = [
                kept_arrays(kept, f"{name}-{sensors}-{c}", lambda c=c: posterior(model, guidance, c, grid, at))
                for c in cases
            ]
            return np.stack([e["theta"].reshape(size.samples, -1) for e in each]), [float(e["seconds"]) for e in each]

        if sensors == 25:
            validation = range(size.cases, size.cases + min(4, total - size.train - size.cases))
            true = coarsened["theta"][size.train :][validation].reshape(len(validation), -1)
            for name, way in ways.items():
                trials[name] = of_samples(true, over(validation, prior, way, coarse, nodes, f"trial-{name}")[0])
                print(f"{name}, validation: {trials[name]}", flush=True)
            chosen = min(trials, key=lambda name: trials[name]["rel_error_a"])
        samples, took = over(range(size.cases), prior, ways[chosen], coarse, nodes, f"posterior-{chosen}")
        mean, std = gaussian_process(flat["theta"], flat["u"], nodes, values, 0.01 * deviation)
        enclosed = np.abs(truth - mean) <= 1.645 * std
        found[sensors] = {
            "denoiser": of_samples(truth, samples),
            "gp": scores(truth, mean, np.broadcast_to(std, mean.shape), enclosed),
            "mean": {
                "rel_error_a": float(
                    np.mean(np.linalg.norm(truth - flat["theta"].mean(0), axis=1) / np.linalg.norm(truth, axis=1))
                )
            },
            "seconds_per_sample": float(np.median(took[1:] or took)),
        }
        print(f"{sensors} sensors: {found[sensors]}", flush=True)
        if sensors == 25 and size.finer:
            finer = prior.with_gaussian(
                sx.from_arrays(targets={"theta": theta[: size.train], "u": u[: size.train]}, grid=fine)
            )
            way = guidances(finer, size)[chosen]
            samples, _ = over(range(size.finer), finer, way, fine, there, f"finer-{chosen}")
            at = theta[size.train : size.train + size.finer].reshape(size.finer, -1)
            found["finer"] = of_samples(at, samples)
            print(f"finer grid: {found['finer']}", flush=True)
        if sensors == 25:
            found["fno"] = conditional(config, coarsened, coarse, parts, tests, nodes, values, deviation, size, kept)
            print(f"FNO for these sensors: {found['fno']:.3f}", flush=True)
    few = found[25]
    record(
        "darcy_posterior",
        arguments,
        {
            **few["denoiser"],
            "gp_rel_error_a": few["gp"]["rel_error_a"],
            "gp_coverage_90": few["gp"]["coverage_90"],
            "fno_rel_error_a": found["fno"],
            "mean_rel_error_a": few["mean"]["rel_error_a"],
            "seconds_per_sample": few["seconds_per_sample"],
            "sensors_100": found.get(100),
            "finer_grid": found.get("finer"),
            "guidance": chosen,
            "trials": trials,
            "parameters": sx.count_parameters(prior),
        },
    )


def conditional(config, fields, grid, parts, tests, nodes, values, deviation, size: Size, folder) -> float:
    """The relative error of θ by an FNO from the values of u at the sensors and where they are."""
    mask = np.zeros(grid.shape, np.float32)
    mask.reshape(-1)[nodes] = 1

    def given(u, key):
        noisy = u + 0.01 * deviation * np.random.default_rng(key).standard_normal(u.shape)
        return {"seen": noisy * mask, "place": np.broadcast_to(mask, u.shape)}

    data = {
        name: sx.from_arrays(given(fields["u"][part], 3), {"theta": fields["theta"][part]}, grid=grid)
        for name, part in parts.items()
    }
    task = sx.Task.fit(data["train"], inputs=("seen", "place"), targets="theta")
    model = sx.NetworkSurrogate.build(config, task, jax.random.fold_in(KEY, 5))
    best = trained(model, data["train"], data["val"], size, folder, "fno").best
    seen = np.zeros((size.cases, *grid.shape), np.float32)
    seen.reshape(size.cases, -1)[:, nodes] = values
    predicted = best.predict({"seen": seen, "place": np.broadcast_to(mask, seen.shape)})["theta"]
    truth = fields["theta"][tests]
    error = np.linalg.norm((predicted - truth).reshape(size.cases, -1), axis=1)
    return float(np.mean(error / np.linalg.norm(truth.reshape(size.cases, -1), axis=1)))


if __name__ == "__main__":
    main()
