"""The normalised targets of a dataset, one snapshot per prediction that a network could make."""

import numpy as np
from jaxtyping import Float

from ...core.domains import Sites
from ...datasets.dataset import Dataset
from ..task.task import Task


def target_snapshots(task: Task, data: Dataset) -> tuple[Float[np.ndarray, "n *query out"], Sites]:
    """All wanted outputs of a network, `(n, *query, out)` in float64, and the sites of the first sample.

    A steady sample is one snapshot. A trajectory has one per window of `mode.ahead` frames after the given ones, of increments
    where the mode predicts these; where no given frame tells the place of a window, only the first one counts. At padded points
    the values are 0.
    """
    mode = task.mode
    asked = mode.domain(task.domain, task.dt)
    sites = asked.sites(data[0])
    spaced = asked.space_axes > task.domain.space_axes
    label = "Δ" if mode.increments else ""
    parts = []
    for name, values in task.relative(data.read(list(task.targets))).items():
        values = np.asarray(values, np.float64)
        values = values if task.spec(name).components else values[..., None]
        values = np.diff(values, axis=1) if mode.increments else values
        scale = task.normalizers[label + name]
        parts.append((values - np.asarray(scale.mean, np.float64)) / np.asarray(scale.std, np.float64))
    values = np.concatenate(parts, -1)
    if mode.ahead and task.is_timed(task.targets[0]):
        first = mode.history - mode.increments
        starts = values.shape[1] - first - mode.ahead + 1 if mode.slides else 1
        windows = [values[:, first + s : first + s + mode.ahead] for s in range(starts)]
        values = np.concatenate(windows)
        if not spaced:  # the frames of one prediction are channels
            values = np.moveaxis(values, 1, -2)
            values = values.reshape(*values.shape[:-2], -1)
    if sites.mask is not None:
        values = np.where(np.asarray(sites.mask)[..., None], values, 0)
    return values, sites
