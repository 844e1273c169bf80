"""Multilinear interpolation of fields from one grid to another."""

import jax.numpy as jnp
import numpy as np

from ..core.domains import Grid
from ..solvers.kernels.interpolate import apply_along_axes, linear_matrix
from .task.task import Fields, Place, Task


def resample(task: Task, fields: Fields, at: Place | None) -> Fields:
    """Interpolate the input fields of one sample to the grid `at`. Parameters and other arrays are unchanged.

    The sample is returned unchanged if `at` is None or the grid of the fields, or if the task has no input fields.

    **Raises:** `ValueError` if `at` is not a grid on the task's box.
    """
    if at is None or task.domain_of(fields) == at:
        return fields
    own = task.domain_of(fields).as_grid("resampling input fields")
    matrices = interpolation(own, at.as_grid("resampling input fields"))
    here = [name for name in task.inputs if task.spec(name).domain == task.place]
    return {
        k: apply_along_axes(jnp.asarray(v), matrices, int(task.spec(k).time)) if k in here else v
        for k, v in fields.items()
    }


def interpolation(source: Grid, target: Grid) -> list[np.ndarray]:
    """One matrix `(target points, source points)` per axis: linear interpolation between two grids on the same box.

    **Raises:** `ValueError` if they are on different boxes.
    """
    if target.box != source.box:
        raise ValueError(f"{target} is not on the box of {source}")
    return [
        linear_matrix(x, y, axis.length if layout == "periodic" else None)
        for x, y, axis, layout in zip(
            source.coordinates, target.coordinates, source.box.axes, source.layouts, strict=True
        )
    ]
