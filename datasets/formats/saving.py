"""The file format of `Dataset.save`."""

import os
from pathlib import Path

from ..dataset import Dataset
from .arrays_hdf5 import write_arrays
from .well_writer import write_well


def save_dataset(path: str | os.PathLike, dataset: Dataset) -> None:
    """See `Dataset.save`. The Well's layout holds samples on one grid."""
    if len(dataset) and list(dataset.domains) == [""] and not dataset.domain.arrays:
        write_well(path, dataset, name=Path(path).stem)
    else:
        write_arrays(path, dataset)
