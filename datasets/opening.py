"""Open data files by what is in them."""

import os
from pathlib import Path
from typing import Any

from .dataset import Dataset
from .formats import pt_format, well_format  # noqa: F401 (they register themselves)
from .formats.registry import format_of


def open_dataset(path: str | os.PathLike, **options: Any) -> Dataset:
    """The dataset in a file. Its format is recognised by content.

    Known formats: HDF5 in The Well's layout (this library's own files) and neuraloperator's `.pt` archives; more by
    `register_format`. `options` go to the reader, for example `grid=`.

    **Raises:** `FileNotFoundError`; `ValueError` for a folder of published splits, which `open_splits` opens, and for an
    unknown or damaged file, saying what was found.
    """
    splits = open_splits(path, **options)
    if len(splits) != 1:
        raise ValueError(f"{path} holds the splits {sorted(splits)}; open them with open_splits, or one of its files")
    return next(iter(splits.values()))


def open_splits(path: str | os.PathLike, **options: Any) -> dict[str, Dataset]:
    """The published splits in a folder by name, for example "train", "valid" and "test"; a single file is a split "".

    **Raises:** as `open_dataset`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    return {name: Dataset.of(source) for name, source in format_of(path).read(path, **options).items()}
