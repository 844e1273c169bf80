"""RealPDEBench's HDF5 files as a format of `surrogax.open` (arXiv:2601.01829): measured and simulated flows in pairs.

A file is one trajectory: `measured_data/u`, `measured_data/v`, in simulations also `measured_data/p`, `(time, y, x)`; in the
combustion set `trajectory` `(time, y, x)` of measurements or `measured_data` `(time, y, x, channel)` of simulations. A folder
of such files is a dataset with a sample per file; a folder with `real` and `numerical` has two splits. The files store neither
coordinates nor instants: grids are those of the unit square and instants the numbers of the frames, unless `grid=` and `times=`
tell. Simulations have twice the resolution of some measurements; `subsample` brings them together.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...core.arguments import checked
from ...core.domains import Grid
from ...core.files import StorageError
from ..checked_arrays import instants
from ..source import Source
from ..stored import Placed, Stack, Stored, StoredSource, foreign, place
from .hdf5_file import Handle, Hdf5Array, open_hdf5, root_of, stored_values
from .registry import AbstractFormat

_LAYOUT = "RealPDEBench's layout"
_SPLITS = ("real", "numerical")


class RealPDEBenchFormat(AbstractFormat):
    """A file of one trajectory. Options of `surrogax.open`: `grid=` and `times=`."""

    name = "RealPDEBench's HDF5"

    def recognises(self, path: Path) -> bool:
        return _is_trajectory(path)

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        return {"": open_trajectories(path, [path], **options)}


class RealPDEBenchFolder(AbstractFormat):
    """A folder of trajectories, or one with the folders `real` and `numerical`. Options of `surrogax.open`: `grid=` and
    `times=`.
    """

    name = "a folder of RealPDEBench"

    def recognises(self, path: Path) -> bool:
        return path.is_dir() and any(files and _is_trajectory(files[0]) for files in _files(path).values())

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        return {split: open_trajectories(path, files, **options) for split, files in _files(path).items() if files}


@checked
def open_trajectories(path: Path, files: list[Path], grid: Grid | None = None, times: Any = None) -> StoredSource:
    """The trajectories of some files as samples.

    **Raises:** `StorageError` for damaged files and for files of different shapes.
    """
    handles = [Handle(file) for file in files]
    with foreign(path, _LAYOUT):
        names = {file: _names(file) for file in files}
        shared = set.intersection(*(set(each) for each in names.values()))
        if any(set(each) != shared for each in names.values()):
            raise StorageError(
                f"its files hold different fields: {sorted({tuple(sorted(each)) for each in names.values()})}"
            )
        arrays: dict[str, Placed] = {}
        for name in sorted(shared):
            parts: list[Stored] = [Hdf5Array(h, names[f][name]) for h, f in zip(handles, files, strict=True)]
            if len({part.shape for part in parts}) > 1:
                raise StorageError(f"{name} has the shapes {sorted({part.shape for part in parts})} in its files")
            words = "sample time y x" + " component" * (len(parts[0].shape) == 4)
            arrays[name] = place(Stack(parts), words, "xy")
        count, nx, ny = next(iter(arrays.values())).shape[1:4]
        grid, times, notes = grid_and_times((nx, ny), count, grid, times)
        attributes = {"files": [file.name for file in files], "notes": notes}
        return StoredSource(path, _LAYOUT, arrays, {"": grid}, instants(times), attributes, len(files))


def grid_and_times(shape: tuple[int, int], count: int, grid: Grid | None, times: Any) -> tuple[Grid, Any, list[str]]:
    """The given grid and instants or those that stand for them, and notes about the latter."""
    notes = []
    if grid is None:
        grid = Grid.unit(shape, layout="cells")
        notes.append("the files store no coordinates; the grid is that of the unit square, pass grid=")
    if times is None:
        times = np.arange(count, dtype=np.float64)
        notes.append("the files store no instants; the numbers of the frames stand for them, pass times=")
    return grid, times, notes


def _is_trajectory(path: Path) -> bool:
    names, _ = root_of(path)
    return bool(names & {"measured_data", "trajectory"}) and bool(_try_names(path))


def _try_names(path: Path) -> Mapping[str, str]:
    try:
        return _names(path)
    except Exception:  # HDF5 raises anything for damaged files
        return {}


def _names(path: Path) -> dict[str, str]:
    """The paths of the fields of a trajectory by their names."""
    with open_hdf5(path) as file:
        if "trajectory" in file:
            stored_values(file, "trajectory")
            return {"observed": "trajectory"}
        if isinstance(file["measured_data"], h5py.Dataset):
            stored_values(file, "measured_data")
            return {"simulated": "measured_data"}
        found = {name: f"measured_data/{name}" for name in file["measured_data"] if name in ("u", "v", "w", "p")}
        return {n: p for n, p in found.items() if stored_values(file, p).ndim == 3}


def _files(path: Path) -> dict[str, list[Path]]:
    splits = [split for split in _SPLITS if (path / split).is_dir()]
    folders = {split: path / split for split in splits} if splits else {"": path}
    return {split: sorted(f for p in ("*.h5", "*.hdf5") for f in folder.glob(p)) for split, folder in folders.items()}
