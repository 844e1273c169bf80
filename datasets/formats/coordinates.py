"""The axis of a grid from the coordinates that a file stores."""

import numpy as np

from ...core.domains import Axis, Boundary, Box, Grid, Layout
from ...core.files import StorageError


def axis_of(
    name: str, x: np.ndarray, boundary: Boundary | None, layout: Layout | None = None, where: str = ""
) -> tuple[Axis, Layout]:
    """The interval and the layout of equally spaced points.

    On a "periodic" axis the first point is the left end. "cells" reach half a spacing beyond the first and last point, "nodes"
    from the first to the last. Without a `layout`, periodic axes are "periodic", axes whose first coordinate is half a spacing
    have "cells", the rest "nodes". `where` names the coordinates in messages, by default `name`.

    **Raises:** `StorageError` for points that are not equally spaced and increasing, to the rounding of float32.
    """
    x = np.asarray(x, np.float64)
    n = len(x)
    h = (x[-1] - x[0]) / max(n - 1, 1) if x.ndim == 1 and n else 0.0
    rounding = 4 * np.finfo(np.float32).eps * np.abs(x).max(initial=0)
    if not h > 0 or not np.abs(x - np.linspace(x[0], x[-1], n)).max() <= 1e-3 * h + rounding:
        raise StorageError(f"{where or name} is not uniformly increasing, expected two or more points of a grid")
    if layout is None:
        cells = abs(x[0] - h / 2) <= 1e-3 * h
        layout = "periodic" if boundary == "periodic" else "cells" if cells else "nodes"
        start, stop = {"periodic": (x[0], x[0] + n * h), "cells": (0, n * h), "nodes": (x[0], x[-1])}[layout]
    else:
        ends = {"periodic": (x[0], x[0] + n * h), "cells": (x[0] - h / 2, x[-1] + h / 2), "nodes": (x[0], x[-1])}
        start, stop = ends[layout]
    return Axis(name, float(start), float(stop), boundary), layout


def grid_of(coordinates: dict[str, np.ndarray], boundary: Boundary | None, layout: Layout | None = None) -> Grid:
    """The grid of the product of some axes, all with one boundary condition and one layout (see `axis_of`)."""
    found = [axis_of(name, x, boundary, layout) for name, x in coordinates.items()]
    shape = tuple(len(x) for x in coordinates.values())
    return Grid(Box(tuple(axis for axis, _ in found)), shape, tuple(kept for _, kept in found))
