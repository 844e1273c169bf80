"""Made-up data of the form that a task asks for."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.domains import PointCloud
from ..datasets.arrays import from_arrays
from ..datasets.dataset import Dataset
from ..datasets.source import FieldSpec
from ..solvers.random import GaussianField
from .task.task import Task

_POINTS = 24  # of a made-up point cloud, at least 20 of them real


def example_dataset(task: Task, n: int = 4, key: Array | None = None) -> Dataset:
    """`n` samples whose fields are smooth noise (white on point clouds) with the mean and spread that the task knows."""
    key = jax.random.key(0) if key is None else key
    times = np.arange(task.history + 2.0) if task.history else None
    points = None
    if task.grid is None:
        sizes = 20 + jnp.arange(n) % 5
        points = PointCloud(jax.random.uniform(key, (n, _POINTS, 2)), mask=jnp.arange(_POINTS) < sizes[:, None])
    fields, parameters = {}, {}
    for i, (name, spec) in enumerate(task.specs):
        noise = _noise(task, spec, n, task.history + 2 if spec.time else None, jax.random.fold_in(key, i))
        values = np.asarray(task.normalizers[name].decode(noise))
        values = values if spec.components else values[..., 0]
        (parameters if spec.role == "parameter" else fields)[name] = values
    return from_arrays(targets=fields, parameters=parameters, grid=task.grid, points=points, times=times)


def _noise(task: Task, spec: FieldSpec, n: int, frames: int | None, key: Array):
    """`(n, [frames], *space, channels)` of unit standard deviation."""
    if spec.role == "parameter":
        return jax.random.normal(key, (n, spec.channels))
    lead = (n,) if frames is None else (n, frames)
    if task.grid is None:
        return jax.random.normal(key, (*lead, _POINTS, spec.channels))
    draws = jax.random.split(key, (*lead, spec.channels)).reshape(-1)
    field = GaussianField(boundary="periodic")
    noise = jax.jit(jax.vmap(lambda k: field.sample(k, task.uniform_grid)))(draws)
    noise = (noise / noise.std()).reshape(*lead, spec.channels, *task.grid.shape)
    return jnp.moveaxis(noise, len(lead), -1)
