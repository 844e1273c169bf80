"""RealPDEBench's Arrow files as a format of `surrogax.open` (arXiv:2601.01829, its folders `hf_dataset`).

A folder `real` or `numerical` holds `data-*.arrow`, Arrow streams as Hugging Face's `datasets` saves them, one trajectory in a
row: `sim_id`, `shape_t`, `shape_h`, `shape_w`, and the bytes of float32 arrays `(time, y, x)`: u, v, in simulations p; in the
combustion set `observed`, in simulations also `numerical` `(time, y, x, channel)`. A folder of both has two splits. Beside them
`{train,val,test}_index_real.json` list the published windows by `sim_id` and `time_id`; which trajectories each of them names is
kept in `attributes["published"]`. The rows stay on the disk. They need pyarrow (`pip install surrogax[arrow]`).

Their arrays are those of the HDF5 files (see `realpdebench`), some with every second point.
"""

import importlib.util
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...core.arguments import checked
from ...core.domains import Grid
from ...core.files import StorageError
from ..checked_arrays import instants
from ..source import Source
from ..stored import Placed, Stack, Stored, StoredSource, foreign, place
from .realpdebench import grid_and_times
from .registry import AbstractFormat

_LAYOUT = "RealPDEBench's Arrow layout"
_SPLITS = ("real", "numerical")
_FIELDS = ("u", "v", "p", "observed", "numerical")


class RealPDEBenchArrow(AbstractFormat):
    """A folder of Arrow files, or one with the folders `real` and `numerical`. Options of `surrogax.open`: `grid=`, `times=`."""

    name = "RealPDEBench's Arrow"

    def recognises(self, path: Path) -> bool:
        return path.is_dir() and any(_is_ours(folder) for folder in _folders(path).values())

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        if importlib.util.find_spec("pyarrow") is None:
            raise ModuleNotFoundError(f"{path}: Arrow files need pyarrow; pip install 'surrogax[arrow]'")
        return {split: open_arrow(folder, **options) for split, folder in _folders(path).items() if _is_ours(folder)}


@checked
def open_arrow(path: Path, grid: Grid | None = None, times: Any = None) -> StoredSource:
    """The trajectories in the Arrow files of a folder.

    **Raises:** `StorageError` for damaged files and trajectories of different shapes.
    """
    with foreign(path, _LAYOUT):
        rows = [Row(file, k) for file in sorted(path.glob("data-*.arrow")) for k in range(_table(file).num_rows)]
        if not rows:
            raise StorageError("holds no trajectories")
        shapes = {row.shape for row in rows}
        if len(shapes) > 1:
            raise StorageError(f"its trajectories have the shapes {sorted(shapes)}")
        names = [name for name in _FIELDS if name in _table(rows[0].file).column_names]
        arrays: dict[str, Placed] = {}
        for name in names:
            parts: list[Stored] = [Values(row, name) for row in rows]
            words = "sample time y x" + " component" * (name == "numerical")
            arrays["simulated" if name == "numerical" else name] = place(Stack(parts), words, "xy")
        count, height, width = shapes.pop()
        grid, times, notes = grid_and_times((width, height), count, grid, times)
        ids = [row.text("sim_id") for row in rows]
        attributes = {"files": ids, "notes": notes, **_published(path, ids)}
        return StoredSource(path, _LAYOUT, arrays, {"": grid}, instants(times), attributes, len(rows))


@dataclass(frozen=True)
class Row:
    """One row of an Arrow file."""

    file: Path
    number: int

    def value(self, name: str) -> Any:
        return _table(self.file).column(name)[self.number]

    def text(self, name: str) -> str:
        return str(self.value(name).as_py())

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Lengths of the axes time, y, x."""
        t, h, w = (int(self.value(f"shape_{axis}").as_py()) for axis in "thw")
        if min(t, h, w) < 1:
            raise StorageError(f"trajectory {self.number} of {self.file.name} has the shape {(t, h, w)}")
        return t, h, w


@dataclass(frozen=True)
class Values:
    """One array of a row, which stays in the file, mapped into memory."""

    row: Row
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        channels = (int(self.row.value("numerical_channels").as_py()),) if self.name == "numerical" else ()
        return (*self.row.shape, *channels)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype("<f4")

    def read(self, cuts: tuple[slice, ...]) -> np.ndarray:
        found = self.row.value(self.name).as_buffer()
        size = 4 * int(np.prod(self.shape, dtype=int))
        if found is None or found.size != size:
            raise StorageError(
                f"{self.name} of trajectory {self.row.number} has {0 if found is None else found.size} bytes, expected {size} "
                f"of shape {list(self.shape)}"
            )
        return np.array(np.frombuffer(found, self.dtype).reshape(self.shape)[cuts])


def _table(file: Path) -> Any:
    """The table of an Arrow stream, mapped into memory; its bounds are checked."""
    stat = file.stat()
    if file not in _TABLES or _TABLES[file][0] != (stat.st_size, stat.st_mtime_ns):
        import pyarrow as pa  # pyright: ignore[reportMissingImports]

        with pa.memory_map(str(file)) as mapped:
            table = pa.ipc.open_stream(mapped).read_all()
        table.validate(full=True)
        _TABLES[file] = (stat.st_size, stat.st_mtime_ns), table
        while len(_TABLES) > _KEPT:
            _TABLES.pop(next(iter(_TABLES)))
    return _TABLES[file][1]


_TABLES: dict[Path, tuple[tuple[int, int], Any]] = {}
_KEPT = 256  # tables, which hold no values, only where these are


def _folders(path: Path) -> dict[str, Path]:
    home = path / "hf_dataset" if (path / "hf_dataset").is_dir() else path
    splits = {split: home / split for split in _SPLITS if (home / split).is_dir()}
    return splits or {"": path}


def _is_ours(folder: Path) -> bool:
    """Whether the first file has the columns of this layout. A stream begins with their names."""
    first = min(folder.glob("data-*.arrow"), default=None)
    if first is None:
        return False
    with first.open("rb") as file:
        head = file.read(2**14)
    return all(name in head for name in (b"sim_id", b"shape_t", b"shape_h", b"shape_w"))


def _published(path: Path, ids: list[str]) -> dict[str, dict[str, list[int]]]:
    """Positions of the trajectories that each published index names, by the name of the index."""
    found = {}
    for split in ("train", "val", "test"):
        file = path.parent / f"{split}_index_{path.name}.json"
        if file.is_file():
            named = {entry["sim_id"] for entry in json.loads(file.read_text(encoding="utf-8"))}
            if unknown := sorted(named - set(ids)):
                raise StorageError(f"{file.name} names the trajectory {unknown[0]!r}, which no Arrow file holds")
            found[split] = [k for k, each in enumerate(ids) if each in named]
    return {"published": found} if found else {}
