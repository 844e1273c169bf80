"""HDF5 files as this library reads and writes them: values of the file itself, bounded by its size, replaced in one step."""

import math
import os
import posixpath
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...core.files import StorageError, atomic_write
from ..direct_reads import Extent

_LARGEST = 1100  # bytes that a byte of a file can become: the best that gzip does is 1032


class Handle:
    """An HDF5 file that is opened at its first use and stays open. It may be pickled, forked and shared by threads."""

    def __init__(self, path: Path):
        self.path = path
        self._lock, self._opened = threading.Lock(), None
        self._values: dict[str, tuple[h5py.Dataset, Extent | None]] = {}

    def file(self) -> h5py.File:
        """The open file, of this process."""
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened, self._values = (os.getpid(), open_hdf5(self.path)), {}
            return self._opened[1]

    def values(self, path: str) -> tuple[h5py.Dataset, Extent | None]:
        """The HDF5 dataset at `path`, and where its values lie if that is one part of the file.

        It is looked up and checked once. **Raises:** as `stored_values`.
        """
        file, known = self.file(), self._values
        if path not in known:
            data = stored_values(file, path)
            known[path] = data, extent_of(data)
        return known[path]

    def __reduce__(self):
        return Handle, (self.path,)


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading. **Raises:** `OSError` for a file that cannot be opened; `StorageError` for a damaged one."""
    # HDF5 demands that all who open a file in one process lock it alike, so that its default goes first. Without locks a
    # file can be read that somebody writes to or that lies on a disk without locks.
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if error.errno is not None and not isinstance(error, BlockingIOError):  # missing, forbidden, a folder
            raise
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        raise StorageError(f"{path}: is no intact HDF5 file: {error}") from error


def stored_values(file: h5py.File, path: str) -> h5py.Dataset:
    """The HDF5 dataset at `path`.

    **Raises:** `StorageError` if there is something else, such as a group; if its values lie in another file; and if it claims
    more values than the file can hold.
    """
    found = member(file, path)
    if not isinstance(found, h5py.Dataset):
        raise StorageError(f"{path} is a {type(found).__name__.lower()}, expected a dataset")
    if found.external or found.is_virtual:
        raise StorageError(f"the values of {path} lie in another file, expected a file that holds its own values")
    if found.nbytes > _LARGEST * found.file.id.get_filesize() + 2**26:
        raise StorageError(f"{path} claims {found.nbytes} bytes, more than this file can hold; it was never written")
    if found.chunks and (count := math.prod(-(-n // c) for n, c in zip(found.shape, found.chunks, strict=True))) > (
        found.file.id.get_filesize() + 10**5
    ):
        raise StorageError(f"{path} claims {count} chunks, more than this file can hold; it was never written")
    return found


def written_values(file: h5py.File, path: str) -> h5py.Dataset:
    """The HDF5 dataset at `path` of a file that is being written, which is still smaller than its values."""
    found = file[path]
    assert isinstance(found, h5py.Dataset)
    return found


def stored_group(file: h5py.Group, path: str) -> h5py.Group:
    """The HDF5 group at `path`. **Raises:** `StorageError` if there is something else; `KeyError` if there is nothing."""
    found = member(file, path)
    if not isinstance(found, h5py.Group):
        raise StorageError(f"{path} is a {type(found).__name__.lower()}, expected a group")
    return found


def member(file: h5py.Group, path: str, links: int = 16) -> h5py.Group | h5py.Dataset:
    """The object at `path`, by hard links and by soft links inside the file.

    **Raises:** `StorageError` for a link to another file; `KeyError` if there is no such object.
    """
    here: Any = file
    for k, part in enumerate(parts := [part for part in path.split("/") if part]):
        if not isinstance(here, h5py.Group):
            raise KeyError(f"there is no {path!r}")
        match here.get(part, getlink=True):
            case h5py.HardLink():
                here = here[part]
            case h5py.SoftLink() as link if links:
                target = posixpath.join(str(here.name), link.path, *parts[k + 1 :])
                return member(file.file, posixpath.normpath(target), links - 1)
            case h5py.ExternalLink() | h5py.SoftLink() as link:
                raise StorageError(f"{path} is a link to {link.path}, expected the values in this file")
            case _:
                raise KeyError(f"there is no {path!r}")
    return here


@dataclass(frozen=True)
class Hdf5Array:
    """The HDF5 dataset at `path` of a file, read in parts."""

    handle: Handle
    path: str

    @cached_property
    def _form(self) -> tuple[tuple[int, ...], np.dtype]:
        data, _ = self.handle.values(self.path)
        return data.shape, data.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self._form[0]

    @property
    def dtype(self) -> np.dtype:
        return self._form[1]

    def read(self, cuts: tuple[slice, ...]) -> np.ndarray:
        return self.handle.values(self.path)[0][cuts]

    def extent(self) -> Extent | None:
        """Where the values lie in the file, if they lie in one part of it."""
        return self.handle.values(self.path)[1]


def root_of(path: Path) -> tuple[frozenset[str], frozenset[str]]:
    """The names in the root of an HDF5 file, and those of its attributes; both empty if it is no intact HDF5 file."""
    try:
        if path.is_file() and h5py.is_hdf5(path):
            with open_hdf5(path) as file:
                names = frozenset(name for name in file if isinstance(name, str))  # damaged ones are bytes
                return names, frozenset(file.attrs)
    except Exception:  # HDF5 raises anything for damaged files
        return frozenset(), frozenset()
    return frozenset(), frozenset()


def extent_of(data: h5py.Dataset) -> Extent | None:
    """The place of an HDF5 dataset in its file; None unless its values are stored there one after the other, as NumPy holds them
    in memory."""
    # HDF5 tells a wrong place for an array that was never written, in a file that begins with a user block.
    written = data.id.get_space_status() == h5py.h5d.SPACE_STATUS_ALLOCATED
    offset = data.id.get_offset() if written and data.chunks is None and sys.platform != "win32" else None
    if offset is None or data.dtype.kind not in "iuf" or not data.dtype.isnative or data.file.driver != "sec2":
        return None
    if data.id.get_type() != h5py.h5t.py_create(data.dtype):  # such as bfloat16 or 12 of 16 bits, which HDF5 converts
        return None
    return Extent(data.file.id.get_vfd_handle(), data.file, offset, data.shape, data.dtype)


def check_count(path: Path, samples: int) -> None:
    """Refuse a number of samples that a file of its size cannot hold."""
    if not 0 <= samples <= _LARGEST * path.stat().st_size:
        raise StorageError(f"n_trajectories is {samples}, which a file of {path.stat().st_size} bytes cannot hold")


def read_rows(
    data: h5py.Dataset, extent: Extent | None, rows: np.ndarray, varies: bool, cuts: tuple[slice, ...]
) -> np.ndarray:
    """The parts `cuts` of the samples `rows`, which ascend. Without an extent every run of consecutive rows is one read: HDF5
    also accepts a list of rows, but is up to 40 times slower with it on chunked files."""
    if not varies:
        return np.asarray(data[cuts])[None]
    if extent is not None and all(is_whole(cut, n) for cut, n in zip(cuts[1:], data.shape[2:], strict=False)):
        if not cuts or is_whole(cuts[0], data.shape[1]):
            return extent.rows(rows)
        ids = range(data.shape[1])[cuts[0]]
        if len(ids):
            return extent.windows(rows, np.full(len(rows), ids.start), len(ids), ids.step)
    if len(rows) == 0:
        return data[(slice(0, 0), *cuts)]
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    blocks = [data[(slice(run[0], run[-1] + 1), *cuts)] for run in runs]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def is_whole(cut: slice, n: int) -> bool:
    """Whether a slice keeps every entry of an axis of length n, in order."""
    return range(n)[cut] == range(n)


@contextmanager
def new_hdf5(path: str | os.PathLike) -> "Iterator[tuple[h5py.File, Disk]]":
    """Context manager that writes an HDF5 file, which replaces `path` when the block has ended without a failure. The block
    stops early when `disk.failure` is set.

    **Raises:** `OSError` for a full disk.
    """
    with atomic_write(path) as temporary, open(temporary, "w+b", buffering=0) as raw:
        disk = Disk(raw)
        with h5py.File(disk, "w") as file:
            yield file, disk
        if disk.failure is not None:
            raise disk.failure


class Disk:
    """The file object to which HDF5 writes.

    HDF5 crashes with a segmentation fault if its own write fails, for example on a full disk. This object stores the first
    failure instead and ignores all further writes; `new_hdf5` raises the failure.
    """

    def __init__(self, raw):
        self.failure: BaseException | None = None
        self.read, self.readinto, self.flush = raw.read, raw.readinto, raw.flush
        self.seek, self.tell = raw.seek, raw.tell
        self._raw = raw

    def write(self, data) -> None:
        try:
            rest = memoryview(data)
            while rest and self.failure is None:
                rest = rest[self._raw.write(rest) :]
        except BaseException as failure:
            self.failure = failure

    def truncate(self, size: int) -> None:
        try:
            self._raw.truncate(size)
        except BaseException as failure:
            self.failure = self.failure or failure
