"""The file formats that `surrogax.open` knows. A format is recognised by the content of a file, never by its name."""

import abc
import re
from pathlib import Path
from typing import Any

from ...core.files import StorageError
from ..source import Source


class AbstractFormat(abc.ABC):
    """A file format. Pass an instance to `register_format`, and `surrogax.open` reads files of this format.

    **Fields:** `name`, which messages show, for example "The Well's HDF5".

    **Example:**

        >>> class Notes(sx.AbstractFormat):
        ...     name = "docs notes"
        ...     def recognises(self, path):
        ...         return path.suffix == ".notes"
        ...     def read(self, path, **options):
        ...         raise ValueError(f"{path}: no data")
        >>> Notes().name
        'docs notes'
    """

    name: str

    @abc.abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether the content of a file or folder is of this format. It must not raise for files of other formats."""

    @abc.abstractmethod
    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        """The sources of the published splits by name; a file without splits gives one source under the name "".

        `options` are the keywords of `surrogax.open`.

        **Raises:** `ValueError` with one sentence for a damaged file.
        """


def without_options(form: AbstractFormat, path: Path, options: dict[str, Any]) -> None:
    """Refuse options of `surrogax.open` that the files of a format do not need."""
    if options:
        raise TypeError(f"open: {path} is of the format {form.name}, which takes no options, got {sorted(options)}")


_REGISTERED: list[AbstractFormat] = []


def register_format(form: AbstractFormat) -> AbstractFormat:
    """Make `surrogax.open` read a format, and return it. The format registered last is tried first, so that yours go before those
    of this library.

    **Raises:** `ValueError` if a format of this name is registered already.

    **Example:**

        >>> class Words(sx.AbstractFormat):
        ...     name = "docs words"
        ...     def recognises(self, path):
        ...         return False
        ...     def read(self, path, **options):
        ...         raise ValueError("no data")
        >>> sx.register_format(Words()).name
        'docs words'
    """
    if form.name in known_formats():
        raise ValueError(f"the format {form.name!r} exists already; choose another name")
    _REGISTERED.insert(0, form)
    return form


def known_formats() -> list[str]:
    """Names of all formats, in the order in which they are tried."""
    return [form.name for form in _all()]


def _all() -> list[AbstractFormat]:
    from .known import FORMATS  # at the first use: it takes a tenth of the time of importing this library

    return [*_REGISTERED, *FORMATS]


def format_of(path: Path) -> AbstractFormat:
    """The first format that recognises a file or folder.

    **Raises:** `StorageError` if none does; the message shows the first bytes of the file.
    """
    for form in _all():
        if form.recognises(path):
            return form
    if path.is_dir():
        raise StorageError(f"{path}: a folder of no known format; known: {', '.join(known_formats())}")
    with path.open("rb") as file:
        head = file.read(512)
    if what := what_it_is(head):
        raise StorageError(f"{path}: {what}")
    raise StorageError(f"{path}: of no known format (it starts with {head[:8]!r}); known: {', '.join(known_formats())}")


def what_it_is(head: bytes) -> str:
    """What a file is that is no data, by its first bytes, and what to do; "" if that is not known."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "is empty; download it again"
    if start.startswith((b"<!doctype html", b"<html")):
        title = re.search(rb"<title[^>]*>\s*([^<]{1,80})", head, re.IGNORECASE)
        titled = f" with the title {title.group(1).decode(errors='replace').strip()!r}" if title else ""
        return f"is a page of a web site (HTML){titled}, no data; what was downloaded is an error or a login page"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, no data; fetch the file itself by `git lfs pull`"
    if start.startswith(b"<?xml") and b"<error>" in start:
        return "is the error message of an object store (XML), no data; check the address and the access rights"
    packed = {
        b"\x1f\x8b": "gzip",
        b"BZh": "bzip2",
        b"\xfd7zXZ": "xz",
        b"(\xb5/\xfd": "zstandard",
        b"7z\xbc\xaf": "7-zip",
    }
    for magic, name in packed.items():
        if head.startswith(magic):
            return f"is compressed by {name}; unpack it first"
    return ""
