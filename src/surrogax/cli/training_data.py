"""The data and the learning problem of `surrogax train`."""

from dataclasses import dataclass

import jax

from ..core.arguments import count
from ..core.domains import Grid
from ..datasets.dataset import Dataset
from ..datasets.opening import open_splits
from ..surrogates.task.modes import AbstractMode, Autoregressive, Steady
from ..surrogates.task.task import Task
from .choices import MODES, Training
from .options import given
from .problem_data import ProblemData
from .settings import Settings

_VALIDATION = ("val", "valid", "validation")


@dataclass(frozen=True)
class Splits:
    """Training, validation and test data at the points of the training, and the test data at all points."""

    train: Dataset
    val: Dataset
    test: Dataset
    fine: Dataset


def datasets(s: Settings) -> Splits:
    """The data of a training. **Raises:** `ValueError` for contradicting settings and too few samples."""
    if bool(s.data) == bool(s.problem.name):
        raise ValueError("train: give either --data FILE or --problem NAME")
    if s.data and s.problem != ProblemData():
        raise ValueError("train: options of --problem mean nothing for --data")
    if s.axes and not s.data:
        raise ValueError("train: --axes describes the file of --data")
    for name in ("train", "val", "test"):
        if vars(s)[name] is not None:
            count("train", name, vars(s)[name])
    k_data, k_split = jax.random.split(jax.random.key(s.seed), 4)[:2]
    if s.problem.name:
        sizes = {name: vars(s)[name] or usual for name, usual in (("train", 400), ("val", 50), ("test", 50))}
        train, val, test = s.problem.generated(sum(sizes.values()), k_data).split(key=k_split, **sizes)
    else:
        train, val, test = _opened(s, k_split)

    def coarse(data: Dataset) -> Dataset:
        return data.subsample(space=s.subsample) if s.subsample > 1 else data

    if s.subsample_time > 1:
        train, val, test = (part.subsample(time=s.subsample_time) for part in (train, val, test))
    return Splits(coarse(train), coarse(val), coarse(test), test)


def _opened(s: Settings, key: jax.Array) -> tuple[Dataset, Dataset, Dataset]:
    found = open_splits(s.data, **({"axes": s.axes} if s.axes else {}))
    names = {"train": ("train", "training"), "val": _VALIDATION, "test": ("test",)}
    parts = {part: next((found[n] for n in known if n in found), None) for part, known in names.items()}
    if len(found) == 1 and parts["train"] is None:
        (whole,) = found.values()
        tenth = max(len(whole) // 10, 1)
        sizes = {"val": s.val or tenth, "test": s.test or tenth}
        sizes["train"] = s.train or len(whole) - sum(sizes.values())
        if sizes["train"] < 1 or sum(sizes.values()) > len(whole):
            raise ValueError(f"train: {s.data} holds {len(whole)} samples, {sizes} are asked for")
        pieces = dict(zip(sizes, whole.split(key=key, **sizes), strict=True))
        return pieces["train"], pieces["val"], pieces["test"]
    present = {part: data for part, data in parts.items() if data is not None}
    if absent := [part for part in parts if part not in present]:
        raise ValueError(f"train: {s.data} holds the splits {sorted(found)}, none for {absent}")
    cut = {}
    for part, data in present.items():
        wanted = vars(s)[part]
        if wanted is not None and wanted > len(data):
            raise ValueError(f"train: --{part} {wanted}, but the split holds {len(data)} samples")
        cut[part] = data if wanted is None else data[:wanted]
    return cut["train"], cut["val"], cut["test"]


def task_of(training: Training, train: Dataset) -> Task:
    """The learning problem that the settings and the data state."""
    s, fields = training.settings, train.fields
    timed = [name for name, spec in fields.items() if spec.role == "field" and spec.time]
    targets = s.targets or _usual_targets(train, timed)
    mode: AbstractMode
    if training.mode is not None:
        mode = MODES[training.mode.name](**given(training.mode.options))
    else:
        mode = Autoregressive() if any(name in timed for name in targets) else Steady()
    return Task.fit(train, inputs=s.inputs or "*", targets=targets, mode=mode)


def _usual_targets(train: Dataset, timed: list[str]) -> tuple[str, ...]:
    if train.problem is not None:
        return tuple(train.problem.unknowns)
    if timed:
        return tuple(timed)
    raise ValueError(f"train: give --targets; the data hold {', '.join(train.fields)}")


def grid_of(data: Dataset) -> Grid | None:
    """The grid of a dataset, None for point clouds and meshes: some pictures and the solver need one."""
    return data.domain if isinstance(data.domain, Grid) else None


def resolution(data: Dataset) -> str:
    """How fine the points of a dataset are, in few characters."""
    grid = grid_of(data)
    if grid is None:
        return f"{len(data)} samples"
    shape = grid.shape
    return side(shape[0], len(shape)) if len(set(shape)) == 1 else "×".join(map(str, shape))


def side(n: int, ndim: int) -> str:
    """n points along each of `ndim` axes."""
    return f"{n}{('', '²', '³')[ndim - 1]}"
