"""`WellSource` reads files in The Well's HDF5 layout (https://polymathic-ai.org/the_well); `well_writer` writes them.

Files of this library state their grid and vectors in the root attribute `surrogax`. In other files they are found as follows:

- The boundary condition of an axis is "periodic" if both ends are PERIODIC, "dirichlet" if both are WALL, else "neumann".
- The first coordinate of a periodic axis is its left end. Any other axis whose first coordinate is h/2 has the layout "cells"
  on [0, n·h]; the rest have "nodes" from the first to the last coordinate.
- Tensor fields become vectors, row by row.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from ...core.domains import AbstractDomain, Axis, Boundary, Box, Grid
from ...core.files import StorageError
from ..checked_arrays import instants
from ..source import FieldSpec, sample_positions
from ..stored import ascending, foreign
from ..windows import by_first_instant
from .coordinates import axis_of
from .hdf5_file import Handle, check_count, is_whole, member, open_hdf5, read_rows, stored_values

ORDERS = {"t0_fields": 0, "t1_fields": 1, "t2_fields": 2, "scalars": 0}  # groups of a file and their tensor orders

_BOUNDARIES: dict[tuple[str, ...], Boundary] = {("PERIODIC",) * 2: "periodic", ("WALL",) * 2: "dirichlet"}


@dataclass(frozen=True)
class _Stored:
    """Where the file stores one field.

    **Fields:**

    - `spec`: the form of the field.
    - `datasets`: the path of its HDF5 dataset; with `split`, one path per component.
    - `varying`: for each of the axes `(sample, [time], *space)`, whether the dataset has it. Values are constant along missing
      axes.
    """

    spec: FieldSpec
    datasets: tuple[str, ...]
    varying: tuple[bool, ...]
    split: bool = False


class WellSource:
    """The samples of one file, read when they are asked for. It may be pickled, forked and shared by threads. `statistics` are
    the published ones of its folder, which become an attribute.

    **Raises:** `StorageError` for a file that is damaged or not in The Well's layout, that refers to other files, or that
    claims more than a file of its size can hold.
    """

    def __init__(self, path: str | os.PathLike, statistics: Mapping | str | None = None):
        self.path, self._statistics = Path(path), statistics
        self._handle = Handle(self.path)
        with open_hdf5(self.path) as file, foreign(self.path, "The Well's layout"):
            check_count(self.path, _integer(file.attrs, "n_trajectories"))
            own = json.loads(str(file.attrs.get("surrogax", "{}")))
            self._count = _integer(file.attrs, "n_trajectories")
            grid = _own_grid(file, own["grid"]) if own else _grid(file)
            times = instants(_coordinates(file, "time"))
            stored = _table(file, self._count, len(times), grid.shape)
            self._stored = _own_fields(stored, own["fields"]) if own else _fields(stored)
            attributes = own["attributes"] if own else {"name": str(file.attrs["dataset_name"])}
            self.attributes: Mapping = {**attributes, **({} if statistics is None else {"statistics": statistics})}
        self.grid: Grid = grid
        self.domains: Mapping[str, AbstractDomain] = {"": grid}
        self.fields: Mapping[str, FieldSpec] = {name: entry.spec for name, entry in self._stored.items()}
        self._steps = len(times)
        timed = any(spec.time for spec in self.fields.values())
        self.times: np.ndarray | None = times if timed else None

    def __len__(self) -> int:
        return self._count

    def read(self, name: str, indices: np.ndarray, window: tuple[slice, ...] = ()) -> np.ndarray:
        """See `Source.read`. Only the part of each time and space axis inside `window` is read from disk."""
        if name not in self._stored:
            raise KeyError(f"{self.path}: no field {name!r}; it has {sorted(self._stored)}")
        stored = self._stored[name]
        spec = stored.spec
        sizes = (self._steps,) if spec.time else ()
        sizes += self.grid.shape if spec.role == "field" else ()
        if len(window) > len(sizes) + len(spec.components):
            allowed = len(sizes) + len(spec.components)
            raise IndexError(f"{name!r} has {allowed} axes per sample, but window={window} has {len(window)} slices")
        ranges = [range(n)[cut] for n, cut in zip(sizes, window, strict=False)]
        ranges += [range(n) for n in sizes[len(ranges) :]]
        wanted, position = np.unique(sample_positions(indices, len(self)), return_inverse=True)

        cuts = tuple(ascending(r) for r, varies in zip(ranges, stored.varying[1:], strict=True) if varies)
        with foreign(self.path, "The Well's layout"):
            parts = [read_rows(*self._handle.values(path), wanted, stored.varying[0], cuts) for path in stored.datasets]
        axes = parts[0].shape[: 1 + len(cuts)]
        values = np.stack(parts, -1) if stored.split else parts[0].reshape(axes + spec.components)
        values = np.expand_dims(values, [k for k, varies in enumerate(stored.varying) if k and not varies])
        values = values[(slice(None), *(slice(None, None, -1 if r.step < 0 else 1) for r in ranges))]
        shape = (len(wanted), *map(len, ranges), *spec.components)
        values = values if values.shape == shape else np.array(np.broadcast_to(values, shape))
        values = values[(..., *window[len(sizes) :])] if len(window) > len(sizes) else values
        if not np.array_equal(position, np.arange(len(values))):  # else as asked for: no copy
            values = values[position]
        return values.astype(spec.dtype, copy=False)

    def read_windows(
        self, name: str, indices: np.ndarray, starts: np.ndarray, frames: int, step: int, space: tuple[slice, ...]
    ) -> np.ndarray:
        """See `windows.read_windows`. Each window is one read by the system where the values of a field lie in one part of the
        file."""
        stored = self._stored.get(name)
        whole = stored is not None and all(
            is_whole(cut, n) for cut, n in zip(space, self._sizes(stored.spec), strict=False)
        )
        if stored is None or len(stored.datasets) > 1 or not all(stored.varying) or not whole:
            return by_first_instant(self, name, indices, starts, frames, step, space)
        with foreign(self.path, "The Well's layout"):
            _, extent = self._handle.values(stored.datasets[0])
            if extent is None:
                return by_first_instant(self, name, indices, starts, frames, step, space)
            values = extent.windows(sample_positions(indices, len(self)), starts, frames, step)
        return values.reshape(len(values), frames, *self._sizes(stored.spec))

    def _sizes(self, spec: FieldSpec) -> tuple[int, ...]:
        return (self.grid.shape if spec.role == "field" else ()) + spec.components

    def __reduce__(self):
        return WellSource, (self.path, self._statistics)

    def __repr__(self) -> str:
        return f"WellSource({str(self.path)!r}, {len(self)} samples of {', '.join(self.fields)} on {self.grid})"


def _strings(attribute) -> list[str]:
    return [s.decode() if isinstance(s, bytes) else str(s) for s in np.atleast_1d(attribute)]


def _coordinates(file: h5py.File, name: str) -> np.ndarray:
    values = stored_values(file, f"dimensions/{name}")[()]
    if values.ndim == 2 and len(values) and (values == values[0]).all():
        values = values[0]
    if values.ndim != 1 or not len(values):
        raise StorageError(f"dimensions/{name} has shape {values.shape}, expected the same points for every sample")
    return values


def _own_grid(file: h5py.File, saved: Mapping) -> Grid:
    box = Box(tuple(Axis(**axis) for axis in saved["axes"]))
    names = _strings(member(file, "dimensions").attrs["spatial_dims"])
    if list(box.names) != names:
        raise StorageError(f"its surrogax attribute has the axes {list(box.names)}, its spatial_dims are {names}")
    return Grid(box, tuple(len(_coordinates(file, name)) for name in names), tuple(saved["layouts"]))


def _grid(file: h5py.File) -> Grid:
    names = _strings(member(file, "dimensions").attrs["spatial_dims"])
    ends = _ends(file, names)
    axes, shape, layouts = [], [], []
    for name in names:
        boundary: Boundary = _BOUNDARIES.get(tuple(ends[name]), "neumann")
        x = _coordinates(file, name)
        axis, layout = axis_of(name, x, boundary, where=f"dimensions/{name}")
        axes.append(axis)
        shape.append(len(x))
        layouts.append(layout)
    return Grid(Box(tuple(axes)), tuple(shape), tuple(layouts))


def _integer(attributes: Mapping, name: str) -> int:
    return int(np.asarray(attributes[name]).item())


def _ends(file: h5py.File, names: list[str]) -> dict[str, list[str]]:
    """Type of the boundary at both ends of every axis, by the rules of the package the_well: an end is WALL if the mask of a wall
    covers its whole face, OPEN or PERIODIC if such a mask has any point of it. The default is OPEN."""
    ends = {name: ["OPEN", "OPEN"] for name in names}
    for key in member(file, "boundary_conditions"):
        about, mask = (
            member(file, f"boundary_conditions/{key}").attrs,
            stored_values(file, f"boundary_conditions/{key}/mask"),
        )
        kind = str(about["bc_type"]).upper()
        leading = (0,) * (_integer(about, "sample_varying") + _integer(about, "time_varying"))
        for k, name in enumerate(_strings(about["associated_dims"])):
            for end in (0, -1):
                face = mask[(*leading, *(slice(None),) * k, end)]
                if np.all(face) if kind == "WALL" else np.any(face):
                    ends[name][end] = kind
    return ends


def _table(file: h5py.File, samples: int, instants: int, space: tuple[int, ...]) -> dict[str, _Stored]:
    """Every dataset of the four field groups by its path. Shapes are checked against the dimensions of the file."""
    table = {}
    for group, order in ORDERS.items():
        for name in _strings(member(file, group).attrs["field_names"]):
            path = f"{group}/{name}"
            data = stored_values(file, path)
            sample, time = bool(data.attrs["sample_varying"]), bool(data.attrs["time_varying"])
            dims = [bool(v) for v in data.attrs["dim_varying"]] if group != "scalars" else []
            components = (len(space) ** order,) if order else ()
            axes = space if group != "scalars" else ()
            leading = (samples,) * sample + (instants,) * time
            leading += tuple(n for n, varies in zip(axes, dims, strict=True) if varies)
            tails = [(len(space),) * order, components] if axes else [(), (1,)]
            if data.shape not in [leading + tail for tail in tails] or data.dtype.kind not in "biuf":
                raise StorageError(
                    f"{path} is {data.dtype}{list(data.shape)}, expected real numbers of shape "
                    f"{list(leading + tails[0])} by n_trajectories, the dimensions and its own attributes"
                )
            spec = FieldSpec("parameter" if group == "scalars" else "field", components, time, data.dtype.name)
            table[path] = _Stored(spec, (path,), (sample, *(True,) * time, *dims))
    return table


def _fields(table: Mapping[str, _Stored]) -> dict[str, _Stored]:
    fields = {path.split("/", 1)[1]: stored for path, stored in table.items()}
    if len(fields) != len(table):
        raise StorageError(f"two of its fields have the same name: {sorted(table)}")
    return fields


def _own_fields(table: Mapping[str, _Stored], saved: Mapping[str, list[str]]) -> dict[str, _Stored]:
    fields = {}
    for name, paths in saved.items():
        first = table[paths[0]]
        if any(replace(table[path], datasets=()) != replace(first, datasets=()) for path in paths):
            raise StorageError(f"the components {paths} of {name!r} differ in shape or type")
        split = paths[0].split("/", 1)[1] != name
        spec = replace(first.spec, components=(len(paths),)) if split else first.spec
        fields[name] = _Stored(spec, tuple(paths), first.varying, split)
    return fields
