"""Training samples by number: samples of a steady dataset, or windows of trajectories."""

import math
from dataclasses import dataclass
from functools import cached_property

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ...core.domains import AbstractDomain
from ...datasets.dataset import Dataset
from ...datasets.source import FieldSpec
from ..task.checks import finite
from ..task.statistics import real_points
from ..task.task import Fields, Task


@dataclass(frozen=True)
class Samples:
    """The training samples of a dataset, read on the host when they are asked for.

    For a steady task, a training sample is one sample of the dataset. For any other task it is a window of `frames` consecutive
    instants of a trajectory. A trajectory has `starts` windows; sample number n is window n % starts of trajectory n // starts.
    Where no given frame tells the place of a window, only the first window of a trajectory is one.

    `relative` says whether the origins of the task are subtracted from the values; see `Task.origins`.
    """

    task: Task
    dataset: Dataset
    frames: int
    starts: int
    relative: bool = False

    @classmethod
    def of(cls, task: Task, dataset: Dataset, calls: int = 1, relative: bool = False) -> "Samples":
        """The training samples for `calls` predictions in a row.

        **Raises:** `ValueError` for a dataset that is empty, does not suit the task, or has too short trajectories; `KeyError`
        for a missing field.
        """
        task.check(dataset)
        if not len(dataset):
            raise ValueError("the dataset holds no samples")
        frames = task.mode.window(calls)
        starts = dataset.instants - frames + 1 if frames else 1
        starts = starts if task.mode.slides else min(starts, 1)
        if starts < 1:
            raise ValueError(
                f"{dataset.instants} instants are too few for {calls} predictions in a row of {task.mode!r}"
            )
        return cls(task, dataset, frames, starts, relative)

    def __len__(self) -> int:
        return len(self.dataset) * self.starts

    def zero_targets(self) -> list[int]:
        """Positions in the dataset of the samples of which a target is zero everywhere."""
        found: list[int] = []
        for positions, block in self.dataset.blocks(self.task.targets):
            zero = [~np.any(values.reshape(len(values), -1), axis=1) for values in block.values()]
            found += positions[np.any(zero, axis=0)].tolist()
        return found

    @property
    def nbytes(self) -> int:
        """Size of the whole dataset in bytes, in single precision."""
        names = self.task.names()
        return sum(4 * math.prod(v.shape) for v in self.dataset.read(names, [0]).values()) * len(self.dataset)

    def read(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """The samples with these numbers: arrays `(len(numbers), …)` by name.

        **Raises:** `ValueError` for NaN or infinity.
        """
        trajectories, starts = np.divmod(numbers, self.starts)
        found = self._checked(self.dataset.read(self._still, trajectories), trajectories)
        geometry = {name: values for name, values in found.items() if name not in self._specs}
        moving = {name: self.dataset.windows(name, trajectories, starts, self.frames) for name in self._timed}
        checked = self._checked({**geometry, **moving}, trajectories)
        return {**found, **{name: checked[name] for name in self._timed}}

    def read_all(self) -> dict[str, np.ndarray]:
        """All samples of the dataset, with whole trajectories."""
        return self._checked(self.dataset.read(self.task.names()), np.arange(len(self.dataset)))

    # Equinox makes a copy of the task at every attribute, which takes as long as reading a batch.

    @cached_property
    def _specs(self) -> dict[str, FieldSpec]:
        return dict(self.task.specs)

    @cached_property
    def _timed(self) -> list[str]:
        """Names of the time-dependent arrays."""
        return [name for name in self.task.names() if self.task.is_timed(name)]

    @cached_property
    def _still(self) -> list[str]:
        return [name for name in self.task.names() if name not in self._timed]

    @cached_property
    def _moving_domains(self) -> list[tuple[str, AbstractDomain]]:
        """The domains that arrays describe."""
        return [(name, domain) for name, domain in self.task.domains if domain.arrays]

    def _checked(self, arrays: dict[str, np.ndarray], positions: np.ndarray) -> dict[str, np.ndarray]:
        masks = {
            name: domain.sites(arrays).mask
            for name, domain in self._moving_domains
            if all(array in arrays for array in domain.arrays)
        }

        def valid(name: str) -> np.ndarray | None:
            spec = self._specs.get(name)
            if spec is None or spec.role != "field" or spec.domain not in masks:
                return None
            return real_points(masks[spec.domain], arrays[name], spec)

        checked = {name: finite(name, values, positions, valid(name)) for name, values in arrays.items()}
        checked = self.task.relative(checked) if self.relative else checked
        # Masks and edges keep their dtype; fields, parameters and floating-point arrays become float32.
        return {
            k: v.astype(np.float32, copy=False) if k in self._specs or v.dtype.kind == "f" else v
            for k, v in checked.items()
        }


class DeviceData(eqx.Module):
    """All samples on the device, from which batches are cut by number.

    **Fields:** `arrays`, those of `Samples.read_all`; `timed`, the names of the time-dependent ones; `frames` and `starts`, those
    of `Samples`; `size`, the number of training samples.
    """

    arrays: dict[str, Array]
    timed: tuple[str, ...] = eqx.field(static=True)
    frames: int = eqx.field(static=True)
    starts: int = eqx.field(static=True)
    size: int = eqx.field(static=True)

    @classmethod
    def load(cls, samples: Samples) -> "DeviceData":
        """Read all samples and put them on the default device."""
        arrays = {name: jnp.asarray(values) for name, values in samples.read_all().items()}
        timed = tuple(name for name in arrays if samples.task.is_timed(name))
        return cls(arrays, timed, samples.frames, samples.starts, len(samples))

    def __len__(self) -> int:
        return self.size

    def take(self, numbers: Int[Array, " batch"]) -> Fields:
        """The samples with these numbers: arrays by name with a leading batch axis."""
        trajectory, start = numbers // self.starts, numbers % self.starts

        def cut(values, i, s):
            return jax.lax.dynamic_slice_in_dim(values[i], s, self.frames)

        return {
            k: jax.vmap(lambda i, s, v=v: cut(v, i, s))(trajectory, start) if k in self.timed else v[trajectory]
            for k, v in self.arrays.items()
        }
