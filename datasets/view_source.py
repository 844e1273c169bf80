"""A dataset, which is a view of a source, as a source of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.domains import AbstractDomain
from .source import FieldSpec

if TYPE_CHECKING:
    from .dataset import Dataset


@dataclass(frozen=True, eq=False)
class ViewSource:
    """The samples, points and instants of `view`, read when they are asked for."""

    view: "Dataset"

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        return self.view.fields

    @property
    def domains(self) -> Mapping[str, AbstractDomain]:
        return self.view.domains

    @property
    def times(self) -> np.ndarray | None:
        return self.view.times

    @property
    def attributes(self) -> Mapping:
        """Those of the view, and the `ids` of its samples."""
        return {**self.view.attributes, "ids": self.view.ids.tolist()}

    def __len__(self) -> int:
        return len(self.view)

    def read(self, name: str, indices: np.ndarray, window: tuple[slice, ...] = ()) -> np.ndarray:
        """See `Source.read`. The part of the time axis inside `window` is read, space is cut afterwards."""
        timed = self.view.spec(name).time
        frames = range(self.view.instants)[window[0]] if timed and window else None
        values = self.view.read([name], indices, frames=frames)[name]
        rest = (slice(None), *window[1:]) if timed and window else window
        return values[(slice(None), *rest)]

    def read_windows(
        self, name: str, indices: np.ndarray, starts: np.ndarray, frames: int, step: int, space: tuple[slice, ...]
    ) -> np.ndarray:
        """See `windows.read_windows`. Space is cut afterwards."""
        values = self.view.windows(name, indices, starts, frames, step)
        return values[(slice(None), slice(None), *space)]
