"""Pieces of arrays that lie in one part of a file, row by row, read by the operating system alone.

HDF5 takes about 50 µs per piece and lets one thread read at a time. Here every piece goes straight to its place in one new
array, and threads read at the same time. What the system does not have in memory is announced first, so that the disk works on
many pieces at once, and read in the order of the file.
"""

import math
import os
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.files import StorageError

_ALIGNMENT = 64  # bytes; JAX takes arrays in this alignment over without a copy on CPUs
_AT_ONCE = 1024  # neighbouring pieces that are read by one call


@dataclass(frozen=True, eq=False)
class Extent:
    """Where an array lies in an open file.

    **Fields:**

    - `descriptor`: the number of the open file; `owner` is an object that keeps it open.
    - `offset`: the first byte of the array, whose entries follow each other in C order.
    - `shape`, `dtype`: those of the array.
    """

    descriptor: int
    owner: Any
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def pieces(self, first: np.ndarray, count: int) -> np.ndarray:
        """The `count` entries from entry number `first` on, for every number in `first`: `(len(first), count)`.

        **Raises:** `StorageError` if the file ends before.
        """
        assert sys.platform != "win32"  # which has no such call; `extent_of` gives no extents there
        found = aligned((len(first), count), self.dtype)
        size = count * self.dtype.itemsize
        if not found.nbytes:
            return found
        places = self.offset + first.astype(np.int64) * self.dtype.itemsize
        begins = np.concatenate(
            [[0], np.flatnonzero(np.diff(places) != size) + 1]
        ).tolist()  # of neighbours in the file
        memory, places, waiting = found.reshape(-1).view(np.uint8).data, places.tolist(), []
        for begin, end in zip(begins, [*begins[1:], len(places)], strict=True):
            for k in range(begin, end, _AT_ONCE):
                view = memory[k * size : min(k + _AT_ONCE, end) * size]
                if not self._at_hand(view, places[k]):
                    waiting.append((places[k], view))
        waiting.sort(key=lambda each: each[0])
        if sys.platform == "linux" and len(waiting) > 1:
            for place, view in waiting:
                os.posix_fadvise(self.descriptor, place, len(view), os.POSIX_FADV_WILLNEED)
        for place, view in waiting:
            self._wait(view, place)
        return found

    def _at_hand(self, view: memoryview, place: int) -> bool:
        """Read what the system has in memory; return whether that was all."""
        if sys.platform != "linux":
            return False
        try:
            return os.preadv(self.descriptor, [view], place, os.RWF_NOWAIT) == len(view)
        except OSError:  # nothing is in memory, or this disk cannot tell
            return False

    def _wait(self, view: memoryview, place: int) -> None:
        assert sys.platform != "win32"
        while view:
            done = os.preadv(self.descriptor, [view], place)
            if not done:
                raise StorageError(f"the file ends at byte {place}, before its values do")
            view, place = view[done:], place + done

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """The entries `rows` of the first axis, `(len(rows), …)`."""
        block = math.prod(self.shape[1:])
        return self.pieces(rows * block, block).reshape(len(rows), *self.shape[1:])

    def windows(self, rows: np.ndarray, starts: np.ndarray, frames: int, step: int) -> np.ndarray:
        """`frames` entries of the second axis, `step` apart, of every row, from its entry of `starts` on:
        `(len(rows), frames, …)`."""
        block = math.prod(self.shape[2:])
        first = rows * self.shape[1] + starts
        if step == 1 or frames == 1:
            found = self.pieces(first * block, frames * block)
        else:
            found = self.pieces((first[:, None] + step * np.arange(frames)).ravel() * block, block)
        return found.reshape(len(rows), frames, *self.shape[2:])


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A new array without values, in the alignment in which JAX takes it over without a copy on CPUs."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
