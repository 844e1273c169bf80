"""A surrogate: a function from named fields to named fields in physical units, whatever computes it."""

import abc
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..core import storage
from ..core.domains import Grid
from ..datasets.arrays import from_arrays
from ..datasets.dataset import Dataset
from ..solvers.kernels.interpolate import apply_along_axes, linear_matrix
from .task.task import Fields, Task
from .trainable import apply_batch, count_parameters


@dataclass(frozen=True)
class Capabilities:
    """What a surrogate can do; `check_surrogate` skips a test only through these flags.

    - `resolution_free`: accepts inputs at, and predicts at, other resolutions than that of training.
    - `needs_input`: the prediction depends on the sample.
    - `has_variance`: offers `std` and `predict_std` beside the prediction.
    - `autoregressive`: predicts the next frame and can be rolled out.
    - `differentiable`: the prediction has a useful derivative with respect to its input fields.
    - `savable`: can be written to a file (a solver, which is a function, cannot).
    """

    resolution_free: bool = False
    needs_input: bool = True
    has_variance: bool = False
    autoregressive: bool = False
    differentiable: bool = True
    savable: bool = True


class AbstractSurrogate(eqx.Module):
    """`surrogate(fields, at=None) -> fields` for one sample in physical units, under jit, vmap and grad."""

    task: eqx.AbstractVar[Task]
    capabilities: ClassVar[Capabilities]  # a property where it depends on the task

    @abc.abstractmethod
    def __call__(self, fields: Fields, at: Grid | None = None) -> dict[str, Array]:
        """Predicted targets of one sample (no sample axis) from its inputs; on grid `at` if given."""

    def on_batch(self, fields: Fields, at: Grid | None = None) -> dict[str, Array]:
        """The same for a batch of samples."""
        return jax.vmap(lambda sample: self(sample, at))(fields)

    def std(self, fields: Fields, at: Grid | None = None) -> dict[str, Array]:
        """Standard deviation of what is predicted, in the same shape; of surrogates that declare `has_variance`."""
        raise TypeError(f"{type(self).__name__} has no variance")

    def predict(self, data: Dataset, *, at: Grid | None = None, batch_size: int = 64) -> dict[str, np.ndarray]:
        """Predictions for all samples of a dataset, `(sample, *space[, component])` by name, on its grid or on `at`.

        Of trajectories: the frame after the first `history` ones; see `rollout` for more. Warns of parameters outside the
        `ranges` of the training data (by more than 5 % of them), where the surrogate knows them.
        """
        return self._over(self, data, at, batch_size)

    def predict_std(self, data: Dataset, *, at: Grid | None = None, batch_size: int = 64) -> dict[str, np.ndarray]:
        """`std` for all samples of a dataset, in the form of `predict`."""
        return self._over(self.std, data, at, batch_size)

    def _over(self, function, data: Dataset, at: Grid | None, batch_size: int) -> dict[str, np.ndarray]:
        self.task.check(data)
        _warn_outside(getattr(self, "ranges", None), data)
        names = [n for n in self.task.names() if n not in self.task.targets or n in self.task.inputs]
        at, parts = at or wanted_grid(self.task, data), []
        for start in range(0, len(data), batch_size):
            positions = np.arange(start, min(start + batch_size, len(data)))
            # The last batch is filled up, so that one compiled program serves all of them.
            filled = np.resize(positions, min(batch_size, len(data)))
            batch = window(self.task, data.read(names, filled)) if names else {"": np.zeros(len(filled))}
            parts.append(jax.tree.map(lambda x, n=len(positions): np.asarray(x[:n]), batched(function, batch, at)))
        return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)

    def rollout(self, data: Dataset, steps: int) -> Dataset:
        """`steps` frames after the first `history` ones of each trajectory, each from the predictions before it."""
        self.task.check(data)
        if not self.capabilities.autoregressive:
            raise ValueError(f"{type(self).__name__} is not autoregressive: its task has no history")
        batch = window(self.task, data.read([n for n in self.task.names()]))
        frames = rollout(self, batch, steps)
        first, dt = data.times[self.task.history], data.times[1] - data.times[0]
        return from_arrays(
            targets={k: np.asarray(v) for k, v in frames.items()}, grid=data.grid, times=first + dt * np.arange(steps)
        )

    def save(self, path: str | os.PathLike):
        """Write to one file: a JSON header and arrays. `surrogax.load(path)` gives it back.

        Of a foreign network (`wrap`) the arrays alone are stored, and `load(path, like=…)` needs a surrogate like it.
        """
        if not self.capabilities.savable:
            raise ValueError(
                f"{type(self).__name__} holds functions and cannot be saved; build it again where it is needed"
            )
        if getattr(getattr(self, "network", None), "foreign", False):
            storage.save_arrays(path, self)
        else:
            storage.save(path, self)

    @property
    def parameters(self) -> int:
        """Trained or fitted numbers, counted as reals."""
        return count_parameters(self)


@storage.register("NetworkSurrogate")
class NetworkSurrogate(AbstractSurrogate):
    """A network with its task: what `FNO(task, …)` and `wrap(network, task)` return and `fit` trains."""

    network: PyTree
    task: Task
    state: PyTree = None

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            resolution_free=self.task.grid is not None and getattr(self.network, "resolution_free", False),
            needs_input=bool(self.task.inputs or self.task.parameters),
            autoregressive=self.task.history > 0,
        )

    def __call__(self, fields: Fields, at: Grid | None = None) -> dict[str, Array]:
        return jax.tree.map(lambda y: y[0], self.on_batch(jax.tree.map(lambda x: x[None], dict(fields)), at))

    def on_batch(self, fields: Fields, at: Grid | None = None) -> dict[str, Array]:
        fields = jax.vmap(lambda sample: resample(self.task, sample, at))(fields)
        y, _ = apply_batch(self.network, self.state, jax.vmap(lambda sample: self.task.pack(sample, at))(fields))
        return jax.vmap(self.task.unpack)(y, fields)


def load(path: str | os.PathLike, like: AbstractSurrogate | None = None) -> Any:
    """A saved surrogate or learned part of a solver, from a file or, by a bare name such as "deepcg-poisson-64", from the
    weights that are shipped. `like` is needed for foreign networks: one built the same way, whose arrays are replaced.

    **Raises:** `StorageError` for a damaged or foreign file, saying what was found; `ValueError` for a bare name that is
    neither a file nor shipped.
    """
    path = _shipped(path)
    if like is not None:
        return storage.load_arrays(path, getattr(like, "best", like))
    loaded = storage.load(path)
    if isinstance(loaded, dict):
        raise storage.StorageError(
            f"{path}: holds the arrays of a foreign network only; pass like=wrap(TheSameNetwork(…), task)"
        )
    return loaded


def _shipped(path: str | os.PathLike) -> str | os.PathLike:
    """The file of a bare name; a path as it is."""
    if not isinstance(path, str) or Path(path).name != path or Path(path).suffix or os.path.exists(path):
        return path
    shipped = {file.stem: file for file in (Path(__file__).parent / "learned_solvers" / "weights").glob("*.sgx")}
    if path not in shipped:
        raise ValueError(f"load: {path!r} is no file and none of the shipped weights {sorted(shipped)}")
    return shipped[path]


def wanted_grid(task: Task, data: Dataset) -> Grid | None:
    """Where to predict `data`: None, at the points of the input fields, if there are any."""
    return None if task.inputs else data.grid


def _warn_outside(ranges, data: Dataset):
    for name, (least, greatest) in () if ranges is None else ranges.value.items():
        values, margin = np.asarray(data[name]), 0.05 * (greatest - least)
        outside = ((values < least - margin) | (values > greatest + margin)).reshape(len(data), -1).any(1).sum()
        if outside:
            warnings.warn(
                f"{outside} of {len(data)} samples have {name} outside the range of the training data, "
                f"{np.asarray(least)} to {np.asarray(greatest)}: the prediction extrapolates",
                stacklevel=4,
            )


def window(task: Task, arrays: Fields) -> Fields:
    """Of trajectories the first `history` frames."""
    if not task.history:
        return dict(arrays)
    timed = {n for n, spec in task.specs if spec.time}
    return {k: v[:, : task.history] if k in timed else v for k, v in arrays.items()}


def resample(task: Task, fields: Fields, at: Grid | None) -> Fields:
    """The input fields of a sample on grid `at` by multilinear interpolation; as they are if they live there."""
    if at is None or not task.inputs or task.grid_of(fields) == at:
        return fields
    if at.box != task.grid.box:
        raise ValueError(f"at={at} is not on the task's box {task.grid.box}")
    matrices = interpolation(task.grid_of(fields), at)
    return {
        k: apply_along_axes(jnp.asarray(v), matrices, int(task.spec(k).time)) if k in task.inputs else v
        for k, v in fields.items()
    }


def interpolation(source: Grid, target: Grid) -> list[np.ndarray]:
    """Per axis the matrix of linear interpolation from one grid to another on the same box."""
    return [
        linear_matrix(x, y, axis.length if layout == "periodic" else None)
        for x, y, axis, layout in zip(
            source.coordinates, target.coordinates, source.box.axes, source.layouts, strict=True
        )
    ]


@eqx.filter_jit
def rollout(surrogate: AbstractSurrogate, fields: Fields, steps: int) -> dict[str, Array]:
    """`steps` predicted frames of every sample of a batch, `(batch, steps, *space[, component])`: the one rollout of the
    library."""

    def step(fields, _):
        predicted = surrogate.on_batch(fields)
        return jax.vmap(surrogate.task.advance)(fields, predicted), predicted

    frames = jax.lax.scan(step, dict(fields), length=steps)[1]
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), frames)


@eqx.filter_jit
def batched(surrogate, batch, at):
    """`surrogate`, or a method of one, for a batch of samples."""
    if isinstance(surrogate, AbstractSurrogate):
        return surrogate.on_batch(batch, at)
    return jax.vmap(lambda fields: surrogate(fields, at))(batch)
