"""MATLAB files, version 5 and 7.3, as a format of `surrogax.open`, with the conventions of the data of the FNO paper
(arXiv:2010.08895).

- `coeff`, `sol` `(sample, x, y)`: Darcy flow on the unit square, points on all sides. They become `a` and `u`.
- `a` `(sample, x, y)`, `u` `(sample, x, y, time)`, `t`: vorticity on the periodic unit square, time last.
- `a`, `u` `(sample, x)`: Burgers on the periodic unit interval.

A file of version 7.3 is HDF5 with all axes reversed; it is read in parts. Variables of version 5 are read when they are first
used. Other variables of the same shapes are fields too. Files of other names are opened by `axes=` (see `named_source`), in
MATLAB's order of axes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...core.domains import Grid
from ...core.files import StorageError
from ..checked_arrays import instants
from ..source import Source
from ..stored import Stored, StoredSource, foreign, place
from .hdf5_file import Handle, Hdf5Array, member, open_hdf5, stored_values
from .mat5 import mat5_variables
from .named_arrays import named_source, whole
from .registry import AbstractFormat

_LAYOUT = "MATLAB's format"
_NUMBERS = ("double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "logical")
_RENAMED = {"coeff": "a", "sol": "u"}


@dataclass(frozen=True)
class Reversed:
    """A stored array with its axes in reversed order, as MATLAB writes HDF5."""

    whole: Stored

    @property
    def shape(self) -> tuple[int, ...]:
        return self.whole.shape[::-1]

    @property
    def dtype(self) -> np.dtype:
        return self.whole.dtype

    def read(self, cuts: tuple[slice, ...]) -> np.ndarray:
        return self.whole.read(cuts[::-1]).T


class MatFormat(AbstractFormat):
    """A MATLAB file. The options of `surrogax.open` are those of `named_source`."""

    name = "MATLAB's .mat"

    def recognises(self, path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(128)
        return head.startswith(b"MATLAB 5.0 MAT-file") or _is_new(path, head)

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        with foreign(path, _LAYOUT), path.open("rb") as file:
            stored: dict[str, Stored] = _new(path) if _is_new(path, file.read(128)) else {**mat5_variables(path)}
        return {"": named_source(path, _LAYOUT, stored, **options) if options else _of_fno(path, stored)}


def _is_new(path: Path, head: bytes) -> bool:
    """Whether a file is of version 7.3: HDF5 behind a header, or with MATLAB's classes on its variables."""
    if head.startswith(b"MATLAB 7.3 MAT-file"):
        return True
    try:
        if not h5py.is_hdf5(path):
            return False
        with open_hdf5(path) as file:
            return any("MATLAB_class" in member(file, str(name)).attrs for name in file)
    except Exception:  # HDF5 raises anything for damaged files
        return False


def _new(path: Path) -> dict[str, Stored]:
    handle, found = Handle(path), {}
    with open_hdf5(path) as file:
        for name in map(str, file):
            kind = member(file, name).attrs.get("MATLAB_class", b"")
            kind = kind.decode() if isinstance(kind, bytes) else str(kind)
            if kind in _NUMBERS and isinstance(member(file, name), h5py.Dataset):
                stored_values(file, name)
                found[name] = Reversed(Hdf5Array(handle, name))
    return found


def _of_fno(path: Path, stored: dict[str, Stored]) -> StoredSource:
    """The source of a file of the FNO paper, by the names and shapes of its variables."""
    main = stored.get("sol", stored.get("a"))
    if main is None or ("coeff" not in stored and "u" not in stored) or not 2 <= len(main.shape) <= 3:
        return named_source(path, _LAYOUT, stored)
    steady, space = main.shape, "xy"[: len(main.shape) - 1]
    times = None
    with foreign(path, "the layout of the FNO paper's data"):
        if "t" in stored and stored["u"].shape[: len(steady)] == steady:
            times = instants(whole(stored["t"]).ravel())
        words = {steady: ["sample", *space]}
        if times is not None:
            words[*steady, len(times)] = ["sample", *space, "time"]
        arrays = {
            _RENAMED.get(name, name): place(each, words[each.shape], space)
            for name, each in stored.items()
            if each.shape in words
        }
        if "a" not in arrays or "u" not in arrays:
            shapes = {name: list(each.shape) for name, each in stored.items()}
            raise StorageError(
                f"its variables have the shapes {shapes}, which do not fit each other; pass axes= and grid="
            )
        grid = Grid.unit(steady[1:], layout="nodes" if "sol" in stored else "periodic")
    unread = sorted(set(stored) - {"t"} - {n for n, s in stored.items() if s.shape in words})
    notes = ["the file stores no coordinates; the points are those of the FNO paper"]
    notes += [f"not read: {', '.join(unread)}"] * bool(unread)
    return StoredSource(path, _LAYOUT, arrays, {"": grid}, times, {"file": path.name, "notes": notes}, steady[0])
