"""Figures of predictions: samples with error maps, histograms of errors, spectra."""

import numpy as np

from ...datasets.dataset import Dataset
from ...datasets.plots import draw_field
from .table import Table


def plot_predictions(surrogate, data: Dataset, n: int = 3):
    """A matplotlib figure with input, truth, prediction and error of the first `n` samples, one row per sample.

    It shows the first input and the first target. All truths and predictions share one colour scale, all errors another.
    """
    import matplotlib.pyplot as plt

    data = data[: min(n, len(data))]
    task, grid = surrogate.task, data.grid
    name, source = task.targets[0], (task.inputs or (None,))[0]
    predicted, truth = _scalars(surrogate, data)
    error = predicted - truth
    limits, width = (float(truth.min()), float(truth.max())), float(np.abs(error).max())
    columns = 4 if source else 3
    figure, axes = plt.subplots(
        len(data), columns, figsize=(2.5 * columns, 2.1 * len(data)), squeeze=False, layout="constrained"
    )
    for row, sample in enumerate(axes):
        if source:
            given = data[source][row]
            given = given[0] if task.spec(source).time else given
            draw_field(sample[0], given[..., 0] if task.spec(source).components else given, grid)
        draw_field(sample[-3], truth[row], grid, limits=limits)
        draw_field(sample[-2], predicted[row], grid, limits=limits)
        draw_field(sample[-1], error[row], grid, limits=(-width, width), cmap="RdBu_r")
    titles = ([source] if source else []) + [name, f"{name}, predicted", "error"]
    for cell, title in zip(axes[0], titles, strict=True):
        cell.set_title(title, fontsize=10)
    return figure


def plot_error_histogram(table: Table, metric: str = "rel_l2", dataset: str | None = None):
    """A matplotlib figure with a histogram of the error over samples, one outline per surrogate (its first seed)."""
    import matplotlib.pyplot as plt

    chosen = {
        key[0]: values.mean(1)
        for key, values in table.samples.items()
        if key[1] == 0 and key[4] == metric and dataset in (None, key[2])
    }
    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    errors = np.concatenate(list(chosen.values()))
    smallest = errors[errors > 0].min(initial=errors.max() or 1.0)  # an exact prediction has no place on a log axis
    edges = np.geomspace(0.99 * smallest, 1.01 * (errors.max() or 1.0), 40)
    for name, values in chosen.items():
        axes.hist(values, bins=edges, histtype="step", label=name, linewidth=1.5)
    axes.set(xscale="log", xlabel=metric, ylabel="samples")
    axes.legend(frameon=False, fontsize=8)
    return figure


def plot_spectrum(surrogates: dict, data: Dataset, n: int = 32):
    """A matplotlib figure of the mean energy per wavenumber, over `n` samples, of the truth, the predictions (solid) and their
    errors (dashed). `surrogates` are given by name."""
    import matplotlib.pyplot as plt

    data = data[: min(n, len(data))]
    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    _, truth = _scalars(next(iter(surrogates.values())), data)
    axes.loglog(*radial_spectrum(truth), "k", label="truth")
    for label, surrogate in surrogates.items():
        predicted, _ = _scalars(surrogate, data)
        (line,) = axes.loglog(*radial_spectrum(predicted), label=label)
        axes.loglog(*radial_spectrum(predicted - truth), "--", color=line.get_color(), linewidth=1)
    axes.set(xlabel="wavenumber", ylabel="energy", title="dashed: of the error")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _scalars(surrogate, data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and truth of the first target as scalar fields `(sample, *space)`: the first predicted frame of a trajectory,
    the first component of a vector."""
    task = surrogate.task
    name = task.targets[0]
    predicted, truth = surrogate.predict(data)[name], data[name]
    if task.mode.ahead:
        truth = truth[:, task.mode.history]
        predicted = predicted if task.mode.single else predicted[:, 0]
    return (predicted[..., 0], truth[..., 0]) if task.spec(name).components else (predicted, truth)


def radial_spectrum(fields: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wavenumbers 1, 2, … and the energy at each: |û_k|² summed over the shell round(|k|), averaged over the samples.

    `fields` are `(n, *space)`. The Fourier coefficients û are normalised by 1/N. A Hann window along every axis removes the jump
    between the ends of a field that is not periodic.
    """
    axes = tuple(range(1, fields.ndim))
    for axis in axes:
        shape = [1] * fields.ndim
        shape[axis] = fields.shape[axis]
        fields = fields * np.hanning(fields.shape[axis]).reshape(shape)
    power = (np.abs(np.fft.fftn(fields, axes=axes, norm="forward")) ** 2).mean(0)
    k = np.meshgrid(*(np.fft.fftfreq(m, 1 / m) for m in fields.shape[1:]), indexing="ij")
    shell = np.rint(np.sqrt(sum(q**2 for q in k))).astype(int).ravel()
    energy = np.bincount(shell, power.ravel())
    top = min(fields.shape[1:]) // 2
    return np.arange(1, top), energy[1:top]
