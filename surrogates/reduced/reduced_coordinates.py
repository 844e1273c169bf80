"""Fields as short vectors and back, for surrogates that predict reduced coefficients."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.precision import Double
from ...core.storage import register
from ...datasets.dataset import Dataset
from ...solvers.random import LogUniform
from ..parameter_range import ParameterRange
from ..task.task import Fields, Task
from ..trainable import Buffer
from .basis.inner_product import inner_product
from .basis.pod import POD, pod
from .basis_points import AbstractBasisPoints
from .regression.input_scaling import InputScaling

_CONSTANT = 1e-13  # deviations from the mean, relative to the largest value, that are rounding

LogNames = str | tuple[str, ...]
"""Which parameters enter by their logarithm: "auto", or their names, `()` for none."""


@register("Reduction")
class Reduction(eqx.Module):
    """The inputs of a sample as a short vector z: POD coefficients of its fields over their standard deviations, all over the
    largest standard deviation of these coefficients, then its scaled parameters (`InputScaling`).

    One common scale of the coefficients: their decay is what tells important directions from others.
    """

    task: Task
    points: AbstractBasisPoints
    modes: Buffer  # (points · channels, r); None without input fields
    means: Buffer  # the mean of every input field, in double precision
    scale: Buffer
    parameters: Buffer  # their `InputScaling`; None without parameters

    def __call__(self, fields: Fields) -> Float[Array, " z"]:
        """z of one sample."""
        parts = []
        if self.task.inputs:
            fields = self.points.resampled(self.task, fields)
            parts.append(self._coefficients(fields, ()))
        if self.task.parameters:
            parts.append(self.parameters.value(_numbers(self.task, fields, ())))
        return jnp.concatenate([jnp.asarray(part) for part in parts])

    def all(self, data: Dataset) -> Float[np.ndarray, "n z"]:
        """z of all samples of a dataset, in float64."""
        fields = {name: np.asarray(x, np.float64) for name, x in data.read(_inputs(self.task)).items()}
        parts = []
        if self.task.inputs:
            parts.append(self._coefficients(fields, (len(data),)))
        if self.task.parameters:
            parts.append(self.parameters.value(_numbers(self.task, fields, (len(data),))))
        return np.concatenate(parts, -1)

    @property
    def size(self) -> int:
        """Length of z."""
        fields = self.modes.value.shape[1] if self.task.inputs else 0
        return fields + self.task.in_params

    def about_origin(self) -> "Reduction":
        """The reduction of values from which the origins of the task were subtracted."""
        origins = dict(self.task.origins)
        means, parameters = self.means.value, self.parameters.value
        if self.task.inputs:
            moved = {n: np.asarray(x) - np.asarray(origins.get(n, 0.0)) for n, x in means.items()}
            means = {n: Double.of(x) for n, x in moved.items()}
        if self.task.parameters:
            given = [origins.get(n, (0.0,) * self.task.spec(n).channels) for n in self.task.parameters]
            parameters = parameters.less(np.concatenate(given))
        return replace(self, task=self.task.about_origin(), means=Buffer(means), parameters=Buffer(parameters))

    def described(self) -> str:
        """What z consists of: "4 coefficients of a; log k, T"."""
        parts = []
        if self.task.inputs:
            parts.append(f"{self.modes.value.shape[1]} coefficients of {', '.join(self.task.inputs)}")
        if self.task.parameters:
            parts.append(self.parameters.value.described(_labels(self.task)))
        return "; ".join(parts)

    def _coefficients(self, fields: Mapping[str, Any], samples: tuple[int, ...]):
        """Coefficients of input fields with the leading axes `samples`; NumPy in float64 if the fields are NumPy arrays."""
        deviations = {name: mean.subtracted_from(_with_channels(self.task, name, fields[name]))
                      for name, mean in self.means.value.items()}  # fmt: skip
        rows = _scaled_rows(self.task, deviations, samples)
        weighted, modes, scale = self.points.weighted(rows), self.modes.value, self.scale.value
        if isinstance(rows, np.ndarray):
            return weighted @ np.asarray(modes, np.float64) / np.asarray(scale, np.float64)
        return jnp.matmul(weighted, modes, precision="highest") / scale


def fit_reduction(
    task: Task, train: Dataset, rank: int, points: AbstractBasisPoints, log: LogNames = "auto"
) -> Reduction:
    """The reduction of the inputs of `train`.

    **Arguments:** `rank` of the joint basis of all input fields; `log`, the parameters that enter by their logarithm: their
    names, or "auto", those whose law is `LogUniform`, or that spread over decades if their law is not known.

    **Raises:** `ValueError` for names that are no parameters of the task.
    """
    data = {name: np.asarray(x, np.float64) for name, x in train.read(_inputs(task)).items()}
    modes = means = scale = parameters = None
    if task.inputs:
        channels = {name: points.real(_with_channels(task, name, data[name])) for name in task.inputs}
        constant = [name for name, x in channels.items() if np.ptp(x, 0).max() <= _CONSTANT * np.abs(x).max()]
        if constant and len(train) > 1:
            warnings.warn(f"the input fields {constant} are the same in all samples and tell nothing", stacklevel=4)
        means = {name: x[0] if name in constant else x.mean(0) for name, x in channels.items()}
        rows = _scaled_rows(task, {name: x - means[name] for name, x in channels.items()}, (len(train),))
        _, _, basis = centred_pod(np.asarray(rows), points.of_rows(task.in_channels), rank)
        modes, scale = single(basis.modes), single(np.asarray(basis.coefficients).std(0).max() or 1.0)
        means = {name: Double.of(mean) for name, mean in means.items()}
    if task.parameters:
        numbers = np.asarray(_numbers(task, data, (len(train),)))
        parameters = InputScaling.fit(numbers, _logarithms(task, train, numbers, log))
    return Reduction(task, points, Buffer(modes), Buffer(means), Buffer(scale), Buffer(parameters))


def centred_pod(
    rows: Float[np.ndarray, "n points"], weights: Float[np.ndarray, " points"], rank: int, energy: float | None = None
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, "n points"], POD]:
    """The mean of the rows, the rows without it, and their `pod`; if all rows are equal, a basis of one mode that is zero."""
    mean = rows.mean(0)
    centred = rows - mean
    if np.abs(centred).max() > _CONSTANT * np.abs(rows).max():
        return mean, centred, pod(centred, weights, rank=min(rank, *rows.shape), energy=energy)
    zero = np.zeros((*rows.shape, 1))
    basis = POD(
        zero[0], np.zeros(1), zero[:, 0], np.zeros(()), 0.0, "none", "all snapshots are equal", inner_product(weights)
    )
    return mean, np.zeros_like(rows), basis


def _logarithms(task: Task, train: Dataset, numbers: Float[np.ndarray, "n p"], log: LogNames):
    """The choice of logarithms as `InputScaling.fit` takes it."""
    columns, start = {}, 0
    for name in task.parameters:
        columns[name] = range(start, start + task.spec(name).channels)
        start += task.spec(name).channels
    if not (isinstance(log, str) and log == "auto"):
        unknown = [log] if isinstance(log, str) else [name for name in log if name not in columns]
        if unknown:
            raise ValueError(
                f"log={unknown[0]!r}: use 'auto' or a tuple of parameters of the task, which has {task.parameters}"
            )
        if steady := [name for name in log if name in dict(task.origins)]:
            raise ValueError(
                f"log: {steady[0]!r} varies by less than a thousandth of its mean, where a logarithm changes nothing"
            )
        return [i for name in log for i in columns[name]]
    laws = {} if train.problem is None else train.problem.laws
    guessed = InputScaling.fit(numbers).logarithmic
    return [
        i for name, own in columns.items() for i in own
        if (isinstance(laws[name], LogUniform) and (numbers[:, i] > 0).all() if name in laws else guessed[i])
    ]  # fmt: skip


@register("ReducedErrors")
@dataclass(frozen=True)
class ReducedErrors:
    """The parts of the error on validation data, each over the spread of the normalised targets about their mean
    field, √(Σ‖error‖²/Σ‖u − ū‖²), so that 1 is no better than the mean field.

    - `projection`: of the targets on the basis (with several, on the best one of each sample): more modes or data help.
    - `classification`: with several bases, of their projections blended by the classifier instead; None with one.
    - `regression`: of the predicted against the projected fields: more data or another regressor help.
    - `total`: of the prediction. With one basis total² = projection² + regression².
    - `left_out`: True if there were no validation data: then each sample counts with the error of a fit without it.
    """

    projection: float
    regression: float
    total: float
    classification: float | None = None
    left_out: bool = False


def ranges_of(task: Task, train: Dataset) -> ParameterRange:
    """Least and greatest value of every parameter."""
    return ParameterRange.of({name: train[name] for name in task.parameters})


def targets_of(task: Task, data: Dataset, points: AbstractBasisPoints) -> Float[np.ndarray, "n points"]:
    """Targets, without the task's origins, over their standard deviations: a row per sample with channels innermost, float64."""
    values = task.relative(data.read(list(task.targets)))
    channels = {name: points.real(_with_channels(task, name, np.asarray(x, np.float64))) for name, x in values.items()}
    return np.asarray(_scaled_rows(task, channels, (len(data),)))


def single(tree):
    """Arrays in float32, in which a fitted surrogate keeps them."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def _inputs(task: Task) -> list[str]:
    return [*task.inputs, *task.parameters]


def _labels(task: Task) -> list[str]:
    """One name per number of the parameters."""
    return [
        f"{name}_{i}" if task.spec(name).components else name
        for name in task.parameters for i in range(task.spec(name).channels)
    ]  # fmt: skip


def _with_channels(task: Task, name: str, values):
    return values if task.spec(name).components else values[..., None]


def _scaled_rows(task: Task, channels: Mapping[str, Any], samples: tuple[int, ...]):
    """Fields `(*samples, *space, c)` over their standard deviations as rows with channels innermost."""
    scaled = [
        x / np.asarray(task.normalizers[name].std, np.float64)
        if isinstance(x, np.ndarray)
        else x / task.normalizers[name].std
        for name, x in channels.items()
    ]
    together = np.concatenate if all(isinstance(x, np.ndarray) for x in scaled) else jnp.concatenate
    return together(scaled, -1).reshape(*samples, -1)


def _numbers(task: Task, fields: Mapping[str, Any], samples: tuple[int, ...]):
    """All parameters `(*samples, p)`; NumPy in float64 unless one of them is a JAX array."""
    values = [fields[name] for name in task.parameters]
    xp = jnp if any(isinstance(x, jax.Array) for x in values) else np
    return xp.concatenate([xp.asarray(x, None if xp is jnp else np.float64).reshape(*samples, -1) for x in values], -1)
