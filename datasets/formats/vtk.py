"""VTK files (`.vtk`, `.vtu`) as a format of `surrogax.open`, read at once through meshio (`pip install surrogax[meshes]`).

A file is one sample on a mesh; a folder of such files is a dataset with a sample per file, in the order of their names. Fields
are the data at points; numbers of the whole file (field data of one value) are parameters. Data in cells are not read.
"""

import importlib.util
import io
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from ...core.files import StorageError
from ..source import MemorySource, Source
from ..stored import foreign
from .cells import domain_of
from .point_samples import PointSample, source_of
from .registry import AbstractFormat, without_options

_LAYOUT = "VTK's format"


class VtkFormat(AbstractFormat):
    """One file of VTK: an unstructured grid in XML, or a legacy file."""

    name = "VTK"

    def recognises(self, path: Path) -> bool:
        return _kind(path) != ""

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        without_options(self, path, options)
        return {"": _source(path, [path])}


class VtkFolder(AbstractFormat):
    """A folder of VTK files."""

    name = "a folder of VTK files"

    def recognises(self, path: Path) -> bool:
        return path.is_dir() and bool(_files(path))

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        without_options(self, path, options)
        return {"": _source(path, _files(path))}


def _source(path: Path, files: list[Path]) -> MemorySource:
    read = [read_vtk(file) for file in files]
    notes = dict.fromkeys(note for _, each in read for note in each)
    with foreign(path, _LAYOUT):
        return source_of(path, [sample for sample, _ in read], list(notes))


def _files(folder: Path) -> list[Path]:
    files = (f for f in folder.iterdir() if f.suffix in (".vtk", ".vtu") and _kind(f))
    return sorted(files, key=lambda f: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", f.name)])


def _kind(path: Path) -> str:
    """The kind of a VTK file: "vtu" (XML), "vtk" (legacy), "" for anything else."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        head = file.read(512)
    if b"<VTKFile" in head and b'"UnstructuredGrid"' in head:
        return "vtu"
    return "vtk" if head.startswith(b"# vtk DataFile") else ""


def read_vtk(path: Path) -> tuple[PointSample, list[str]]:
    """One sample, and what is worth a note.

    **Raises:** `ModuleNotFoundError` without meshio; `StorageError` for a damaged file.
    """
    if importlib.util.find_spec("meshio") is None:
        raise ModuleNotFoundError(f"{path}: reading VTK needs meshio; pip install 'surrogax[meshes]'")
    import meshio

    with foreign(path, _LAYOUT):
        _check_claims(path)
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # meshio prints what it raises
                mesh = meshio.read(path, file_format=_kind(path))
        except SystemExit as error:  # meshio exits where a command line would
            raise StorageError("meshio cannot read it") from error
        domain = domain_of(mesh.points, {block.type: block.data for block in mesh.cells})
        fields = {name: _values(values) for name, values in mesh.point_data.items() if np.ndim(values) in (1, 2)}
        numbers = {k: float(np.ravel(v)[0]) for k, v in mesh.field_data.items() if np.size(v) == 1}
        if wrong := [name for name, values in fields.items() if len(values) != domain.shape[0]]:
            raise StorageError(f"{wrong[0]} has {len(fields[wrong[0]])} values at {domain.shape[0]} points")
        notes = [f"data in cells are not read: {', '.join(sorted(mesh.cell_data))}"] if mesh.cell_data else []
        return PointSample(domain, fields, numbers), notes


def _values(values: Any) -> np.ndarray:
    values = np.asarray(values)
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _check_claims(path: Path) -> None:
    """Refuse numbers of points and cells that a file of its size cannot hold."""
    size = path.stat().st_size
    with path.open("rb") as file:
        text = file.read(2**16)
    claimed = re.findall(rb'(?:NumberOf(?:Points|Cells)="|\b(?:POINTS|CELLS|POINT_DATA|CELL_TYPES)\s+)(\d+)', text)
    if too_many := [int(number[:30]) for number in claimed if int(number[:30]) > 1100 * size]:
        raise StorageError(f"claims {too_many[0]} points or cells, more than a file of {size} bytes can hold")
