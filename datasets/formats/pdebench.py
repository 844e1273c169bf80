"""PDEBench's HDF5 files (doi:10.18419/darus-2986) as a format of `surrogax.open`. What lies inside decides, never a file's
name.

- Family A: arrays of all samples in the root, `tensor` or `density`, `pressure`, `Vx`, …, with `x-coordinate`, …,
  `t-coordinate`, which has one entry more than there are frames. `nu` beside `tensor` is the coefficient of a steady Darcy
  problem. Files written by the generators have `tensor` with a leading axis of length one.
- Family B: a group per sample, `0000`, `0001`, …, with `data` `(time, *space, channel)` and `grid`.
- Family C: `velocity`, `particles` `(sample, time, x, y, channel)`, the steady `force`, and `t`.

Coordinates are the centres of cells. The periodic problems are known by their parameters (`beta` of advection, `Nu` of Burgers,
`Nu` and `rho` of reaction-diffusion); compressible flow exists with periodic and open sides under the same names, so that
`boundary=` tells. Tables of errors published with these data count given frames as predictions: evaluate targets alone.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.arguments import checked
from ...core.domains import Boundary, Box, Grid
from ...core.files import StorageError
from ..checked_arrays import instants
from ..source import Source
from ..stored import InMemory, Pick, Placed, Stack, Stored, StoredSource, foreign, place
from .coordinates import grid_of
from .hdf5_file import Handle, Hdf5Array, open_hdf5, root_of, stored_group, stored_values
from .named_arrays import count_of
from .registry import AbstractFormat

_LAYOUT = "PDEBench's layout"
_FLUID = ("density", "pressure", "Vx", "Vy", "Vz")
_NAMES = {"tensor": "u", "nu": "a"}
# The fields of family B, by the numbers of space axes and channels, and the condition on all sides.
_GROUPED: dict[tuple[int, int], tuple[tuple[str, ...], Boundary | None]] = {
    (1, 1): (("u",), None),
    (2, 2): (("activator", "inhibitor"), "neumann"),
    (2, 1): (("h",), "neumann"),
}


class PDEBenchFormat(AbstractFormat):
    """A file of one of PDEBench's three families. Option of `surrogax.open`: `boundary=`, the condition on all sides."""

    name = "PDEBench's HDF5"

    def recognises(self, path: Path) -> bool:
        names, _ = root_of(path)
        fields = {"tensor", *_FLUID} & names
        return (
            bool(fields and "x-coordinate" in names) or {"velocity", "particles"} <= names or _is_grouped(path, names)
        )

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        return {"": open_pdebench(path, **options)}


@checked
def open_pdebench(path: Path, boundary: Boundary | None = None) -> StoredSource:
    """Open a file of PDEBench. `boundary` is the condition on all sides; by default the one that is known of the equation, or
    none.

    **Raises:** `StorageError` for a damaged file.
    """
    names, _ = root_of(path)
    with foreign(path, _LAYOUT):
        if "x-coordinate" in names:
            return _in_root(path, boundary)
        return _incompressible(path, boundary) if "velocity" in names else _in_groups(path, sorted(names), boundary)


def _in_root(path: Path, boundary: Boundary | None) -> StoredSource:
    handle = Handle(path)
    with open_hdf5(path) as file:
        attributes = {
            name: float(np.asarray(value).item()) for name, value in file.attrs.items() if np.size(value) == 1
        }
        space = [axis for axis in "xyz" if f"{axis}-coordinate" in file]
        x = {axis: np.asarray(stored_values(file, f"{axis}-coordinate")[()]) for axis in space}
        times = np.asarray(stored_values(file, "t-coordinate")[()]) if "t-coordinate" in file else None
        stored = {n: Hdf5Array(handle, n) for n in file if n in ("tensor", "nu", *_FLUID)}
    darcy = "nu" in stored and "tensor" in stored
    notes, arrays = [], {}
    if boundary is None and not darcy and "tensor" in stored:
        boundary = "periodic"
    if boundary is None and darcy:
        boundary = "dirichlet"
    if boundary is None:
        notes.append("the file does not tell its boundary conditions; open it with boundary=")
    for name, each in stored.items():
        words = _words(each.shape, space, times)
        arrays[_NAMES.get(name, name)] = place(each, words, space)
    timed = [placed.shape[1] for placed in arrays.values() if placed.spec.time]
    if timed and times is not None:
        if len(times) > timed[0]:
            notes.append(f"t-coordinate has {len(times)} entries for {timed[0]} frames; the first {timed[0]} are used")
        times = instants(times[: timed[0]])
    else:
        times = None
    arrays.update(constants(attributes))
    grid = grid_of(x, boundary, "periodic" if boundary == "periodic" else "cells")
    return StoredSource(path, _LAYOUT, arrays, {"": grid}, times, {**attributes, "notes": notes}, count_of(arrays))


def _words(shape: tuple[int, ...], space: list[str], times: np.ndarray | None) -> list[str]:
    """What the axes of an array of family A mean: `(sample, [time], *space)`, where the time axis is one of length one in
    steady
    data and all may follow an axis of length one that the generators wrote."""
    extra = len(shape) - 1 - len(space)
    if extra == 0:
        return ["sample", *space]
    if times is None:
        return ["sample", *["1"] * extra, *space]
    return [*["1"] * (extra - 1), "sample", "time", *space]


def constants(values: Mapping[str, float]) -> dict[str, Placed]:
    """Numbers that all samples of a file share, as parameters of every sample."""
    return {name: place(InMemory(np.asarray(value)), [], [], "parameter") for name, value in values.items()}


def _is_grouped(path: Path, names: frozenset[str]) -> bool:
    if not names or not all(re.fullmatch(r"\d{4,}", name) for name in names):
        return False
    try:
        with open_hdf5(path) as file:
            return "data" in stored_group(file, min(names)) and "x" in stored_group(file, f"{min(names)}/grid")
    except Exception:  # HDF5 raises anything for damaged files
        return False


def _in_groups(path: Path, groups: list[str], boundary: Boundary | None) -> StoredSource:
    handle = Handle(path)
    with open_hdf5(path) as file:
        first = groups[0]
        space = [axis for axis in "xyz" if f"{first}/grid/{axis}" in file]
        x = {axis: np.asarray(stored_values(file, f"{first}/grid/{axis}")[()]) for axis in space}
        times = instants(stored_values(file, f"{first}/grid/t")[()])
        attributes = _numbers(str(stored_group(file, first).attrs.get("config", "")))
    data = Stack([Hdf5Array(handle, f"{group}/data") for group in groups])
    channels = data.shape[-1]
    names, known = _GROUPED.get((len(space), channels), (tuple(f"u{k}" for k in range(channels)), None))
    boundary = boundary or known
    notes = [] if boundary else ["the file does not tell its boundary conditions; open it with boundary="]
    words = ["sample", "time", *space]
    arrays = {n: place(Pick(data, data_axis(data), k), words, space) for k, n in enumerate(names)}
    ids = [int(group) for group in groups]
    if ids != list(range(len(ids))):
        attributes["ids"] = ids
        if missing := set(range(ids[-1] + 1)) - set(ids):
            notes.append(f"{len(missing)} of the samples 0 to {ids[-1]} are missing, the first is {min(missing)}")
    grid = grid_of(x, boundary, "cells")
    return StoredSource(path, _LAYOUT, arrays, {"": grid}, times, {**attributes, "notes": notes}, len(groups))


def data_axis(stored: Stored) -> int:
    """The number of the last axis."""
    return len(stored.shape) - 1


def _numbers(yaml: str) -> dict[str, Any]:
    """The lines `name: number` of a YAML text."""
    found = re.findall(r"^\s*([A-Za-z_]\w*):\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*$", yaml, re.MULTILINE)
    return {name: float(value) for name, value in found}


def _incompressible(path: Path, boundary: Boundary | None) -> StoredSource:
    handle = Handle(path)
    with open_hdf5(path) as file:
        times = np.asarray(stored_values(file, "t")[()])
        attributes = _numbers(str(file.attrs.get("config", "")))
        stored = {n: Hdf5Array(handle, n) for n in ("velocity", "particles", "force") if n in file}
    if times.ndim == 2 and (times == times[0]).all():
        times = times[0]
    if times.ndim != 1:
        raise StorageError("its samples have different instants")
    notes = ["the file stores no coordinates; its points are the centres of cells of the unit square"]
    words = {5: "sample time x y component", 4: "sample x y component"}
    arrays = {n: place(s, words[len(s.shape)], "xy") for n, s in stored.items()}
    shape = stored["velocity"].shape[2:4]
    grid = Grid(Box.unit(2, boundary or "dirichlet"), shape, ("periodic" if boundary == "periodic" else "cells",) * 2)
    return StoredSource(
        path, _LAYOUT, arrays, {"": grid}, instants(times), {**attributes, "notes": notes}, count_of(arrays)
    )
