"""Windows of trajectories: some consecutive instants of every sample, from an instant of its own on."""

from typing import Protocol, runtime_checkable

import numpy as np

from .source import Source


@runtime_checkable
class WindowSource(Protocol):
    """A source that reads windows faster than by one `read` per first instant."""

    def read_windows(
        self, name: str, indices: np.ndarray, starts: np.ndarray, frames: int, step: int, space: tuple[slice, ...]
    ) -> np.ndarray:
        """See `read_windows`."""
        ...


def read_windows(
    source: Source,
    name: str,
    indices: np.ndarray,
    starts: np.ndarray,
    frames: int,
    step: int = 1,
    space: tuple[slice, ...] = (),
) -> np.ndarray:
    """For every sample of `indices` the instants `start, start + step, …` of the time-dependent array `name`, by its entry of
    `starts`: `(len(indices), frames, *space, *components)`. `space` are slices of the axes after time."""
    if isinstance(source, WindowSource):
        return source.read_windows(name, indices, starts, frames, step, space)
    return by_first_instant(source, name, indices, starts, frames, step, space)


def by_first_instant(
    source: Source,
    name: str,
    indices: np.ndarray,
    starts: np.ndarray,
    frames: int,
    step: int,
    space: tuple[slice, ...],
) -> np.ndarray:
    """`read_windows` by one `read` for all windows with the same first instant."""
    found = None
    for start in np.unique(starts) if len(starts) else [0]:
        rows = np.flatnonzero(starts == start)
        window = (slice(int(start), int(start) + step * (frames - 1) + 1, step), *space)
        values = source.read(name, indices[rows], window)
        if found is None:
            found = np.empty((len(indices), *values.shape[1:]), values.dtype)
        found[rows] = values
    assert found is not None
    return found
