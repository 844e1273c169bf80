"""Training samples by number: whole samples of a steady dataset, windows of trajectories."""

import math
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ...datasets.dataset import Dataset
from ..task.checks import finite
from ..task.task import Fields, Task


@dataclass(frozen=True)
class Samples:
    """The training samples of a dataset, read on the host when asked for.

    A sample of a steady task is one sample of the dataset. A sample of any other task is a window of `frames` instants;
    each of the `starts` within every trajectory is one.
    """

    task: Task
    dataset: Dataset
    frames: int
    starts: int

    @classmethod
    def of(cls, task: Task, dataset: Dataset, calls: int = 1) -> "Samples":
        """The samples from which `calls` predictions in a row can be learned.

        **Raises:** `ValueError` for a dataset that does not suit the task or whose trajectories are too short.
        """
        task.check(dataset)
        if not len(dataset):
            raise ValueError("the dataset holds no samples")
        frames = task.mode.window(calls)
        starts = dataset.instants - frames + 1 if frames else 1
        if starts < 1:
            raise ValueError(
                f"{dataset.instants} instants are too few for {calls} predictions in a row of {task.mode!r}"
            )
        return cls(task, dataset, frames, starts)

    def __len__(self) -> int:
        return len(self.dataset) * self.starts

    @property
    def nbytes(self) -> int:
        """Of the whole dataset in single precision."""
        names = self.task.names()
        return sum(4 * math.prod(v.shape) for v in self.dataset.read(names, [0]).values()) * len(self.dataset)

    def read(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """The samples of these numbers: arrays `(len(numbers), …)`, one read per field and per start within a trajectory."""
        trajectories, starts = np.divmod(numbers, self.starts)
        timed = [name for name in self.task.names() if self.task.is_timed(name)]
        still = [name for name in self.task.names() if name not in timed]
        found = self._checked(self.dataset.read(still, trajectories), trajectories)
        blocks, order = [], []
        for start in np.unique(starts) if timed else ():
            rows = np.flatnonzero(starts == start)
            frames = range(start, start + self.frames)
            blocks.append(
                self._checked(self.dataset.read(timed, trajectories[rows], frames=frames), trajectories[rows])
            )
            order.append(rows)
        if blocks:
            back = np.argsort(np.concatenate(order))
            found |= {name: np.concatenate([block[name] for block in blocks])[back] for name in timed}
        return found

    def read_all(self) -> dict[str, np.ndarray]:
        """All trajectories or steady samples."""
        return self._checked(self.dataset.read(self.task.names()), np.arange(len(self.dataset)))

    def _checked(self, arrays: dict[str, np.ndarray], positions: np.ndarray) -> dict[str, np.ndarray]:
        checked = {name: finite(name, values, positions) for name, values in arrays.items()}
        # Masks and edges keep their type; values of all kinds become single precision.
        values = dict(self.task.specs)
        return {
            k: v.astype(np.float32, copy=False) if k in values or v.dtype.kind == "f" else v for k, v in checked.items()
        }


class DeviceData(eqx.Module):
    """All samples on the device, and batches cut from them by number."""

    arrays: dict[str, Array]
    timed: tuple[str, ...] = eqx.field(static=True)
    frames: int = eqx.field(static=True)
    starts: int = eqx.field(static=True)
    size: int = eqx.field(static=True)

    @classmethod
    def load(cls, samples: Samples) -> "DeviceData":
        arrays = {name: jnp.asarray(values) for name, values in samples.read_all().items()}
        timed = tuple(name for name in arrays if samples.task.is_timed(name))
        return cls(arrays, timed, samples.frames, samples.starts, len(samples))

    def __len__(self) -> int:
        return self.size

    def take(self, numbers: Int[Array, " batch"]) -> Fields:
        """The samples of these numbers, with a leading batch axis."""
        trajectory, start = numbers // self.starts, numbers % self.starts

        def cut(values, i, s):
            return jax.lax.dynamic_slice_in_dim(values[i], s, self.frames)

        return {
            k: jax.vmap(lambda i, s, v=v: cut(v, i, s))(trajectory, start) if k in self.timed else v[trajectory]
            for k, v in self.arrays.items()
        }
