"""Figures of predictions: samples with error maps, histograms of errors, spectra."""

import numpy as np

from ...core.domains import Grid
from ...datasets.dataset import Dataset
from ...datasets.plots import draw_field
from .table import Table


def plot_predictions(
    surrogate, data: Dataset, n: int = 3, *, field: str | None = None, component: int = 0, frame: int = 0
):
    """A matplotlib figure with input, truth, prediction and error of the first `n` samples, one row per sample.

    All truths and predictions share one colour scale, all errors another. In 1D one panel shows truth and prediction.

    **Arguments:**

    - `field`, `component`: the target, and the component of a vector, to show; by default the first.
    - `frame`: number of the predicted frame; −1 is the last one of a prediction.

    **Example:**

        >>> figure = sx.plots.plot_predictions(sx.MeanField(task), ds, n=2)
        >>> len(figure.axes) > 2
        True
    """
    import matplotlib.pyplot as plt

    data = data[: min(n, len(data))]
    task, grid = surrogate.task, data.grid
    source = (task.inputs or (None,))[0]
    predicted, truth, title = _scalars(surrogate, data, field, component, frame)
    error, together = predicted - truth, grid.ndim == 1
    low, high = (pick((float(pick(truth)), float(pick(predicted)))) for pick in (np.min, np.max))
    limits = (
        (low - 0.05 * (high - low), high + 0.05 * (high - low))
        if together
        else (float(truth.min()), float(truth.max()))
    )
    width = 1.05 * float(np.abs(error).max())
    titles = ([_title(task, source)] if source else []) + (
        [title] if together else [f"{title}, truth", f"{title}, predicted"]
    )
    titles.append("error")
    figure, axes = plt.subplots(
        len(data), len(titles), figsize=(2.5 * len(titles), 2.1 * len(data)), squeeze=False, layout="constrained"
    )
    for row, cells in enumerate(axes):
        if source:
            draw_field(cells[0], _shown(task, source, data[source][row]), grid)
        if together:
            draw_field(cells[-2], truth[row], grid, limits=limits)
            draw_field(cells[-2], predicted[row], grid, limits=limits)
            cells[-2].lines[-1].set(linestyle="--")
        else:
            draw_field(cells[-3], truth[row], grid, limits=limits)
            draw_field(cells[-2], predicted[row], grid, limits=limits)
        draw_field(cells[-1], error[row], grid, limits=(-width, width), cmap="RdBu_r")
    for cell, text in zip(axes[0], titles, strict=True):
        cell.set_title(text, fontsize=10)
    if together:
        axes[0, -2].legend(["truth", "predicted"], frameon=False, fontsize=8)
        for cell in axes[-1]:
            cell.set_xlabel(grid.names[0])
    return figure


def plot_error_histogram(table: Table, metric: str = "rel_l2", dataset: str | None = None, field: str | None = None):
    """A matplotlib figure with a histogram of the error over samples, one outline per surrogate (its first seed).

    **Arguments:** `metric`; `dataset` and `field`, by default the first ones of the table.

    **Raises:** `ValueError` if the table has no such samples.

    **Example:**

        >>> table = sx.evaluate({"mean": sx.MeanField(task)}, ds, timing=False)
        >>> len(sx.plots.plot_error_histogram(table).axes)
        1
    """
    import matplotlib.pyplot as plt

    keys = [
        k for k in table.samples if k[1] == 0 and k[4] == metric and dataset in (None, k[2]) and field in (None, k[3])
    ]
    if not keys:
        raise ValueError(
            f"plot_error_histogram: the table has no samples of metric={metric!r}, dataset={dataset!r}, field={field!r}"
        )
    chosen = {k[0]: table.samples[k].mean(1) for k in keys if k[2:4] == keys[0][2:4]}
    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    errors = np.concatenate(list(chosen.values()))
    errors = errors[np.isfinite(errors)]
    largest = errors.max(initial=0.0) or 1.0
    smallest = errors[errors > 0].min(initial=largest)  # an exact prediction has no place on a log axis
    edges = np.geomspace(0.99 * smallest, 1.01 * largest, 40)
    for name, values in chosen.items():
        axes.hist(values, bins=edges, histtype="step", label=name, linewidth=1.5, color=table.colors()[name])
    axes.set(xscale="log", xlabel=f"{metric} of {keys[0][3]} @ {keys[0][2]}", ylabel="samples")
    axes.legend(frameon=False, fontsize=8)
    return figure


def plot_spectrum(
    surrogates: dict, data: Dataset, n: int = 32, *, field: str | None = None, component: int = 0, frame: int = 0
):
    """A matplotlib figure of the mean energy per wavenumber, over `n` samples, of the truth, the predictions (solid) and their
    errors (dashed).

    `surrogates` are given by name; `field`, `component` and `frame` are those of `plot_predictions`. See `radial_spectrum` for
    the window on axes that are not periodic.

    **Example:**

        >>> len(sx.plots.plot_spectrum({"mean": sx.MeanField(task)}, ds, n=4).axes)
        1
    """
    import matplotlib.pyplot as plt

    data = data[: min(n, len(data))]
    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    _, truth, title = _scalars(next(iter(surrogates.values())), data, field, component, frame)
    axes.loglog(*radial_spectrum(truth, data.grid), "k", label="truth")
    for label, surrogate in surrogates.items():
        predicted, _, _ = _scalars(surrogate, data, field, component, frame)
        (line,) = axes.loglog(*radial_spectrum(predicted, data.grid), label=label)
        axes.loglog(*radial_spectrum(predicted - truth, data.grid), "--", color=line.get_color(), linewidth=1)
    axes.set(xlabel="wavenumber |k|", ylabel=f"energy of {title}", title="dashed: of the error")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _scalars(
    surrogate, data: Dataset, field: str | None, component: int, frame: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """Prediction and truth of one target as scalar fields `(sample, *space)`, and a title. In time it is the first prediction
    of a trajectory."""
    task, mode = surrogate.task, surrogate.task.mode
    name = task.targets[0] if field is None else field
    if name not in task.targets:
        raise ValueError(f"field={name!r} is no target; there are {list(task.targets)}")
    predicted, truth = surrogate.predict(data)[name], data[name]
    title = _title(task, name, component)
    if mode.ahead:
        if not -mode.ahead <= frame < mode.ahead:
            raise ValueError(f"frame={frame}: one prediction has {mode.ahead} frames")
        number = mode.history + frame % mode.ahead
        truth = truth[:, number]
        predicted = predicted if mode.single else predicted[:, frame]
        title += f", t = {data.times[number]:.4g}"
    return (
        (predicted[..., component], truth[..., component], title)
        if task.spec(name).components
        else (predicted, truth, title)
    )


def _title(task, name: str, component: int = 0) -> str:
    return f"{name}[{component}]" if task.spec(name).components else name


def _shown(task, name: str, values: np.ndarray) -> np.ndarray:
    """One sample of an input as a scalar field: the last given frame, the first component."""
    values = values[task.mode.history - 1] if task.spec(name).time else values
    return values[..., 0] if task.spec(name).components else values


def radial_spectrum(fields: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Wavenumbers |k| (angular, 2π per unit of length) and the energy at each: |û_k|² summed over shells and averaged over
    samples.

    `fields` are `(n, *space)` on `grid`. The Fourier coefficients û are normalised by 1/N, so that the energies of a periodic
    field without its mean sum to its variance. A shell is as wide as the smallest wavenumber of the box; empty shells are left
    out, and so are wavenumbers beyond the Nyquist limit of the coarsest axis. A Hann window, scaled to mean square 1, removes
    the jump between the ends of every axis that is not periodic; it spreads a peak over the neighbouring shells.

    **Example:**

        >>> x = np.arange(64) / 64
        >>> k, energy = sx.plots.radial_spectrum(np.sin(2 * np.pi * 3 * x)[None], sx.Grid.unit(64, 1, "periodic"))
        >>> int(k[energy.argmax()])
        18
    """
    axes = tuple(range(1, fields.ndim))
    for axis, layout in zip(axes, grid.layouts, strict=True):
        if layout != "periodic":
            window = np.hanning(fields.shape[axis])
            window /= np.sqrt((window**2).mean())
            fields = fields * window.reshape([-1 if i == axis else 1 for i in range(fields.ndim)])
    power = (np.abs(np.fft.fftn(fields, axes=axes, norm="forward")) ** 2).mean(0)
    frequencies = [2 * np.pi * np.fft.fftfreq(m, h) for m, h in zip(grid.shape, grid.spacing, strict=True)]
    k = np.sqrt(sum(q**2 for q in np.meshgrid(*frequencies, indexing="ij")))
    width = min(2 * np.pi / (m * h) for m, h in zip(grid.shape, grid.spacing, strict=True))
    shell = np.rint(k / width).astype(int).ravel()
    energy, count = np.bincount(shell, power.ravel()), np.bincount(shell)
    top = int(min(np.pi / h for h in grid.spacing) / width)
    numbers = np.arange(1, max(top, 2))
    numbers = numbers[(numbers < len(count)) & (count[np.minimum(numbers, len(count) - 1)] > 0)]
    return width * numbers, energy[numbers]
