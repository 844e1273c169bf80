"""Batches of equal size from a dataset, so that one compiled program serves all of them."""

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

    - `fields`: arrays by name, with a leading sample axis; an empty dict if the task has no inputs.
    - `numbers` `(n,)`: positions of the samples in their dataset. Their number is the batch size, with or without fields.

    **Example:**

        >>> batch = sx.Batch({"a": a[:3]}, jnp.arange(3))
        >>> batch.fields["a"].shape
        (3, 16)
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
    data: Dataset, names: tuple[str, ...], batch_size: int, frames: int | None = None, start: int = 0
) -> Iterator[tuple[int, Batch]]:
    """Yield `(real, batch)` until every sample was seen once, in order.

    All batches have `batch_size` samples (all samples of a smaller dataset). The last one is filled up with repeated samples;
    only its first `real` samples count. `names` are the arrays to read. `frames` cuts time-dependent arrays to `frames`
    instants from number `start` on; None reads all.
    """
    instants = None if frames is None else range(start, start + frames)
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
    """Apply `run` to every batch and concatenate the results along the sample axis, as NumPy arrays without the padding.

    The other arguments are those of `batches`.

    **Raises:** `ValueError` for an empty dataset or a `batch_size` below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
    if not len(data):
        raise ValueError("the dataset holds no samples")
    parts = [
        jax.tree.map(lambda x, n=real: np.asarray(x)[:n], run(batch))
        for real, batch in batches(data, names, batch_size, frames)
    ]
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)
