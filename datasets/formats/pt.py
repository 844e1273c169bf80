"""The tensors of a PyTorch `.pt` file, read without PyTorch and without running code from the file.

The file is a zip archive. Its member `data.pkl`, a pickle, describes the tensors; one further member per storage holds their
values. Our unpickler knows only the few names that such a description needs, and all of them merely build descriptions.
Values are read after every shape, stride and offset has been checked.
"""

import io
import math
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from ...core.arguments import checked
from ...core.domains import Box, Grid
from ...core.files import StorageError
from ..arrays import memory_source
from ..source import MemorySource

_DTYPES = {
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}


class _Storage(NamedTuple):
    """A flat array of `numel` elements in the archive's member `data/<key>`."""

    dtype: str
    key: str
    numel: int


class _Tensor(NamedTuple):
    """A strided view of a storage; `offset` and `stride` count elements."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read_pt(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read a dict of tensors from a file of `torch.save`, as C-contiguous NumPy arrays by name.

    **Raises:** `StorageError` if the file is damaged, holds anything but a dict of plain tensors, or names any other Python
    object (which is never created or run).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(members) != 1:
                raise StorageError(f"is no PyTorch file: its zip holds {len(members)} members data.pkl, expected one")
            folder = members[0].removesuffix("data.pkl")
            if f"{folder}byteorder" in archive.namelist() and _member(archive, f"{folder}byteorder") != b"little":
                raise StorageError("was written on a big-endian machine, expected little-endian; convert it with torch")
            tensors = _tensors(_member(archive, members[0]))
            return {name: _values(name, tensor, archive, folder) for name, tensor in tensors.items()}
    except (zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise StorageError(f"{path}: is no intact zip file of PyTorch ({error}); download it again") from error
    except (ValueError, OverflowError) as error:
        raise StorageError(f"{path}: {error}") from error


@checked
def open_pt(
    path: str | os.PathLike,
    names: Mapping[str, str] | None = None,
    grid: Grid | None = None,
    times: Any = None,
    channels: Literal["first", "last"] | None = None,
) -> MemorySource:
    """Read fields from the tensors `(sample, *space)` of a `.pt` file; tensors with one number per sample become parameters.

    A file does not say what the axes of a tensor are. Without `grid`, `times` and `channels`, fields have equally many points
    on all axes, as in neuraloperator's Darcy data; everything else must be said. neuraloperator's Burgers data are
    `open(path, names={"x": "u0", "y": "u"}, times=np.linspace(0, 1, 17))`.

    **Arguments:**

    - `names`: field name by tensor name; other tensors are left out. The default fits neuraloperator's Darcy data:
      `{"x": "a", "y": "u"}`, the coefficient and the solution.
    - `grid`: the grid of the values, which the file does not tell. By default the points 0, h, …, 1−h on every axis of the unit
      interval, square or cube with Dirichlet sides. In neuraloperator's Darcy data `u` vanishes at the first point and one
      spacing after the last (measured), and the grid of 16 points is every second point of the grid of 32.
    - `times`: the instants of fields `(sample, time, *space)`.
    - `channels`: where fields have a channel axis: "first" for `(sample, [time], channel, *space)`, "last" for
      `(sample, [time], *space, channel)`. A single channel becomes a scalar.

    **Raises:** `KeyError` for a missing tensor; `StorageError` for shapes that do not fit or that are ambiguous, for values that
    are no real numbers, and as `read_pt`.
    """
    names = {"x": "a", "y": "u"} if names is None else names
    tensors = read_pt(path)
    if missing := [name for name in names if name not in tensors]:
        raise KeyError(f"{path}: has no tensor {missing[0]!r}; it has {sorted(tensors)}, choose with names=")
    arrays = {field: tensors[name] for name, field in names.items()}
    numbers = {field: values for field, values in arrays.items() if values.ndim == 1 or values.shape[1:] == (1,)}
    fields = {field: values for field, values in arrays.items() if field not in numbers}
    try:
        fields = {field: _channels_last(values, times, channels) for field, values in fields.items()}
        grid = _unit_grid(fields, times, channels) if grid is None else grid
        fields = {
            field: values[..., 0] if channels and values.shape[-1] == 1 else values for field, values in fields.items()
        }
        source = memory_source({"inputs": fields, "parameters": numbers}, grid=grid, times=times)
    except (ValueError, TypeError) as error:
        raise StorageError(f"{path}: {error}; say what the axes are by grid=, times= and channels=") from error
    return replace(source, attributes={"file": os.path.basename(path)})


def _channels_last(values: np.ndarray, times: Any, channels: str | None) -> np.ndarray:
    """Move a first channel axis, which follows the sample and time axes, to the end."""
    if channels != "first":
        return values
    axis = 2 if times is not None and values.shape[1] == len(times) else 1
    return np.moveaxis(values, axis, -1)


def _unit_grid(fields: Mapping[str, np.ndarray], times: Any, channels: str | None) -> Grid:
    """The grid of the unit box whose shape all fields have.

    **Raises:** `ValueError` if no shape or more than one is possible, or if its axes differ in length, so that one of them may be
    no axis of space.
    """
    instants = None if times is None else len(times)

    def possible(shape: tuple[int, ...]) -> set[tuple[int, ...]]:
        space = shape[1 : len(shape) - (channels is not None)]
        return {space, space[1:]} if space[:1] == (instants,) else {space}

    shapes = {name: values.shape for name, values in fields.items()}
    common = set.intersection(*map(possible, shapes.values())) if shapes else set()
    found = {space for space in common if 1 <= len(space) <= 3 and len(set(space)) == 1 and space[0] > 1}
    if len(found) != 1:
        raise ValueError(f"the fields have the shapes {shapes}, which do not tell the axes of space")
    (shape,) = found
    return Grid(Box.unit(len(shape)), shape, ("periodic",) * len(shape))


class _Unpickler(pickle.Unpickler):
    """Unpickles a description of tensors.

    A global of the pickle becomes a string, `dict`, or a function that is made anew for every lookup, so that no opcode
    can change an object that outlives the load.
    """

    def find_class(self, module: str, name: str) -> Any:
        """What a global of the pickle becomes. **Raises:** `StorageError` for a global that tensors do not need."""
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return dict  # as good as an OrderedDict here, and without attributes that a pickle could set
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *args: _describe(*args)
        raise StorageError(
            f"its pickle names {module}.{name}, which is no part of a dict of tensors; nothing was run. "
            "Save plain tensors: torch.save({name: tensor.detach()}, path)"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        """The storage that a persistent id of the pickle describes."""
        match pid:
            case ("storage", str(dtype), str(key), str(), int(count)):
                return _Storage(dtype, key, count)
        raise StorageError(f"its pickle refers to {pid!r:.80}, expected a tensor storage")


def _describe(storage, offset, size, stride, requires_grad=False, hooks=None, metadata=None) -> _Tensor:
    if metadata:
        raise StorageError("holds a lazily conjugated or negated tensor; save it with .resolve_conj().resolve_neg()")
    return _Tensor(storage, offset, size, stride)


def _tensors(pickled: bytes) -> dict[str, _Tensor]:
    try:
        described = _Unpickler(io.BytesIO(pickled)).load()
    except StorageError:
        raise
    except Exception as error:  # unpickling damaged data may raise anything
        raise StorageError(f"its pickle cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(described, dict):
        raise StorageError(f"holds a {type(described).__name__}, expected a dict of tensors")
    for name, value in described.items():
        if not (type(name) is str and type(value) is _Tensor):
            raise StorageError(f"holds {type(value).__name__} under {name!r:.80}, expected tensors under names")
    return described


def _values(name: str, tensor: _Tensor, archive: zipfile.ZipFile, folder: str) -> np.ndarray:
    storage, offset, size, stride = tensor
    counts = type(size) is type(stride) is tuple and len(size) == len(stride)
    counts = counts and all(type(n) is int and n >= 0 for n in (offset, *size, *stride))
    if not counts or type(storage) is not _Storage or storage.dtype not in _DTYPES.values():
        raise StorageError(f"tensor {name!r} is described by {tensor!r:.120}, expected a storage, offset, size, stride")
    raw = _member(archive, f"{folder}data/{storage.key}")
    dtype = jnp.dtype(storage.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if len(raw) != storage.numel * dtype.itemsize or (0 not in size and last >= storage.numel):
        raise StorageError(
            f"tensor {name!r} reaches element {last} of a storage said to hold {storage.numel} of {dtype}, which has "
            f"{len(raw)} bytes; the file is damaged"
        )
    if math.prod(size) > storage.numel:
        raise StorageError(f"tensor {name!r} is an expanded view; save it with .contiguous()")
    strides = tuple(step * dtype.itemsize for step in stride)
    stored = jnp.dtype("uint8") if storage.dtype == "bool" else dtype
    window = np.ndarray(size, stored, raw, offset * dtype.itemsize, strides)
    return np.array(window, dtype, order="C")


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise StorageError(f"has no member {name}, which its pickle refers to; the file is damaged") from None
    if info.compress_type != zipfile.ZIP_STORED:
        raise StorageError(f"has a compressed member {name}, expected plain ones as torch.save writes them")
    return archive.read(info)
