"""Samples of a dataset in batches of one size, so that one compiled program serves all of them."""

from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Int, PyTree

from ..datasets.dataset import Dataset
from .task.task import Fields


class Batch(eqx.Module):
    """Samples in physical units.

    **Fields:**

    - `fields`: arrays with a leading sample axis; none if the task has no inputs.
    - `numbers` `(n,)`: the samples' positions in their dataset, which also say how many there are.
    """

    fields: Fields
    numbers: Int[Array | np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.numbers)

    @classmethod
    def of(cls, sample: Fields) -> "Batch":
        """One sample as a batch of one."""
        return cls(jax.tree.map(lambda x: x[None], dict(sample)), np.zeros(1, np.int32))


def batches(
    data: Dataset, names: tuple[str, ...], batch_size: int, frames: int | None = None
) -> Iterator[tuple[int, Batch]]:
    """The number of real samples and a batch of the named arrays, until every sample was seen once in order. The last batch
    is filled up with repetitions. Of time-dependent arrays the first `frames` instants are read, or all of them."""
    instants = None if frames is None else range(frames)
    for start in range(0, len(data), batch_size):
        positions = np.arange(start, min(start + batch_size, len(data)))
        filled = np.resize(positions, min(batch_size, len(data)))
        yield len(positions), Batch(data.read(list(names), filled, frames=instants), filled.astype(np.int32))


def over_batches(
    run: Callable[[Batch], PyTree],
    data: Dataset,
    names: tuple[str, ...],
    batch_size: int,
    frames: int | None = None,
) -> PyTree:
    """The arrays that `run` makes of every batch, on the host, concatenated along the sample axis without the padding."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
    if not len(data):
        raise ValueError("the dataset holds no samples")
    parts = [
        jax.tree.map(lambda x, n=real: np.asarray(x[:n]), run(batch))
        for real, batch in batches(data, names, batch_size, frames)
    ]
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)
