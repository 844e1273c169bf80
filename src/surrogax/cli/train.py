"""The command that trains surrogates, compares them on unseen samples and writes a report."""

import inspect
import json
import sys
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..core.addresses import address_of
from ..core.files import atomic_write, write_json
from ..datasets.dataset import Dataset
from ..datasets.opening import open_splits
from ..surrogates.baselines import MeanField, Persistence, SolverSurrogate
from ..surrogates.evaluation.evaluate import evaluate
from ..surrogates.evaluation.table import Table
from ..surrogates.model_registry import make_model, registered_models
from ..surrogates.task.modes import AbstractMode, Autoregressive, Steady
from ..surrogates.task.task import Task
from ..surrogates.trainable import AbstractTrainable, count_parameters
from ..surrogates.training.checkpoint import environment
from ..surrogates.training.fit import fit
from ..surrogates.training.result import AbstractDirectFit, FitResult
from ..surrogates.training.samples import Samples
from ..surrogates.training.supervised import Unroll
from .choices import LOSSES, MODES, Training
from .optimizers import OPTIMIZERS
from .options import given
from .presets import PRESETS
from .settings import Settings
from .toml_text import read_toml, to_toml
from .training_report import grid_of, write_training_report

_VALIDATION = ("val", "valid", "validation")


def train(words: Sequence[str]) -> None:
    """`surrogax train [PRESET | FILE.toml] [OPTIONS]`.

    **Raises:** `ValueError` for settings that contradict each other or the data, and for a folder that holds another run.
    """
    start, words = _start(list(words))
    training = Training.read(start, words, _help())
    folder, wanted = training.settings.folder, training.to_dict()
    if address_of(folder) is not None:
        raise ValueError(f"--folder {folder}: `surrogax train` writes to this machine; `fit(run=…)` takes addresses")
    config, metrics = folder / "config.toml", folder / "metrics.json"
    if config.exists() and tomllib.loads(config.read_text()) != tomllib.loads(to_toml(wanted)):
        raise ValueError(f"{folder} holds a run of other settings (see its config.toml); choose another --folder")
    if metrics.exists() and config.exists():
        print(
            f"{folder} is finished: {metrics.read_text().strip()}. Open {folder / 'report.html'}, or choose another folder."
        )
        return
    splits = datasets(training.settings)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(config) as temporary:
        temporary.write_text(to_toml(wanted))
    _run(training, splits)


def _start(words: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The settings to start from, which the first word names, and the other words."""
    if not words or words[0].startswith("-"):
        return {}, words
    name = words[0]
    if name in PRESETS:
        return {"folder": f"runs/{name}", **PRESETS[name].settings}, words[1:]
    path = Path(name) / "config.toml" if Path(name).is_dir() else Path(name)
    if path.suffix != ".toml":
        raise ValueError(
            f"train: no preset {name!r}; there are {', '.join(PRESETS)}; or give FILE.toml, --data or --problem"
        )
    found = read_toml(path)
    if "folder" in found:
        raise ValueError(f"{path}: unknown setting 'folder'; --folder gives it")
    return {"folder": str(path.parent), **found}, words[1:]


def _help() -> str:
    presets = "\n".join(f"  {name:18}{preset.says}" for name, preset in PRESETS.items())
    return (
        f"usage: surrogax train [PRESET | FILE.toml | RUN FOLDER] [OPTIONS]\n\n{inspect.getdoc(Settings)}\n\n"
        f"Chosen by name, with options of their own (--model.width 64):\n"
        f"  --model      {', '.join(registered_models())}\n  --mode       {', '.join(MODES)}\n"
        f"  --loss       {', '.join(LOSSES)}\n  --optimizer  {', '.join(OPTIMIZERS)}\n"
        f"Several models, --model fno deeponet, have options by their names: --fno.width 64.\n\nPresets:\n{presets}"
    )


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
    k_data, k_split = jax.random.split(jax.random.key(s.seed), 4)[:2]
    if s.problem.name:
        sizes = {name: vars(s)[name] or default for name, default in (("train", 400), ("val", 50), ("test", 50))}
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
    if absent := [part for part, data in parts.items() if data is None]:
        raise ValueError(f"train: {s.data} holds the splits {sorted(found)}, none for {absent}")
    cut = {}
    for part, data in parts.items():
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


def _run(training: Training, splits: Splits) -> None:
    s, folder = training.settings, training.settings.folder
    task = task_of(training, splits.train)
    found: dict[str, Any] = {}
    keys = jax.random.split(jax.random.key(s.seed), 4)[2:]
    for label, choice in training.models.items():
        model = make_model(choice.name, task, splits.train, keys[0], **given(choice.options))
        print(f"{label}: {_words(model)}", file=sys.stderr)
        found[label] = _fitted(training, model, splits, folder / label, keys[1])
    tests = {_resolution(splits.test): splits.test}
    if s.subsample > 1:
        tests[f"{_resolution(splits.fine)}, not trained on"] = splits.fine
    compared = {**found, **(_baselines(task, splits, found) if s.baselines else {})}
    table = evaluate(compared, tests, metrics=s.metrics)
    rollout = None
    if s.rollout is not None:
        rollout = evaluate(compared, tests, metrics=s.metrics, rollout=s.rollout)
    metrics = {label: _numbers(label, result, table, rollout, next(iter(tests)), s) for label, result in found.items()}
    table.to_json(folder / "table.json")
    if rollout is not None:
        rollout.to_json(folder / "rollout.json")
    write_json(folder / "environment.json", environment())
    write_training_report(folder / "report.html", training, task, found, table, rollout, tests)
    write_json(folder / "metrics.json", metrics)
    for each in (table, rollout):
        if each is not None:
            print(each)
    print(f"\nReport: {folder / 'report.html'}\n{json.dumps(metrics)}")


def _fitted(training: Training, model: Any, splits: Splits, folder: Path, key: jax.Array) -> Any:
    s = training.settings
    if isinstance(model, AbstractDirectFit):
        model = fit(model, splits.train, val=splits.val)
    elif isinstance(model, AbstractTrainable):
        calls = s.unroll
        windows = len(Samples.of(model.task, splits.train, calls))
        steps = s.epochs * max(windows // min(s.batch_size, windows), 1)
        options = {"unroll": Unroll(calls)} if calls > 1 else {}
        model = fit(
            model, splits.train, val=splits.val, epochs=s.epochs, batch_size=s.batch_size, seeds=s.seeds, ema=s.ema,
            patience=s.patience, run=folder, key=key, symmetry=s.symmetry, dtype=s.dtype,
            optimizer=OPTIMIZERS[training.optimizer.name](steps, **given(training.optimizer.options)),
            loss=LOSSES[training.loss.name](**given(training.loss.options)), **options,
        )  # fmt: skip
    else:
        return model
    folder.mkdir(parents=True, exist_ok=True)
    if model.best.capabilities.savable:
        model.best.save(folder / "best.sgx")
        model.last.save(folder / "last.sgx")
    return model


def _baselines(task: Task, splits: Splits, found: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if not task.mode.ahead and "mean" not in found:
        made["mean"] = MeanField(task)
    if task.mode.rolls_out and "persistence" not in found:
        made["persistence"] = Persistence(task)
    problem = splits.train.problem
    if problem is not None and not task.mode.ahead and grid_of(splits.train) is not None:
        n, fine = splits.test.grid.shape[0], splits.fine.grid.shape[0]
        for m, rtol in dict.fromkeys([(n // 2 + 1, 1e-2), (n, 1e-3), (fine, 1e-3)]):
            try:
                made[f"solver {_side(m, task.signature.ndim)}"] = SolverSurrogate(problem, m, rtol)
            except ValueError as error:
                warnings.warn(f"train: no row for the solver: {error}", stacklevel=2)
    return made


def _numbers(label: str, result: Any, table: Table, rollout: Table | None, dataset: str, s: Settings) -> dict[str, Any]:
    seconds = float(np.sum(result.history.seconds)) if isinstance(result, FitResult) else 0.0
    metric = s.metrics[0]
    numbers: dict[str, Any] = {f"test_{metric}": table.value(label, dataset, metric)}
    if rollout is not None:
        numbers[f"rollout_{metric}"] = rollout.value(label, dataset, metric)
    return {**numbers, "seconds": seconds, "parameters": result.parameters}


def _resolution(data: Dataset) -> str:
    grid = grid_of(data)
    if grid is None:
        return f"{len(data)} samples"
    shape = grid.shape
    return _side(shape[0], len(shape)) if len(set(shape)) == 1 else "×".join(map(str, shape))


def _side(n: int, ndim: int) -> str:
    return f"{n}{('', '²', '³')[ndim - 1]}"


def _words(model: Any) -> str:
    return f"{count_parameters(model):,} parameters" if isinstance(model, AbstractTrainable) else type(model).__name__
