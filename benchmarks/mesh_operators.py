"""Operators on meshes that differ per sample: Poisson's equation on random star-shaped domains of 500 to 1500 nodes.

    python benchmarks/mesh_operators.py [--quick | --smoke]

−Δu = f with u = 0 on the boundary. Every sample has its own domain, mesh and f; the solution is that of linear triangles on
the mesh with cells divided into four, by our conjugate gradients in float64, at the nodes of the mesh itself. All rows see f
and the distance to the boundary at the nodes. `Transolver` and `GINO` stand beside `PointNet` (one mean over all points) and
beside POD regression by Gaussian processes on a background grid of 33² nodes, to which the inputs are interpolated (zero
outside) and from which the prediction is interpolated back; "background grid" is the error of that alone, with the true solution.

Networks are trained by Adam on the relative L2 loss in the quadrature of the mesh, batch 10, a cosine schedule, one seed.
Learning rates (one of two per network) are chosen by the validation samples after the full training; errors are of the last
parameters, means over the test samples of the relative L2 error. Seconds are those of the fit that was chosen, with
compilation, on a machine that may be busy. --quick: 60 training samples, few epochs, one learning rate; --smoke: two epochs of
tiny networks on ten samples.

Last line: JSON, the errors `transolver`, `gino`, `pooling`, `pod_gp`, and beside them `label_error`, the largest `ratio` of
pooling to both operators' errors, details by row.
"""

import time
from typing import NamedTuple

import jax
import numpy as np
import optax
from common.command_line import options
from common.record import record
from common.star_domains import samples
from scipy.interpolate import LinearNDInterpolator, RegularGridInterpolator

import surrogax as sx


class Size(NamedTuple):
    """Training, validation and test samples, points per mesh, epochs, learning rates, width of the networks."""

    train: int
    val: int
    test: int
    points: tuple[int, ...]
    epochs: int
    rates: tuple[float, ...]
    width: int


FULL = Size(300, 50, 100, (490, 650, 830, 1020, 1220, 1430), epochs=30, rates=(2e-3,), width=32)
QUICK = Size(60, 10, 20, (490, 1020), epochs=4, rates=(2e-3,), width=32)
SMOKE = Size(10, 2, 2, (60,), epochs=1, rates=(1e-3,), width=4)
KEY, BATCH = jax.random.key(0), 10
BACKGROUND, HALF = 33, 2.0  # nodes per axis and half the side of the background grid


def networks(task: sx.Task, width: int) -> dict[str, sx.NetworkSurrogate]:
    grid = max(6, width)
    return {
        "transolver": sx.Transolver(task, width=width, depth=4, slices=max(4, width // 2), heads=2, key=KEY),
        "gino": sx.GINO(task, width=width, grid=grid, modes=max(2, grid * 3 // 8), depth=3, key=KEY),
        "pooling": sx.PointNet(task, width=4 * width, depth=3, key=KEY),
    }


def trained(model: sx.NetworkSurrogate, train: sx.Dataset, size: Size, rate: float):
    steps = size.epochs * (size.train // BATCH)
    start = time.perf_counter()
    fitted = sx.fit(
        model, train, optimizer=optax.adam(optax.cosine_decay_schedule(rate, steps)), epochs=size.epochs, batch_size=BATCH,
        key=KEY, progress=False,
    )  # fmt: skip
    return fitted.last, time.perf_counter() - start


def error(model: sx.AbstractSurrogate, data: sx.Dataset) -> float:
    return sx.evaluate({"model": model}, data, timing=False).value("model")


def on_grid(data: sx.Dataset) -> sx.Dataset:
    """Fields interpolated linearly to the background grid, zero outside of the meshes."""
    grid = sx.Box(x=(-HALF, HALF), y=(-HALF, HALF)).grid(BACKGROUND)
    arrays = {name: data[name] for name in ("f", "d", "u", "points", "mask")}
    found = {name: [] for name in "fdu"}
    for i in range(len(data)):
        real = arrays["mask"][i]
        values = np.stack([arrays[name][i][real] for name in "fdu"], -1)
        fields = LinearNDInterpolator(arrays["points"][i][real], values, fill_value=0.0)(grid.points)
        # Triangles between two arms of the star are outside: no mesh edge is that long.
        for name, field in zip("fdu", np.moveaxis(fields, -1, 0), strict=True):
            found[name].append(field.astype(np.float32))
    return sx.from_arrays(
        {"f": np.stack(found["f"]), "d": np.stack(found["d"])}, {"u": np.stack(found["u"])}, grid=grid
    )


def back(fields: np.ndarray, data: sx.Dataset) -> float:
    """The error at the nodes of fields on the background grid."""
    axes, errors = (np.linspace(-HALF, HALF, BACKGROUND),) * 2, []
    points, mask, weights, truth = (data[name] for name in ("points", "mask", "weights", "u"))
    for i, field in enumerate(fields):
        real = mask[i]
        u = RegularGridInterpolator(axes, field, bounds_error=False, fill_value=0.0)(points[i][real])
        v, w = truth[i][real], weights[i][real]
        errors.append(np.sqrt((w * (u - v) ** 2).sum() / (w * v**2).sum()))
    return float(np.mean(errors))


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE)
    size, start = arguments.size, time.perf_counter()
    data, label_error = samples(size.train + size.val + size.test, size.points, seed=0)
    train, val, test = data.split(train=size.train, val=size.val, test=size.test)
    print(
        f"{len(data)} samples in {time.perf_counter() - start:.0f} s, error of the labels {100 * label_error:.2f} %\n"
    )
    task = sx.Task.fit(train, ("f", "d"), "u")
    rows = {}
    for name, model in networks(task, size.width).items():
        runs = []
        for rate in size.rates:
            fitted, seconds = trained(model, train, size, rate)
            runs.append((error(fitted, val), rate, seconds, fitted))
            print(f"{name}, rate {rate:g}: validation {100 * runs[-1][0]:.2f} %, {seconds:.0f} s", flush=True)
        validation, rate, seconds, fitted = min(runs, key=lambda run: run[0])
        rows[name] = {
            "rel_l2": error(fitted, test), "validation": validation, "rate": rate, "seconds": seconds,
            "parameters": model.parameters,
        }  # fmt: skip
    start = time.perf_counter()
    grid_train, grid_test = on_grid(train), on_grid(test)
    grid_task = sx.Task.fit(grid_train, ("f", "d"), "u")
    rank = min(64, size.train // 2)
    pod = sx.fit(sx.PODRegression(grid_task, rank=rank, input_rank=rank), grid_train)
    predicted = pod.predict(grid_test)["u"]
    rows["pod_gp"] = {"rel_l2": back(predicted, test), "seconds": time.perf_counter() - start}
    rows["background grid"] = {"rel_l2": back(grid_test["u"], test)}
    print("\n| | relative L2 |\n| --- | ---: |")
    for name, row in rows.items():
        print(f"| {name} | {100 * row['rel_l2']:.2f} % |")
    values = {name: rows[name]["rel_l2"] for name in ("transolver", "gino", "pooling", "pod_gp")}
    ratio = values["pooling"] / max(values["transolver"], values["gino"])
    record("mesh_operators", arguments, {**values, "ratio": ratio, "label_error": label_error, "rows": rows})


if __name__ == "__main__":
    main()
