"""The points at which a basis of fields lives: a grid, or a cloud or mesh that all samples share."""

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


@register("BasisPoints")
class BasisPoints(eqx.Module):
    """Where a basis lives, with its quadrature weights.

    **Fields:** `grid`; or None, and then of the cloud or mesh `points` `(points, d)`, `weights` `(points,)` and `mask`
    `(points,)`.
    """

    grid: Grid | None = eqx.field(static=True)
    points: Buffer
    weights: Buffer
    mask: Buffer

    @classmethod
    def of(cls, task: Task, train: Dataset, name: str) -> "BasisPoints":
        """The points of the targets of `train`.

        **Raises:** `ValueError`, which begins with `name`, for samples with points of their own, and for input fields on another
        domain than the targets.
        """
        if elsewhere := [n for n in task.inputs if task.spec(n).domain != task.place]:
            raise ValueError(
                f"{name}: the input fields {elsewhere} live at other points than the targets; interpolate them"
            )
        if task.domain.fixed:
            return cls(task.domain.as_grid(name), Buffer(None), Buffer(None), Buffer(None))
        if (other := first_with_other_points(train, train.domains[task.place])) is not None:
            raise ValueError(
                f"{name}: sample {other} has other points than sample 0; a basis needs fields at the points of one cloud "
                "or mesh, to which they have to be interpolated first"
            )
        sites = task.domain.sites(train.read(list(task.domain.arrays), [0]))
        mask = jnp.ones(sites.weights.shape, bool) if sites.mask is None else sites.mask
        return cls(None, Buffer(jnp.asarray(sites.points[0])), Buffer(Double.of(sites.weights[0])), Buffer(mask[0]))

    @property
    def size(self) -> int:
        """The number of points, padded ones included."""
        return self.points.value.shape[0] if self.grid is None else self.grid.weights.size

    def of_rows(self, channels: int) -> Float[np.ndarray, " rows"]:
        """The weights of a row with channels innermost."""
        weights = np.asarray(self.weights.value) if self.grid is None else self.grid.weights.ravel()
        return np.repeat(weights, channels)

    def weighted(self, rows):
        """Rows `(…, points · channels)` with channels innermost times the weights; NumPy arrays in float64."""
        channels = rows.shape[-1] // self.size
        if isinstance(rows, np.ndarray):
            return rows * self.of_rows(channels)
        weights = self.weights.value.high if self.grid is None else jnp.asarray(self.grid.weights.ravel(), rows.dtype)
        return rows * jnp.repeat(weights, channels)

    def real(self, values: Float[np.ndarray, "n *space c"]) -> Float[np.ndarray, "n *space c"]:
        """The values with zeros at padded points."""
        return values if self.grid is not None else np.where(np.asarray(self.mask.value)[:, None], values, 0)

    def resampled(self, task: Task, fields: Fields) -> Fields:
        """The input fields of a sample at these points."""
        return fields if self.grid is None else resample(task, fields, self.grid)

    def expand(self, task: Task, row: Float[Array, " rows"], fields: Fields, at: Place | None) -> dict[str, Array]:
        """A row of `targets_of`, or its standard deviation, as named fields in physical units, without the task's origins: on the
        grid `at`, or on that of the sample; on clouds and meshes at these points only.

        **Raises:** `ValueError` for another place. Where the points of a sample are traced and differ, the values are NaN.
        """
        scales = jnp.concatenate([task.normalizers[n].std for n in task.targets])
        if self.grid is not None:
            target = task.domain_of(fields) if at is None else at
            values = row.reshape(*self.grid.shape, -1) * scales
            return task.split(
                apply_along_axes(values, interpolation(self.grid, target.as_grid("a reduced basis")))[None]
            )
        if at is not None:
            raise ValueError(
                f"at={at!r}: a basis on a cloud or mesh predicts at the points of its training data only; leave `at` out"
            )
        given, values = task.domain.arrays[0], row.reshape(self.size, -1) * scales
        if given in fields:
            values = values * nan_unless_same(self.points.value, self.mask.value, fields[given])
        return task.split(values[None])
