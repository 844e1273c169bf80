"""Synthetic data in the form that a task expects."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.domains import AbstractDomain
from ..datasets.dataset import Dataset
from ..datasets.source import FieldSpec, MemorySource
from ..solvers.random import GaussianField
from .task.task import Task


def synthetic_dataset(task: Task, n: int = 4, key: Array | None = None) -> Dataset:
    """A dataset of `n` random samples that suits a task, for tests.

    Fields are smooth noise on grids and white noise on clouds and meshes, with the mean and standard deviation of the task's
    normalisers. Parameters are uniform in the range of the training
    data where it is known. Trajectories are long enough for one prediction, and for two if the task is autoregressive.
    """
    key = jax.random.key(0) if key is None else key
    frames = task.mode.window(2 if task.mode.rolls_out else 1)
    times = (1.0 if task.dt is None else task.dt) * np.arange(frames) if frames else None
    arrays, specs, domains = {}, {}, {}
    for i, (name, domain) in enumerate(task.domains):
        place = domain.example(n, jax.random.fold_in(key, 1000 + i))
        domains[name] = place.layout(name)
        arrays |= _inside(task, domain, place.stored(name, n))
    specs = {name: FieldSpec("domain", values.shape[2:], dtype=str(values.dtype)) for name, values in arrays.items()}
    for i, (name, spec) in enumerate(task.specs):
        domain = domains[spec.domain] if spec.role == "field" else None
        noise = _noise(domain, spec, n, frames if spec.time else None, jax.random.fold_in(key, i))
        values = np.asarray(task.normalizers[name].decode(noise))
        values = task.absolute({name: values if spec.components else values[..., 0]})[name]
        if domain is None and task.ranges is not None:  # outside of the training range a prediction would warn
            low, high = (np.asarray(end[name]) for end in (task.ranges.lower, task.ranges.upper))
            share = np.asarray(jax.scipy.stats.norm.cdf(noise)).reshape(values.shape)
            values = (low + (high - low) * share).astype(values.dtype)
        arrays[name] = values
        specs[name] = replace(spec, dtype=str(arrays[name].dtype))
    domains.setdefault("", domains[task.place])
    return Dataset.of(MemorySource(arrays, specs, domains, times, {}))


def _inside(task: Task, domain: AbstractDomain, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of a domain with the points, drawn in the unit box, moved into the box of the training points."""
    name = domain.arrays[:1]
    if domain.fixed or not name or name[0] not in task.normalizers:
        return stored
    return stored | {name[0]: np.asarray(task.normalizers[name[0]].decode(stored[name[0]]))}


def relative_dataset(task: Task, data: Dataset) -> Dataset:
    """The dataset with the origins of the task subtracted from its values; see `Task.origins`."""
    arrays = task.relative(data.read())
    specs = {name: replace(spec, dtype=str(arrays[name].dtype)) for name, spec in data.fields.items()}
    return Dataset.of(MemorySource(arrays, specs, data.domains, data.times, {}), data.problem)


def _noise(domain: AbstractDomain | None, spec: FieldSpec, n: int, frames: int | None, key: Array):
    """Noise `(n, [frames], *space, channels)` of unit standard deviation; without a domain (parameters) `(n, channels)`."""
    lead = (n,) if frames is None else (n, frames)
    if domain is None:
        return jax.random.normal(key, (*lead, spec.channels))
    if not domain.fixed:
        return jax.random.normal(key, (*lead, *domain.shape, spec.channels))
    grid, field = domain.as_grid("synthetic data"), GaussianField(boundary="periodic")
    draws = jax.random.split(key, (*lead, spec.channels)).reshape(-1)
    noise = jax.jit(jax.vmap(lambda k: field.sample(k, grid)))(draws)
    noise = (noise / noise.std()).reshape(*lead, spec.channels, *grid.shape)
    return jnp.moveaxis(noise, len(lead), -1)
