"""NumPy's `.npy` and `.npz` files as a format of `surrogax.open`. Their arrays stay on disk; nothing in them is executed."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ...core.files import StorageError
from ..source import Source
from ..stored import InMemory, Stored, foreign
from .named_arrays import named_source
from .npy import NpyArray, is_npy
from .registry import AbstractFormat

_LAYOUT = "NumPy's format"


class NpyFormat(AbstractFormat):
    """One array without names. The options of `surrogax.open` are those of `named_source`; the array has the name "u"."""

    name = "NumPy's .npy"

    def recognises(self, path: Path) -> bool:
        return is_npy(path)

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        with foreign(path, _LAYOUT):
            stored = NpyArray(path)
            stored.shape  # noqa: B018 (a damaged header is told here)
        return {"": named_source(path, _LAYOUT, {"u": stored}, **options)}


class NpzFormat(AbstractFormat):
    """A zip archive of arrays. It is read at once, the options of `surrogax.open` are those of `named_source`."""

    name = "NumPy's .npz"

    def recognises(self, path: Path) -> bool:
        try:
            if not (path.is_file() and zipfile.is_zipfile(path)):
                return False
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except Exception:  # a damaged archive
            return False
        return bool(names) and all(name.endswith(".npy") for name in names)

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        with foreign(path, _LAYOUT):
            _check_size(path)
            with np.load(path, allow_pickle=False) as archive:
                stored: dict[str, Stored] = {name: InMemory(archive[name]) for name in archive.files}
        return {"": named_source(path, _LAYOUT, stored, **options)}


def _check_size(path: Path) -> None:
    """Refuse an archive whose members claim more bytes than it can hold."""
    with zipfile.ZipFile(path) as archive:
        claimed = sum(info.file_size for info in archive.infolist())
    if claimed > 1100 * path.stat().st_size:
        raise StorageError(f"claims {claimed} bytes, more than this file can hold")
