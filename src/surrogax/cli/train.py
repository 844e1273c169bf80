"""The command that trains surrogates, compares them on unseen samples and writes a report."""

import inspect
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..core.addresses import address_of
from ..core.arguments import count
from ..core.files import atomic_write, write_json
from ..datasets.conversion import source_state
from ..datasets.dataset import Dataset
from ..surrogates.evaluation.evaluate import evaluate
from ..surrogates.evaluation.metrics import find_metric
from ..surrogates.evaluation.table import Table
from ..surrogates.model_registry import learns_without_data, make_model, registered_models
from ..surrogates.task.task import Task
from ..surrogates.trainable import AbstractTrainable, count_parameters
from ..surrogates.training.checkpoint import environment
from ..surrogates.training.result import FitResult
from .choices import LOSSES, MODES, Training
from .optimizers import OPTIMIZERS
from .options import given
from .presets import PRESETS
from .settings import Settings
from .toml_text import read_toml, to_toml
from .training_data import Splits, datasets, resolution, task_of
from .training_report import write_training_report
from .training_run import baselines, fitted


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
    if config.exists() and not _same(tomllib.loads(config.read_text()), wanted):
        raise ValueError(f"{folder} holds a run of other settings (see its config.toml); choose another --folder")
    state, file = source_state(training.settings.data) if training.settings.data else {}, folder / "source.json"
    if file.exists() and json.loads(file.read_text()) != state:
        raise ValueError(f"{folder} holds a run on {training.settings.data} as it was before; choose another --folder")
    if metrics.exists() and config.exists():
        print(
            f"{folder} is finished: {metrics.read_text().strip()}. Open {folder / 'report.html'}, or choose another folder."
        )
        return
    for metric in training.settings.metrics:
        find_metric(metric)
    _check_without_data(training)
    splits = datasets(training.settings)
    # Everything that can be refused is, before the folder belongs to these settings.
    task = task_of(training, splits.train)
    _check_rollout(training.settings, task, splits)
    models = {
        label: make_model(choice.name, task, splits.train, _keys(training.settings)[0], **given(choice.options))
        for label, choice in training.models.items()
    }
    for label, model in models.items():
        if learns_without_data(training.models[label].name):
            _check_instants(label, model.task, splits.test)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(config) as temporary:
        temporary.write_text(to_toml(wanted))
    write_json(file, state)
    _run(training, splits, task, models)


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
    folder = path.parent if path.name == "config.toml" else Path("runs") / path.stem
    return {"folder": str(folder), **found}, words[1:]


def _same(before: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether settings in a file are the wanted ones. Those that a former version did not have count with their defaults."""
    wanted = tomllib.loads(to_toml(wanted))
    if before == wanted:
        return True
    try:
        return tomllib.loads(to_toml(Training.read(before, [], "").to_dict())) == wanted
    except ValueError:
        return False


def _help() -> str:
    presets = "\n".join(f"  {name:18}{preset.says}" for name, preset in PRESETS.items())
    return (
        f"usage: surrogax train [PRESET | FILE.toml | RUN FOLDER] [OPTIONS]\n\n{inspect.getdoc(Settings)}\n\n"
        f"Chosen by name, with options of their own (--model.width 64):\n"
        f"  --model      {', '.join(registered_models())}\n  --mode       {', '.join(MODES)}\n"
        f"  --loss       {', '.join(LOSSES)}\n  --optimizer  {', '.join(OPTIMIZERS)}\n"
        f"\nSeveral models, --model fno deeponet, have options by their names: --fno.width 64.\n\nPresets:\n{presets}"
    )


def _keys(s: Settings) -> tuple[jax.Array, jax.Array]:
    """Random keys of the weights and of the training; those of the data are others."""
    keys = jax.random.split(jax.random.key(s.seed), 4)
    return keys[2], keys[3]


_OF_DATA = ("epochs", "batch_size", "symmetry", "unroll", "noise", "dtype", "patience", "rollout")


def _check_without_data(training: Training) -> None:
    """**Raises:** `ValueError` for settings that nothing would read: those of data where all models learn without them, steps
    where none does; and for rollouts of models that know all instants at once."""
    s, usual = training.settings, Settings()
    without = [choice.name for choice in training.models.values() if learns_without_data(choice.name)]
    unread = _OF_DATA if len(without) == len(training.models) else ("rollout",) if without else ("steps",)
    if ignored := [name for name in unread if vars(s)[name] != vars(usual)[name]]:
        option, how = f"--{ignored[0].replace('_', '-')}", "without data" if without else "from data"
        models = ", ".join(without or [choice.name for choice in training.models.values()])
        raise ValueError(f"train: {option} means nothing for {models}: learning {how}")
    if without and not s.problem.name:
        raise ValueError(f"train: {', '.join(without)}: learning without data needs --problem NAME")


def _check_instants(label: str, task: Task, test: Dataset) -> None:
    """**Raises:** `ValueError` for test samples at other instants than those of a model that learns without data."""
    try:
        task.check(test)
    except ValueError as error:
        length = f" and --problem.until {task.dt * (task.mode.ahead - 1):g}" if task.dt is not None else ""
        told = f"; give --problem.frames {task.mode.ahead}{length}" if task.mode.ahead else ""
        raise ValueError(f"train: {label}: {error}{told}") from None


def _check_rollout(s: Settings, task: Task, splits: Splits) -> None:
    if s.rollout is None:
        return
    count("train", "rollout", s.rollout)
    if not task.mode.rolls_out:
        raise ValueError(f"train: --rollout {s.rollout} needs an autoregressive task; this one is {task.mode}")
    if splits.test.instants < task.mode.history + s.rollout:
        raise ValueError(
            f"train: --rollout {s.rollout} is longer than the {splits.test.instants} instants of the test samples"
        )


def _run(training: Training, splits: Splits, task: Task, models: Mapping[str, Any]) -> None:
    s, folder = training.settings, training.settings.folder
    found: dict[str, Any] = {}
    for label, model in models.items():
        print(f"{label}: {_words(model)}", file=sys.stderr)
        alone = learns_without_data(training.models[label].name)
        found[label] = fitted(training, task, model, splits, folder / label, _keys(s)[1], without_data=alone)
    tests = {resolution(splits.test): splits.test}
    if s.subsample > 1:
        tests[f"{resolution(splits.fine)}, not trained on"] = splits.fine
    compared = {**found, **(baselines(task, splits, found) if s.baselines else {})}
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


def _numbers(label: str, result: Any, table: Table, rollout: Table | None, dataset: str, s: Settings) -> dict[str, Any]:
    seconds = float(np.sum(result.history.seconds)) if isinstance(result, FitResult) else 0.0
    metric = s.metrics[0]
    numbers: dict[str, Any] = {f"test_{metric}": table.value(label, dataset, metric)}
    if rollout is not None:
        numbers[f"rollout_{metric}"] = rollout.value(label, dataset, metric)
    return {**numbers, "seconds": seconds, "parameters": result.parameters}


def _words(model: Any) -> str:
    return f"{count_parameters(model):,} parameters" if isinstance(model, AbstractTrainable) else type(model).__name__
