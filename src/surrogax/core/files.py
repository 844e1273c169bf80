"""Files that are replaced in one step, and the one error that reading a damaged or foreign file raises."""

import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from .addresses import address_of, send, store_at


class StorageError(ValueError):
    """Raised for a damaged or foreign file. The message says which file, what was found and what was expected."""


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Context manager that replaces the file `path` in one step.

    The block `with atomic_write(path) as temporary: …` writes to the path `temporary`, a file in the same folder. When the
    block ends, that file is renamed to `path`. If anything stops the block (an error, a full disk, Ctrl-C), the temporary
    file is removed and an existing `path` stays as it was. `path` may be an address such as `s3://bucket/file`: the temporary
    file is then on this machine and sent there at the end.

    **Raises:** `FileNotFoundError` if the folder of `path` does not exist; `IsADirectoryError` if `path` is a folder.
    """
    if (address := address_of(path)) is not None:
        store_at(address)  # before the work is done, say if there is no such kind of store
        with tempfile.TemporaryDirectory(prefix="surrogax-") as folder:
            temporary = Path(folder) / PurePosixPath(address).name
            yield temporary
            send(temporary, address)
        return
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {target.parent}; create it first")
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; add the name of a file")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        put_in_place(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def put_in_place(complete: Path, target: Path) -> None:
    """Rename a complete file of the same folder to `target`, when all of it is on the disk."""
    with open(complete, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(complete, target)


def write_json(path: str | os.PathLike, obj: Any) -> None:
    """Write `obj` as indented JSON; the file `path` is replaced in one step.

    **Raises:** `ValueError` for NaN and infinities, which JSON does not have.
    """
    text = json.dumps(obj, indent=2, allow_nan=False, ensure_ascii=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
