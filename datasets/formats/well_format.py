"""The Well's HDF5 files and folders as a format of `surrogax.open`."""

from pathlib import Path
from typing import Any

from ..concatenation import ConcatSource
from ..source import Source
from .hdf5_file import root_of
from .registry import AbstractFormat, without_options
from .statistics import published_statistics
from .well import WellSource

_SPLITS = ("train", "valid", "test")
# Any of these tells the layout.
_PARTS = {"n_trajectories", "t0_fields", "t1_fields", "t2_fields", "boundary_conditions"}


class WellFormat(AbstractFormat):
    """One HDF5 file in The Well's layout, which this library writes too."""

    name = "The Well's HDF5"

    def recognises(self, path: Path) -> bool:
        names, attributes = root_of(path)
        return bool(_PARTS & (names | attributes))

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        without_options(self, path, options)
        return {"": WellSource(path)}


class WellFolder(AbstractFormat):
    """The published splits of a dataset of The Well: folders train, valid and test inside a folder or its subfolder `data`."""

    name = "a folder of The Well (train, valid, test)"

    def recognises(self, path: Path) -> bool:
        return path.is_dir() and any(_files(path).values())

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        without_options(self, path, options)
        splits: dict[str, Source] = {}
        statistics = published_statistics(path)
        for split, files in _files(path).items():
            sources = tuple(WellSource(file, statistics) for file in files)
            if sources:
                splits[split] = sources[0] if len(sources) == 1 else ConcatSource(sources)
        return splits


def _files(path: Path) -> dict[str, list[Path]]:
    """The HDF5 files of every split, by the name of the split."""
    folder = path / "data" if (path / "data").is_dir() else path
    return {
        split: sorted(file for pattern in ("*.hdf5", "*.h5") for file in (folder / split).glob(pattern))
        for split in _SPLITS
    }
