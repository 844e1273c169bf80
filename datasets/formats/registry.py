"""The file formats that `surrogax.open` knows. A format is recognised by what is in a file, never by its name."""

import abc
from pathlib import Path
from typing import Any

from ..source import Source


class AbstractFormat(abc.ABC):
    """One file format. Register an instance by `register_format` and `surrogax.open` reads it.

    **Fields:** `name`, for messages, for example "The Well".
    """

    name: str

    @abc.abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether the file or folder is of this format, from a look at its content. Never raises for other files."""

    @abc.abstractmethod
    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        """The published splits by name, or the one source of a file under the name "".

        **Raises:** `ValueError` for a damaged file, in one sentence.
        """


_FORMATS: list[AbstractFormat] = []


def register_format(form: AbstractFormat) -> AbstractFormat:
    """Make a format known. **Raises:** `ValueError` if one of its name is known already."""
    if form.name in known_formats():
        raise ValueError(f"the format {form.name!r} exists already; choose another name")
    _FORMATS.append(form)
    return form


def known_formats() -> list[str]:
    """Names of all formats, in the order in which they are tried."""
    return [form.name for form in _FORMATS]


def format_of(path: Path) -> AbstractFormat:
    """The format of a file. **Raises:** `ValueError` that says how the file starts if none recognises it."""
    for form in _FORMATS:
        if form.recognises(path):
            return form
    if path.is_dir():
        raise ValueError(f"{path}: a folder of no known format; known: {', '.join(known_formats())}")
    with path.open("rb") as file:
        head = file.read(8)
    raise ValueError(f"{path}: of no known format (it starts with {head!r}); known: {', '.join(known_formats())}")
