"""`write_well` writes data in The Well's HDF5 layout (https://polymathic-ai.org/the_well), few samples at a time.

- A scalar field is a dataset in `t0_fields`. A vector with one component per space axis is a dataset in `t1_fields`; any other
  vector `q` becomes the scalars `q_0`, `q_1`, …. Parameters are in `scalars`. Steady data have one instant and fields that
  do not vary in time. Values are stored contiguously: a random batch is read up to 80 times faster than from chunks (measured).
- Boundaries: "dirichlet" is WALL, "neumann" OPEN, "periodic" PERIODIC; an axis without boundary condition has none.
- The root attribute `surrogax` (JSON) holds what the layout cannot express: the exact box, the layouts of the grid,
  which datasets form a vector, and the attributes.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict

import h5py
import numpy as np

from ...core.progress import ProgressPrinter
from ..dataset import Dataset
from ..source import Source
from .hdf5_file import new_hdf5, written_values
from .well import ORDERS

_BC_TYPES = {"dirichlet": "WALL", "neumann": "OPEN", "periodic": "PERIODIC"}


def write_well(
    path: str | os.PathLike, samples: Source | Dataset, *, name: str, chunk: int = 16, progress: bool = False
) -> None:
    """Write all samples of a source or dataset to one HDF5 file in The Well's layout.

    An existing file is replaced only when the new one is complete.

    **Arguments:**

    - `path`: the file.
    - `samples`: data on a grid.
    - `name`: name of the dataset, which all files of one folder share.
    - `chunk`: largest number of samples in memory at a time; fewer, or a few frames of one, where these exceed 64 MiB.
    - `progress`: whether progress is shown on standard error.

    **Raises:** `ValueError` for data that the layout cannot hold (point clouds, no samples, colliding names); `OSError` for a
    full disk.
    """
    dataset = samples if isinstance(samples, Dataset) else Dataset.of(samples)
    layout = layout_of(dataset)
    with new_hdf5(path) as (file, disk):
        write_header(file, dataset, layout, name)
        blocks = list(blocks_of(dataset, chunk))
        printer = ProgressPrinter(len(blocks), str(path), enabled=progress)
        for done, (rows, frames) in enumerate(blocks, 1):
            later = frames is not None and frames.start > 0
            names = [field for field, spec in dataset.fields.items() if spec.time or not later]
            for field, values in dataset.read(names, rows, frames=frames).items():
                _write_rows(file, field, layout[field], rows, frames if dataset.fields[field].time else None, values)
            if disk.failure is not None:
                break
            printer.update(done, f"{path}: {rows[-1] + 1} of {len(dataset)} samples")
        printer.close(len(blocks), f"{path}: {len(dataset)} samples")


def blocks_of(dataset: Dataset, chunk: int, nbytes: int = 2**26) -> Iterator[tuple[np.ndarray, range | None]]:
    """Positions of up to `chunk` samples, and their frames if not all are read at once: parts of a dataset of at most `nbytes`
    bytes, or one frame."""
    forms = {name: values[:0] for name, values in dataset.read(positions=[]).items()}
    size = {name: form.itemsize * int(np.prod(form.shape[1:])) for name, form in forms.items()}
    one, frames = max(1, sum(size.values())), dataset.instants
    timed = sum(size[name] for name, spec in dataset.fields.items() if spec.time)
    count = max(1, min(chunk, nbytes // one))
    step = max(1, nbytes * frames // timed) if one > nbytes and timed else max(frames, 1)
    for start in range(0, len(dataset), count):
        rows = np.arange(start, min(start + count, len(dataset)))
        if step >= frames:
            yield rows, None
        else:
            yield from ((rows, range(first, min(first + step, frames))) for first in range(0, frames, step))


def layout_of(dataset: Dataset) -> dict[str, list[str]]:
    """The paths of the HDF5 datasets of every field, by the field's name."""
    grid, layout = dataset.domain.as_grid("The Well's layout"), {}
    if others := sorted(dataset.domains.keys() - {""}):
        raise ValueError(
            f"The Well's layout holds one grid, these data have the domains {others} besides; use Dataset.save"
        )
    if not len(dataset):
        raise ValueError("a file of The Well needs at least one sample; this dataset is empty")
    for name, spec in dataset.fields.items():
        vector = spec.role == "field" and spec.components == (grid.ndim,)
        group = "scalars" if spec.role == "parameter" else "t1_fields" if vector else "t0_fields"
        parts = [f"{name}_{i}" for i in range(spec.channels)] if spec.components and not vector else [name]
        layout[name] = [f"{group}/{part}" for part in parts]
    names = ["time", *grid.names], [path.split("/", 1)[1] for paths in layout.values() for path in paths]
    for wrong in [n for group in names for n in group if group.count(n) > 1 or "/" in n]:
        raise ValueError(f"{wrong!r} is used twice or contains '/', which HDF5 names cannot; rename it")
    return layout


def write_header(file: h5py.File, dataset: Dataset, layout: Mapping[str, list[str]], name: str) -> None:
    """Write everything but the values of the fields, for which there is room afterwards."""
    grid, times = dataset.grid, np.zeros(1, np.float32) if dataset.times is None else dataset.times
    file.attrs.update(dataset_name=name, grid_type="cartesian", n_spatial_dims=grid.ndim, n_trajectories=len(dataset))
    file.attrs["simulation_parameters"] = _names([])
    ids = {} if np.array_equal(dataset.ids, np.arange(len(dataset))) else {"ids": dataset.ids.tolist()}
    own = {
        "grid": {"axes": [asdict(axis) for axis in grid.box.axes], "layouts": grid.layouts},
        "fields": layout,
        "attributes": {**dataset.attributes, **ids},
    }
    file.attrs["surrogax"] = json.dumps(own, allow_nan=False)

    dimensions = file.create_group("dimensions")
    dimensions.attrs["spatial_dims"] = _names(grid.names)
    dimensions["time"] = times
    for axis, coordinates in zip(grid.names, grid.coordinates, strict=True):
        dimensions[axis] = coordinates.astype(np.float32)
    for key, data in dimensions.items():
        data.attrs.update(sample_varying=False, time_varying=key == "time")

    boundaries = file.create_group("boundary_conditions")
    for axis, n in zip(grid.box.axes, grid.shape, strict=True):
        if axis.boundary is not None:
            kind = _BC_TYPES[axis.boundary]
            group = boundaries.create_group(f"{axis.name}_{kind.lower()}")
            group.attrs.update(bc_type=kind, associated_dims=_names([axis.name]), associated_fields=_names([]))
            group.attrs.update(sample_varying=False, time_varying=False)
            group["mask"] = np.isin(np.arange(n), (0, n - 1))

    for group in ORDERS:
        inside = [path.split("/", 1)[1] for paths in layout.values() for path in paths if path.startswith(group)]
        file.create_group(group).attrs["field_names"] = _names(inside)
    for field, paths in layout.items():
        spec = dataset.fields[field]
        shape = (len(dataset), len(times)) if spec.time else (len(dataset),)
        shape += (grid.shape if spec.role == "field" else ()) + spec.components * paths[0].startswith("t1")
        for path in paths:
            data = file.create_dataset(path, shape, spec.dtype, dcpl=_room())
            data.attrs.update(sample_varying=True, time_varying=spec.time)
            if spec.role == "field":
                data.attrs["dim_varying"] = [True] * grid.ndim


def _room() -> h5py.h5p.PropDCID:
    """Settings of an array that gets its place in the file at once, without values."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_layout(h5py.h5d.CONTIGUOUS)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return settings


def parts_of(field: str, paths: list[str], values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The values of a field by the paths of their HDF5 datasets."""
    yield from zip(paths, [values] if paths[0].endswith(f"/{field}") else np.moveaxis(values, -1, 0), strict=True)


def _write_rows(
    file: h5py.File, field: str, paths: list[str], rows: np.ndarray, frames: range | None, values: np.ndarray
) -> None:
    for path, part in parts_of(field, paths, values):
        data = written_values(file, path)
        time = () if frames is None else (slice(frames.start, frames.stop),)
        expected = (len(rows), *([] if frames is None else [len(frames)]), *data.shape[1 + len(time) :])
        if part.shape != expected or part.dtype != data.dtype:
            raise ValueError(
                f"field {field!r} gave {part.dtype}{list(part.shape)}, expected {data.dtype}{list(expected)} by its "
                "FieldSpec, the grid and the times"
            )
        data[(slice(rows[0], rows[-1] + 1), *time)] = part


def _names(names) -> np.ndarray:
    """A list of strings, possibly empty, as The Well stores it in an attribute."""
    return np.array(list(names), h5py.string_dtype())
