"""HDF5 files that hold any dataset: `ArraysSource` reads them, `write_arrays` writes them.

Data on clouds, meshes or several domains do not fit The Well's layout. Here every array is the HDF5 dataset `arrays/<name>`,
`(sample, [time], *space, [component])`; an array of a domain that is the same in all samples is stored once, `(1, …)`. The root
attribute `surrogax_dataset` (JSON) holds the forms of the arrays, the domains and the attributes; `times` holds the instants.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...core.domains import AbstractDomain
from ...core.files import StorageError
from ...core.storage import from_json, to_json
from ..checked_arrays import instants
from ..dataset import Dataset
from ..source import FieldSpec, Source, sample_positions
from ..stored import ascending, foreign
from .hdf5_file import Handle, check_count, new_hdf5, open_hdf5, read_rows, root_of, stored_values, written_values
from .registry import AbstractFormat, without_options

_ENTRY, _VERSION = "surrogax_dataset", 1


def write_arrays(path: str | os.PathLike, dataset: Dataset, *, chunk: int = 16) -> None:
    """Write a dataset on any domain, `chunk` samples at a time. An existing file is replaced when the new one is complete.

    **Raises:** `ValueError` for names that HDF5 cannot hold; `OSError` for a full disk.
    """
    if wrong := [name for name in dataset.fields if "/" in name or name in (".", "")]:
        raise ValueError(f"{wrong[0]!r} is no name that HDF5 can hold; rename it")
    once = {name for name, spec in dataset.fields.items() if spec.role == "domain" and _is_constant(dataset, name)}
    ids = {} if np.array_equal(dataset.ids, np.arange(len(dataset))) else {"ids": dataset.ids.tolist()}
    entry = {
        "version": _VERSION,
        "samples": len(dataset),
        "fields": to_json(dict(dataset.fields)),
        "domains": to_json(dict(dataset.domains)),
        "attributes": {**dataset.attributes, **ids},
    }
    with new_hdf5(path) as (file, disk):
        file.attrs[_ENTRY] = json.dumps(entry, allow_nan=False)
        if dataset.times is not None:
            file["times"] = dataset.times
        for name, values in dataset.read(positions=[]).items():
            shape = (1 if name in once else len(dataset), *values.shape[1:])
            file.create_dataset(f"arrays/{name}", shape, values.dtype)
        for start in range(0, len(dataset), chunk):
            rows = np.arange(start, min(start + chunk, len(dataset)))
            names = [name for name in dataset.fields if not (name in once and start)]
            for name, values in dataset.read(names, rows).items():
                here = slice(0, 1) if name in once else slice(start, start + len(rows))
                written_values(file, f"arrays/{name}")[here] = values[: here.stop - here.start]
            if disk.failure is not None:
                break


def _is_constant(dataset: Dataset, name: str) -> bool:
    """Whether an array is the same in all samples, of which there are two or more."""
    if len(dataset) < 2:
        return False
    first = dataset.read([name], [0])[name]
    return all((block[name] == first).all() for _, block in dataset.blocks([name]))


class ArraysSource:
    """The samples of a file of `write_arrays`, read when they are asked for. It may be pickled, forked and shared by threads.

    **Raises:** `StorageError` for a damaged file, one that refers to other files, and one that claims more than it can hold.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._handle = Handle(self.path)
        with open_hdf5(self.path) as file, self._explained():
            entry = json.loads(str(file.attrs[_ENTRY]))
            if entry["version"] != _VERSION:
                raise StorageError(f"has version {entry['version']}, this surrogax reads {_VERSION}")
            self._count = int(entry["samples"])
            check_count(self.path, self._count)
            self.fields: Mapping[str, FieldSpec] = from_json(entry["fields"])
            self.domains: Mapping[str, AbstractDomain] = from_json(entry["domains"])
            if not isinstance(self.domains, dict) or "" not in self.domains:
                raise StorageError(f"its domains are {self.domains!r:.80}, expected a main domain")
            self.attributes: Mapping = entry["attributes"]
            self.times: np.ndarray | None = instants(stored_values(file, "times")[()]) if "times" in file else None
            for name in self.fields:
                self._check(name, stored_values(file, f"arrays/{name}"))
        self._check_points()

    def _explained(self):
        return foreign(self.path, "the layout of surrogax's datasets")

    def _check(self, name: str, data: h5py.Dataset) -> None:
        spec = self.fields[name]
        leading = () if self.times is None or not spec.time else (len(self.times),)
        space = (
            self.domains[spec.domain].shape
            if spec.role == "field"
            else data.shape[1 : data.ndim - len(spec.components)]
        )
        expected = (*leading, *space, *spec.components) if spec.role != "parameter" else (*leading, *spec.components)
        counts = (self._count, 1) if spec.role == "domain" else (self._count,)
        if data.shape[:1] not in [(n,) for n in counts] or data.shape[1:] != expected or data.dtype.name != spec.dtype:
            raise StorageError(
                f"arrays/{name} is {data.dtype}{list(data.shape)}, expected {spec.dtype}{[self._count, *expected]}"
            )

    def _check_points(self) -> None:
        """The arrays of every domain have its form in the first sample."""
        with self._explained():
            for name, domain in self.domains.items():
                if domain.arrays and self._count:
                    sites = domain.sites({array: self.read(array, np.zeros(1, int))[0] for array in domain.arrays})
                    forms = (sites.points.shape, sites.weights.shape, sites.mask.shape)
                    if forms != ((*domain.shape, domain.ndim), domain.shape, domain.shape):
                        raise StorageError(
                            f"the points of {name!r} have the shapes {forms}, expected those of {domain}"
                        )

    def __len__(self) -> int:
        return self._count

    def read(self, name: str, indices: np.ndarray, window: tuple[slice, ...] = ()) -> np.ndarray:
        """See `Source.read`. Only the part inside `window` is read from disk."""
        if name not in self.fields:
            raise KeyError(f"{self.path}: no field {name!r}; it has {sorted(self.fields)}")
        wanted, position = np.unique(sample_positions(indices, len(self)), return_inverse=True)
        with self._explained():
            data, extent = self._handle.values(f"arrays/{name}")
            ranges = [range(n)[cut] for n, cut in zip(data.shape[1:], window, strict=False)]
            once = len(data) < len(self)
            rows = np.zeros(min(len(wanted), 1), int) if once else wanted
            values = read_rows(data, extent, rows, True, tuple(map(ascending, ranges)))
        values = values[(slice(None), *(slice(None, None, -1 if r.step < 0 else 1) for r in ranges))]
        return values[np.zeros_like(position) if once else position]

    def __reduce__(self):
        return ArraysSource, (self.path,)

    def __repr__(self) -> str:
        return f"ArraysSource({str(self.path)!r}, {len(self)} samples of {', '.join(self.fields)})"


class ArraysFormat(AbstractFormat):
    """A file of `Dataset.save` that does not fit The Well's layout."""

    name = "surrogax's HDF5 of points"

    def recognises(self, path: Path) -> bool:
        return _ENTRY in root_of(path)[1]

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        without_options(self, path, options)
        return {"": ArraysSource(path)}
