"""TensorBoard's event files, written without its package.

A file is a sequence of records: the length of the data as uint64, its checksum, the data, their checksum; little-endian. Data
are messages `Event` of protocol buffers, of which five fields are used: `wall_time` (1, double), `step` (2, varint),
`file_version` (3), `summary` (5) with values of a `tag` (1) and a `simple_value` (2, float), and `session_log` (7) with a
`status` (1), START = 1: what was written for this step and later ones by earlier files is void.

**Source:** tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto, tensorflow/core/lib/io/record_writer.h.
"""

import itertools
import math
import os
import platform
import struct
import time
from pathlib import Path

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected
_MASK = 0xA282EAD8
_LARGEST = 3.4028234e38  # of float32
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # kinds of fields
_number = itertools.count()


class EventFile:
    """A new event file in `folder`, for steps from `first_step` on."""

    def __init__(self, folder: Path, first_step: int):
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{platform.node()}.{os.getpid()}.{next(_number)}"
        self.file = (folder / name).open("xb")
        self._append(_field(3, _BYTES, b"brain.Event:2"))
        self._append(_step(first_step) + _field(7, _BYTES, _field(1, _VARINT, 1)))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append numbers by name."""
        summary = b"".join(
            _field(1, _BYTES, _field(1, _BYTES, name.encode()) + _field(2, _FLOAT, _float(value)))
            for name, value in values.items()
        )
        self._append(_step(step) + _field(5, _BYTES, summary))

    def close(self) -> None:
        self.file.close()

    def _append(self, event: bytes) -> None:
        event = _field(1, _DOUBLE, struct.pack("<d", time.time())) + event
        length = struct.pack("<Q", len(event))
        self.file.write(length + _checksum(length) + event + _checksum(event))
        self.file.flush()


def _step(step: int) -> bytes:
    return _field(2, _VARINT, step)


def _float(value: float) -> bytes:
    return struct.pack("<f", math.copysign(math.inf, value) if abs(value) > _LARGEST else value)


def _field(number: int, kind: int, value: bytes | int) -> bytes:
    head = _varint(number << 3 | kind)
    if isinstance(value, int):
        return head + _varint(value)
    return head + (_varint(len(value)) if kind == _BYTES else b"") + value


def _varint(value: int) -> bytes:
    """Seven bits per byte, the last ones first; the highest bit of a byte says whether another follows."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def _checksum(data: bytes) -> bytes:
    """The masked CRC-32C."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF)
