"""Figures of samples."""

import numpy as np

from ..core.domains import AbstractDomain


def plot_samples(dataset, names: tuple[str, ...] = (), n: int = 3):
    """A matplotlib figure of the first `n` samples; see `Dataset.plot`. `names` are the fields to show, by default all."""
    import matplotlib.pyplot as plt

    fields = [name for name, spec in dataset.fields.items() if spec.role == "field"]
    if wrong := [name for name in names if dataset.spec(name).role != "field"]:
        raise ValueError(f"plot: {wrong[0]!r} is a {dataset.spec(wrong[0]).role}; the fields are {fields}")
    rows = min(n, len(dataset))
    if rows < 1 or not fields:
        raise ValueError(
            f"plot: nothing to show of n={n} samples and the fields {fields}; the dataset has {len(dataset)}"
        )
    names = names or tuple(fields)
    samples = dataset.read(None, np.arange(rows))
    panels = [panel for name in names for panel in _panels(name, samples[name], dataset)]
    figure, axes = plt.subplots(
        rows, len(panels), figsize=(2.6 * len(panels), 2.3 * rows), squeeze=False, layout="constrained"
    )
    for column, (title, domain, values) in enumerate(panels):
        for row in range(rows):
            one = axes[row, column]
            if domain.arrays:
                draw_points(one, values[row], domain.sites({name: array[row] for name, array in samples.items()}))
            else:
                grid = domain.as_grid("plot")
                draw_field(one, values[row], grid)
                if row == rows - 1:
                    _name_axes(one, grid)
            if row == 0:
                one.set_title(title, fontsize=10)
    for row, number in enumerate(dataset.ids[:rows]):
        axes[row, 0].annotate(
            f"sample {number}", (-0.3, 0.5), xycoords="axes fraction", rotation=90, va="center", fontsize=8
        )
    return figure


def draw_points(axes, values: np.ndarray, sites) -> None:
    """Draw one scalar field `(n,)` at the points of a cloud or mesh on matplotlib `axes`: dots in order of x in 1D, coloured
    dots seen along z in 2D and 3D, over the edges of a mesh. Padded points are left out."""
    real = np.asarray(sites.mask)
    points, values = np.asarray(sites.points)[real], np.asarray(values)[real]
    if points.shape[-1] == 1:
        axes.plot(points[:, 0], values, ".", markersize=3)
        return
    for edges in sites.edges:
        from matplotlib.collections import LineCollection

        ends = np.asarray(sites.points)[np.asarray(edges.index)[np.asarray(edges.mask)]]
        axes.add_collection(LineCollection(list(ends[..., :2]), colors="0.8", linewidths=0.4, zorder=0))
    size = np.clip(4000 / max(len(points), 1), 1, 30)
    dots = axes.scatter(points[:, 0], points[:, 1], c=values, s=size, cmap="viridis")
    axes.set_aspect("equal")
    axes.figure.colorbar(dots, ax=axes, shrink=0.85, format="%.2g")


def _name_axes(axes, grid) -> None:
    """Names of the coordinates; on an image, their ends as ticks."""
    axes.set_xlabel(grid.names[0], fontsize=8)
    if grid.ndim > 1:
        axes.set_ylabel(grid.names[1], fontsize=8)
        ends = [(axis.start, axis.stop) for axis in grid.box.axes]
        axes.set_xticks(ends[0], [f"{x:.3g}" for x in ends[0]], fontsize=7)
        axes.set_yticks(ends[1], [f"{y:.3g}" for y in ends[1]], fontsize=7)


def draw_field(axes, values: np.ndarray, grid, *, limits: tuple[float, float] | None = None, cmap: str = "viridis"):
    """Draw one scalar field `(*space)` on matplotlib `axes`: a line in 1D, an image in 2D, an image of the middle slice in 3D.

    `limits` are the ends of the colour scale (in 1D of the y axis). Returns the image, None in 1D.
    """
    if grid.ndim == 1:
        axes.plot(grid.coordinates[0], values)
        if limits:
            axes.set_ylim(*limits)
        return None
    if grid.ndim == 3:
        values = values[:, :, values.shape[2] // 2]
    (x0, y0), (lx, ly) = grid.box.lower[:2], grid.box.extent[:2]
    low, high = limits or (None, None)
    image = axes.imshow(
        values.T,
        origin="lower",
        extent=(x0, x0 + lx, y0, y0 + ly),
        vmin=low,
        vmax=high,
        cmap=cmap,
        interpolation="nearest",
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.figure.colorbar(image, ax=axes, shrink=0.85, format="%.2g")
    return image


def _panels(name: str, values: np.ndarray, dataset) -> list[tuple[str, AbstractDomain, np.ndarray]]:
    """Title, domain and values `(sample, *space)` of the pictures of a field: one per component; in time one each of the first,
    the middle and the last instant."""
    spec = dataset.spec(name)
    frames = [("", values)]
    if spec.time:
        shown = sorted({0, (dataset.instants - 1) // 2, dataset.instants - 1})
        frames = [(f", t = {dataset.times[i]:.3g}", values[:, i]) for i in shown]
    domain = dataset.domains[spec.domain]
    if not spec.components:
        return [(f"{name}{label}", domain, v) for label, v in frames]
    return [(f"{name}[{c}]{label}", domain, v[..., c]) for label, v in frames for c in range(spec.channels)]
