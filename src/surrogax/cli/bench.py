"""The command that trains every family on named tasks, beside the classical solver, and writes a leaderboard."""

import importlib
import json
import shutil
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from ..core.files import write_json
from ..surrogates.evaluation.evaluate import evaluate
from ..surrogates.evaluation.report import AbstractPart, Heading, Paragraph, Picture, Results, write_report
from ..surrogates.evaluation.report import Settings as Listed
from ..surrogates.evaluation.table import Row, Table
from ..surrogates.model_registry import make_model, register_model, registered_models
from ..surrogates.task.task import Task
from ..surrogates.trainable import AbstractTrainable
from ..surrogates.training.checkpoint import environment
from ..surrogates.training.result import FitResult
from .bench_tasks import TASKS, BenchTask
from .choices import Training
from .options import given
from .toml_text import to_toml
from .training_data import Splits, datasets, resolution, task_of
from .training_run import baselines, fitted

_MOST_EPOCHS = 1000


@dataclass
class Bench:
    """Train every model that can learn a task, for the same time on the same data, and compare them on unseen samples.

    The folder holds a file of every finished row, leaderboard.json (tidy rows) and leaderboard.html (tables, pictures, settings).
    The same command goes on where it was stopped. Models that need no optimiser take the time that they need.

    Tasks: darcy, burgers, kuramoto-sivashinsky, navier-stokes, thermal-block.
    """

    tasks: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Names of tasks."""
    minutes: float = 20.0
    """Minutes of training in all, shared equally by the trained models of all tasks."""
    models: tuple[str, ...] = ()
    """Registered models; by default all that are meant for a task."""
    add: tuple[str, ...] = ()
    """Own models, module:function each; see `sx.register_model` for their arguments."""
    folder: Path = Path("runs/bench")
    """Folder of the results."""
    seed: int = 0
    """Seed of data, weights and batches."""

    def run(self) -> None:
        """Train what is missing and write the leaderboard. **Raises:** `ValueError` for unknown tasks and models."""
        if unknown := [name for name in self.tasks if name not in TASKS] or (not self.tasks and ["(none)"]):
            raise ValueError(f"bench: unknown task {unknown[0]!r}; there are {', '.join(TASKS)}")
        own = [_added(text) for text in self.add]
        if unknown := [name for name in self.models if name not in registered_models()]:
            raise ValueError(f"bench: unknown model {unknown[0]!r}; known: {', '.join(registered_models())}")
        lists = {name: self._models(TASKS[name], own) for name in self.tasks}
        trained = sum(name not in _UNTRAINED for models in lists.values() for name in models)
        seconds = 60 * self.minutes / max(trained, 1)
        boards = {name: self._task(name, TASKS[name], models, seconds) for name, models in lists.items()}
        write_json(
            self.folder / "leaderboard.json",
            {"rows": [r for b in boards.values() for r in b], "environment": environment()},
        )
        write_report(self.folder / "leaderboard.html", "Leaderboard", _parts(boards, self.folder))
        print(f"{self.folder / 'leaderboard.html'}")

    def _models(self, task: BenchTask, own: Sequence[str]) -> dict[str, dict[str, Any]]:
        names = self.models or tuple(task.models)
        return {name: task.models.get(name, {}) for name in dict.fromkeys((*names, *own))}

    def _task(
        self, name: str, task: BenchTask, models: dict[str, dict[str, Any]], seconds: float
    ) -> list[dict[str, Any]]:
        """The rows of a task, each kept in a file when it is measured."""
        folder, rows, splits, problem = self.folder / name, [], None, None
        folder.mkdir(parents=True, exist_ok=True)
        start = {**task.settings, "seed": self.seed, "folder": str(folder)}
        for label in (*models, "baselines"):
            file = folder / f"{label}.json"
            table = [{"name": label, **models[label]}] if label in models else [{"name": "mean"}]
            training = Training.read({**start, "model": table}, [], "")
            identity = {
                "settings": to_toml(training.to_dict()),
                "seconds": round(seconds, 1),
                "version": version("surrogax"),
            }
            kept = json.loads(file.read_text()) if file.exists() else None
            if kept is not None and kept["identity"] != identity:
                raise ValueError(
                    f"bench: {file} is a row of other settings, minutes or versions; choose another --folder or remove it"
                )
            if kept is None:
                if splits is None:
                    print(f"{name}: data", file=sys.stderr)
                    splits = datasets(training.settings)
                    problem = task_of(training, splits.train)
                assert problem is not None
                print(f"{name}: {label}", file=sys.stderr)
                kept = {"identity": identity, "rows": _measured(label, training, splits, problem, folder, seconds)}
                write_json(file, kept)
            rows += [{"task": name, **row} for row in kept["rows"]]
        return rows


_UNTRAINED = ("pod-regression", "local-pod", "linear-spectral", "mean", "persistence")


def _added(text: str) -> str:
    """The name under which a function of another module is registered."""
    module, colon, function = text.partition(":")
    if not colon:
        raise ValueError(f"--add {text}: expected module:function")
    sys.path.insert(0, "")  # a module in the working folder
    try:
        make = vars(importlib.import_module(module))[function]
    except (ImportError, KeyError) as error:
        raise ValueError(f"--add {text}: {error!r}") from None
    register_model(function)(make)
    return function


def _measured(
    label: str, training: Training, splits: Splits, task: Task, folder: Path, seconds: float
) -> list[dict[str, Any]]:
    s, keys = training.settings, jax.random.split(jax.random.key(training.settings.seed), 4)[2:]
    if label == "baselines":
        compared, extra = baselines(task, splits, {}), {}
    else:
        choice = training.models[label]
        model = make_model(choice.name, task, splits.train, keys[0], **given(choice.options))
        epochs = _epochs(training, task, model, splits, folder / label, seconds)
        began = time.monotonic()
        result = fitted(
            replace(training, settings=replace(s, epochs=epochs)), task, model, splits, folder / label, keys[1]
        )
        spent = float(np.sum(result.history.seconds)) if isinstance(result, FitResult) else 0.0
        compared, extra = {label: result}, {"seconds": spent or time.monotonic() - began, "epochs": epochs}
    tests = {resolution(splits.test): splits.test}
    if s.subsample > 1:
        tests[f"{resolution(splits.fine)}, not trained on"] = splits.fine
    tables = [evaluate(compared, tests, metrics=s.metrics)]
    if s.rollout is not None:
        tables.append(evaluate(compared, tests, metrics=s.metrics, rollout=s.rollout))
    return [{**asdict(row), **extra} for table in tables for row in table.rows]


def _epochs(training: Training, task: Task, model: Any, splits: Splits, folder: Path, seconds: float) -> int:
    """How many epochs fit into the time, by three of which the last two are measured; kept in a file, so that a training that
    goes on has the same schedule."""
    if not isinstance(model, AbstractTrainable):
        return 1
    file = folder / "epochs.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        trial = replace(training, settings=replace(training.settings, epochs=3))
        found = fitted(trial, task, model, splits, folder / "trial", jax.random.key(0)).history.seconds
        shutil.rmtree(folder / "trial")
        each = float(np.mean(found[1:]))
        write_json(file, int(np.clip(seconds / max(each, 1e-9), 3, _MOST_EPOCHS)))
    return json.loads(file.read_text())


def _spent(row: dict[str, Any]) -> str:
    epochs = f", {row['epochs']} epochs" if row["epochs"] > 1 else ""
    return f"{row['seconds']:.0f} s{epochs}"


def _parts(boards: dict[str, list[dict[str, Any]]], folder: Path) -> list[AbstractPart]:
    parts: list[AbstractPart] = []
    files = {name: sorted((folder / name).glob("*.json")) for name in boards}
    for name, board in boards.items():
        rows = [Row(**{k: v for k, v in row.items() if k not in ("task", "seconds", "epochs")}) for row in board]
        single, long = Table([r for r in rows if r.rollout is None]), Table([r for r in rows if r.rollout is not None])
        metric, here = rows[0].metric, rows[0].dataset
        parts += [Heading(name), Paragraph(TASKS[name].says), Results(single)]
        parts.append(
            Picture(
                f"{name}: error against time per sample; grey: the front of surrogates that no other beats in both.",
                replace(single, rows=[r for r in single.rows if r.metric == metric]).pareto(y=metric, dataset=here),
            )
        )
        if long.rows:
            shown = replace(long, rows=[r for r in long.rows if r.metric == metric and r.dataset == here])
            parts += [Results(long), Picture(f"{name}: error per frame of a rollout.", shown.plot(metric))]
        spent = {r["surrogate"]: _spent(r) for r in board if "seconds" in r}
        kept = {file.stem: tomllib.loads(json.loads(file.read_text())["identity"]["settings"]) for file in files[name]}
        models = {label: {**settings.pop("model")[0]} for label, settings in kept.items()}
        parts += [Listed(spent), Listed({"settings": to_toml(next(iter(kept.values())))})]
        parts.append(Listed({label: options for label, options in models.items() if label != "baselines"}))
    return [*parts, Listed(environment())]
