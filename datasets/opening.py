"""Open data files by what is in them."""

import os
import zipfile
from pathlib import Path

import h5py

from .concat import ConcatSource
from .dataset import Dataset
from .formats.pt import open_pt
from .formats.well import WellSource
from .source import Source


def open_dataset(path: str | os.PathLike, **options) -> Dataset | dict[str, Dataset]:
    """The dataset in a file, or the published splits in a folder, by name.

    Known forms: HDF5 in The Well's layout (this library's own files), folders of those with `train`, `valid` and `test`,
    and neuraloperator's `.pt` archives. The form is recognised by content. `options` go to the reader, for example `grid=`.

    **Raises:** `FileNotFoundError`; `ValueError` for an unknown or damaged file, saying what was found.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if path.is_dir():
        return {name: Dataset.of(source) for name, source in open_well_folder(path, **options).items()}
    if h5py.is_hdf5(path):
        return Dataset.of(WellSource(path, **options))
    if zipfile.is_zipfile(path):
        return Dataset.of(open_pt(path, **options))
    with path.open("rb") as file:
        head = file.read(8)
    raise ValueError(
        f"{path}: neither HDF5 nor a .pt archive (starts with {head!r}); see surrogax.open for the known forms"
    )


def open_well_folder(path: str | os.PathLike) -> dict[str, Source]:
    """The published splits of a dataset of The Well: the folders train, valid and test below `path` or `path/data`."""
    folder = Path(path) / "data" if (Path(path) / "data").is_dir() else Path(path)
    splits: dict[str, Source] = {}
    for split in ("train", "valid", "test"):
        files = sorted(file for pattern in ("*.hdf5", "*.h5") for file in (folder / split).glob(pattern))
        if files:
            sources = tuple(map(WellSource, files))
            splits[split] = sources[0] if len(sources) == 1 else ConcatSource(sources)
    if not splits:
        raise FileNotFoundError(f"{folder}: found no .hdf5 or .h5 file in a folder train, valid or test below it")
    return splits
