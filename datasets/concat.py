"""Concatenation of several sources."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.domains import AbstractDomain
from .source import FieldSpec, Source, sample_positions


@dataclass(frozen=True)
class ConcatSource:
    """The samples of several sources, one source after the other.

    **Raises:** `ValueError` for sources that differ in fields, domains or times.
    """

    parts: tuple[Source, ...]

    def __post_init__(self):
        first = self.parts[0]
        for part in self.parts[1:]:
            same = dict(part.domains) == dict(first.domains) and np.array_equal(_instants(part), _instants(first))
            if not same or dict(part.fields) != dict(first.fields):
                raise ValueError(f"{part} and {first} differ in fields, domains or times and cannot be one source")

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        return self.parts[0].fields

    @property
    def domains(self) -> Mapping[str, AbstractDomain]:
        return self.parts[0].domains

    @property
    def times(self) -> np.ndarray | None:
        return self.parts[0].times

    @property
    def attributes(self) -> Mapping:
        """The attributes of the first part. If any part has `ids`, the `ids` of all parts are concatenated."""
        first = self.parts[0].attributes
        if not any("ids" in part.attributes for part in self.parts):
            return first
        return {**first, "ids": [i for part in self.parts for i in part.attributes.get("ids", range(len(part)))]}

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def read(self, name: str, indices: np.ndarray, window: tuple[slice, ...] = ()) -> np.ndarray:
        """See `Source.read`. Each part that holds any of the samples is read once."""
        edges = np.cumsum([0, *map(len, self.parts)])
        indices = sample_positions(indices, len(self))
        owner = np.searchsorted(edges, indices, side="right") - 1
        owners = np.unique(owner) if len(indices) else [0]
        blocks = [self.parts[k].read(name, indices[owner == k] - edges[k], window) for k in owners]
        return np.concatenate(blocks)[np.argsort(np.argsort(owner, kind="stable"))]


def _instants(source: Source) -> np.ndarray:
    return np.empty(0) if source.times is None else source.times
