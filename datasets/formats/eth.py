"""The NetCDF sets of ETH's operator papers (Poseidon, RIGNO, GAOT) as a format of `surrogax.open`. NetCDF 4 is HDF5.

- On points: `u` `(sample, time, point, variable)`, `x` `(sample or 1, 1, point, coordinate)`, and coefficients `c` as `u` or
  `(sample, 1, …)`.
- On grids: `velocity` or `data` `(sample, time, variable, x, y)`; `solution` the same or `(sample, [time], x, y)`; the
  coefficients `c` or `source` `(sample, x, y)`.

Domains, instants and boundary conditions are kept in the papers' code and not in the files. Grids are those of the unit square,
periodic for `velocity` and `data`; instants are the numbers of the frames. Pass `grid=` and `times=` where your set differs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.arguments import checked
from ...core.domains import Grid, PointCloudLayout
from ...core.files import StorageError
from ..checked_arrays import instants
from ..source import Source
from ..stored import InMemory, Placed, Stored, StoredSource, foreign, place
from .hdf5_file import Handle, Hdf5Array, open_hdf5, root_of, stored_values
from .registry import AbstractFormat

_LAYOUT = "the layout of ETH's NetCDF sets"
_ON_GRIDS = ("velocity", "data", "solution")
_COEFFICIENTS = ("c", "source")


class EthFormat(AbstractFormat):
    """A file of one of the sets. Options of `surrogax.open`: `grid=` and `times=`."""

    name = "ETH's NetCDF sets"

    def recognises(self, path: Path) -> bool:
        shapes = _shapes(path)
        u, x = shapes.get("u", ()), shapes.get("x", ())
        if len(u) == len(x) == 4 and x[1] == 1 and x[2] == u[2]:
            return True
        found = [name for name in _ON_GRIDS if len(shapes.get(name, ())) >= 3]
        return len(found) == 1 and all(len(s) < 2 for n, s in shapes.items() if n not in (*found, *_COEFFICIENTS))

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        return {"": open_eth(path, **options)}


@checked
def open_eth(path: Path, grid: Grid | None = None, times: Any = None) -> StoredSource:
    """Open a file of the sets; `grid` and `times` replace the unit square and the numbers of the frames.

    **Raises:** `StorageError` for a damaged file.
    """
    shapes = _shapes(path)
    handle = Handle(path)
    with foreign(path, _LAYOUT):
        stored = {n: Hdf5Array(handle, n) for n in ("u", "x", *_ON_GRIDS, *_COEFFICIENTS) if n in shapes}
        with open_hdf5(path) as file:
            for name in stored:
                stored_values(file, name)
        return _on_points(path, stored, times) if "u" in stored else _on_grid(path, stored, grid, times)


def _shapes(path: Path) -> Mapping[str, tuple[int, ...]]:
    """The shapes of the arrays in the root of an HDF5 file; empty for anything else."""
    names, _ = root_of(path)
    try:
        if not {"u", *_ON_GRIDS} & names:
            return {}
        with open_hdf5(path) as file:
            return {name: tuple(stored_values(file, name).shape) for name in names}
    except Exception:  # groups, and HDF5 raises anything for damaged files
        return {}


def _frames(count: int, times: Any, notes: list[str]) -> np.ndarray | None:
    if times is not None:
        return instants(times)
    if count == 1:
        return None
    notes.append("the file stores no instants; the numbers of the frames stand for them, pass times=")
    return np.arange(count, dtype=np.float64)


def _on_points(path: Path, stored: Mapping[str, Stored], times: Any) -> StoredSource:
    notes: list[str] = ["the points have equal weights: the file stores none"]
    u, x = stored["u"], stored["x"]
    samples, count, n, _ = u.shape
    if x.shape[0] not in (1, samples):
        raise StorageError(f"x holds the points of {x.shape[0]} samples, u has {samples}")
    found = _frames(count, times, notes)
    arrays = {"u": place(u, _timed(u, count, "p component"), "p")}
    if "c" in stored:
        arrays["c"] = place(stored["c"], _timed(stored["c"], count, "p component"), "p")
    words = f"{'sample' if x.shape[0] == samples and samples > 1 else '1'} 1 p component"
    arrays["points"] = place(x, words, "p", "domain")
    arrays["weights"] = place(InMemory(np.full(n, 1 / n)), "p", "p", "domain")
    arrays["mask"] = place(InMemory(np.ones(n, bool)), "p", "p", "domain")
    layout = PointCloudLayout(x.shape[-1], n)
    return StoredSource(path, _LAYOUT, arrays, {"": layout}, found, {"file": path.name, "notes": notes}, samples)


def _timed(stored: Stored, count: int, rest: str) -> str:
    """The words of an array `(sample, time or 1, …)`; a single instant is dropped."""
    if stored.shape[1] not in (1, count):
        raise StorageError(f"an array has {stored.shape[1]} frames, u has {count}")
    return f"sample {'time' if stored.shape[1] == count > 1 else '1'} {rest}"


def _on_grid(path: Path, stored: Mapping[str, Stored], grid: Grid | None, times: Any) -> StoredSource:
    (name,) = (n for n in _ON_GRIDS if n in stored)
    main, notes = stored[name], list[str]()
    words = {5: "sample time component x y", 4: "sample time x y", 3: "sample x y"}[len(main.shape)]
    arrays: dict[str, Placed] = {name: place(main, words, "xy")}
    for coefficient in _COEFFICIENTS:
        if coefficient in stored:
            arrays[coefficient] = place(stored[coefficient], "sample x y", "xy")
    if grid is None:
        notes.append("the file stores no coordinates; the grid is that of the unit square, pass grid=")
        grid = Grid.unit(main.shape[-2:], layout="nodes" if name == "solution" else "periodic")
    found = _frames(main.shape[1], times, notes) if "time" in words else None
    if "time" in words and found is None:
        arrays[name] = place(main, words.replace("time", "1"), "xy")
    return StoredSource(path, _LAYOUT, arrays, {"": grid}, found, {"file": path.name, "notes": notes}, main.shape[0])
