"""Files that hold named arrays without saying what their axes mean: the reader is told by `axes=`, or says what it found.

`surrogax.open(path, axes={"u": "sample time x y", "nu": "sample"}, boundary="periodic")` serves HDF5, NumPy and MATLAB files
alike.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.arguments import checked
from ...core.domains import Boundary, Grid
from ...core.files import StorageError
from ..checked_arrays import instants
from ..stored import Placed, Stored, StoredSource, foreign, place
from .coordinates import grid_of

_INSTANTS = ("t", "time", "times", "tspan", "t-coordinate", "t_coordinate", "t_coords", "time_coordinates")
_SHOWN = 12  # arrays that a message lists


@checked
def named_source(
    path: Path,
    layout: str,
    stored: Mapping[str, Stored],
    *,
    axes: Mapping[str, str] | None = None,
    grid: Grid | None = None,
    times: Any = None,
    boundary: Boundary | None = None,
) -> StoredSource:
    """A source of some arrays of a file, whose axes are told.

    **Arguments:**

    - `stored`: all arrays of the file by name.
    - `axes`: for every array to read, a word per axis: "sample", "time", "component", "1" for an axis of length one, and the
      names of the space axes. Arrays without space axes are parameters. The dataset has x before y before z, other names in
      their order.
    - `grid`: the grid; its axes have the names used in `axes`. By default it is made from one-dimensional arrays of the file
      that are named as the axes, such as `x` or `x-coordinate`.
    - `times`: the instants; by default those of an array such as `t` or `time`.
    - `boundary`: the boundary condition on all sides of a grid made from coordinates; by default none is known.

    **Raises:** `StorageError` that lists the arrays and shows such a call if `axes` is missing, and for words that do not fit
    and names that the file does not have.
    """
    if axes is None:
        raise StorageError(f"{path}: {layout} does not say what its axes mean. {found_in(path, stored)}")
    if unknown := sorted(axes.keys() - stored.keys()):
        raise StorageError(f"{path}: has no array {unknown[0]!r} of real numbers. {_listed(stored)}")
    words = {name: text.split() for name, text in axes.items()}
    given = [word for each in words.values() for word in each if word not in ("sample", "time", "component", "1")]
    space = in_order(dict.fromkeys(given)) if grid is None else list(grid.names)
    with foreign(path, layout):
        arrays = {}
        for name, here in words.items():
            role = "field" if set(here) & set(space) else "parameter"
            arrays[name] = place(stored[name], here, space, role)
        if grid is None:
            grid = _grid(stored, space, arrays, boundary)
        if any(placed.spec.time for placed in arrays.values()):
            times = instants(_instants_of(stored, arrays) if times is None else times)
        elif times is not None:
            raise StorageError("got times=, but no array has the axis 'time'")
    return StoredSource(path, layout, _short(arrays), {"": grid}, times, {"file": path.name}, count_of(arrays))


def in_order(axes: Iterable[str]) -> list[str]:
    """Axes of space in a dataset's order: x before y before z, and others as they come."""
    axes = list(axes)
    return sorted(axes) if set(axes) <= set("xyz") else axes


def count_of(arrays: Mapping[str, Placed]) -> int:
    """Number of samples of arrays; one if none has a sample axis."""
    return next((placed.shape[0] for placed in arrays.values() if placed.axes[0] is not None), 1)


def found_in(path: Path, stored: Mapping[str, Stored]) -> str:
    """A sentence that lists the arrays of a file, and one with the call that may open it."""
    large = max((len(s.shape) for s in stored.values() if s.dtype.kind in "biuf"), default=0)
    if large < 2:
        return f"{_listed(stored)}; none is a field of several samples"
    instants_ = {s.shape[-1] for name, s in stored.items() if _last(name) in _INSTANTS and s.shape}
    axes = {}
    for name, each in stored.items():
        if each.dtype.kind in "biuf" and len(each.shape) >= max(2, large - 1):
            rest = len(each.shape) - 1
            time = ["time"] * (rest > 1 and each.shape[1] in instants_)
            axes[name] = " ".join(["sample", *time, *"xyz"[: rest - len(time)]])
    shown = dict(list(axes.items())[:3])
    return f"{_listed(stored)}. Open it by surrogax.open({path.name!r}, axes={shown!r}, grid=…), with a word for every axis"


def _listed(stored: Mapping[str, Stored]) -> str:
    if not stored:
        return "It holds no arrays of real numbers"
    shown = [f"{name} {each.dtype}{list(each.shape)}" for name, each in list(stored.items())[:_SHOWN]]
    return "It holds " + ", ".join(shown) + (f" and {len(stored) - _SHOWN} more" if len(stored) > _SHOWN else "")


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _short(arrays: dict[str, Placed]) -> dict[str, Placed]:
    """The arrays by the last parts of their names, if these differ."""
    short = {_last(name): placed for name, placed in arrays.items()}
    return short if len(short) == len(arrays) else {name.replace("/", "_"): placed for name, placed in arrays.items()}


def whole(stored: Stored) -> np.ndarray:
    """All values of a stored array."""
    return np.asarray(stored.read(tuple(slice(0, n) for n in stored.shape)))


def _grid(
    stored: Mapping[str, Stored], space: list[str], arrays: Mapping[str, Placed], boundary: Boundary | None
) -> Grid:
    fields = [p for p in arrays.values() if p.spec.role == "field"]
    coordinates = {}
    for k, axis in enumerate(space):
        ends = [(p, len(p.shape) - len(p.spec.components) - len(space) + k) for p in fields]
        sizes = {p.shape[axis] for p, axis in ends if p.axes[axis] is not None}
        known = (axis, f"{axis}-coordinate", f"{axis}_coordinate")
        found = [s for name, s in stored.items() if _last(name) in known and max(s.shape, default=0) in sizes]
        found = [s for s in found if np.prod(s.shape) == max(s.shape)]
        if not found:
            raise StorageError(
                f"there are no coordinates of the axis {axis!r}; pass grid=, for example Grid.unit_square(64)"
            )
        coordinates[axis] = whole(found[0]).ravel()
    if not coordinates:
        raise StorageError("no array has an axis of space; name the space axes in axes=, for example 'sample x y'")
    return grid_of(coordinates, boundary)


def _instants_of(stored: Mapping[str, Stored], arrays: Mapping[str, Placed]) -> np.ndarray:
    (count, *_) = {p.shape[1] for p in arrays.values() if p.spec.time}
    found = [s for name, s in stored.items() if _last(name) in _INSTANTS and np.prod(s.shape) == count]
    if not found:
        raise StorageError(f"there are no instants of the {count} frames; pass times=")
    return whole(found[0]).ravel()
