"""NetCDF files and zarr folders, whose axes have names, as a format of `surrogax.open`. They are read through xarray.

`pip install surrogax[netcdf]` brings xarray, h5netcdf and zarr. Axes are told by their names: `sample` (or `batch`,
`trajectory`, `member`, …), `time` or `t`, `component` or `channel` (or `NAME_component`); all others are axes of space, whose
coordinates must be equally spaced. A file without a sample axis is one sample. A variable of the sample axis alone is a
parameter. Units of variables are kept in the attribute `units`.
"""

import importlib.util
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...core.arguments import checked
from ...core.domains import Boundary, Grid
from ...core.files import StorageError
from ..checked_arrays import instants
from ..source import Source
from ..stored import Placed, Stored, StoredSource, foreign, place
from .coordinates import grid_of
from .hdf5_file import member, open_hdf5, root_of, stored_values
from .named_arrays import count_of, in_order
from .registry import AbstractFormat

_SAMPLE = (
    "sample",
    "samples",
    "batch",
    "trajectory",
    "trajectories",
    "member",
    "realization",
    "ensemble",
    "run",
    "case",
    "n",
)
_TIME = ("time", "t", "times")
_COMPONENT = ("component", "components", "channel", "channels", "variable", "var", "vector")


class Labelled:
    """A file or folder that xarray opens at its first use. It may be pickled and shared by threads."""

    def __init__(self, path: Path):
        self.path, self._lock, self._opened = path, threading.Lock(), None

    def variables(self) -> Mapping[str, Any]:
        """The variables and coordinates by name, not read yet."""
        import xarray

        with self._lock:
            if self._opened is None:
                engine = "zarr" if self.path.is_dir() else "scipy" if _is_classic(self.path) else "h5netcdf"
                options: dict[str, Any] = {"consolidated": False} if engine == "zarr" else {}
                self._opened = xarray.open_dataset(self.path, engine=engine, decode_times=False, cache=False, **options)
            return {str(name): variable for name, variable in self._opened.variables.items()}

    def __reduce__(self):
        return Labelled, (self.path,)


@dataclass(frozen=True)
class LabelledArray:
    """One variable, read in parts."""

    file: Labelled
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype = field(repr=False)

    def read(self, cuts: tuple[slice, ...]) -> np.ndarray:
        return np.asarray(self.file.variables()[self.name][cuts].values)


class NetcdfFormat(AbstractFormat):
    """A NetCDF file of version 3 or 4. Options of `surrogax.open`: `grid=`, `times=`, `boundary=`."""

    name = "NetCDF"

    def recognises(self, path: Path) -> bool:
        if _is_classic(path):
            return True
        _, attributes = root_of(path)
        return "_NCProperties" in attributes or _has_scales(path)

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        return {"": open_labelled(path, "NetCDF", **options)}


class ZarrFormat(AbstractFormat):
    """A folder of zarr, version 2 or 3. Options of `surrogax.open`: `grid=`, `times=`, `boundary=`."""

    name = "zarr"

    def recognises(self, path: Path) -> bool:
        return path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zmetadata"))

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        return {"": open_labelled(path, "zarr", **options)}


@checked
def open_labelled(
    path: Path, layout: str, grid: Grid | None = None, times: Any = None, boundary: Boundary | None = None
) -> StoredSource:
    """Open a file whose axes have names. `grid` and `times` replace stored coordinates, `boundary` is the condition on all
    sides.

    **Raises:** `ModuleNotFoundError` without xarray; `StorageError` for a damaged file, axes without coordinates and unequal
    spacing.
    """
    needed = ["xarray", "zarr"] if layout == "zarr" else ["xarray"] + ["h5netcdf"] * (not _is_classic(path))
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise ModuleNotFoundError(f"{path}: reading {layout} needs {missing[0]}; pip install 'surrogax[netcdf]'")
    with foreign(path, layout):
        if not path.is_dir() and not _is_classic(path):
            _check_claims(path)
        file = Labelled(path)
        variables = dict(file.variables())
        coordinates = {n: v for n, v in variables.items() if v.dims == (n,)}
        data = {n: v for n, v in variables.items() if n not in coordinates and v.dtype.kind in "biuf"}
        words = {n: [_word(dim, n) for dim in v.dims] for n, v in data.items()}
        space = _space(words)
        arrays, fields = {}, [n for n in data if set(words[n]) & set(space)]
        for name, variable in data.items():
            role = "field" if name in fields else "parameter"
            stored: Stored = LabelledArray(file, name, tuple(variable.shape), variable.dtype)
            if role == "field" or words[name][:1] in (["sample"], []):
                arrays[name] = place(stored, words[name], space, role)
        if not fields:
            raise StorageError(f"no variable has an axis of space; it holds {_dimensions(variables)}")
        grid = _grid(variables, coordinates, fields, space, boundary) if grid is None else grid
        times = _times(arrays, coordinates) if times is None else instants(times)
        samples = count_of(arrays)
        attributes: dict[str, Any] = {"file": path.name}
        if units := {n: str(v.attrs["units"]) for n, v in variables.items() if "units" in v.attrs}:
            attributes["units"] = units
        if ids := [c for n, c in coordinates.items() if _word(n, n) == "sample" and c.dtype.kind in "iu"]:
            attributes["ids"] = np.asarray(ids[0].values).tolist()
        if boundary is None and all(axis.boundary is None for axis in grid.box.axes):
            attributes["notes"] = ["the file does not tell its boundary conditions; open it with boundary="]
        return StoredSource(path, layout, arrays, {"": grid}, times, attributes, samples)


def _word(dim: str, name: str) -> str:
    lower = dim.lower()
    if lower in _SAMPLE:
        return "sample"
    if lower in _TIME:
        return "time"
    return "component" if lower in _COMPONENT or dim == f"{name}_component" else dim


def _space(words: Mapping[str, list[str]]) -> list[str]:
    """The axes of space of the variable that has most of them."""
    of = [[w for w in each if w not in ("sample", "time", "component")] for each in words.values()]
    longest = max(of, key=len, default=[])
    if other := sorted({w for each in of for w in each} - set(longest)):
        raise StorageError(f"its variables lie on different axes, {longest} and {other}; open one of them at a time")
    return in_order(longest)


def _grid(
    variables: Mapping, coordinates: Mapping, fields: list[str], space: list[str], boundary: Boundary | None
) -> Grid:
    if missing := [axis for axis in space if axis not in coordinates]:
        sizes = {dim: n for name in fields for dim, n in zip(variables[name].dims, variables[name].shape, strict=True)}
        raise StorageError(f"the axis {missing[0]!r} of {sizes[missing[0]]} points has no coordinates; pass grid=")
    x = {axis: np.asarray(coordinates[axis].values, np.float64) for axis in space}
    if falling := [axis for axis, values in x.items() if len(values) > 1 and values[0] > values[-1]]:
        raise StorageError(
            f"the coordinates {falling[0]} decrease; sort the file by them, for example ds.sortby({falling[0]!r})"
        )
    return grid_of(x, boundary)


def _times(arrays: Mapping[str, Placed], coordinates: Mapping) -> np.ndarray | None:
    counts = {p.shape[1] for p in arrays.values() if p.spec.time}
    if not counts:
        return None
    found = [c for name, c in coordinates.items() if name.lower() in _TIME]
    if not found:
        raise StorageError(f"there are no instants of the {counts} frames; pass times=")
    return instants(np.asarray(found[0].values))


def _dimensions(variables: Mapping) -> str:
    return ", ".join(f"{name}{tuple(v.dims)}" for name, v in list(variables.items())[:12])


def _is_classic(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in (b"CDF\x01", b"CDF\x02")


def _has_scales(path: Path) -> bool:
    """Whether the arrays of an HDF5 file have named axes."""
    names, _ = root_of(path)
    try:
        with open_hdf5(path) as file:
            return bool(names) and any(file[name].attrs.get("CLASS") == b"DIMENSION_SCALE" for name in names)
    except Exception:  # HDF5 raises anything for damaged files
        return False


def _check_claims(path: Path) -> None:
    """Refuse arrays that the file cannot hold, and those of other files."""
    names, _ = root_of(path)
    with open_hdf5(path) as file:
        for name in names:
            if isinstance(member(file, name), h5py.Dataset):
                stored_values(file, name)
