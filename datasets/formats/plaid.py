"""CGNS files and PLAID's folders of them (github.com/PLAID-lib/plaid, version 1.0) as formats of `surrogax.open`.

A dataset is a folder `data/SPLIT/sample_NNNNNNNNN/meshes/*.cgns`; a split, a sample and a file can be opened too. A CGNS file
is HDF5 whose nodes are groups with a `label` and the values in ` data`. Of a sample the zone of the base with the highest
dimension of cells is read: points, cells, fields at vertices (`FlowSolution_t`), and the numbers that lie in its bases
(`DataArray_t` of one value) as parameters. A split whose outputs are withheld is a dataset without them; a note names what the
other splits have.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...core.files import StorageError
from ..source import MemorySource, Source
from ..stored import foreign
from .cells import domain_of
from .hdf5_file import open_hdf5, root_of, stored_values
from .point_samples import PointSample, source_of
from .registry import AbstractFormat, without_options

_LAYOUT = "CGNS"
# The kinds of elements by CGNS's numbers: meshio's name and the number of vertices.
_ELEMENTS = {
    3: ("line", 2), 5: ("triangle", 3), 7: ("quad", 4), 10: ("tetra", 4), 12: ("pyramid", 5), 14: ("wedge", 6),
    17: ("hexahedron", 8),
}  # fmt: skip


class CgnsFormat(AbstractFormat):
    """One CGNS file, which is one sample."""

    name = "CGNS"

    def recognises(self, path: Path) -> bool:
        return "CGNSLibraryVersion" in root_of(path)[0]

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        without_options(self, path, options)
        return {"": _source(path, [path])}


class PlaidFolder(AbstractFormat):
    """PLAID's folder of a dataset, a split or a sample, stored as CGNS."""

    name = "PLAID's folders of CGNS"

    def recognises(self, path: Path) -> bool:
        return path.is_dir() and bool(_splits(path))

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        without_options(self, path, options)
        sources = {split: _source(path, files) for split, files in _splits(path).items()}
        found = {split: {n for n, s in source.fields.items() if s.role == "field"} for split, source in sources.items()}
        everywhere = set().union(*found.values())
        return {split: _noted(source, everywhere - found[split]) for split, source in sources.items()}


def _noted(source: MemorySource, missing: set[str]) -> MemorySource:
    if not missing:
        return source
    notes = [*source.attributes["notes"], f"the fields {', '.join(sorted(missing))} of other splits are withheld here"]
    return replace(source, attributes={**source.attributes, "notes": notes})


def _splits(path: Path) -> dict[str, list[Path]]:
    """The CGNS files of all samples, by split."""
    if files := _meshes(path):
        return {"": files[:1]} if len(files) == 1 else {}
    if samples := _samples(path):
        return {"": samples}
    data = path / "data"
    if not data.is_dir():
        return {}
    found = {folder.name: _samples(folder) for folder in sorted(data.iterdir()) if folder.is_dir()}
    return {split: files for split, files in found.items() if files}


def _samples(folder: Path) -> list[Path]:
    """The files of the samples in a folder. **Raises:** `StorageError` for a sample of several instants."""
    found = []
    for sample in sorted(folder.glob("sample_*")):
        files = _meshes(sample)
        if len(files) > 1:
            raise StorageError(f"{sample}: holds the meshes of {len(files)} instants; one instant per sample is read")
        found += files
    return found


def _meshes(sample: Path) -> list[Path]:
    return sorted((sample / "meshes").glob("*.cgns"))


def _source(path: Path, files: list[Path]) -> MemorySource:
    read = [_read(file) for file in files]
    notes = dict.fromkeys(note for _, each in read for note in each)
    with foreign(path, _LAYOUT):
        return source_of(path, [sample for sample, _ in read], list(notes))


def _read(path: Path) -> tuple[PointSample, list[str]]:
    with open_hdf5(path) as file, foreign(path, _LAYOUT):
        bases = [(name, base) for name, base in _nodes(file) if _label(base) == "CGNSBase_t"]
        numbers = {
            n: float(v[0]) for _, b in bases for n, v in _arrays(file, b) if v.size == 1 and v.dtype.kind in "iuf"
        }
        zones = [
            (_data(file, base)[0], f"{name}/{zone}", node)
            for name, base in bases
            for zone, node in _nodes(base)
            if _label(node) == "Zone_t"
        ]
        if not zones:
            raise StorageError("holds no zone")
        highest = max(dimension for dimension, _, _ in zones)
        of = [(name, node) for dimension, name, node in zones if dimension == highest]
        if len(of) > 1:
            raise StorageError(f"holds the zones {', '.join(name for name, _ in of)}; one zone per sample is read")
        notes = [f"not read: the zone {name}" for dimension, name, _ in zones if dimension < highest]
        return _zone(file, of[0][1], numbers), notes


def _zone(file: h5py.File, zone: h5py.Group, numbers: dict[str, float]) -> PointSample:
    coordinates, cells, fields = {}, dict[str, np.ndarray](), {}
    for _, node in _nodes(zone):
        label = _label(node)
        if label == "GridCoordinates_t":
            coordinates = dict(_arrays(file, node))
        elif label == "Elements_t":
            kind, corners = _ELEMENTS.get(int(_data(file, node)[0]), ("", 1))
            vertices = {n: v for n, v in _arrays(file, node)}.get("ElementConnectivity", np.zeros(0, int))
            if kind and vertices.size % corners == 0:
                block = vertices.reshape(-1, corners).astype(np.int64) - 1
                cells[kind] = np.concatenate([cells[kind], block]) if kind in cells else block
        elif label == "FlowSolution_t" and _location(file, node) == "Vertex":
            fields |= dict(_arrays(file, node))
    names = [f"Coordinate{axis}" for axis in "XYZ" if f"Coordinate{axis}" in coordinates]
    if not names:
        raise StorageError("holds no coordinates of points")
    points = np.stack([coordinates[name].ravel() for name in names], -1)
    return PointSample(
        domain_of(points, cells), {n: v.ravel() for n, v in fields.items() if v.size == len(points)}, numbers
    )


def _nodes(group: h5py.Group) -> Iterator[tuple[str, h5py.Group]]:
    """The nodes below a node that the file itself holds."""
    for name in map(str, group):
        here = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
        if isinstance(here, h5py.Group):
            yield name, here


def _arrays(file: h5py.File, group: h5py.Group) -> Iterator[tuple[str, np.ndarray]]:
    for name, node in _nodes(group):
        if _label(node) == "DataArray_t" and " data" in node:
            values = _data(file, node)
            if values.dtype.kind in "iuf":
                yield name, values


def _label(node: h5py.Group) -> str:
    label = node.attrs.get("label", b"")
    return label.decode() if isinstance(label, bytes) else str(label)


def _data(file: h5py.File, node: h5py.Group) -> np.ndarray:
    return np.asarray(stored_values(file, f"{node.name}/ data")[()])


def _location(file: h5py.File, node: h5py.Group) -> str:
    """Where a solution has values; at vertices if that is not told."""
    found = [_data(file, each) for _, each in _nodes(node) if _label(each) == "GridLocation_t"]
    return found[0].tobytes().decode().strip("\0 ") if found else "Vertex"
