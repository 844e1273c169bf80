"""What a prediction is given: a dataset, or arrays, or a file, from which a dataset is made."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ..datasets.arrays import from_arrays
from ..datasets.dataset import Dataset
from ..datasets.opening import open_dataset
from .task.task import Task

Given = Dataset | Mapping[str, Any] | np.ndarray | jax.Array | Sequence | str | os.PathLike


def given_data(task: Task, data: Any) -> Dataset:
    """A dataset with the inputs of a task.

    **Arguments:** `data`: a dataset, which is returned unchanged; the path of a file; arrays by name with a leading sample axis,
    `(sample, [time], *space, [component])` for fields and `(sample, [component])` for parameters; or the only input as an array.
    A task without inputs takes `{}`, which is one sample. Fields may have another resolution than the training data.
    Time-dependent fields have the frames that the task is given, or more.

    **Raises:** `ValueError` or `KeyError` for arrays that do not suit the task; `TypeError` for anything else.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str | os.PathLike):
        return open_dataset(data)
    names = task.inputs + task.parameters
    if not names and isinstance(data, Mapping) and not data:
        return from_arrays(grid=task.domain.as_grid("predict({})"), parameters={"sample": np.zeros(1)})
    if not isinstance(data, Mapping):
        if not isinstance(data, np.ndarray | jax.Array | list | tuple):
            raise TypeError(f"expected a dataset, arrays by name or a file, got {type(data).__name__}")
        if len(names) != 1:
            raise ValueError(
                f"a single array is not enough for the inputs {list(names)}; pass a dict of arrays by name"
            )
        data = {names[0]: data}
    if missing := [name for name in names if name not in data]:
        raise KeyError(f"the inputs {missing} are missing; the task needs {list(names)}, there are {sorted(data)}")
    if unknown := [name for name in data if name not in names + task.targets]:
        raise KeyError(f"{unknown} are no inputs of the task, which needs {list(names)}")
    arrays = {name: np.asarray(data[name]) for name in names}
    fields = {name: arrays[name] for name in task.inputs}
    places = {name: _at_shape_of(task, name, fields) for name in dict(task.domains)}
    elsewhere = {name: places[task.spec(name).domain] for name in fields if task.spec(name).domain != task.place}
    timed = [name for name in fields if task.is_timed(name)]
    times = None
    if timed:
        frames = fields[timed[0]].shape[1] if fields[timed[0]].ndim > 1 else 0
        times = (1.0 if task.dt is None else task.dt) * np.arange(frames)
    main = places[task.place]
    return from_arrays(
        fields, grid=main, parameters={name: arrays[name] for name in task.parameters}, times=times, elsewhere=elsewhere
    )


def _at_shape_of(task: Task, name: str, fields: Mapping[str, np.ndarray]):
    """The grid `name` of the task, at the resolution of the first field on it."""
    grid = dict(task.domains)[name].as_grid(
        "a prediction from arrays, which do not tell the points of clouds and meshes (make a dataset: from_arrays(…, points=…))"
    )
    for field, values in fields.items():
        spec = task.spec(field)
        first = 1 + spec.time
        if spec.domain == name and values.ndim == first + grid.ndim + bool(spec.components):
            return grid.at_shape(values.shape[first : first + grid.ndim])
    return grid
