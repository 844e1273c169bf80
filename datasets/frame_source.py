"""One instant of a source, as a steady source."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..core.domains import AbstractDomain
from .source import FieldSpec, Source


@dataclass(frozen=True)
class FrameSource:
    """The samples of a source at one instant: its time-dependent arrays have lost their time axis.

    **Arguments:** `whole`, a source with instants; `index`, the number of the instant, 0 or more.
    """

    whole: Source
    index: int

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        return {name: replace(spec, time=False) for name, spec in self.whole.fields.items()}

    @property
    def domains(self) -> Mapping[str, AbstractDomain]:
        return self.whole.domains

    @property
    def times(self) -> None:
        return None

    @property
    def attributes(self) -> Mapping:
        """Those of the source, and the `time` of the instant."""
        times = self.whole.times
        return {**self.whole.attributes, **({} if times is None else {"time": float(times[self.index])})}

    def __len__(self) -> int:
        return len(self.whole)

    def read(self, name: str, indices: np.ndarray, window: tuple[slice, ...] = ()) -> np.ndarray:
        """See `Source.read`."""
        if not self.whole.fields[name].time:
            return self.whole.read(name, indices, window)
        return self.whole.read(name, indices, (slice(self.index, self.index + 1), *window))[:, 0]
