"""Safetensors files that hold arrays by name and, in their metadata, a JSON value and a checksum.

A safetensors file consists of the length of its header (8 bytes), the header (JSON: `__metadata__`, then dtype, shape and
position of every array) and the values of the arrays. Our metadata has one entry, stored as JSON text:

    "surrogax": {"format": 2, "crc32": "89abcdef", "tree": …}

`crc32` is the checksum of all bytes of the file, computed with its own eight digits replaced by zeros. Any tool that reads
safetensors can open the arrays. A tool that rewrites the file breaks the checksum.
"""

import json
import os
import re
import zlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from .files import StorageError, atomic_write

FORMAT = 2
_NAMES = {
    "BOOL": "bool",
    **{f"{kind}{bits}": f"{name}{bits}" for kind, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)},
    **{"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"},
}
_DTYPES = {code: jnp.dtype(name) for code, name in _NAMES.items()}
DTYPES = {dtype.name: dtype for dtype in _DTYPES.values()}
"""The dtypes that a file can hold, by name. Complex dtypes are not among them."""

# Quotation marks inside a JSON string are escaped, so an unescaped `"surrogax":"` can only be the key itself.
_ENTRY = re.compile(rb'"surrogax":"\{\\"format\\":(\d{1,9}),\\"crc32\\":\\"([0-9a-f]{8})\\",')
_NO_CHECKSUM = b"00000000"


def write(path: str | os.PathLike, tree: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the JSON value `tree` and C-contiguous arrays with dtypes from `DTYPES`. The file `path` is replaced in one step."""
    entry = {"format": FORMAT, "crc32": _NO_CHECKSUM.decode(), "tree": tree}
    text = json.dumps(entry, allow_nan=False, separators=(",", ":"))
    content = safetensors.numpy.save(dict(arrays), metadata={"surrogax": text})
    start = content.find(_NO_CHECKSUM)  # the metadata, and in it the checksum, precede everything else
    with atomic_write(path) as temporary, open(temporary, "wb") as file, memoryview(content) as view:
        file.write(view[:start])
        file.write(_checksum(content, start))
        file.write(view[start + len(_NO_CHECKSUM) :])


def read(path: str | os.PathLike) -> tuple[Any, dict[str, np.ndarray]]:
    """Read a file: its JSON value, and its arrays by name as writable NumPy arrays.

    The checksum is compared before anything is decoded. Memory use is at most about three times the size of the file.

    **Raises:** `ValueError` (usually `StorageError`) for a damaged or foreign file. The message does not name the file; the
    caller adds the name.
    """
    with open(path, "rb") as file:
        start, size = file.read(9), os.fstat(file.fileno()).st_size
        if start[8:] != b"{":
            raise StorageError(f"is no surrogax file: it starts with {start!r}, expected a safetensors header")
        length = int.from_bytes(start[:8], "little")
        if 8 + length > size:
            raise StorageError(f"is cut short: {size} bytes, expected a header up to byte {8 + length}")
        file.seek(8)
        header = file.read(length)
        found = _ENTRY.search(header)
        if found is None:
            raise StorageError(
                "is a safetensors file that surrogax did not write, or damaged: its metadata has no entry 'surrogax'; "
                "read its arrays with safetensors.numpy.load_file"
            )
        if int(found[1]) != FORMAT:
            raise StorageError(
                f"has format version {int(found[1])}, this surrogax reads {FORMAT}; use the version it is from"
            )
        file.seek(0)
        content = file.read()
    if _checksum(content, 8 + found.start(2)) != found[2]:
        raise StorageError("is damaged, cut short or added to: its checksum does not match; restore it from a copy")
    try:
        entries = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise StorageError(f"is no valid safetensors file: {error}") from error
    return _tree(header), {name: _array(name, **entry) for name, entry in entries}


def _tree(header: bytes) -> Any:
    match json.loads(header):
        case {"__metadata__": {"surrogax": str(text)}}:
            match json.loads(text):
                case {"tree": tree}:
                    return tree
    raise StorageError("has an entry 'surrogax' that holds no tree")


def _array(name: str, dtype: str, shape: list[int], data: bytearray) -> np.ndarray:
    if dtype not in _DTYPES:
        raise StorageError(f"holds the array {name!r:.80} of dtype {dtype}, expected one of {list(_DTYPES)}")
    return np.frombuffer(data, _DTYPES[dtype]).reshape(shape)


def _checksum(content: bytes, start: int) -> bytes:
    """CRC-32 of a file's content as eight hexadecimal digits, with the eight bytes from `start` on replaced by zeros."""
    with memoryview(content) as view, view[:start] as before, view[start + len(_NO_CHECKSUM) :] as after:
        return b"%08x" % zlib.crc32(after, zlib.crc32(_NO_CHECKSUM, zlib.crc32(before)))
