"""A surrogate: a function from named fields to named fields in physical units, whatever computes it."""

import abc
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from ..datasets.dataset import Dataset
from . import saving
from .batching import Batch, over_batches
from .parameter_range import ParameterRange
from .rollout import rolled_out
from .task.task import Fields, Place, Task
from .trainable import count_parameters


@dataclass(frozen=True)
class Capabilities:
    """What a surrogate can do; `check_surrogate` skips a test only through these flags.

    - `resolution_free`: accepts inputs at, and predicts at, other resolutions than that of training.
    - `any_points`: predicts at arbitrary points, `at=PointCloud(…)`, from the inputs where they are.
    - `needs_input`: the prediction depends on the sample.
    - `has_std`: offers `std`, and `predict_std`, beside the prediction (`AbstractProbabilistic`).
    - `has_samples`: draws from a distribution of predictions (`AbstractGenerative`).
    - `autoregressive`: predicts the next frame and can be rolled out.
    - `differentiable`: the prediction has a useful derivative with respect to its input fields.
    - `savable`: can be written to a file (a solver, which is a function, cannot).
    - `self_contained`: its file alone gives it back; False needs `load(path, like=…)`.
    """

    resolution_free: bool = False
    any_points: bool = False
    needs_input: bool = True
    has_std: bool = False
    has_samples: bool = False
    autoregressive: bool = False
    differentiable: bool = True
    savable: bool = True
    self_contained: bool = True


class AbstractSurrogate(eqx.Module):
    """`surrogate(fields, at=None) -> fields` for one sample in physical units, under jit, vmap and grad.

    A subclass declares `task` and `capabilities` and defines `__call__`; what else it can do it says by a further base:
    `AbstractBatchFirst`, `AbstractProbabilistic`, `AbstractGenerative`.
    """

    task: eqx.AbstractVar[Task]
    capabilities: ClassVar[Capabilities]  # a property where it depends on the task

    @abc.abstractmethod
    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        """Predicted targets of one sample (no sample axis) from its inputs; at the points of `at` if given."""

    def on_batch(self, batch: Batch, at: Place | None = None) -> dict[str, Array]:
        """The same for a batch of samples, every array with a leading sample axis."""
        if isinstance(self, AbstractBatchFirst):
            return self.call_batch(batch, at)
        return jax.vmap(lambda fields, _: self(fields, at))(batch.fields, batch.numbers)

    def predict(self, data: Dataset, *, at: Place | None = None, batch_size: int = 64) -> dict[str, np.ndarray]:
        """Predictions for all samples of a dataset, `(sample, *space[, component])` by name, where its targets live or at
        the points of `at`.

        Autoregressive surrogates predict the frame behind the first `history` ones; see `rollout` for more. Warns of
        parameters outside the training range (by more than 5 % of it), where the surrogate knows it.
        """
        return _over(lambda batch, at: _predict(self, batch, at), self, data, at, batch_size)

    def predict_std(self, data: Dataset, *, at: Place | None = None, batch_size: int = 64) -> dict[str, np.ndarray]:
        """`std` for all samples of a dataset, in the form of `predict`.

        **Raises:** `TypeError` for surrogates without `has_std`.
        """
        return _over(lambda batch, at: _std(probabilistic(self), batch, at), self, data, at, batch_size)

    def predict_samples(
        self, data: Dataset, n: int, *, key: Array, at: Place | None = None, batch_size: int = 64
    ) -> dict[str, np.ndarray]:
        """`n` draws for every sample of a dataset, `(sample, n, *space[, component])` by name; those of sample i depend on
        the key and i alone.

        **Raises:** `TypeError` for surrogates without `has_samples`.
        """
        return _over(lambda batch, at: _samples(generative(self), batch, n, key, at), self, data, at, batch_size)

    def rollout(self, data: Dataset, steps: int) -> Dataset:
        """`steps` frames behind the first `history` ones of each trajectory, each from the predictions before it."""
        if not self.capabilities.autoregressive:
            raise ValueError(f"{type(self).__name__} is not autoregressive: its task has no history")
        return rolled_out(self, data, steps)

    def save(self, path: str | os.PathLike) -> None:
        """Write to one file. `surrogax.load(path)` gives the surrogate back.

        Surrogates that are not `self_contained` (foreign networks, see `wrap`) store their arrays alone, and
        `load(path, like=…)` needs a surrogate like them.
        """
        saving.save(self, path)

    @property
    def parameters(self) -> int:
        """Trained or fitted numbers, counted as reals."""
        return count_parameters(self)


class AbstractBatchFirst(AbstractSurrogate):
    """A surrogate that computes whole batches faster than sample by sample."""

    @abc.abstractmethod
    def call_batch(self, batch: Batch, at: Place | None = None) -> dict[str, Array]:
        """`__call__` for a batch of samples."""


class AbstractProbabilistic(AbstractSurrogate):
    """A surrogate that predicts a standard deviation beside the mean."""

    @abc.abstractmethod
    def std(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        """Standard deviation of the prediction for one sample, in its shape and units."""


class AbstractGenerative(AbstractSurrogate):
    """A surrogate that draws from a distribution of predictions; `__call__` gives a point estimate."""

    @abc.abstractmethod
    def samples(self, fields: Fields, n: int, *, key: Array, at: Place | None = None) -> dict[str, Array]:
        """`n` independent draws for one sample: the prediction's arrays with a leading axis `n`."""


class AbstractInterval(AbstractSurrogate):
    """A surrogate with calibrated bands."""

    @abc.abstractmethod
    def interval(
        self, fields: Fields, level: float, at: Place | None = None
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Lower and upper end of the band that holds the truth with probability `level`, for one sample."""


class AbstractRanged(AbstractSurrogate):
    """A surrogate that knows the range of the parameters that it was fitted on; `predict` warns outside it."""

    ranges: eqx.AbstractVar[ParameterRange]


def probabilistic(surrogate: AbstractSurrogate) -> AbstractProbabilistic:
    """The surrogate, if it offers a standard deviation. **Raises:** `TypeError` if not."""
    if isinstance(surrogate, AbstractProbabilistic) and surrogate.capabilities.has_std:
        return surrogate
    raise TypeError(f"{type(surrogate).__name__} has no standard deviation; see its `capabilities`")


def generative(surrogate: AbstractSurrogate) -> AbstractGenerative:
    """The surrogate, if it draws samples. **Raises:** `TypeError` if not."""
    if isinstance(surrogate, AbstractGenerative) and surrogate.capabilities.has_samples:
        return surrogate
    raise TypeError(f"{type(surrogate).__name__} draws no samples; see its `capabilities`")


def output_place(task: Task, data: Dataset) -> Place | None:
    """Where to predict `data`: None, at the points of the input fields, if the task has some where its targets live; else on
    the grid of the data."""
    told = any(task.spec(name).domain == task.place for name in task.inputs)
    return None if told or not task.domain.fixed else data.grid


@eqx.filter_jit
def _predict(surrogate: AbstractSurrogate, batch: Batch, at: Place | None) -> dict[str, Array]:
    return surrogate.on_batch(batch, at)


@eqx.filter_jit
def _std(surrogate: AbstractProbabilistic, batch: Batch, at: Place | None) -> dict[str, Array]:
    return jax.vmap(lambda fields, _: surrogate.std(fields, at))(batch.fields, batch.numbers)


@eqx.filter_jit
def _samples(surrogate: AbstractGenerative, batch: Batch, n: int, key: Array, at: Place | None) -> dict[str, Array]:
    def one(fields, number):
        return surrogate.samples(fields, n, key=jax.random.fold_in(key, number), at=at)

    return jax.vmap(one)(batch.fields, batch.numbers)


def _over(
    run: Callable, surrogate: AbstractSurrogate, data: Dataset, at: Place | None, batch_size: int
) -> dict[str, np.ndarray]:
    """`run(batch, at)` over all samples of a dataset."""
    task = surrogate.task
    task.check(data, targets=False)
    if isinstance(surrogate, AbstractRanged):
        parameters = {name: data[name] for name in task.parameters}
        surrogate.ranges.warn_outside(parameters, "the prediction extrapolates")
    at = output_place(task, data) if at is None else at
    frames = task.mode.history if task.mode.ahead else None
    return over_batches(lambda batch: run(batch, at), data, task.input_names(), batch_size, frames)
