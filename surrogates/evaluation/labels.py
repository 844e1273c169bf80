"""Labels of points in a figure that overlap neither each other nor the points."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

_SIZE = 8.0  # of the letters, in points, as all lengths here
_MARKER = 4.0  # half the side of the square that is kept free around a point
_RINGS = np.array([1.0, 8.0, 16.0, 26.0, 38.0, 52.0, 68.0])  # from there to the label
_AWAY = 8.0  # from here on a line joins a label to its point
# Right, left, above and below are read best; then the diagonals, then what lies between.
_ANGLES = np.deg2rad([45, 315, 135, 225, 0, 180, 90, 270, 20, 340, 160, 200, 65, 115, 295, 245])
_WAYS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], -1)


def place_labels(
    axes: Any, points: Float[np.ndarray, "n 2"], labels: Sequence[str], steps: Float[np.ndarray, "k 2"] | None = None
) -> None:
    """Write a label beside every one of the `points`, in the coordinates of matplotlib's `axes`.

    One label after the other takes the nearest place around its point where it stays inside the axes and meets no point, no label
    before it and none of the line `steps`, whose parts are horizontal and vertical; where there is none, the place where it meets
    least. Labels further away have a line to their point. Points that the axes do not show (NaN, beyond the limits) get none.
    Call it when limits, titles and all else are set: labels take no part in the layout, and do not move with the limits.
    """
    figure = axes.figure
    figure.draw_without_rendering()  # sets limits and the layout
    places = axes.transData.transform(np.asarray(points, float))
    inside = np.array(axes.bbox.extents).reshape(2, 2)
    shown = ((places >= inside[0] - 1) & (places <= inside[1] + 1)).all(1)
    places, labels = places[shown], [label for label, known in zip(labels, shown, strict=True) if known]
    pixels = figure.dpi / 72
    taken = [_box(place, (_MARKER * pixels, _MARKER * pixels)) for place in places]
    if steps is not None and len(steps):
        ends = axes.transData.transform(np.asarray(steps, float))
        pairs = np.sort(np.stack([ends[:-1], ends[1:]]), 0)
        taken += [np.stack([low - pixels, high + pixels]) for low, high in zip(*pairs, strict=True)]
    for place, label in zip(places, labels, strict=True):
        text = axes.text(0.5, 0.5, label, transform=axes.transAxes, fontsize=_SIZE)
        extent = text.get_window_extent()
        half = np.array([extent.width, extent.height]) / 2
        text.remove()
        offsets = _WAYS * ((_MARKER + _RINGS)[:, None, None] * pixels + half)
        costs = _costs(_box(place + offsets, half + pixels), np.stack(taken), inside)
        ring, way = np.unravel_index(np.argmin(costs), costs.shape)
        offset = offsets[ring, way]
        taken.append(_box(place + offset, half + pixels))
        line = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.6, "shrinkA": 0.0, "shrinkB": _MARKER}
        axes.annotate(
            label, axes.transData.inverted().transform(place), xytext=offset / pixels, textcoords="offset points",
            fontsize=_SIZE, ha="center", va="center", arrowprops=line if _RINGS[ring] >= _AWAY else None,
        ).set_in_layout(False)  # fmt: skip


def _box(centre: np.ndarray, half: Any) -> np.ndarray:
    """Lower left and upper right corner `(…, 2, 2)` of boxes around centres `(…, 2)`."""
    return np.stack([centre - half, centre + half], -2)


def _costs(
    boxes: Float[np.ndarray, "*b 2 2"], taken: Float[np.ndarray, "m 2 2"], inside: Float[np.ndarray, "2 2"]
) -> Float[np.ndarray, "*b"]:
    """The area that each box shares with those taken, and twice that which lies outside."""
    low, high = boxes[..., 0, :], boxes[..., 1, :]
    shared = np.minimum(high[..., None, :], taken[:, 1]) - np.maximum(low[..., None, :], taken[:, 0])
    kept = np.clip(np.minimum(high, inside[1]) - np.maximum(low, inside[0]), 0, None)
    return np.clip(shared, 0, None).prod(-1).sum(-1) + 2 * ((high - low).prod(-1) - kept.prod(-1))
