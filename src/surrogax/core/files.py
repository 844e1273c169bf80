"""Writing whole files in one step, and the one error of reading a damaged or foreign one."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class StorageError(ValueError):
    """A damaged or foreign file: the message says which file, what was found and what was expected."""


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Replaces the file `path` in one step: `with atomic_write(path) as temporary: …` writes to a temporary file beside
    it, which takes its place when the block ends. Whatever stops the block (an error, a full disk, Ctrl-C) removes
    the temporary file and leaves an existing `path` as it was."""
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {target.parent}; create it first")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, obj: Any) -> None:
    """Writes `obj` as indented, strict JSON, atomically; NaN and infinities raise `ValueError`."""
    text = json.dumps(obj, indent=2, allow_nan=False, ensure_ascii=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
