"""Coordinates in units of the box, 0 to 1."""

import numpy as np

from ...core.domains import Grid


def unit_lines(grid: Grid) -> list[np.ndarray]:
    """The coordinates along every axis in units of the box."""
    lines = zip(grid.coordinates, grid.box.lower, grid.box.extent, strict=True)
    return [(np.asarray(x) - low) / length for x, low, length in lines]


def unit_coordinates(grid: Grid) -> np.ndarray:
    """The points in units of the box, `(*space, d)`."""
    return (grid.points - np.asarray(grid.box.lower)) / np.asarray(grid.box.extent)
