"""Files in The Well's HDF5 layout (https://polymathic-ai.org/the_well): a lazy source and a streaming, atomic writer.

How we write a dataset:

- A scalar field is a dataset of `t0_fields`, a vector with one component per space axis one of `t1_fields`; any other
  vector `q` becomes the scalars `q_0`, `q_1`, …. Parameters are `scalars`. Steady data has one instant and fields that
  do not vary in time. Values lie contiguously: a random batch reads up to 80 times faster than from chunks (measured).
- Boundaries: "dirichlet" is WALL, "neumann" OPEN, "periodic" PERIODIC; an axis without boundary condition has none.
- The root attribute `surrogax` (JSON) holds what the layout cannot express: the exact box, the layouts of the grid,
  which datasets form a vector, and the attributes.

How we read a file without that attribute: an axis is periodic if both its ends are, dirichlet if both are walls, else
neumann. The first coordinate of a periodic axis is its left end; other axes are cell centres of [0, n·h] if their first
coordinate is h/2, else nodes from the first to the last coordinate. Tensors come as vectors, row by row.
"""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from ..solvers.domains import Axis, Box, Grid
from ..solvers.storage import StorageError, atomic_write
from .dataset import Dataset
from .source import FieldSpec, Source

_ORDERS = {"t0_fields": 0, "t1_fields": 1, "t2_fields": 2, "scalars": 0}
_BC_TYPES = {"dirichlet": "WALL", "neumann": "OPEN", "periodic": "PERIODIC"}


# Reading --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stored:
    """Where one field lies: its dataset, or with `split` one dataset per component, and which of the axes
    `(sample, [time], *space)` are stored; the values are the same along the others."""

    spec: FieldSpec
    datasets: tuple[str, ...]
    varying: tuple[bool, ...]
    split: bool = False


class WellSource:
    """The samples of one file, read when asked for. May be pickled, forked, and shared by threads."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._lock, self._opened = threading.Lock(), None
        with _open(self.path) as file, _explained(self.path):
            own = json.loads(str(file.attrs.get("surrogax", "{}")))
            self._count = int(file.attrs["n_trajectories"])
            self.domain: Grid | None = _own_grid(file, own["grid"]) if own else _grid(file)
            instants = _coordinates(file, "time")
            stored = _table(file, self._count, len(instants), self.domain.shape)
            self._stored = _own_fields(stored, own["fields"]) if own else _fields(stored)
            self.attributes: Mapping = own["attributes"] if own else {"name": str(file.attrs["dataset_name"])}
        self.fields: Mapping[str, FieldSpec] = {name: entry.spec for name, entry in self._stored.items()}
        self._steps = len(instants)
        timed = any(spec.time for spec in self.fields.values())
        self.times: np.ndarray | None = instants if timed else None

    def __len__(self) -> int:
        return self._count

    def read(self, name: str, indices: np.ndarray, window: tuple[slice, ...] = ()) -> np.ndarray:
        """See `Source.read`. Only the window's part of each time and space axis leaves the disk."""
        if name not in self._stored:
            raise KeyError(f"{self.path}: no field {name!r}; it has {sorted(self._stored)}")
        stored = self._stored[name]
        spec = stored.spec
        sizes = (self._steps,) if spec.time else ()
        sizes += self.domain.shape if spec.role == "field" else ()
        if len(window) > len(sizes) + len(spec.components):
            raise IndexError(f"{name!r} has {len(sizes) + len(spec.components)} axes per sample, window {window} more")
        ranges = [range(n)[cut] for n, cut in zip(sizes, window, strict=False)]
        ranges += [range(n) for n in sizes[len(ranges) :]]
        wanted, position = np.unique(np.arange(len(self))[indices], return_inverse=True)

        cuts = tuple(_ascending(r) for r, varies in zip(ranges, stored.varying[1:], strict=True) if varies)
        file = self._file()
        with _explained(self.path):
            parts = [_read_rows(_dataset(file, path), wanted, stored.varying[0], cuts) for path in stored.datasets]
        axes = parts[0].shape[: 1 + len(cuts)]
        values = np.stack(parts, -1) if stored.split else parts[0].reshape(axes + spec.components)
        values = np.expand_dims(values, [k for k, varies in enumerate(stored.varying) if k and not varies])
        values = values[(slice(None), *(slice(None, None, -1 if r.step < 0 else 1) for r in ranges))]
        values = np.broadcast_to(values, (len(wanted), *map(len, ranges), *spec.components))
        values = values[(..., *window[len(sizes) :])] if len(window) > len(sizes) else values
        return values[position].astype(spec.dtype, copy=False)

    def _file(self) -> h5py.File:
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened = os.getpid(), _open(self.path)
            return self._opened[1]

    def __reduce__(self):
        return WellSource, (self.path,)

    def __repr__(self) -> str:
        return f"WellSource({str(self.path)!r}, {len(self)} samples of {', '.join(self.fields)} on {self.domain})"


def _read_rows(data: h5py.Dataset, rows: np.ndarray, varies: bool, cuts: tuple[slice, ...]) -> np.ndarray:
    """The parts `cuts` of the ascending samples `rows`, by one read per run of neighbours: HDF5 takes a list of rows
    too, but that is up to 40 times slower on chunked files."""
    if not varies:
        return np.asarray(data[cuts])[None]
    if len(rows) == 0:
        return data[(slice(0, 0), *cuts)]
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    blocks = [data[(slice(run[0], run[-1] + 1), *cuts)] for run in runs]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _ascending(r: range) -> slice:
    """The slice that reads the entries of `r` in ascending order."""
    r = r if r.step > 0 else r[::-1]
    return slice(r.start, max(r.start, r.stop), r.step)


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if error.errno is not None:  # missing, forbidden, a folder
            raise
        raise StorageError(f"{path}: is no intact HDF5 file: {error}") from error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, OSError) as error:
        reason = error.args[0] if isinstance(error, KeyError) else error
        raise StorageError(f"{path}: is not in The Well's layout, or damaged: {reason}") from error


def _strings(attribute) -> list[str]:
    return [s.decode() if isinstance(s, bytes) else str(s) for s in np.atleast_1d(attribute)]


def _dataset(file: h5py.File, path: str) -> h5py.Dataset:
    found = file[path]
    if not isinstance(found, h5py.Dataset):
        raise StorageError(f"{path} is a {type(found).__name__.lower()}, expected a dataset")
    return found


def _coordinates(file: h5py.File, name: str) -> np.ndarray:
    values = _dataset(file, f"dimensions/{name}")[()]
    if values.ndim == 2 and len(values) and (values == values[0]).all():
        values = values[0]
    if values.ndim != 1 or not len(values):
        raise StorageError(f"dimensions/{name} has shape {values.shape}, expected the same points for every sample")
    return values


def _own_grid(file: h5py.File, saved: Mapping) -> Grid:
    box = Box(tuple(Axis(**axis) for axis in saved["axes"]))
    names = _strings(file["dimensions"].attrs["spatial_dims"])
    if list(box.names) != names:
        raise StorageError(f"its surrogax attribute has the axes {list(box.names)}, its spatial_dims are {names}")
    return Grid(box, tuple(len(_coordinates(file, name)) for name in names), tuple(saved["layouts"]))


def _grid(file: h5py.File) -> Grid:
    names = _strings(file["dimensions"].attrs["spatial_dims"])
    ends = _ends(file, names)
    axes, shape, layouts = [], [], []
    for name in names:
        x = _coordinates(file, name).astype(np.float64)
        n = len(x)
        h = (x[-1] - x[0]) / max(n - 1, 1)
        rounding = 4 * np.finfo(np.float32).eps * np.abs(x).max()
        if not h > 0 or np.abs(x - np.linspace(x[0], x[-1], n)).max() > 1e-3 * h + rounding:
            raise StorageError(f"dimensions/{name} is not uniformly increasing, expected two or more points of a grid")
        boundary = {("PERIODIC",) * 2: "periodic", ("WALL",) * 2: "dirichlet"}.get(tuple(ends[name]), "neumann")
        cells = abs(x[0] - h / 2) <= 1e-3 * h
        layout = "periodic" if boundary == "periodic" else "cells" if cells else "nodes"
        start, stop = {"periodic": (x[0], x[0] + n * h), "cells": (0, n * h), "nodes": (x[0], x[-1])}[layout]
        axes.append(Axis(name, float(start), float(stop), boundary))
        shape.append(n)
        layouts.append(layout)
    return Grid(Box(tuple(axes)), tuple(shape), tuple(layouts))


def _ends(file: h5py.File, names: list[str]) -> dict[str, list[str]]:
    """Type of the boundary at both ends of every axis, as the_well sees it: a wall needs the whole face, OPEN and
    PERIODIC any point of it, and open is the default."""
    ends = {name: ["OPEN", "OPEN"] for name in names}
    for key in file["boundary_conditions"]:
        about, mask = file[f"boundary_conditions/{key}"].attrs, _dataset(file, f"boundary_conditions/{key}/mask")
        kind = str(about["bc_type"]).upper()
        leading = (0,) * (int(about["sample_varying"]) + int(about["time_varying"]))
        for k, name in enumerate(_strings(about["associated_dims"])):
            for end in (0, -1):
                face = mask[(*leading, *(slice(None),) * k, end)]
                if np.all(face) if kind == "WALL" else np.any(face):
                    ends[name][end] = kind
    return ends


def _table(file: h5py.File, samples: int, instants: int, space: tuple[int, ...]) -> dict[str, _Stored]:
    """Every dataset of the four groups by its path, its shape checked against the dimensions."""
    table = {}
    for group, order in _ORDERS.items():
        for name in _strings(file[group].attrs["field_names"]):
            path = f"{group}/{name}"
            data = _dataset(file, path)
            sample, time = bool(data.attrs["sample_varying"]), bool(data.attrs["time_varying"])
            dims = [bool(v) for v in data.attrs["dim_varying"]] if group != "scalars" else []
            components = (len(space) ** order,) if order else ()
            axes = space if group != "scalars" else ()
            leading = (samples,) * sample + (instants,) * time
            leading += tuple(n for n, varies in zip(axes, dims, strict=True) if varies)
            tails = [(len(space),) * order, components] if axes else [(), (1,)]
            if data.shape not in [leading + tail for tail in tails] or data.dtype.kind not in "biufc":
                raise StorageError(
                    f"{path} is {data.dtype}{list(data.shape)}, expected numbers of shape "
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


# Folders --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConcatSource:
    """The samples of several sources one after the other; all have the same fields, grid and times."""

    parts: tuple[Source, ...]

    def __post_init__(self):
        first = self.parts[0]
        for part in self.parts[1:]:
            same = part.domain == first.domain and np.array_equal(_instants(part), _instants(first))
            if not same or dict(part.fields) != dict(first.fields):
                raise ValueError(f"{part} and {first} differ in fields, grid or times and cannot be one source")

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        return self.parts[0].fields

    @property
    def domain(self) -> Grid | None:
        return self.parts[0].domain

    @property
    def times(self) -> np.ndarray | None:
        return self.parts[0].times

    @property
    def attributes(self) -> Mapping:
        """Those of the first part; the samples' `ids`, if any part has them, are those of all parts."""
        first = self.parts[0].attributes
        if not any("ids" in part.attributes for part in self.parts):
            return first
        return {**first, "ids": [i for part in self.parts for i in part.attributes.get("ids", range(len(part)))]}

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def read(self, name: str, indices: np.ndarray, window: tuple[slice, ...] = ()) -> np.ndarray:
        """See `Source.read`; one read per part that holds any of the samples."""
        edges = np.cumsum([0, *map(len, self.parts)])
        indices = np.arange(len(self))[indices]
        owner = np.searchsorted(edges, indices, side="right") - 1
        owners = np.unique(owner) if len(indices) else [0]
        blocks = [self.parts[k].read(name, indices[owner == k] - edges[k], window) for k in owners]
        return np.concatenate(blocks)[np.argsort(np.argsort(owner, kind="stable"))]


def open_well_folder(path: str | os.PathLike) -> dict[str, Source]:
    """The published splits of a dataset of The Well: the folders train, valid and test below `path` or `path/data`."""
    folder = Path(path) / "data" if (Path(path) / "data").is_dir() else Path(path)
    splits: dict[str, Source] = {}
    for split in ("train", "valid", "test"):
        files = sorted(file for pattern in ("*.hdf5", "*.h5") for file in (folder / split).glob(pattern))
        if files:
            sources = tuple(map(WellSource, files))
            splits[split] = sources[0] if len(sources) == 1 else ConcatSource(sources)
    if not splits:
        raise FileNotFoundError(f"{folder}: found no .hdf5 or .h5 file in a folder train, valid or test below it")
    return splits


def _instants(source: Source) -> np.ndarray:
    return np.empty(0) if source.times is None else source.times


# Writing --------------------------------------------------------------------------------------------------------------


def write_well(path: str | os.PathLike, samples: Source | Dataset, *, name: str, chunk: int = 16) -> None:
    """Writes all samples of a source or dataset on a grid, atomically, with `chunk` samples in memory at a time.

    **Arguments:**

    - `name`: name of the dataset; the same in all files of one folder.

    **Raises:** `ValueError` for what the layout cannot hold: point clouds, no samples, names that collide.
    """
    dataset = samples if isinstance(samples, Dataset) else Dataset.of(samples)
    layout = _layout(dataset)
    with atomic_write(path) as temporary, open(temporary, "w+b", buffering=0) as raw:
        disk = _Disk(raw)
        with h5py.File(disk, "w") as file:
            _write_header(file, dataset, layout, name)
            for start in range(0, len(dataset), chunk):
                rows = np.arange(start, min(start + chunk, len(dataset)))
                for field, values in dataset.read(positions=rows).items():
                    _write_rows(file, field, layout[field], rows, values)
                if disk.failure is not None:
                    break
        if disk.failure is not None:
            raise disk.failure


class _Disk:
    """The file that HDF5 writes to. HDF5 ends the process with a segmentation fault when its own write meets a full
    disk, so this one keeps the first failure, lets the rest of the writing go nowhere, and the writer raises it."""

    def __init__(self, raw):
        self.failure: BaseException | None = None
        self.read, self.readinto, self.flush = raw.read, raw.readinto, raw.flush
        self.seek, self.tell = raw.seek, raw.tell
        self._raw = raw

    def write(self, data) -> None:
        try:
            rest = memoryview(data)
            while rest and self.failure is None:
                rest = rest[self._raw.write(rest) :]
        except BaseException as failure:
            self.failure = failure

    def truncate(self, size: int) -> None:
        try:
            self._raw.truncate(size)
        except BaseException as failure:
            self.failure = self.failure or failure


def _layout(dataset: Dataset) -> dict[str, list[str]]:
    """The paths of the datasets of every field."""
    grid, layout = dataset.grid, {}
    if grid is None:
        raise ValueError("The Well's layout holds grids only; save point clouds with solvers.storage.save")
    if not len(dataset):
        raise ValueError("a file of The Well needs at least one sample; this dataset is empty")
    for name, spec in dataset.fields.items():
        vector = spec.role == "field" and spec.components == (grid.ndim,)
        group = "scalars" if spec.role == "parameter" else "t1_fields" if vector else "t0_fields"
        parts = [f"{name}_{i}" for i in range(spec.channels)] if spec.components and not vector else [name]
        layout[name] = [f"{group}/{part}" for part in parts]
    names = ["time", *grid.names], [path.split("/", 1)[1] for paths in layout.values() for path in paths]
    for wrong in [n for group in names for n in group if group.count(n) > 1 or "/" in n]:
        raise ValueError(f"{wrong!r} is used twice or contains '/', which HDF5 names cannot; rename it")
    return layout


def _write_header(file: h5py.File, dataset: Dataset, layout: Mapping[str, list[str]], name: str) -> None:
    """All but the values of the fields."""
    grid, times = dataset.grid, np.zeros(1, np.float32) if dataset.times is None else dataset.times
    file.attrs.update(dataset_name=name, grid_type="cartesian", n_spatial_dims=grid.ndim, n_trajectories=len(dataset))
    file.attrs["simulation_parameters"] = _names([])
    ids = {} if np.array_equal(dataset.ids, np.arange(len(dataset))) else {"ids": dataset.ids.tolist()}
    own = {
        "grid": {"axes": [asdict(axis) for axis in grid.box.axes], "layouts": grid.layouts},
        "fields": layout,
        "attributes": {**dataset.attributes, **ids},
    }
    file.attrs["surrogax"] = json.dumps(own, allow_nan=False)

    dimensions = file.create_group("dimensions")
    dimensions.attrs["spatial_dims"] = _names(grid.names)
    dimensions["time"] = times
    for axis, coordinates in zip(grid.names, grid.coordinates, strict=True):
        dimensions[axis] = coordinates.astype(np.float32)
    for key, data in dimensions.items():
        data.attrs.update(sample_varying=False, time_varying=key == "time")

    boundaries = file.create_group("boundary_conditions")
    for axis, n in zip(grid.box.axes, grid.shape, strict=True):
        if axis.boundary is not None:
            kind = _BC_TYPES[axis.boundary]
            group = boundaries.create_group(f"{axis.name}_{kind.lower()}")
            group.attrs.update(bc_type=kind, associated_dims=_names([axis.name]), associated_fields=_names([]))
            group.attrs.update(sample_varying=False, time_varying=False)
            group["mask"] = np.isin(np.arange(n), (0, n - 1))

    for group in _ORDERS:
        inside = [path.split("/", 1)[1] for paths in layout.values() for path in paths if path.startswith(group)]
        file.create_group(group).attrs["field_names"] = _names(inside)
    for field, paths in layout.items():
        spec = dataset.fields[field]
        shape = (len(dataset), len(times)) if spec.time else (len(dataset),)
        shape += (grid.shape if spec.role == "field" else ()) + spec.components * paths[0].startswith("t1")
        for path in paths:
            data = file.create_dataset(path, shape, spec.dtype)
            data.attrs.update(sample_varying=True, time_varying=spec.time)
            if spec.role == "field":
                data.attrs["dim_varying"] = [True] * grid.ndim


def _write_rows(file: h5py.File, field: str, paths: list[str], rows: np.ndarray, values: np.ndarray) -> None:
    parts = np.moveaxis(values, -1, 0) if not paths[0].endswith(f"/{field}") else [values]
    for path, part in zip(paths, parts, strict=True):
        data = _dataset(file, path)
        expected = (len(rows), *data.shape[1:])
        if part.shape != expected or part.dtype != data.dtype:
            raise ValueError(
                f"field {field!r} gave {part.dtype}{list(part.shape)}, expected {data.dtype}{list(expected)} by its "
                "FieldSpec, the grid and the times"
            )
        data[rows[0] : rows[-1] + 1] = part


def _names(names) -> np.ndarray:
    """Strings as The Well stores a list of them, also an empty one."""
    return np.array(list(names), h5py.string_dtype())
