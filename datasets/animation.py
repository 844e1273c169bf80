"""Moving pictures of time-dependent fields."""

import os
from pathlib import Path

import numpy as np

from .plots import draw_field

_WRITERS = {".gif": "pillow", ".mp4": "ffmpeg"}


def animate_samples(dataset, path: str | os.PathLike, names: tuple[str, ...], beside, n: int, fps: int) -> Path:
    """Write the pictures of the first `n` samples; see `Dataset.animate`."""
    import matplotlib.pyplot as plt
    from matplotlib.animation import FuncAnimation, writers

    path = Path(path)
    if path.suffix not in _WRITERS:
        raise ValueError(f"animate: {path} must end in {' or '.join(_WRITERS)}")
    if not writers.is_available(_WRITERS[path.suffix]):
        raise ValueError(f"animate: {path.suffix} needs the program ffmpeg, which is not installed; write a .gif")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"animate: there is no folder {path.parent}; create it first")
    shown = [name for name, spec in dataset.fields.items() if spec.role == "field" and spec.time and not spec.domain]
    if wrong := [name for name in names if dataset.spec(name) and name not in shown]:
        raise ValueError(f"animate: {wrong[0]!r} is no field that varies in time; these are {shown}")
    names = names or tuple(shown)
    grid, rows = dataset.domain.as_grid("animate"), min(n, len(dataset))
    if not names or rows < 1:
        raise ValueError(f"animate: nothing to show; the fields that vary in time are {shown}, samples {len(dataset)}")
    sources = [("", dataset, np.arange(dataset.instants))]
    if beside is not None:
        sources.append((" (beside)", beside, _same_instants(dataset, beside, rows)))
    # Title, grid and values (sample, time, *space) of every column.
    columns = []
    for name in names:
        for label, data, frames in sources:
            values = data.read(name, np.arange(rows))[name][:, frames]
            parts = range(values.shape[-1]) if data.spec(name).components else (None,)
            for c in parts:
                title = name if c is None else f"{name}[{c}]"
                columns.append((title + label, data.grid, values if c is None else values[..., c], name))
    limits = {
        name: (min(v.min() for _, _, v, m in columns if m == name), max(v.max() for _, _, v, m in columns if m == name))
        for name in names
    }
    height = 2.3 if grid.ndim > 1 else 1.9
    figure, axes = plt.subplots(
        rows, len(columns), figsize=(3 * len(columns), height * rows + 0.3), squeeze=False, layout="constrained"
    )
    for column, (title, where, values, name) in enumerate(columns):
        axes[0, column].set_title(title, fontsize=10)
        for row in range(rows):
            draw_field(axes[row, column], values[row, 0], where, limits=_widened(limits[name]))
    heading = figure.suptitle("", fontsize=10)

    def draw(frame: int):
        heading.set_text(f"t = {dataset.times[frame]:.3g}")
        for column, (_, where, values, _) in enumerate(columns):
            for row in range(rows):
                now = values[row, frame]
                if where.ndim == 1:
                    axes[row, column].lines[0].set_ydata(now)
                else:
                    axes[row, column].images[0].set_data((now[:, :, now.shape[2] // 2] if where.ndim == 3 else now).T)

    moving = FuncAnimation(figure, draw, frames=dataset.instants, blit=False)
    moving.save(path, writer=_WRITERS[path.suffix], fps=fps)
    plt.close(figure)
    return path


def _widened(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = map(float, limits)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _same_instants(dataset, beside, rows: int) -> np.ndarray:
    """The frames of `beside` at the instants of `dataset`."""
    times = beside.times
    if times is None or len(beside) < rows:
        raise ValueError(f"animate(beside=…): needs {rows} samples with instants, got {beside!r:.80}")
    frames = np.abs(times[None] - dataset.times[:, None]).argmin(1)
    step = np.diff(dataset.times).min() if len(dataset.times) > 1 else 1.0
    if (far := np.abs(times[frames] - dataset.times) > 1e-3 * step).any():
        raise ValueError(f"animate(beside=…): has no frame at t = {dataset.times[far][0]:.6g}")
    return frames
