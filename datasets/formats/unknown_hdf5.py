"""HDF5 files of no known layout: what lies in them is said, with the call that opens them."""

from pathlib import Path
from typing import Any

import h5py

from ..source import Source
from ..stored import Stored, foreign
from .hdf5_file import Handle, Hdf5Array, open_hdf5
from .named_arrays import named_source
from .registry import AbstractFormat

_LAYOUT = "HDF5 of an unknown layout"
_DEPTH, _MOST = 8, 1000


class UnknownHdf5(AbstractFormat):
    """Any HDF5 file. The options of `surrogax.open` are those of `named_source`; without them the file is described in an
    error.
    """

    name = "HDF5 of another layout"

    def recognises(self, path: Path) -> bool:
        return path.is_file() and h5py.is_hdf5(path)

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        handle, found = Handle(path), dict[str, Stored]()
        with open_hdf5(path) as file, foreign(path, "HDF5"):
            for name in _arrays(file, "", _DEPTH):
                array = Hdf5Array(handle, name)
                if array.dtype.kind in "biuf":
                    found[name] = array
                if len(found) == _MOST:
                    break
        return {"": named_source(path, _LAYOUT, found, **options)}


def _arrays(group: h5py.Group, prefix: str, depth: int):
    """The paths of the arrays below a group that the file itself holds."""
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.HardLink):
            here = group[name]
            if isinstance(here, h5py.Dataset):
                yield f"{prefix}{name}"
            elif isinstance(here, h5py.Group) and depth:
                yield from _arrays(here, f"{prefix}{name}/", depth - 1)
