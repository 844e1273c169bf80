"""PDEArena's HDF5 files of smoke in a box, as a format of `surrogax.open` (github.com/pdearena/pdearena, MIT).

A group `train`, `valid` or `test` holds `u`, `vx`, `vy` `(sample, time, x, y)`, the instants `t` and coordinates of every
sample, and one number per sample of `dt`, `dx`, `dy` and the buoyancy `buo_y`. The stored coordinates run from 0 to the length
of the box although `u` has values in the centres of cells `dx` apart; the grid is made of these cells. `vx` and `vy` are values
on the left and lower faces of the cells.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ...core.domains import Axis, Box, Grid, Layout
from ...core.files import StorageError
from ..checked_arrays import instants
from ..source import Source
from ..stored import StoredSource, foreign, place
from .coordinates import axis_of
from .hdf5_file import Handle, Hdf5Array, open_hdf5, root_of, stored_group, stored_values
from .registry import AbstractFormat, without_options

_LAYOUT = "PDEArena's layout"
_SPLITS = {"train", "valid", "test"}
_FIELDS = ("u", "vx", "vy", "vz")
_NOT_PARAMETERS = {*_FIELDS, "t", "x", "y", "z", "dt", "dx", "dy", "dz"}


class PDEArenaFormat(AbstractFormat):
    """A file of PDEArena, with one or more splits."""

    name = "PDEArena's HDF5"

    def recognises(self, path: Path) -> bool:
        names, _ = root_of(path)
        if not names or not names <= _SPLITS:
            return False
        try:
            with open_hdf5(path) as file:
                inside = [set(stored_group(file, split)) for split in names]
                return all("t" in each and set(_FIELDS) & each for each in inside)
        except Exception:  # HDF5 raises anything for damaged files
            return False

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        without_options(self, path, options)
        splits, _ = root_of(path)
        with foreign(path, _LAYOUT):
            sources: dict[str, Source] = {split: _source(path, split) for split in sorted(splits)}
        return sources if len(sources) > 1 else {"": next(iter(sources.values()))}


def _source(path: Path, split: str) -> StoredSource:
    handle, notes = Handle(path), []
    with open_hdf5(path) as file:
        group = stored_group(file, split)
        space = [axis for axis in "xyz" if axis in group]
        axes, layouts = zip(*(_axis(_same(file, f"{split}/{axis}"), file, split, axis) for axis in space), strict=True)
        times = instants(_same(file, f"{split}/t"))
        names = [str(name) for name in group]
    words = ["sample", "time", *space]
    arrays = {n: place(Hdf5Array(handle, f"{split}/{n}"), words, space) for n in _FIELDS if n in names}
    samples = next(iter(arrays.values())).shape[0]
    for name in sorted(set(names) - _NOT_PARAMETERS):
        stored = Hdf5Array(handle, f"{split}/{name}")
        if stored.shape[:1] == (samples,) and len(stored.shape) <= 2:
            arrays[name] = place(stored, ["sample", *["component"] * (len(stored.shape) - 1)], [], "parameter")
    if "cells" in layouts:
        notes.append(
            "the stored coordinates include both ends although the values lie in cells; the grid is made of the cells"
        )
    grid = Grid(Box(tuple(axes)), next(p.shape[2:] for p in arrays.values() if p.spec.role == "field"), tuple(layouts))
    return StoredSource(path, _LAYOUT, arrays, {"": grid}, times, {"file": path.name, "notes": notes}, samples)


def _axis(x: np.ndarray, file: Any, split: str, name: str) -> tuple[Axis, Layout]:
    """Cells on the length between the stored ends if their stored distance is that length over n, else the stored points."""
    path = f"{split}/d{name}"
    length, n = float(x[-1] - x[0]), len(x)
    if path in file:
        h = float(np.asarray(stored_values(file, path)[()]).ravel()[0])
        if abs(h * n - length) <= 1e-3 * h:
            axis_of(name, x, None, "nodes")
            return Axis(name, float(x[0]), float(x[-1]), "neumann"), "cells"
    return axis_of(name, x, None)


def _same(file: Any, path: str) -> np.ndarray:
    """The coordinates that all samples share."""
    values = np.asarray(stored_values(file, path)[()])
    values = values[0] if values.ndim == 2 and len(values) and (values == values[0]).all() else values
    if values.ndim != 1 or len(values) < 2:
        raise StorageError(f"{path} has shape {values.shape}, expected the same points for every sample")
    return values
