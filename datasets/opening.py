"""Opening of data files, whose format is recognised by their content."""

import os
from pathlib import Path
from typing import Any

from ..core.addresses import address_of
from ..core.arguments import checked
from ..core.remote_files import local_copy
from .dataset import Dataset
from .formats.registry import format_of


@checked
def open_dataset(path: str | os.PathLike, **options: Any) -> Dataset:
    """Open the dataset in a file. The format is recognised by the content, and values are read when they are asked for.

    Known formats:

    - HDF5: files of `Dataset.save`, The Well, PDEBench (all three families), PDEArena, RealPDEBench, ETH's sets, MATLAB 7.3,
      NetCDF 4, CGNS.
    - MATLAB 5, `.npy` and `.npz`, neuraloperator's `.pt`, NetCDF 3, zarr, VTK (`.vtk`, `.vtu`).
    - Folders: The Well's and RealPDEBench's splits (HDF5 and Arrow), PLAID's samples, CFDBench's cases, APEBench's exports, VTK
      files.

    `register_format` adds others. `options` are passed to the reader of the format. For arrays whose axes the file does not
    tell, `axes={"u": "sample time x y"}` does, with `grid=`, `times=`, `boundary=` where the file has none (see
    `datasets.formats.named_arrays`); for `.pt` they are `names=`, `grid=`, `times=`, `channels=`.

    What a reader assumed is in `attributes["notes"]`, which `describe` and `verify` show. `path` may be an address such as
    `s3://bucket/file`, which is copied to this machine once (`pip install surrogax[remote]`).

    **Raises:** `FileNotFoundError` for a missing file; `ValueError` for a folder of several splits (use `open_splits`), and for
    a file of an unknown format or a damaged one, saying what was found; `TypeError` for options that the format does not have.

    **Example:**

        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/data.npz", u=a)
        ...     data = sx.open(f"{folder}/data.npz", axes={"u": "sample x"}, grid=ds.grid)
        ...     print(data["u"].shape)
        (12, 16)
    """
    splits = open_splits(path, **options)
    if len(splits) != 1:
        raise ValueError(f"{path} holds the splits {sorted(splits)}; open them with open_splits, or one of its files")
    return next(iter(splits.values()))


@checked
def open_splits(path: str | os.PathLike, **options: Any) -> dict[str, Dataset]:
    """Open the published splits in a folder: a dict of datasets by name, for example "train", "valid" and "test".

    A single file is returned as the one split "". `options` and errors are those of `open`.

    **Example:**

        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ds.save(f"{folder}/data.hdf5")
        ...     print({name: len(split) for name, split in sx.open_splits(f"{folder}/data.hdf5").items()})
        {'': 12}
    """
    address = address_of(path)
    path = Path(path) if address is None else local_copy(address)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    return {name: Dataset.of(source) for name, source in format_of(path).read(path, **options).items()}
