"""Addresses of object stores that fsspec knows (`s3://`, `gs://`, `https://`, `memory://`, …).

`pip install surrogax[remote]` brings fsspec and s3fs; other stores need the package that fsspec names. Keys of stores are those
of fsspec, such as `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`.
"""

import importlib.util
import os
import re
from pathlib import Path, PurePath
from typing import Any

# A path object has lost one of the two slashes. One letter would be a drive of Windows.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.IGNORECASE | re.DOTALL)


def address_of(path: str | os.PathLike) -> str | None:
    """The address that a path is, such as `s3://bucket/file`; None for a path of this machine."""
    text = os.fspath(path)
    found = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if found is None or ("://" not in text and not isinstance(path, PurePath)):
        return None
    return f"{found[1].lower()}://{found[2]}"


def inside(folder: str | os.PathLike, name: str) -> str | Path:
    """The file `name` of a folder, which may be at an address."""
    address = address_of(folder)
    return Path(folder) / name if address is None else f"{address.rstrip('/')}/{name}"


def store_at(address: str) -> tuple[Any, str]:
    """The store of an address, as a file system of fsspec, and the place in it. Nothing is asked of the store's server yet.

    **Raises:** `ModuleNotFoundError` without fsspec or the package of the store; `ValueError` for an unknown kind of store.
    """
    if importlib.util.find_spec("fsspec") is None:
        raise ModuleNotFoundError(f"{address}: stores need fsspec; pip install 'surrogax[remote]'")
    import fsspec

    try:
        store, root = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise ModuleNotFoundError(f"{address}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{address}: {error}") from None
    store.invalidate_cache()  # others may have written since this process last looked
    return store, root.rstrip("/")


def send(file: Path, address: str) -> None:
    """Copy a file of this machine to an address. Stores show an object when it has arrived as a whole, and the old one before.

    **Raises:** `OSError` if the store refuses it or the connection breaks.
    """
    store, root = store_at(address)
    try:
        store.put_file(str(file), root)
    except OSError as error:
        raise OSError(f"cannot write {address}: {error}") from error
