"""`Source`, from which a dataset reads: a table of fields and one method that reads some samples of one field."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from ..core.domains import AbstractDomain
from ..core.storage import register

Role = Literal["field", "parameter", "domain"]


@register("FieldSpec")
@dataclass(frozen=True)
class FieldSpec:
    """The form of one named array `(sample, [time], *space, *components)` of a dataset.

    **Arguments:**

    - `role`: "field" (values at the points of a domain), "parameter" (numbers per sample, without space axes) or "domain" (an
      array that describes a domain, for example the `points` of a cloud).
    - `components`: the shape of one value, `()` for a scalar, `(c,)` for a vector with c components.
    - `time`: whether the array has a time axis after the sample axis.
    - `dtype`: the NumPy dtype of the values.
    - `domain`: for a field, the name of its domain; "" is the dataset's main domain.

    **Raises:** `ValueError` for more than one component axis.

    **Example:**

        >>> ds.fields["a"].role, ds.fields["a"].time
        ('field', False)
    """

    role: Role = "field"
    components: tuple[int, ...] = ()
    time: bool = False
    dtype: str = "float32"
    domain: str = ""

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        if len(self.components) > 1:
            raise ValueError(f"a value has no or one component axis, got components={self.components}")

    @property
    def channels(self) -> int:
        """Numbers per point: c for a vector with c components, 1 for a scalar."""
        return self.components[0] if self.components else 1


@runtime_checkable
class Source(Protocol):
    """Anything from which samples can be read: memory, a file, several files.

    **Fields:**

    - `fields`: the form of every array by name. Arrays that describe a domain (such as the points of a cloud) are included, with
      the role "domain".
    - `domains`: the domains of the fields by name; the main one has the name "".
    - `times`: the instants of the time axis, or None.
    - `attributes`: metadata of JSON types.
    """

    @property
    def fields(self) -> Mapping[str, FieldSpec]: ...

    @property
    def domains(self) -> Mapping[str, AbstractDomain]: ...

    @property
    def times(self) -> np.ndarray | None: ...

    @property
    def attributes(self) -> Mapping: ...

    def __len__(self) -> int: ...

    def read(self, name: str, indices: np.ndarray, window: tuple[slice, ...] = ()) -> np.ndarray:
        """The samples `indices` of the array `name`, `(len(indices), [time], *space, *components)`.

        The samples have the order of `indices`, which may repeat. `window` holds slices of the axes after the sample axis, in
        order; axes without a slice are read completely.
        """
        ...


@dataclass(frozen=True)
class MemorySource:
    """A source of NumPy arrays in memory. The fields are those of `Source`, and `arrays` by name, with a leading sample axis.

    **Example:**

        >>> ds.source.arrays["a"].shape
        (12, 16)
    """

    arrays: Mapping[str, np.ndarray]
    fields: Mapping[str, FieldSpec]
    domains: Mapping[str, AbstractDomain]
    times: np.ndarray | None
    attributes: Mapping

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def read(self, name: str, indices: np.ndarray, window: tuple[slice, ...] = ()) -> np.ndarray:
        return self.arrays[name][(slice(None), *window)][indices]

    def read_windows(
        self, name: str, indices: np.ndarray, starts: np.ndarray, frames: int, step: int, space: tuple[slice, ...]
    ) -> np.ndarray:
        """See `windows.read_windows`."""
        instants = starts[:, None] + step * np.arange(frames)
        return self.arrays[name][(slice(None), slice(None), *space)][indices[:, None], instants]


def sample_positions(samples: Any, count: int) -> np.ndarray:
    """A slice, positions or a boolean array of `count` samples as positions 0 … count−1, without a list of all of them.

    **Raises:** `IndexError` for positions outside the samples and a boolean array of another length; `TypeError` for anything but
    whole numbers and booleans.
    """
    if isinstance(samples, slice):
        try:
            return np.arange(*samples.indices(count))
        except TypeError:
            raise TypeError(f"samples {samples!r:.60}: expected whole numbers as ends") from None
    found = np.asarray(samples)
    if found.size == 0:
        return np.zeros(0, int)
    if found.dtype.kind not in "biu" or found.ndim > 1:
        raise TypeError(f"samples {samples!r:.60}: expected a slice, positions or a boolean per sample")
    if found.dtype == bool:
        if found.shape != (count,):
            raise IndexError(
                f"a boolean array of shape {found.shape} chooses among {count} samples; expected ({count},)"
            )
        return np.flatnonzero(found)
    if not (found.min() >= -count and found.max() < count):
        wrong = int(found.max() if found.max() >= count else found.min())
        raise IndexError(f"sample {wrong} of a dataset of {count}")
    return np.atleast_1d(np.where(found < 0, found.astype(int) + count, found)).astype(int)
