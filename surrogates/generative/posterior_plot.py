"""The picture of a posterior: truth, mean, standard deviation and a sample of every field."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from ...core.domains import Box, Grid
from ...datasets.plots import draw_field


def plot_posterior(
    samples: Mapping[str, Any],
    grid: Grid,
    vectors: Collection[str],
    truth: Mapping[str, Any] | None,
    at: np.ndarray | None,
) -> Any:
    """See `Posterior.plot`."""
    import matplotlib.pyplot as plt

    if grid.names[0] == "t" and grid.ndim > 2:  # the last instant
        samples = {name: values[:, -1] for name, values in samples.items()}
        truth = None if truth is None else {name: np.asarray(truth[name])[-1] for name in samples}
        at = None if at is None else at[:, 1:]
        grid = Grid(Box(grid.box.axes[1:]), grid.shape[1:], grid.layouts[1:])
    rows = list(_scalars(samples, vectors, truth))
    heads = [*(["truth"] if truth is not None else []), "mean", "standard deviation", "one sample"]
    line, timed = grid.ndim == 1, grid.names[0] == "t"
    columns = 1 if line else len(heads)
    size = (5.0, 2.4 * len(rows)) if line else (2.6 * columns, 2.2 * len(rows))
    figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False, layout="constrained")
    for cells, (name, values, true) in zip(axes, rows, strict=True):
        mean, std = values.mean(0), values.std(0, ddof=1)
        if line:
            _draw_line(cells[0], grid.coordinates[0], mean, std, values[0], true, name)
            continue
        known = np.concatenate([v[np.isfinite(v)] for v in (mean, values[0], *([] if true is None else [true]))])
        limits = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        pictures = [(mean, limits), (std, None), (values[0], limits)]
        pictures = pictures if true is None else [(true, limits), *pictures]
        for cell, what, (picture, scale) in zip(cells, heads, pictures, strict=True):
            draw_field(cell, picture, grid, limits=scale, cmap="magma" if scale is None else "viridis")
            cell.set_title(f"{name}, {what}", fontsize=10)
            if timed:
                cell.set(xlabel="t", ylabel=grid.names[1])
            if timed or not 0.2 < grid.box.extent[0] / grid.box.extent[1] < 5:  # units differ
                cell.set_aspect("auto")
            if at is not None:
                cell.plot(*at[:, :2].T, ".", color="white", markeredgecolor="black", markersize=5, markeredgewidth=0.4)
    if line and at is not None:
        for cell in axes[:, 0]:
            cell.plot(
                at[:, 0], np.full(len(at), cell.get_ylim()[0]), "^k", markersize=4, clip_on=False, label="sensors"
            )
    if line:
        shown = axes[0, 0].get_legend_handles_labels()
        figure.legend(*shown, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
        axes[-1, 0].set_xlabel(grid.names[0])
    return figure


def _draw_line(axes, x, mean, std, sample, true, name: str) -> None:
    (drawn,) = axes.plot(x, mean, label="mean")
    axes.fill_between(
        x, mean - 2 * std, mean + 2 * std, alpha=0.3, linewidth=0, color=drawn.get_color(), label="± 2 deviations"
    )
    axes.plot(x, sample, "--", linewidth=0.8, color="0.4", label="one sample")
    if true is not None:
        axes.plot(x, true, "k", linewidth=1, label="truth")
    axes.set_ylabel(name)


def _scalars(samples, vectors, truth) -> Iterator[tuple[str, Any, Any]]:
    """Title, samples `(n, *grid)` and truth of every component."""
    for name, values in samples.items():
        values, true = np.asarray(values), None if truth is None else np.asarray(truth[name])
        if name not in vectors:
            yield name, values, true
            continue
        for c in range(values.shape[-1]):
            yield f"{name}[{c}]", values[..., c], None if true is None else true[..., c]
