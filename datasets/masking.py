"""Fields that count only where a mask says so: round an obstacle that moves, or where a sensor measured."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..core.domains import AbstractDomain
from .source import FieldSpec, Source


@dataclass(frozen=True)
class MaskedSource:
    """The samples of a source whose fields are 0 where the field `mask` is zero or not finite, NaN included.

    The mask may be the same for all samples or instants, or change with them. It becomes 0 and 1 itself. A steady field under a
    mask that changes in time counts at points that the mask keeps at every instant.
    """

    whole: Source
    mask: str

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        return self.whole.fields

    @property
    def domains(self) -> Mapping[str, AbstractDomain]:
        return self.whole.domains

    @property
    def times(self) -> np.ndarray | None:
        return self.whole.times

    @property
    def attributes(self) -> Mapping:
        return {**self.whole.attributes, "mask": self.mask}

    def __len__(self) -> int:
        return len(self.whole)

    def read(self, name: str, indices: np.ndarray, window: tuple[slice, ...] = ()) -> np.ndarray:
        """See `Source.read`."""
        spec, mask = self.whole.fields[name], self.whole.fields[self.mask]
        values = self.whole.read(name, indices, window)
        if spec.role != "field" or spec.domain != mask.domain:
            return values
        time = window[:1] if spec.time else (slice(None),)
        space = window[1:] if spec.time else window
        if spec.components:
            space = space[: values.ndim - 2 - spec.time]
        seen = self.whole.read(self.mask, indices, (*time, *space) if mask.time else space)
        kept = np.isfinite(seen) & (seen != 0)
        if mask.time and not spec.time:
            kept = kept.all(1)
        if spec.time and not mask.time:
            kept = kept[:, None]
        kept = kept[..., None] if spec.components else kept
        if name == self.mask:
            return kept.astype(values.dtype)
        return np.where(kept, values, np.zeros((), values.dtype))


def masked_source(source: Source, mask: str) -> MaskedSource:
    """**Raises:** `ValueError` for a mask that is no field of single numbers."""
    spec: FieldSpec = replace(source.fields[mask])
    if spec.role != "field" or spec.components:
        raise ValueError(f"masked({mask!r}): expected a field with one number per point, this is {spec}")
    return MaskedSource(source, mask)
