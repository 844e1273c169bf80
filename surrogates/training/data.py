"""Training samples on the device: whole samples of a steady dataset, windows of trajectories."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ...datasets.dataset import Dataset
from ..task import Fields, Task


class DeviceData(eqx.Module):
    """All arrays of a dataset that a task needs, and batches of samples cut from them by number.

    Of trajectories a sample is a window of `history + steps` frames; every start within every trajectory is one.
    """

    arrays: dict[str, Array]
    timed: tuple[str, ...] = eqx.field(static=True)
    frames: int = eqx.field(static=True)
    starts: int = eqx.field(static=True)
    size: int = eqx.field(static=True)

    @classmethod
    def load(cls, task: Task, dataset: Dataset, steps: int = 1) -> "DeviceData":
        task.check(dataset)
        arrays = dataset.read(task.names())
        for name, values in arrays.items():
            if not np.isfinite(values).all():
                bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(1))
                raise ValueError(f"field {name!r} holds NaN or infinity in samples {bad[:5].tolist()} (by position)")
        frames = task.history + steps if task.history else 0
        starts = dataset.instants - frames + 1 if task.history else 1
        if starts < 1:
            raise ValueError(f"{dataset.instants} instants are too few for {task.history} + {steps} frames")
        on_device = {k: jnp.asarray(v if v.dtype == bool else v.astype(np.float32)) for k, v in arrays.items()}
        timed = tuple(k for k in arrays if task.is_timed(k))
        return cls(on_device, timed, frames, starts, len(dataset) * starts)

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
