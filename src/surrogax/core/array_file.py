"""The byte form of our files: a tree of JSON and the arrays that it refers to.

prefix   magic, format version, crc32 of the header, length of the header
header   {"tree": …, "arrays": [{"dtype", "shape", "crc32"}, …]} as JSON, padded with spaces
arrays   raw little-endian values in C order, each padded with zeros to a multiple of 64 bytes
"""

import json
import math
import os
import struct
import zlib
from collections.abc import Sequence
from io import BufferedReader
from typing import Any

import jax.numpy as jnp
import numpy as np

from .files import StorageError, atomic_write

_MAGIC, _VERSION = b"SURROGAX", 1
_PREFIX = struct.Struct("<8sIIQ")
_ALIGN = 64
DTYPES = {
    name: jnp.dtype(name)
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    )
}


def write(path: str | os.PathLike, tree: Any, arrays: Sequence[np.ndarray]) -> None:
    """Writes a JSON value and C-contiguous arrays of the `DTYPES`, atomically."""
    table = [{"dtype": a.dtype.name, "shape": a.shape, "crc32": zlib.crc32(_bytes(a))} for a in arrays]
    header = json.dumps({"tree": tree, "arrays": table}, allow_nan=False).encode()
    header += b" " * _padding(_PREFIX.size + len(header))
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        file.write(_PREFIX.pack(_MAGIC, _VERSION, zlib.crc32(header), len(header)))
        file.write(header)
        for array in arrays:
            file.write(_bytes(array))
            file.write(bytes(_padding(array.nbytes)))


def read(path: str | os.PathLike) -> tuple[Any, list[np.ndarray]]:
    """The JSON value and the arrays, writable, every checksum compared.

    **Raises:** `ValueError`, mostly `StorageError`, without the name of the file, which the caller adds.
    """
    with open(path, "rb") as file:
        return _read(file)


def _read(file: BufferedReader) -> tuple[Any, list[np.ndarray]]:
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(_PREFIX.size)
    if prefix[: len(_MAGIC)] != _MAGIC:
        raise StorageError(f"is no surrogax file: it starts with {prefix[:8]!r}, expected {_MAGIC!r}")
    if len(prefix) < _PREFIX.size:
        raise StorageError(f"is cut short: {size} bytes, expected at least {_PREFIX.size}")
    _, version, checksum, length = _PREFIX.unpack(prefix)
    if version != _VERSION:
        raise StorageError(f"has format version {version}, this surrogax reads {_VERSION}; use the version it is from")
    if _PREFIX.size + length > size:
        raise StorageError(f"is cut short: {size} bytes, expected a header up to byte {_PREFIX.size + length}")
    text = file.read(length)
    if zlib.crc32(text) != checksum:
        raise StorageError("is damaged: the checksum of its header does not match; restore it from a copy")
    match json.loads(text):
        case {"tree": tree, "arrays": list(table)}:
            specs = [_array_spec(entry) for entry in table]
        case other:
            raise StorageError(f"has the header {other!r:.80}, expected a tree and a list of arrays")
    sizes = [math.prod(shape) * dtype.itemsize for dtype, shape, _ in specs]
    expected = _PREFIX.size + length + sum(n + _padding(n) for n in sizes)
    if size != expected:
        raise StorageError(f"has {size} bytes, expected {expected}; it was cut short or added to")
    return tree, [_read_array(file, number, *spec) for number, spec in enumerate(specs)]


def _array_spec(entry: Any) -> tuple[np.dtype, tuple[int, ...], int]:
    match entry:
        case {"dtype": str(name), "shape": list(shape), "crc32": int(checksum)} if name in DTYPES and all(
            type(n) is int and n >= 0 for n in shape
        ):
            return DTYPES[name], tuple(shape), checksum
    raise StorageError(f"lists an array as {entry!r:.80}, expected a dtype, a shape and a checksum")


def _read_array(
    file: BufferedReader, number: int, dtype: np.dtype, shape: tuple[int, ...], checksum: int
) -> np.ndarray:
    array = np.empty(shape, dtype)
    file.readinto(_bytes(array))
    padding = file.read(_padding(array.nbytes))
    if zlib.crc32(_bytes(array)) != checksum or any(padding):
        raise StorageError(f"is damaged: the checksum of array {number} does not match; restore it from a copy")
    return array


def _bytes(array: np.ndarray) -> memoryview:
    """The memory of a contiguous array as bytes, whatever its dtype."""
    return array.reshape(-1).view(np.uint8).data


def _padding(size: int) -> int:
    return -size % _ALIGN
