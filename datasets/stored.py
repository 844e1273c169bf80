"""`StoredSource`: samples of arrays that lie somewhere with their axes in any order, read when they are asked for.

A reader of a file format says what the axes of every array mean, in words such as "sample time x y component"; the rest is
here.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from ..core.domains import AbstractDomain
from ..core.files import StorageError
from .direct_reads import Extent
from .source import FieldSpec, Role, sample_positions
from .windows import by_first_instant


@runtime_checkable
class Stored(Protocol):
    """An array that can be read in parts."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def read(self, cuts: tuple[slice, ...]) -> np.ndarray:
        """The part inside one slice per axis; steps are positive."""
        ...


@runtime_checkable
class InOnePart(Protocol):
    """A stored array that may lie in one part of a file."""

    def extent(self) -> Extent | None:
        """Where it lies; None if it does not lie in one part."""
        ...


@dataclass(frozen=True)
class InMemory:
    """An array in memory."""

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def dtype(self) -> np.dtype:
        return self.values.dtype

    def read(self, cuts: tuple[slice, ...]) -> np.ndarray:
        return np.asarray(self.values[cuts])


@dataclass(frozen=True)
class Stack:
    """Arrays of one shape along a new first axis, for example one per file."""

    parts: Sequence[Stored]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.parts), *self.parts[0].shape)

    @property
    def dtype(self) -> np.dtype:
        return self.parts[0].dtype

    def read(self, cuts: tuple[slice, ...]) -> np.ndarray:
        """**Raises:** `StorageError` for a part of another shape, and for one that holds no real numbers."""
        blocks = []
        for number in range(len(self.parts))[cuts[0]]:
            part = self.parts[number]
            if part.shape != self.shape[1:]:
                raise StorageError(
                    f"sample {number} has shape {list(part.shape)}, the first has {list(self.shape[1:])}"
                )
            number_type(part.dtype)
            blocks.append(part.read(cuts[1:]))
        empty = np.zeros(
            (0, *(len(range(n)[cut]) for n, cut in zip(self.shape[1:], cuts[1:], strict=True))), self.dtype
        )
        return np.stack(blocks) if blocks else empty


@dataclass(frozen=True)
class Pick:
    """Entry `index` along one axis of an array."""

    whole: Stored
    axis: int
    index: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.whole.shape[: self.axis] + self.whole.shape[self.axis + 1 :]

    @property
    def dtype(self) -> np.dtype:
        return self.whole.dtype

    def read(self, cuts: tuple[slice, ...]) -> np.ndarray:
        here = slice(self.index, self.index + 1)
        return self.whole.read((*cuts[: self.axis], here, *cuts[self.axis :])).squeeze(self.axis)


@dataclass(frozen=True)
class Placed:
    """A stored array and the meaning of its axes.

    **Fields:**

    - `stored`: the array.
    - `axes`: for each axis of a dataset's array `(sample, [time], *space, [component])`, the stored axis; None for a sample or
      space axis along which the array does not vary.
    - `spec`: the form of the array.
    """

    stored: Stored
    axes: tuple[int | None, ...]
    spec: FieldSpec

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the dataset's axes; 1 where the array does not vary."""
        return tuple(1 if axis is None else self.stored.shape[axis] for axis in self.axes)

    def read(self, cuts: Sequence[slice]) -> np.ndarray:
        """The part inside one slice per axis of the dataset; axes along which the array does not vary have length one."""
        inside = [slice(0, 1)] * len(self.stored.shape)
        for axis, cut in zip(self.axes, cuts, strict=True):
            if axis is not None:
                inside[axis] = cut
        values = np.asarray(self.stored.read(tuple(inside)))
        kept = [axis for axis in self.axes if axis is not None]
        dropped = [axis for axis in range(values.ndim) if axis not in kept]
        values = np.transpose(values, (*kept, *dropped)).reshape([values.shape[axis] for axis in kept])
        return np.expand_dims(values, [k for k, axis in enumerate(self.axes) if axis is None])

    def read_windows(self, rows: np.ndarray, starts: np.ndarray, frames: int, step: int) -> np.ndarray | None:
        """Windows of the samples `rows`, see `windows.read_windows`; None if they are no parts of a file by themselves."""
        extent = self.stored.extent() if isinstance(self.stored, InOnePart) else None
        if (
            extent is None
            or self.axes[:2] != (0, 1)
            or sorted(a for a in self.axes if a is not None) != list(range(len(extent.shape)))
        ):
            return None
        values = extent.windows(rows, starts, frames, step)
        return np.expand_dims(
            np.transpose(values, [axis for axis in self.axes if axis is not None]),
            [k for k, axis in enumerate(self.axes) if axis is None],
        )


def place(
    stored: Stored, words: str | Sequence[str], space: Sequence[str], role: Role = "field", domain: str = ""
) -> Placed:
    """Say what the axes of a stored array mean.

    **Arguments:**

    - `words`: one word per stored axis: "sample", "time", "component", the name of a space axis, or "1" for an axis of length
      one that is dropped. A component axis of length one is dropped too.
    - `space`: the names of the space axes in the dataset's order; a field that lacks one does not vary along it.

    **Raises:** `StorageError` for a number of words that is not the number of axes, and for values that are no real numbers.
    """
    words = words.split() if isinstance(words, str) else list(words)
    shape = stored.shape
    if len(words) != len(shape):
        raise StorageError(
            f"an array of shape {list(shape)} is read as {' '.join(words)!r}: one word per axis is needed"
        )
    known = {"sample", "time", "component", "1", *space}
    if wrong := [word for word in words if word not in known or (word != "1" and words.count(word) > 1)]:
        raise StorageError(
            f"{wrong[0]!r} in {' '.join(words)!r} is used twice or is none of {', '.join(sorted(known))}"
        )
    if long := [n for word, n in zip(words, shape, strict=True) if word == "1" and n != 1]:
        raise StorageError(
            f"an axis of length {long[0]} of {list(shape)} is read as '1', which drops axes of length one"
        )
    at = {word: axis for axis, word in enumerate(words) if word != "1"}
    components = (shape[at["component"]],) if "component" in at and shape[at["component"]] != 1 else ()
    axes = [at.get("sample")]
    axes += [axis for word, axis in at.items() if word == "time"]
    if role == "field":
        axes += [at.get(name) for name in space]
    elif role == "domain":
        axes += [at[name] for name in space if name in at]
    axes += [axis for word, axis in at.items() if word == "component" and components]
    spec = FieldSpec(role, components, "time" in at, number_type(stored.dtype).name, domain)
    return Placed(stored, tuple(axes), spec)


def number_type(dtype: np.dtype) -> np.dtype:
    """The type in which real numbers of a file are given out: float16, float32 or float64 of this machine.

    **Raises:** `StorageError` for complex numbers, texts and objects.
    """
    if dtype.kind in "biu":
        return np.dtype(np.result_type(dtype, np.float32))
    if dtype.kind == "f":
        return dtype.newbyteorder("=") if dtype.itemsize <= 8 else np.dtype(np.float64)
    raise StorageError(f"holds values of type {dtype}, expected real numbers")


@dataclass(frozen=True)
class StoredSource:
    """Samples of stored arrays. The fields of this class are those of `Source`, and:

    - `path`, `layout`: the file and the name of its layout, for messages.
    - `arrays`: the stored arrays by name.
    - `samples`: number of samples.

    **Raises:** `StorageError` for arrays whose shapes contradict the domains, the instants or the number of samples.
    """

    path: Path
    layout: str
    arrays: Mapping[str, Placed]
    domains: Mapping[str, AbstractDomain]
    times: np.ndarray | None
    attributes: Mapping
    samples: int

    def __post_init__(self):
        if not self.arrays:
            raise StorageError(f"{self.path}: holds no fields")
        for name, placed in self.arrays.items():
            expected = self._expected(placed)
            lengths = zip(placed.axes, placed.shape, expected, strict=True)
            if any(axis is not None and n != m for axis, n, m in lengths):
                raise StorageError(
                    f"{self.path}: {name} has the axes {list(placed.shape)}, expected {list(expected)} in {self.layout}"
                )

    def _expected(self, placed: Placed) -> tuple[int, ...]:
        spec = placed.spec
        time = (0 if self.times is None else len(self.times),) if spec.time else ()
        space = self.domains[spec.domain].shape if spec.role == "field" else ()
        if spec.role == "domain":
            space = placed.shape[1 : len(placed.shape) - len(spec.components)]
        return (self.samples, *time, *space, *spec.components)

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        return {name: placed.spec for name, placed in self.arrays.items()}

    def __len__(self) -> int:
        return self.samples

    def read(self, name: str, indices: np.ndarray, window: tuple[slice, ...] = ()) -> np.ndarray:
        """See `Source.read`. Every run of consecutive samples is one read, of the part inside `window` alone."""
        if name not in self.arrays:
            raise KeyError(f"{self.path}: no field {name!r}; it has {sorted(self.arrays)}")
        placed = self.arrays[name]
        sizes = self._expected(placed)[1:]
        if len(window) > len(sizes):
            raise IndexError(f"{name!r} has {len(sizes)} axes per sample, but window={window} has {len(window)} slices")
        ranges = [range(n)[cut] for n, cut in zip(sizes, window, strict=False)]
        ranges += [range(n) for n in sizes[len(ranges) :]]
        wanted, position = np.unique(sample_positions(indices, len(self)), return_inverse=True)
        varies = placed.axes[0] is not None
        runs = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1) if varies else [wanted[:1]]
        cuts = [ascending(r) for r in ranges]
        with foreign(self.path, self.layout):
            blocks = [placed.read([slice(run[0], run[-1] + 1) if len(run) else slice(0, 0), *cuts]) for run in runs]
            values = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
            values = values[(slice(None), *(slice(None, None, -1 if r.step < 0 else 1) for r in ranges))]
            shape = (len(values), *map(len, ranges))
            values = values if values.shape == shape else np.array(np.broadcast_to(values, shape))
            values = values.astype(placed.spec.dtype, copy=False)  # of this machine's byte order
        if varies and np.array_equal(position, np.arange(len(values))):
            return values  # as asked for: no copy
        return values[position if varies else np.zeros(len(position), int)]

    def read_windows(
        self, name: str, indices: np.ndarray, starts: np.ndarray, frames: int, step: int, space: tuple[slice, ...]
    ) -> np.ndarray:
        """See `windows.read_windows`. Each window is one read by the system where the array lies in one part of the file."""
        placed = self.arrays.get(name)
        if placed is not None and not space and placed.spec.time:
            with foreign(self.path, self.layout):
                values = placed.read_windows(sample_positions(indices, len(self)), starts, frames, step)
            if values is not None:
                shape = (len(values), frames, *self._expected(placed)[2:])
                values = values if values.shape == shape else np.array(np.broadcast_to(values, shape))
                return values.astype(placed.spec.dtype, copy=False)
        return by_first_instant(self, name, indices, starts, frames, step, space)

    def __repr__(self) -> str:
        return f"StoredSource({str(self.path)!r}, {len(self)} samples of {', '.join(self.arrays)})"


def ascending(r: range) -> slice:
    """The slice that reads the entries of `r` in ascending order."""
    r = r if r.step > 0 else r[::-1]
    return slice(r.start, max(r.start, r.stop), r.step)


@contextmanager
def foreign(path: Path, layout: str) -> Iterator[None]:
    """Turn whatever reading a damaged file raises into a `StorageError` that names the file and the expected layout. Libraries
    that read formats raise anything for damaged files."""
    try:
        yield
    except Exception as error:
        reason = error.args[0] if isinstance(error, KeyError) and error.args else error
        reason = " ".join(str(reason).split()) or type(error).__name__
        reason = reason.removeprefix(f"{path}: ")
        raise StorageError(f"{path}: is not in {layout}, or damaged: {reason:.600}") from error
