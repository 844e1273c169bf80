"""The commands that use a saved surrogate: on new inputs, over time, as a program."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from ..datasets.dataset import Dataset
from ..datasets.opening import open_dataset
from ..datasets.source import MemorySource
from ..surrogates.saving import load
from ..surrogates.surrogate import AbstractSurrogate


def saved(path: Path) -> AbstractSurrogate:
    """The surrogate in a file, or the best one in the folder of a model in a run folder.

    **Raises:** `ValueError` for a folder without one, or with several.
    """
    if path.is_dir():
        found = sorted(path.glob("**/best.sgx"))
        if len(found) != 1:
            several = f"several surrogates, {', '.join(map(str, found))}; name one" if found else "no best.sgx"
            raise ValueError(f"{path} holds {several}")
        path = found[0]
    surrogate = load(path)
    if not isinstance(surrogate, AbstractSurrogate):
        raise ValueError(f"{path} holds a {type(surrogate).__name__}, no surrogate")
    return surrogate


def predictions(surrogate: AbstractSurrogate, data: Dataset, values: Mapping[str, np.ndarray]) -> Dataset:
    """The inputs of a surrogate in `data` and predicted `values` of its targets (and `NAME_std`) as one dataset in memory.

    **Raises:** `ValueError` for a surrogate in time, whose predictions `rollout` makes.
    """
    task = surrogate.task
    if task.mode.ahead:
        raise ValueError(f"predict: this surrogate is {task.mode}; use surrogax rollout")
    domains = [name for name, spec in data.fields.items() if spec.role == "domain"]
    arrays = {**data.read([*domains, *task.input_names()]), **values}
    place = data.spec(task.inputs[0]).domain if task.inputs else next(iter(data.domains))
    specs = {name: data.spec(name) for name in (*domains, *task.input_names())}
    for name, found in values.items():
        specs[name] = replace(task.spec(name.removesuffix("_std")), domain=place, dtype=str(found.dtype))
    return Dataset.of(MemorySource(arrays, specs, data.domains, None, {"ids": data.ids.tolist()}))


@dataclass
class Predict:
    """Predict the targets of every sample of a data file and write them, with the inputs, to a file that `open` reads.

    The file needs the inputs of the surrogate only.
    """

    model: Annotated[Path, tyro.conf.Positional]
    """File written by `surrogate.save`, or a run folder with one model."""
    data: Path
    """Data file with the inputs."""
    out: Path
    """File to write."""
    std: bool = False
    """Write standard deviations too, as NAME_std, of surrogates that have them."""

    def run(self) -> None:
        """Predict, write and describe."""
        surrogate, data = saved(self.model), open_dataset(self.data)
        found = dict(surrogate.predict(data))
        if self.std:
            found |= {f"{name}_std": values for name, values in surrogate.predict_std(data).items()}
        whole = predictions(surrogate, data, found)
        whole.save(self.out)
        print(f"{self.out}: {whole.describe()}")


@dataclass
class Rollout:
    """Continue every trajectory of a data file and write the predicted frames to a file that `open` reads."""

    model: Annotated[Path, tyro.conf.Positional]
    """File written by `surrogate.save`, or a run folder with one model."""
    data: Path
    """Data file; its first frames are given, as many as the history of the surrogate."""
    steps: int
    """Number of frames to predict."""
    out: Path | None = None
    """File to write."""
    movie: Path | None = None
    """Film of the first trajectory, .gif or .mp4, beside the truth where the file has it."""

    def run(self) -> None:
        """Predict, write and film. **Raises:** `ValueError` if there is nothing to write."""
        if self.out is None and self.movie is None:
            raise ValueError("rollout: give --out FILE or --movie FILE")
        surrogate, data = saved(self.model), open_dataset(self.data)
        found = surrogate.rollout(data, self.steps)
        if self.out is not None:
            found.save(self.out)
            print(f"{self.out}: {found.describe()}")
        if self.movie is not None:
            history = surrogate.task.mode.history
            known = data.times is not None and data.instants >= history + self.steps
            found.animate(self.movie, beside=data if known else None, n=1)
            print(self.movie)


@dataclass
class Export:
    """Write the prediction of a saved surrogate, parameters included, as a StableHLO program that runs without this library."""

    model: Annotated[Path, tyro.conf.Positional]
    """File written by `surrogate.save`, or a run folder with one model."""
    out: Path
    """File to write."""

    def run(self) -> None:
        """Export."""
        saved(self.model).export(self.out)
        print(self.out)
