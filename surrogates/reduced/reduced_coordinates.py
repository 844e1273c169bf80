"""Fields as short vectors and back, for surrogates that predict reduced coefficients."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.domains import Grid
from ...core.storage import register
from ...datasets.dataset import Dataset
from ...solvers.kernels.interpolate import apply_along_axes
from ..parameter_range import ParameterRange
from ..resampling import interpolation
from ..task.task import Fields, Place, Task
from ..trainable import Buffer
from .basis.pod import pod


@register("Reduction")
class Reduction(eqx.Module):
    """The inputs of a sample as a short vector z: POD coefficients of its normalised fields, all over the largest of their
    standard deviations, then its standardised parameters.

    One common scale: the decay of the coefficients is what tells important directions from others.
    """

    task: Task
    modes: Buffer
    mean: Buffer
    scale: Buffer

    def __call__(self, fields: Fields) -> Float[Array, " z"]:
        inputs = self.task.pack(fields)
        parts = []
        if inputs.fields is not None:
            weights = jnp.asarray(weights_of(self.task, self.task.in_channels), jnp.float32)
            centred = weights * (inputs.fields.ravel() - self.mean.value)
            parts.append(jnp.matmul(self.modes.value.T, centred, precision="highest") / self.scale.value)
        if inputs.params is not None:
            parts.append(inputs.params)
        return jnp.concatenate(parts)

    def all(self, data: Dataset) -> Float[np.ndarray, "n z"]:
        return np.asarray(jax.jit(jax.vmap(self))(_inputs(self.task, data)), np.float64)


def fit_reduction(task: Task, train: Dataset, rank: int) -> Reduction:
    """The reduction of the inputs of `train`; `rank` of the joint basis of all input fields."""
    if not task.inputs:
        return Reduction(task, Buffer(None), Buffer(None), Buffer(None))
    fields = np.asarray(jax.jit(jax.vmap(lambda f: task.pack(f).fields.ravel()))(_inputs(task, train)))
    mean = fields.mean(0, dtype=np.float64)
    basis = pod(fields - mean, weights_of(task, task.in_channels), rank=min(rank, *fields.shape))
    scale = np.asarray(basis.coefficients, np.float64).std(0).max()
    return Reduction(task, *(Buffer(single(x)) for x in (basis.modes, mean, scale)))


@register("ReducedErrors")
@dataclass(frozen=True)
class ReducedErrors:
    """The parts of the error on validation data, each over the spread of the normalised targets about their mean
    field, √(Σ‖error‖²/Σ‖u − ū‖²), so that 1 is no better than the mean field.

    - `projection`: of the targets on the basis (with several, on the best one of each sample): more modes or data help.
    - `classification`: with several bases, of their projections blended by the classifier instead; None with one.
    - `regression`: of the predicted against the projected fields: more data or another regressor help.
    - `total`: of the prediction. With one basis total² = projection² + regression².
    """

    projection: float
    regression: float
    total: float
    classification: float | None = None


def ranges_of(task: Task, train: Dataset) -> ParameterRange:
    """Least and greatest value of every parameter."""
    return ParameterRange.of({name: train[name] for name in task.parameters})


def targets_of(task: Task, data: Dataset) -> Float[np.ndarray, "n points"]:
    """Targets over their standard deviations, a row per sample with channels innermost, float64."""
    rows = jax.jit(jax.vmap(lambda f: (task.wanted(f)[0] / _scales(task)).ravel()))(data.read(list(task.targets)))
    return np.asarray(rows, np.float64)


def expand(task: Task, row: Float[Array, " points"], fields: Fields, at: Place | None) -> dict[str, Array]:
    """A row of `targets_of`, or its standard deviation, as named fields in physical units on grid `at`, or on that of the
    sample."""
    grid, target = grid_of(task), task.domain_of(fields) if at is None else at
    values = row.reshape(*grid.shape, task.target_channels) * _scales(task)
    return task.split(apply_along_axes(values, interpolation(grid, target.as_grid("a reduced basis")))[None])


def grid_of(task: Task) -> Grid:
    """The grid on which the basis lives."""
    return task.domain.as_grid("a reduced basis")


def weights_of(task: Task, channels: int) -> Float[np.ndarray, " points"]:
    """Quadrature weights of a row with channels innermost."""
    return np.repeat(grid_of(task).weights.ravel(), channels)


def single(tree):
    """Arrays in float32, in which a fitted surrogate predicts."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def _scales(task: Task) -> Float[Array, " c"]:
    return jnp.concatenate([task.normalizers[n].std for n in task.targets])


def _inputs(task: Task, data: Dataset) -> dict[str, np.ndarray]:
    return data.read(list(task.inputs + task.parameters))
