"""Figures of samples."""

import numpy as np


def plot_samples(dataset, names: tuple[str, ...] = (), n: int = 3):
    """A matplotlib figure of the first `n` samples; see `Dataset.plot`. `names` are the fields to show, by default all."""
    import matplotlib.pyplot as plt

    grid = dataset.domain.as_grid("plot")
    names = names or tuple(k for k, spec in dataset.fields.items() if spec.role == "field")
    n = min(n, len(dataset))
    values = dataset.read(list(names), np.arange(n))
    panels = [panel for name in names for panel in _panels(name, values[name], dataset.spec(name))]
    figure, axes = plt.subplots(
        n, len(panels), figsize=(2.4 * len(panels), 2.1 * n), squeeze=False, layout="constrained"
    )
    for column, (label, data) in enumerate(panels):
        for row in range(n):
            draw_field(axes[row, column], data[row], grid)
            if row == 0:
                axes[row, column].set_title(label, fontsize=10)
    return figure


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


def _panels(name: str, values: np.ndarray, spec) -> list[tuple[str, np.ndarray]]:
    frames = [("", values)]
    if spec.time:
        frames = [(", first", values[:, 0]), (", last", values[:, -1])]
    if not spec.components:
        return [(f"{name}{label}", v) for label, v in frames]
    return [(f"{name}[{c}]{label}", v[..., c]) for label, v in frames for c in range(spec.channels)]
