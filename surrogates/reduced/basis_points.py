"""The points at which a basis of fields lives: `GridPoints`, or `SharedPoints` of a cloud or mesh that all samples share."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.domains import Grid
from ...core.precision import Double
from ...core.storage import register
from ...datasets.dataset import Dataset
from ...solvers.kernels.interpolate import apply_along_axes
from ..resampling import interpolation, resample
from ..shared_points import first_with_other_points, nan_unless_same
from ..task.task import Fields, Place, Task
from ..trainable import Buffer


class AbstractBasisPoints(eqx.Module):
    """Where a basis lives, with its quadrature weights. A row holds a field as a vector, with channels innermost."""

    @property
    @abc.abstractmethod
    def own(self) -> Array | None:
        """The points `(n, d)` at which alone the basis can be evaluated; None on a grid, from which it is interpolated."""

    @property
    @abc.abstractmethod
    def quadrature(self) -> Float[np.ndarray, " n"]:
        """The weight of every point, in float64; zero at padded points."""

    @abc.abstractmethod
    def weighted(self, rows) -> Any:
        """Rows `(…, points · channels)` times the weights; NumPy arrays in float64."""

    @abc.abstractmethod
    def real(self, values: Float[np.ndarray, "n *space c"]) -> Float[np.ndarray, "n *space c"]:
        """The values with zeros at padded points."""

    @abc.abstractmethod
    def resampled(self, task: Task, fields: Fields) -> Fields:
        """The input fields of a sample at these points."""

    @abc.abstractmethod
    def expand(self, task: Task, row: Float[Array, " rows"], fields: Fields, at: Place | None) -> dict[str, Array]:
        """A row of `targets_of`, or its standard deviation, as named fields in physical units, without the task's origins.

        The fields are on the grid `at`, by default on that of the sample; on clouds and meshes they are at these points.

        **Raises:** `ValueError` for another place. Where the points of a sample are traced and differ, the values are NaN.
        """

    def of_rows(self, channels: int) -> Float[np.ndarray, " rows"]:
        """The weights of a row."""
        return np.repeat(self.quadrature, channels)


@register("GridPoints")
class GridPoints(AbstractBasisPoints):
    """The points of a grid."""

    grid: Grid = eqx.field(static=True)

    @property
    def own(self) -> None:
        return None

    @property
    def quadrature(self) -> Float[np.ndarray, " n"]:
        return np.asarray(self.grid.sites().weights).ravel()

    def weighted(self, rows) -> Any:
        weights = self.of_rows(rows.shape[-1] // self.quadrature.size)
        return rows * (weights if isinstance(rows, np.ndarray) else jnp.asarray(weights, rows.dtype))

    def real(self, values: Float[np.ndarray, "n *space c"]) -> Float[np.ndarray, "n *space c"]:
        return values

    def resampled(self, task: Task, fields: Fields) -> Fields:
        return resample(task, fields, self.grid)

    def expand(self, task: Task, row: Float[Array, " rows"], fields: Fields, at: Place | None) -> dict[str, Array]:
        target = (task.domain_of(fields) if at is None else at).as_grid("a reduced basis")
        values = row.reshape(*self.grid.shape, -1) * _scales(task)
        return task.split(apply_along_axes(values, interpolation(self.grid, target))[None])


@register("SharedPoints")
class SharedPoints(AbstractBasisPoints):
    """The points `(n, d)`, weights `(n,)` and mask `(n,)` of a cloud or mesh."""

    points: Buffer
    weights: Buffer
    mask: Buffer

    @property
    def own(self) -> Array:
        return self.points.value

    @property
    def quadrature(self) -> Float[np.ndarray, " n"]:
        return np.asarray(self.weights.value)

    def weighted(self, rows) -> Any:
        channels = rows.shape[-1] // self.points.value.shape[0]
        if isinstance(rows, np.ndarray):
            return rows * self.of_rows(channels)
        return rows * jnp.repeat(self.weights.value.high, channels)

    def real(self, values: Float[np.ndarray, "n *space c"]) -> Float[np.ndarray, "n *space c"]:
        return np.where(np.asarray(self.mask.value)[:, None], values, 0)

    def resampled(self, task: Task, fields: Fields) -> Fields:
        return fields

    def expand(self, task: Task, row: Float[Array, " rows"], fields: Fields, at: Place | None) -> dict[str, Array]:
        if at is not None:
            raise ValueError(
                f"at={at!r}: a basis on a cloud or mesh predicts at the points of its training data only; leave `at` out"
            )
        given, values = task.domain.arrays[0], row.reshape(len(self.points.value), -1) * _scales(task)
        if given in fields:
            values = values * nan_unless_same(self.points.value, self.mask.value, fields[given])
        return task.split(values[None])


def basis_points(task: Task, train: Dataset, name: str) -> AbstractBasisPoints:
    """The points of the targets of `train`.

    **Raises:** `ValueError`, which begins with `name`, for samples with points of their own, and for input fields on another
    domain than the targets.
    """
    if elsewhere := [n for n in task.inputs if task.spec(n).domain != task.place]:
        raise ValueError(
            f"{name}: the input fields {elsewhere} live at other points than the targets; interpolate them"
        )
    if task.domain.fixed:
        return GridPoints(task.domain.as_grid(name))
    if (other := first_with_other_points(train, train.domains[task.place])) is not None:
        raise ValueError(
            f"{name}: sample {other} has other points than sample 0; a basis needs fields at the points of one cloud "
            "or mesh, to which they have to be interpolated first"
        )
    sites = task.domain.sites(train.read(list(task.domain.arrays), [0]))
    mask = jnp.ones(sites.weights.shape, bool) if sites.mask is None else sites.mask
    return SharedPoints(Buffer(jnp.asarray(sites.points[0])), Buffer(Double.of(sites.weights[0])), Buffer(mask[0]))


def _scales(task: Task) -> Float[Array, " c"]:
    return jnp.concatenate([task.normalizers[n].std for n in task.targets])
