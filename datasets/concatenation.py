"""Concatenation of several sources, and of several datasets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.arguments import checked
from ..core.domains import AbstractDomain
from .dataset import Dataset
from .source import FieldSpec, Source, sample_positions
from .view_source import ViewSource
from .windows import read_windows


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
        return self._by_part(indices, lambda part, inside, _: part.read(name, inside, window))

    def read_windows(
        self, name: str, indices: np.ndarray, starts: np.ndarray, frames: int, step: int, space: tuple[slice, ...]
    ) -> np.ndarray:
        """See `windows.read_windows`."""
        return self._by_part(
            indices, lambda part, inside, mine: read_windows(part, name, inside, starts[mine], frames, step, space)
        )

    def _by_part(self, indices: np.ndarray, read: Callable[[Source, np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """`read(part, its samples, which of all they are)` of every part that holds any of the samples, in their order."""
        edges = np.cumsum([0, *map(len, self.parts)])
        indices = sample_positions(indices, len(self))
        owner = np.searchsorted(edges, indices, side="right") - 1
        owners = np.unique(owner) if len(indices) else [0]
        blocks = [read(self.parts[k], indices[owner == k] - edges[k], owner == k) for k in owners]
        if len(blocks) == 1:
            return blocks[0]
        return np.concatenate(blocks)[np.argsort(np.argsort(owner, kind="stable"))]


@checked
def concat(datasets: Sequence[Dataset]) -> Dataset:
    """The samples of several datasets, one after the other, such as files of one problem with different parameters. Nothing is
    read.

    The datasets have the same fields, domains and instants; each may be a view. Parameters that only some have are refused,
    since they would be unknown for the others. Ids are kept if they differ among the datasets, else the samples are numbered
    anew.

    **Raises:** `ValueError` without datasets, and for datasets that differ, naming what differs.

    **Example:**

        >>> len(sx.concat([ds[:2], ds[5:9]]))
        6
    """
    datasets = list(datasets)
    if not datasets or not all(isinstance(data, Dataset) for data in datasets):
        raise ValueError("concat needs a list of one or more datasets")
    first = datasets[0]
    for k, data in enumerate(datasets[1:], 1):
        for what, here, there in (
            ("fields", dict(data.fields), dict(first.fields)),
            ("domains", dict(data.domains), dict(first.domains)),
            ("instants", _listed(data.times), _listed(first.times)),
        ):
            if here != there:
                raise ValueError(
                    f"concat: dataset {k} has other {what} than the first: {_first_difference(here, there)}"
                )
    ids = np.concatenate([data.ids for data in datasets])
    kept = {name: v for name, v in first.attributes.items() if all(d.attributes.get(name) == v for d in datasets)}
    if notes := dict.fromkeys(note for data in datasets for note in data.attributes.get("notes", ())):
        kept["notes"] = list(notes)
    kept.pop("ids", None)
    if len(np.unique(ids)) == len(ids):
        kept["ids"] = ids.tolist()
    source = Attributed(ConcatSource(tuple(ViewSource(data) for data in datasets)), kept)
    same = all(data.problem is first.problem for data in datasets)
    return Dataset.of(source, first.problem if same else None)


@dataclass(frozen=True)
class Attributed:
    """A source with other attributes."""

    whole: Source
    attributes: Mapping

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        return self.whole.fields

    @property
    def domains(self) -> Mapping[str, AbstractDomain]:
        return self.whole.domains

    @property
    def times(self) -> np.ndarray | None:
        return self.whole.times

    def __len__(self) -> int:
        return len(self.whole)

    def read(self, name: str, indices: np.ndarray, window: tuple[slice, ...] = ()) -> np.ndarray:
        """See `Source.read`."""
        return self.whole.read(name, indices, window)

    def read_windows(
        self, name: str, indices: np.ndarray, starts: np.ndarray, frames: int, step: int, space: tuple[slice, ...]
    ) -> np.ndarray:
        """See `windows.read_windows`."""
        return read_windows(self.whole, name, indices, starts, frames, step, space)


def _listed(times: np.ndarray | None) -> list[float] | None:
    return None if times is None else times.tolist()


def _first_difference(here: Any, there: Any) -> str:
    if isinstance(here, dict):
        name = next(n for n in [*here, *there] if here.get(n) != there.get(n))
        return f"{name!r} is {here.get(name)}, in the first {there.get(name)}"
    return f"{here!s:.80}, in the first {there!s:.80}"


def _instants(source: Source) -> np.ndarray:
    return np.empty(0) if source.times is None else source.times
