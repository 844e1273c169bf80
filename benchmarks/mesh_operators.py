"""Operators on meshes that differ per sample: Poisson's equation on random star-shaped domains of 500 to 1500 nodes.

    python benchmarks/mesh_operators.py [--quick | --smoke] [--runs FOLDER] [--rows ROW …]

−Δu = f with u = 0 on the boundary. Every sample has its own domain, mesh and f; the solution is that of linear triangles on
the mesh with cells divided into four, by our conjugate gradients in float64, at the nodes of the mesh itself. All rows see f
and the distance to the boundary at the nodes. `Transolver` and `GINO` stand beside `PointNet` (one mean over all points) and
beside POD regression by Gaussian processes on a background grid of 33² nodes, to which the inputs are interpolated (zero
outside) and from which the prediction is interpolated back; "background grid" is the error of that alone, with the true solution.

Networks are trained by Adam on the relative L2 loss in the quadrature of the mesh, one seed, with a cosine schedule after a
linear start. `TRAININGS` were chosen by the validation samples; errors are of the last parameters, means over the test samples
of the relative L2 error. Seconds are those of the fit, on a machine that may be busy. A script that was killed goes on where it
was; `--rows gino` makes this row only, and a row that was never made says "not run".
--quick: 60 training samples, a tenth of the epochs; --smoke: an epoch of tiny networks on ten samples.

Last line: JSON, the errors `transolver`, `gino`, `pooling`, `pod_gp`, and beside them `label_error`, the smaller `ratio` of
pooling's error to those of both operators, details by row.
"""

import time
from typing import NamedTuple

import jax
import numpy as np
import optax
from common.command_line import options
from common.kept_rows import NOT_RUN, KeptRows, row_options
from common.record import record
from common.star_domains import kept_samples
from scipy.interpolate import LinearNDInterpolator, RegularGridInterpolator

import surrogax as sx


class Training(NamedTuple):
    """Epochs, batch and peak of the learning rate."""

    epochs: int
    batch: int
    rate: float


class Size(NamedTuple):
    """Training, validation and test samples, points per mesh, the part of the epochs, width of the networks."""

    train: int
    val: int
    test: int
    points: tuple[int, ...]
    epochs: float
    width: int


FULL = Size(300, 50, 100, (490, 650, 830, 1020, 1220, 1430), epochs=1, width=32)
QUICK = Size(60, 10, 20, (490, 1020), epochs=0.1, width=32)
SMOKE = Size(10, 2, 2, (60,), epochs=0, width=4)
TRAININGS = {
    "transolver": Training(30, 4, 3e-3),
    "gino": Training(30, 4, 3e-3),
    "pooling": Training(30, 4, 3e-3),
}
KEY = jax.random.key(0)
BACKGROUND, HALF = 33, 2.0  # nodes per axis and half the side of the background grid


def network(name: str, task: sx.Task, width: int) -> sx.NetworkSurrogate:
    if name == "transolver":
        return sx.Transolver(task, width=width, depth=4, slices=max(4, width // 2), heads=2, key=KEY)
    if name == "gino":
        grid = max(6, width * 3 // 4)
        return sx.GINO(task, width=width, grid=grid, modes=grid // 3, depth=3, reach=1, key=KEY)
    return sx.PointNet(task, width=4 * width, depth=3, key=KEY)


def trained(name: str, task: sx.Task, parts: dict[str, sx.Dataset], size: Size, rows: KeptRows) -> dict:
    model, (epochs, batch, peak) = network(name, task, size.width), TRAININGS[name]
    epochs = max(round(size.epochs * epochs), 1)
    steps = epochs * (size.train // batch)
    rate = optax.warmup_cosine_decay_schedule(peak / 20, peak, steps // 20, steps)
    fitted = sx.fit(
        model, parts["train"], optimizer=optax.adam(rate), epochs=epochs, batch_size=batch, key=KEY, run=rows.run(name),
        progress=False,
    )  # fmt: skip
    errors = {part: error(fitted.last, parts[part]) for part in ("test", "val")}
    return {
        "rel_l2": errors["test"], "validation": errors["val"], "epochs": epochs, "batch": batch, "rate": peak,
        "seconds": float(np.sum(fitted.history.seconds)), "parameters": model.parameters,
    }  # fmt: skip


def error(model: sx.AbstractSurrogate, data: sx.Dataset) -> float:
    return sx.evaluate({"model": model}, data, timing=False).value("model")


def by_pod(train: sx.Dataset, test: sx.Dataset) -> dict:
    """The row of POD regression on the background grid."""
    start = time.perf_counter()
    train = on_grid(train)
    rank = min(64, len(train) // 2)
    pod = sx.fit(sx.PODRegression(sx.Task.fit(train, ("f", "d"), "u"), rank=rank, input_rank=rank), train)
    return {"rel_l2": back(pod.predict(on_grid(test))["u"], test), "seconds": time.perf_counter() - start}


def on_grid(data: sx.Dataset) -> sx.Dataset:
    """Fields interpolated linearly to the background grid, zero outside of the meshes."""
    grid = sx.Box(x=(-HALF, HALF), y=(-HALF, HALF)).grid(BACKGROUND)
    arrays = {name: data[name] for name in ("f", "d", "u", "points", "mask")}
    found = {name: [] for name in "fdu"}
    for i in range(len(data)):
        real = arrays["mask"][i]
        values = np.stack([arrays[name][i][real] for name in "fdu"], -1)
        fields = LinearNDInterpolator(arrays["points"][i][real], values, fill_value=0.0)(grid.points)
        # Between two arms of a star f is interpolated too; d and u are zero at the nodes on either side.
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
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, **row_options("mesh_operators"))
    size, start = arguments.size, time.perf_counter()
    rows = KeptRows(arguments, (size, TRAININGS), (*TRAININGS, "pod_gp", "background grid"))
    number = size.train + size.val + size.test
    data, label_error = kept_samples(rows.folder / "samples.npz", number, size.points, seed=0)
    parts = dict(zip(("train", "val", "test"), data.split(train=size.train, val=size.val, test=size.test), strict=True))
    seconds = time.perf_counter() - start
    print(f"{len(data)} samples in {seconds:.0f} s, error of the labels {100 * label_error:.2f} %", flush=True)
    task = sx.Task.fit(parts["train"], ("f", "d"), "u")
    found = {name: rows.row(name, lambda name=name: trained(name, task, parts, size, rows)) for name in TRAININGS}
    found["pod_gp"] = rows.row("pod_gp", lambda: by_pod(parts["train"], parts["test"]))
    found["background grid"] = rows.row(
        "background grid", lambda: {"rel_l2": back(on_grid(parts["test"])["u"], parts["test"])}
    )
    print("\n| | relative L2 |\n| --- | ---: |")
    for name, row in found.items():
        shown = NOT_RUN if row == NOT_RUN else f"{100 * row['rel_l2']:.2f} %"
        print(f"| {name} | {shown} |")
    values = {
        name: None if found[name] == NOT_RUN else found[name]["rel_l2"]
        for name in ("transolver", "gino", "pooling", "pod_gp")
    }
    ours, pooling = (values["transolver"], values["gino"]), values["pooling"]
    ratio = None if None in (*ours, pooling) else pooling / max(ours)
    record("mesh_operators", arguments, {**values, "ratio": ratio, "label_error": label_error, "rows": found})


if __name__ == "__main__":
    main()
