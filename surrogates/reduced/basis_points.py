"""The points at which a basis of fields lives: a grid, or a cloud or mesh that all samples share."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ...core.domains import Grid
from ...core.precision import Double
from ...core.storage import register
from ...datasets.dataset import Dataset
from ...solvers.kernels.interpolate import apply_along_axes
from ..resampling import interpolation, resample
from ..task.task import Fields, Place, Task
from ..trainable import Buffer

_SAME = 1e-5  # distance of two points that count as one, relative to the extent of the cloud


@register("BasisPoints")
class BasisPoints(eqx.Module):
    """Where a basis lives, with its quadrature weights.

    **Fields:** `grid`; or None, and then of the cloud or mesh `points` `(points, d)`, `weights` `(points,)` and `mask` `(points,)`.
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
            raise ValueError(f"{name}: the input fields {elsewhere} live at other points than the targets; interpolate them")
        if not task.domain.arrays:
            return cls(task.domain.as_grid(name), Buffer(None), Buffer(None), Buffer(None))
        sites = task.domain.sites(train.read(list(task.domain.arrays)))
        points, weights = np.asarray(sites.points), np.asarray(sites.weights, np.float64)
        mask = np.ones(weights.shape, bool) if sites.mask is None else np.asarray(sites.mask)
        scale = max(float(np.ptp(points[0], axis=0).max()), 1e-300)
        moved = (np.abs(points - points[0]).max(2) > _SAME * scale) & mask
        if (differ := np.flatnonzero((moved | (mask != mask[0])).any(1))).size:
            raise ValueError(
                f"{name}: sample {differ[0]} has other points than sample 0; a basis needs fields at the points of one cloud or mesh, "
                "to which they have to be interpolated first"
            )
        return cls(None, Buffer(jnp.asarray(points[0])), Buffer(Double.of(weights[0])), Buffer(jnp.asarray(mask[0])))

    def of_rows(self, channels: int) -> Float[np.ndarray, " rows"]:
        """The weights of a row with channels innermost."""
        weights = np.asarray(self.weights.value) if self.grid is None else self.grid.weights.ravel()
        return np.repeat(weights, channels)

    def weighted(self, rows):
        """A row, or many, with channels innermost, times the weights; NumPy arrays in float64."""
        if isinstance(rows, np.ndarray) or self.grid is not None:
            size = rows.shape[-1] // (self.points.value.shape[0] if self.grid is None else self.grid.weights.size)
            weights = self.of_rows(size)
            return rows * weights if isinstance(rows, np.ndarray) else rows * jnp.asarray(weights, rows.dtype)
        weights = self.weights.value.high
        return (rows.reshape(weights.shape[0], -1) * weights[:, None]).reshape(rows.shape)

    def real(self, values: Float[np.ndarray, "n *space c"]) -> Float[np.ndarray, "n *space c"]:
        """The values with zeros at padded points."""
        return values if self.grid is not None else np.where(np.asarray(self.mask.value)[:, None], values, 0)

    def resampled(self, task: Task, fields: Fields) -> Fields:
        """The input fields of a sample at these points."""
        return fields if self.grid is None else resample(task, fields, self.grid)

    def expand(self, task: Task, row: Float[Array, " rows"], fields: Fields, at: Place | None) -> dict[str, Array]:
        """A row of normalised targets, or their standard deviation, as named fields in physical units: on the grid `at`, or on
        that of the sample; on clouds and meshes at these points only.

        **Raises:** `ValueError` for another place. Where the points of a sample are traced and differ, the values are NaN.
        """
        scales = jnp.concatenate([task.normalizers[n].std for n in task.targets])
        if self.grid is not None:
            target = task.domain_of(fields) if at is None else at
            values = row.reshape(*self.grid.shape, -1) * scales
            return task.split(apply_along_axes(values, interpolation(self.grid, target.as_grid("a reduced basis")))[None])
        if at is not None:
            raise ValueError(f"at={at!r}: a basis on a cloud or mesh predicts at the points of its training data only; leave `at` out")
        values = row.reshape(self.points.value.shape[0], -1) * scales
        return task.split((values * self._same(task, fields))[None])

    def _same(self, task: Task, fields: Fields):
        """1 if the points of a sample are these, or are not given; else NaN, or an error."""
        name = task.domain.arrays[0]
        if name not in fields:
            return 1.0
        own, given = self.points.value, fields[name]
        if np.shape(given) == np.shape(own):
            far = jnp.abs(jnp.asarray(given) - own).max(-1) > _SAME * jnp.ptp(jnp.asarray(own), axis=0).max()
            same = ~(far & self.mask.value).any()
            if isinstance(same, Tracer):
                return jnp.where(same, 1.0, jnp.nan)
            if same:
                return 1.0
        raise ValueError("the points of the sample are not those of the training data; a reduced basis predicts at these only")

