"""`AbstractSurrogate`, the base class of every model that predicts named fields from named fields in physical units."""

import abc
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from ..core.arguments import checked, count, random_key
from ..core.precision import in_double
from ..datasets.dataset import Dataset
from . import saving
from .batching import Batch, over_batches
from .exporting import PLATFORMS, export
from .given_data import Given, given_data
from .parameter_range import ParameterRange
from .rollout import rolled_out
from .shared_points import check_points
from .task.task import Fields, Place, Task
from .trainable import AbstractTrainable, count_parameters, is_double


@dataclass(frozen=True)
class Capabilities:
    """What a surrogate can do. `check_surrogate` skips a check only if a flag here says so.

    - `resolution_free`: it reads inputs and predicts at other resolutions than that of training.
    - `any_points`: it predicts at arbitrary points, `at=PointCloud(…)`, wherever its inputs are given.
    - `needs_input`: its prediction depends on the sample.
    - `has_std`: it has `std` and `predict_std`, a standard deviation of the prediction (`AbstractProbabilistic`).
    - `has_samples`: it has `samples` and `predict_samples`, draws from a distribution of predictions (`AbstractGenerative`).
    - `autoregressive`: it predicts the next frames of a trajectory and can be rolled out.
    - `differentiable`: its prediction has a useful derivative with respect to the input fields.
    - `savable`: it can be written to a file. A solver, which is a function, cannot.
    - `self_contained`: its file is enough to load it; if False, `load(path, like=…)` needs a surrogate built in the same way.

    **Example:**

        >>> sx.FNO(task, width=4, modes=4, depth=1, key=key).capabilities.resolution_free
        True
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
    """A model that predicts named fields: `surrogate(fields, at=None) -> fields`, for one sample in physical units.

    It works under jit, vmap and grad; `predict` serves whole datasets. A subclass declares `task` and `capabilities` and
    defines `__call__`. To offer more, it derives from `AbstractBatchFirst`, `AbstractProbabilistic` or `AbstractGenerative` too.

    **Example:**

        >>> isinstance(sx.MeanField(task), sx.AbstractSurrogate)
        True
    """

    task: eqx.AbstractVar[Task]
    capabilities: ClassVar[Capabilities]  # a property where it depends on the task

    @abc.abstractmethod
    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        """Predict the targets of one sample.

        **Arguments:**

        - `fields`: the inputs by name, without sample axis; time-dependent ones with their first `history` frames.
        - `at`: a grid or point cloud at which to predict; by default the points of the input fields.

        **Returns:** the targets by name, `([frames], *space, [component])`. The frame axis exists if the task's mode predicts
        several frames at once.
        """

    def on_batch(self, batch: Batch, at: Place | None = None) -> dict[str, Array]:
        """Predict the targets of a batch: `__call__` for every sample, with a leading sample axis on every array."""
        if isinstance(self, AbstractBatchFirst):
            return self.call_batch(batch, at)
        return jax.vmap(lambda fields, _: self(fields, at))(batch.fields, batch.numbers)

    @checked
    def predict(self, data: Given, *, at: Place | None = None, batch_size: int = 64) -> dict[str, np.ndarray]:
        """Predict the targets of all samples of a dataset, in physical units.

        An autoregressive surrogate predicts the frames that follow the first `history` frames of every trajectory; `rollout`
        predicts more. A surrogate that knows the range of its training parameters warns of parameters outside it, and one that
        was trained on clouds or meshes of points beyond theirs.

        **Arguments:**

        - `data`: a dataset with the task's inputs, which needs no targets; or arrays by name, `{"a": a}` with `a`
          `(sample, *space)`; or one array, if the task has one input; or the path of a file.
        - `at`: a grid or point cloud at which to predict; by default the points of the data.
        - `batch_size`: samples per compiled call; less needs less memory.

        **Returns:** NumPy arrays `(sample, [frames], *space, [component])` by name.

        **Raises:** `TypeError` for other data; `KeyError` or `ValueError` for data that do not suit the task, saying what
        differs.
        """
        return _over(_predict, self, data, at, batch_size)

    @checked
    def predict_std(self, data: Given, *, at: Place | None = None, batch_size: int = 64) -> dict[str, np.ndarray]:
        """The standard deviation of the prediction for all samples of a dataset, in the shapes and units of `predict`.

        **Raises:** `TypeError` for surrogates without `has_std`.
        """
        probabilistic(self)
        return _over(_std, self, data, at, batch_size, differences=True)

    @checked
    def predict_samples(
        self, data: Given, n: int, *, key: Array, at: Place | None = None, batch_size: int = 64
    ) -> dict[str, np.ndarray]:
        """Draw `n` predictions for every sample of a dataset: arrays `(sample, n, [frames], *space, [component])` by name.

        The draws of sample i depend on `key` and i only. `at` and `batch_size` are those of `predict`.

        **Raises:** `TypeError` for surrogates without `has_samples`.
        """
        generative(self)
        n, key = count("predict_samples", "n", n), random_key("predict_samples", key)
        return _over(lambda model, batch, at: _samples(model, batch, n, key, at), self, data, at, batch_size)

    @checked
    def rollout(self, data: Given, steps: int) -> Dataset:
        """Predict `steps` frames after the first `history` frames of every trajectory, feeding predictions back as inputs.

        `data` needs these frames only; other time-dependent inputs need frames for all steps. It is a dataset, or what else
        `predict` takes.

        **Returns:** a dataset of the predicted targets, whose `times` continue those of the given frames.

        **Raises:** `ValueError` for surrogates that are not autoregressive, for trajectories that are too short, and for training
        data with uneven instants.
        """
        if not self.capabilities.autoregressive:
            raise ValueError(f"{type(self).__name__} is not autoregressive: its task has no history")
        return rolled_out(about_origin(self), self.task, given_data(self.task, data), count("rollout", "steps", steps))

    @checked
    def save(self, path: str | os.PathLike) -> None:
        """Write the surrogate to one file, which `surrogax.load(path)` reads.

        The file of a surrogate that is not `self_contained` (a foreign network, see `wrap`) holds its arrays only;
        `surrogax.load(path, like=…)` then needs a surrogate built in the same way.

        **Raises:** `ValueError` for surrogates that are not `savable`.
        """
        saving.save(self, path)

    @checked
    def export(
        self,
        path: str | os.PathLike,
        *,
        at: Place | None = None,
        platforms: Sequence[str] = PLATFORMS,
    ) -> None:
        """Write the prediction as a StableHLO program, parameters included, which runs without this library.

        The program maps inputs by name, `(batch, …)` with any number of samples, to targets by name, both in physical units and
        in the shapes of `predict`. Inputs have the points of the training data. It runs wherever jax does:

            program = jax.export.deserialize(pathlib.Path("fno.stablehlo").read_bytes())
            program.call({"a": a})["u"]

        **Arguments:**

        - `path`: the file to write.
        - `at`: a grid or point cloud at which to predict; by default the points of the training data.
        - `platforms`: those that the program can run on.

        **Raises:** `ValueError` for a surrogate without inputs, for values that single precision does not resolve
        (`Task.origins`), and for unknown platforms.
        """
        export(self, path, at, platforms)

    @property
    def parameters(self) -> int:
        """Number of trained or fitted real numbers; see `count_parameters`."""
        return count_parameters(self)


class AbstractBatchFirst(AbstractSurrogate):
    """A surrogate that predicts a whole batch at once faster than by `vmap` of one sample.

    **Example:**

        >>> issubclass(sx.NetworkSurrogate, sx.AbstractBatchFirst)
        True
    """

    @abc.abstractmethod
    def call_batch(self, batch: Batch, at: Place | None = None) -> dict[str, Array]:
        """Predict the targets of a batch, with a leading sample axis on every array."""


class AbstractRelative(AbstractSurrogate):
    """A surrogate that also works with values relative to the origins of its task (`Task.origins`).

    `predict` then subtracts the origins in double precision.

    **Example:**

        >>> issubclass(sx.Persistence, sx.AbstractRelative)
        True
    """

    @abc.abstractmethod
    def about_origin(self) -> "AbstractRelative":
        """This surrogate for relative values: a copy whose task has no origins."""


class AbstractProbabilistic(AbstractSurrogate):
    """A surrogate that predicts a mean, by `__call__`, and a standard deviation.

    **Example:**

        >>> isinstance(sx.Ensemble((sx.MeanField(task), sx.MeanField(task))), sx.AbstractProbabilistic)
        True
    """

    @abc.abstractmethod
    def std(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        """Standard deviation of the prediction for one sample, in the shapes and units of the prediction."""


class AbstractGenerative(AbstractSurrogate):
    """A surrogate that draws from a distribution of predictions. Its `__call__` returns a point estimate.

    **Example:**

        >>> issubclass(sx.generative.Conditioned, sx.AbstractGenerative)
        True
    """

    @abc.abstractmethod
    def samples(self, fields: Fields, n: int, *, key: Array, at: Place | None = None) -> dict[str, Array]:
        """`n` draws for one sample: arrays like those of the prediction, with a leading axis of length `n`."""


class AbstractObserving(AbstractGenerative):
    """A surrogate that is conditioned on noisy observations of each sample, which its draws have to fit."""

    @abc.abstractmethod
    def misfit(self, fields: Fields, draws: dict[str, Array], at: Place | None = None) -> Array:
        """The mean square of the residuals of every draw `(n,)`, in units of the errors: about 1 for right ones."""


class AbstractConditionable(eqx.Module):
    """A model of fields that can be conditioned on observations."""

    @abc.abstractmethod
    def posterior(self, obs: Any, **options: Any) -> Any:
        """Samples of the fields given observations."""

    @abc.abstractmethod
    def conditioned(self, obs: Any, **options: Any) -> AbstractObserving:
        """The posterior as a surrogate that reads the observations of each sample."""


class AbstractInterval(AbstractSurrogate):
    """A surrogate that predicts calibrated intervals."""

    @abc.abstractmethod
    def interval(
        self, fields: Fields, level: float, at: Place | None = None
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Lower and upper end, for one sample, of the interval that contains the truth with probability `level` (0.9, say)."""


class AbstractRanged(AbstractSurrogate):
    """A surrogate that knows the range of its training parameters. `predict` warns of parameters outside this range.

    Surrogates that are trained by an optimiser need not derive from it: for them the range in their task counts.
    """

    ranges: eqx.AbstractVar[ParameterRange]


class AbstractAtOwnPoints(AbstractSurrogate):
    """A surrogate that on clouds and meshes predicts at the points of its training data only. `predict` refuses other points."""

    @property
    @abc.abstractmethod
    def own_points(self) -> Array | None:
        """The points `(n, d)`; None on grids."""


def probabilistic(surrogate: AbstractSurrogate) -> AbstractProbabilistic:
    """The surrogate itself, if it predicts a standard deviation. **Raises:** `TypeError` if not."""
    if isinstance(surrogate, AbstractProbabilistic) and surrogate.capabilities.has_std:
        return surrogate
    raise TypeError(f"{type(surrogate).__name__} has no standard deviation; see its `capabilities`")


def generative(surrogate: AbstractSurrogate) -> AbstractGenerative:
    """The surrogate itself, if it draws samples. **Raises:** `TypeError` if not."""
    if isinstance(surrogate, AbstractGenerative) and surrogate.capabilities.has_samples:
        return surrogate
    raise TypeError(f"{type(surrogate).__name__} draws no samples; see its `capabilities`")


def conditionable(model: Any) -> AbstractConditionable:
    """The model itself, if it can be conditioned on observations. **Raises:** `TypeError` if not."""
    if isinstance(model, AbstractConditionable):
        return model
    raise TypeError(
        f"{type(model).__name__} has no posterior; fit a Denoiser, or make a Prior of a denoiser of your own"
    )


def about_origin(surrogate: AbstractSurrogate) -> AbstractSurrogate:
    """The surrogate for values relative to the origins of its task, or itself if it works with physical values alone."""
    if isinstance(surrogate, AbstractRelative) and surrogate.task.origins:
        return surrogate.about_origin()
    return surrogate


def cannot_serve(surrogate: AbstractSurrogate, data: Dataset) -> str | None:
    """Why the surrogate cannot predict at the resolution of the data, or None if it can."""
    task, can = surrogate.task, surrogate.capabilities
    here, found = task.domain, data.domains.get(task.place, task.domain)
    told = any(task.spec(name).domain == task.place for name in task.inputs)
    if not here.fixed or found.shape == here.shape or can.resolution_free or (can.any_points and not told):
        return None
    return f"fitted on {here} and not resolution free"


def output_place(task: Task, data: Dataset) -> Place | None:
    """The value of `at` for predicting `data` at its own points.

    It is None if an input field tells these points, or if each sample has its own points; else it is the grid of the data.
    """
    told = any(task.spec(name).domain == task.place for name in task.inputs)
    if told or not task.domain.fixed:
        return None
    return data.domains.get(task.place, task.domain).as_grid("predicting without input fields")


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
    run: Callable,
    surrogate: AbstractSurrogate,
    data: Given,
    at: Place | None,
    batch_size: int,
    differences: bool = False,
) -> dict[str, np.ndarray]:
    """Check the data, warn of parameters outside the training range, and apply `run(surrogate, batch, at)` to all samples.

    `differences` says whether the results are differences of values, which have no origin."""
    task, batch_size = surrogate.task, count("predict", "batch_size", batch_size)
    data = given_data(task, data)
    task.check(data, targets=False)
    task.check_place(at)
    if (reason := cannot_serve(surrogate, data)) is not None:
        raise ValueError(f"{type(surrogate).__name__}: {reason}; the data live on {data.domains[task.place]}")
    ranges = task.ranges if isinstance(surrogate, AbstractTrainable) else None
    ranges = surrogate.ranges if isinstance(surrogate, AbstractRanged) else ranges
    if ranges is not None:
        parameters = {name: data[name] for name in task.parameters}
        ranges.warn_outside(parameters, "the prediction extrapolates")
    if isinstance(surrogate, AbstractTrainable):
        task.warn_outside(data)
    if isinstance(surrogate, AbstractAtOwnPoints) and surrogate.own_points is not None:
        check_points(type(surrogate).__name__, surrogate.own_points, data, data.domains[task.place])
    at = output_place(task, data) if at is None else at
    frames = task.mode.history if task.mode.ahead else None
    model = about_origin(surrogate)
    moved = model.task.origins != task.origins

    # What was trained in float64 predicts in it; the points of grids are not rounded then.
    run = in_double(run) if isinstance(model, AbstractTrainable) and is_double(model) else run

    def one(batch: Batch):
        return run(model, Batch(task.relative(batch.fields), batch.numbers) if moved else batch, at)

    values = over_batches(one, data, task.input_names(), batch_size, frames)
    return task.absolute(values) if moved and not differences else values
