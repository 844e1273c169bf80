"""What a dataset is read from: a table of fields and one method that reads some samples of one of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from ..core.domains import AbstractDomain
from ..core.storage import register

Role = Literal["field", "parameter", "domain"]


@register("FieldSpec")
@dataclass(frozen=True)
class FieldSpec:
    """What one named array of a dataset means.

    Stored layout of one field: `(sample, [time], *space, *components)`.

    **Arguments:**

    - `role`: "field" (values over a domain), "parameter" (numbers per sample, no space axes) or "domain" (an array that
      describes a domain, for example the `points` of a cloud).
    - `components`: `()` for a scalar, `(c,)` for a vector; the shape of one value.
    - `time`: whether there is a time axis behind the sample axis.
    - `domain`: name of the domain that a field lives on; "" is the dataset's main one.
    """

    role: Role = "field"
    components: tuple[int, ...] = ()
    time: bool = False
    dtype: str = "float32"
    domain: str = ""

    def __post_init__(self):
        if len(self.components) > 1:
            raise ValueError(f"a value has no or one component axis, got components={self.components}")

    @property
    def channels(self) -> int:
        return self.components[0] if self.components else 1


@runtime_checkable
class Source(Protocol):
    """Anything samples can be read from: memory, a file, a generator.

    `domains` gives the domains of the fields by name; the main one has the name "". The arrays that a domain needs (the
    points of a cloud) are fields of role "domain". `times` are the instants of the time axis, or None. `attributes` is
    JSON-like metadata.
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
        """Samples `indices` of field `name`, `(len(indices), [time], *space, *components)`, in the order asked for
        (repeats allowed). `window` slices the axes behind the sample axis, leading ones first."""
        ...


@dataclass(frozen=True)
class MemorySource:
    """NumPy arrays in memory."""

    arrays: Mapping[str, np.ndarray]
    fields: Mapping[str, FieldSpec]
    domains: Mapping[str, AbstractDomain]
    times: np.ndarray | None
    attributes: Mapping

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def read(self, name: str, indices: np.ndarray, window: tuple[slice, ...] = ()) -> np.ndarray:
        return self.arrays[name][(slice(None), *window)][indices]
