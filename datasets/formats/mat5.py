"""The arrays of real numbers in a MATLAB file of version 5, read in parts ("MAT-File Format", MathWorks, level 5).

A file is a header of 128 bytes and one element per variable: a tag of 8 bytes (type, size) and the content, which may be
compressed by zlib. A matrix element holds elements itself: flags with the class, dimensions, name, values in the order of
Fortran. Values of uncompressed variables stay on disk. Everything is checked against the size of the file; SciPy's reader
crashes on damaged files (measured: one flipped bit).
"""

import math
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core.files import StorageError

_MATRIX, _COMPRESSED = 14, 15
_HEAD = 2**12  # bytes of a variable that hold all before its values
# The types of stored numbers, and the classes of arrays, by their numbers in the file.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x800


class _Place(NamedTuple):
    """The place of a variable's values in the file.

    **Fields:** `start`, `size`: the element's content in the file; `packed`: whether it is compressed; `offset`: of the values
    in the content; `stored`: their type.
    """

    start: int
    size: int
    packed: bool
    offset: int
    stored: np.dtype


@dataclass
class MatVariable:
    """A variable of real numbers. A compressed one is read at its first use and kept."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    place: _Place
    _values: np.ndarray | None = field(default=None, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def read(self, cuts: tuple[slice, ...]) -> np.ndarray:
        count, place = math.prod(self.shape), self.place
        if not place.packed:
            values = np.memmap(self.path, place.stored, "r", place.start + place.offset, self.shape, "F")
            return np.asarray(values[cuts]).astype(self.dtype)
        with self._lock:
            if self._values is None:
                content = _unpacked(self.path, place, place.offset + count * place.stored.itemsize)
                values = np.frombuffer(content, place.stored, count, place.offset)
                self._values = values.reshape(self.shape, order="F").astype(self.dtype)
            return self._values[cuts]

    def __reduce__(self):
        return MatVariable, (self.path, self.name, self.shape, self.dtype, self.place)


def mat5_variables(path: Path) -> dict[str, MatVariable]:
    """The variables of a file that are arrays of real numbers, by name. Others, such as texts and structs, are skipped.

    **Raises:** `StorageError` for a damaged file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(128)
        order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
        if len(header) < 128 or order is None:
            raise StorageError("its header does not end with the mark of its byte order")
        found = {}
        while (start := file.tell()) < size:
            kind, length = struct.unpack(f"{order}II", _exactly(file.read(8), 8))
            if length > size - start - 8:
                raise StorageError(
                    f"a variable at byte {start} claims {length} bytes of {size - start - 8}; the file is cut"
                )
            place = _Place(start + 8, length, kind == _COMPRESSED, 0, np.dtype("u1"))
            if kind in (_MATRIX, _COMPRESSED) and length:
                variable = _variable(path, place, order)
                if variable is not None:
                    found[variable.name] = variable
            file.seek(start + 8 + length + (0 if kind == _COMPRESSED else -length % 8))
    return found


def _variable(path: Path, place: _Place, order: str) -> MatVariable | None:
    """The variable of one element; None for one that holds no real numbers."""
    head, limit = _head(path, place), place.size
    at = 0
    if place.packed:
        kind, limit = struct.unpack(f"{order}II", _exactly(head[:8], 8))
        at = 8
        if kind != _MATRIX:
            return None
    parts = _parts(head, at, order)
    _, flags_at, flags_size = next(parts)
    flags = struct.unpack(f"{order}I", head[flags_at : flags_at + 4])[0] if flags_size >= 4 else 0
    if flags & 0xFF not in _CLASSES or flags & _COMPLEX:
        return None
    _, dims_at, dims_size = next(parts)
    shape = struct.unpack(f"{order}{dims_size // 4}i", head[dims_at : dims_at + dims_size // 4 * 4])
    _, name_at, name_size = next(parts)
    name = head[name_at : name_at + name_size].decode("ascii")
    kind, offset, size = next(parts)
    stored, dtype = np.dtype(f"{order}{_TYPES[kind]}"), np.dtype(_CLASSES[flags & 0xFF])
    count = math.prod(shape)
    if (
        len(shape) < 2
        or min(shape) < 0
        or size != count * stored.itemsize
        or offset - (8 if place.packed else 0) + size > limit
    ):
        raise StorageError(f"{name!r} has shape {list(shape)} and {size} bytes of {stored}, which do not fit")
    if place.packed and size > 1100 * place.size:
        raise StorageError(f"{name!r} claims {size} bytes, more than {place.size} compressed ones can hold")
    return MatVariable(path, name, shape, dtype, place._replace(offset=offset, stored=stored))


def _parts(content: bytes, at: int, order: str) -> Iterator[tuple[int, int, int]]:
    """Type, offset and size of the elements inside a matrix. Up to four bytes may stand in the tag itself."""
    while True:
        first, size = struct.unpack(f"{order}II", _exactly(content[at : at + 8], 8))
        if first >> 16:
            yield first & 0xFFFF, at + 4, first >> 16
            at += 8
        else:
            yield first, at + 8, size
            at += 8 + size + -size % 8


def _head(path: Path, place: _Place) -> bytes:
    if place.packed:
        return _unpacked(path, place, _HEAD, exact=False)
    with path.open("rb") as file:
        file.seek(place.start)
        return file.read(min(_HEAD, place.size))


def _unpacked(path: Path, place: _Place, count: int, exact: bool = True) -> bytes:
    """The first `count` bytes of a compressed element."""
    with path.open("rb") as file:
        file.seek(place.start)
        packed, unpack = file.read(place.size if exact else min(place.size, 2 * _HEAD)), zlib.decompressobj()
        content = unpack.decompress(packed, count)
    return _exactly(content, count) if exact else content


def _exactly(content: bytes, count: int) -> bytes:
    if len(content) != count:
        raise StorageError(f"ends after {len(content)} of {count} bytes")
    return content
