"""Copies on this machine of files and folders at addresses of object stores.

HDF5 reads a file in many small pieces, which over a network takes longer than one copy (each piece waits for an answer), so
that the whole file is copied and then read as any local one.
"""

import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import Any

from .addresses import store_at
from .files import atomic_write
from .progress import ProgressPrinter

_PIECE = 2**22  # bytes read at a time


def local_copy(address: str) -> Path:
    """The file or folder at an address, in the cache of this machine.

    The cache is the folder `files` in `$SURROGAX_CACHE`, by default `~/.cache/surrogax`. A copy is made again when the size or
    the change of the original (its ETag or time) differs.

    **Raises:** `ModuleNotFoundError` without fsspec or the package of the store; `FileNotFoundError` if nothing is there;
    `OSError` for a connection that breaks.
    """
    store, root = store_at(address)
    found = store.find(root, detail=True)
    if not found:
        raise FileNotFoundError(f"{address}: there is nothing at this address")
    state = sorted((name, str(_state(info))) for name, info in found.items())
    key = hashlib.sha256(repr((address, state)).encode()).hexdigest()[:16]
    home = _cache() / key / PurePosixPath(root).name
    for name, info in found.items():
        inside = PurePosixPath(name).relative_to(root) if name != root else PurePosixPath()
        target = home / inside if inside.parts else home
        if ".." in inside.parts:
            raise ValueError(f"{address}: {name} lies outside of it")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _fetch(store, name, target, int(info.get("size") or 0))
    return home


def _fetch(store: Any, name: str, target: Path, size: int) -> None:
    printer = ProgressPrinter(max(size, 1), name)
    with atomic_write(target) as temporary, store.open(name, "rb") as source, open(temporary, "wb") as copy:
        done = 0
        while piece := source.read(_PIECE):
            copy.write(piece)
            done += len(piece)
            printer.update(min(done, max(size, 1)), f"{name}: {done / 2**20:.0f} of {size / 2**20:.0f} MB")
        if size and done != size:
            raise OSError(f"{name}: the connection ended after {done} of {size} bytes; try again")
    printer.stop()


def _state(info: dict[str, Any]) -> tuple[Any, ...]:
    """What changes when a stored file changes."""
    known = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")
    return info.get("size"), *(info[name] for name in known if name in info)


def _cache() -> Path:
    return Path(os.environ.get("SURROGAX_CACHE", Path.home() / ".cache" / "surrogax")) / "files"
