"""The command that trains every family on named tasks, beside the classical solver, and writes a leaderboard."""

import importlib
import json
import math
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from ..core.arguments import number
from ..core.files import write_json
from ..datasets.dataset import Dataset
from ..surrogates.evaluation.evaluate import evaluate
from ..surrogates.evaluation.report import Paragraph, write_report
from ..surrogates.evaluation.report import Settings as Listed
from ..surrogates.evaluation.table import Row, Table
from ..surrogates.model_registry import learns_without_data, make_model, register_model, registered_models
from ..surrogates.task.task import Task
from ..surrogates.trainable import AbstractTrainable
from ..surrogates.training.checkpoint import environment
from ..surrogates.training.result import FitResult
from .bench_tasks import TASKS, BenchTask
from .choices import Training
from .leaderboard import BREAK_EVEN, boards
from .options import given
from .toml_text import to_toml
from .training_data import Splits, resolution, task_of
from .training_run import fitted, simplest

_MOST_EPOCHS = 1000
_UNTRAINED = ("pod-regression", "local-pod", "linear-spectral", "mean", "persistence")
_CALIBRATION = ("crps", "coverage_90")  # of the models that give error bars


@dataclass
class Bench:
    """Train every model that can learn a task, for the same time on the same data, and compare them on unseen samples.

    The classical solver stands in the table on several grids and at several tolerances, and every model has the number N* of
    predictions after which it has paid off. The folder holds a file of every finished row, leaderboard.json (tidy rows) and
    leaderboard.html (tables, pictures, settings). The same command goes on where it was stopped. Models that need no optimiser
    take the time that they need, as does the solver.

    Tasks: darcy, burgers, kuramoto-sivashinsky, navier-stokes, thermal-block, star-poisson.
    """

    tasks: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Names of tasks."""
    minutes: float = 20.0
    """Minutes of training in all, above 0, shared equally by the trained models of all tasks; each has three epochs at least."""
    models: tuple[str, ...] = ()
    """Registered models; by default all that are meant for a task."""
    add: tuple[str, ...] = ()
    """Own models, module:function each; see `sx.register_model` for their arguments."""
    folder: Path = Path("runs/bench")
    """Folder of the results."""
    seed: int = 0
    """Seed of data, weights and batches."""

    def run(self) -> None:
        """Train what is missing and write the leaderboard.

        **Raises:** `ValueError` for unknown tasks and models, and for minutes that are not above 0.
        """
        number("bench", "minutes", self.minutes, above=0)
        if unknown := [name for name in self.tasks if name not in TASKS] or (not self.tasks and ["(none)"]):
            raise ValueError(f"bench: unknown task {unknown[0]!r}; there are {', '.join(TASKS)}")
        own = [_added(text) for text in self.add]
        if unknown := [name for name in self.models if name not in registered_models()]:
            raise ValueError(f"bench: unknown model {unknown[0]!r}; known: {', '.join(registered_models())}")
        if alone := [name for name in (*self.models, *own) if learns_without_data(name)]:
            raise ValueError(
                f"bench: {alone[0]} learns without data, so that minutes and splits mean nothing for it; use surrogax train"
            )
        lists = {name: self._models(TASKS[name], own) for name in dict.fromkeys(self.tasks)}
        trained = sum(name not in _UNTRAINED for models in lists.values() for name in models)
        seconds = 60 * self.minutes / max(trained, 1)
        machine = {k: v for k, v in environment().items() if k != "command"}  # which names folders
        record: dict[str, Any] = {"minutes": self.minutes, "tasks": {}, "rows": [], "environment": machine}
        for name, models in lists.items():
            said, rows = self._task(name, TASKS[name], models, seconds)
            record["tasks"][name] = said
            record["rows"] += rows
        write_json(self.folder / "leaderboard.json", record)
        found = boards(record)
        parts = [part for board in found for part in board.parts()]
        write_report(self.folder / "leaderboard.html", "Leaderboard", [Paragraph(BREAK_EVEN), *parts, Listed(machine)])
        print(f"{self.folder / 'leaderboard.html'}")

    def _models(self, task: BenchTask, own: Sequence[str]) -> dict[str, dict[str, Any]]:
        names = self.models or tuple(task.models)
        return {name: task.models.get(name, {}) for name in dict.fromkeys((*names, *own))}

    def _task(
        self, name: str, task: BenchTask, models: dict[str, dict[str, Any]], seconds: float
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The settings and the rows of a task, which are kept in files when they are measured."""
        folder, rows, splits, problem, shown = self.folder / name, [], None, None, {}
        folder.mkdir(parents=True, exist_ok=True)
        metrics = (*task.settings.get("metrics", ("rel_l2",)), *_CALIBRATION)
        start = {**task.settings, "metrics": list(metrics), "seed": self.seed, "folder": str(folder)}
        for label in (*models, "baselines", "solvers"):
            file = folder / f"{label}.json"
            table = [{"name": label, **models[label]}] if label in models else [{"name": "mean"}]
            training = Training.read({**start, "model": table}, [], "")
            shown[label] = training.to_dict()
            identity = {
                "settings": to_toml(shown[label]),
                "data": repr(task.data),
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
                    splits = task.data.splits(training)
                    problem = task_of(training, splits.train)
                assert problem is not None
                print(f"{name}: {label}", file=sys.stderr)
                measured = _measured(label, task, training, splits, problem, folder, seconds)
                kept = {"identity": identity, "rows": [_finite(row) for row in measured]}
                write_json(file, kept)
            rows += [{"task": name, **row} for row in kept["rows"]]
        options = {label: {k: v for k, v in shown[label].pop("model")[0].items()} for label in shown}
        said = {"says": task.says, "settings": to_toml(shown["baselines"])}
        return {**said, "models": {label: options[label] for label in models}}, _paid_off(rows)


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
    label: str, task: BenchTask, training: Training, splits: Splits, problem: Task, folder: Path, seconds: float
) -> list[dict[str, Any]]:
    """The rows of a model, of the baselines or of the solvers."""
    s, keys = training.settings, jax.random.split(jax.random.key(training.settings.seed), 4)[2:]
    tests = {resolution(splits.test): splits.test}
    if s.subsample > 1:
        tests[f"{resolution(splits.fine)}, not trained on"] = splits.fine
    told: dict[str, Any] = {"kind": label.removesuffix("s"), "seconds": None, "epochs": None}
    if label == "solvers":
        told["labelled"] = _labelled(problem, splits)
        return [{**asdict(row), **told} for row in task.data.solver_rows(training, problem, splits, tests)]
    if label == "baselines":
        compared = simplest(problem, {})
    else:
        choice = training.models[label]
        model = make_model(choice.name, problem, splits.train, keys[0], **given(choice.options))
        epochs = _epochs(training, problem, model, splits, folder / label, seconds)
        began, trained = time.monotonic(), replace(training, settings=replace(s, epochs=epochs or 1))
        result = fitted(trained, problem, model, splits, folder / label, keys[1])
        spent = float(np.sum(result.history.seconds)) if isinstance(result, FitResult) else 0.0
        told = {"kind": "model", "seconds": spent or time.monotonic() - began, "epochs": epochs}
        compared = {label: result}
    return [{**asdict(row), **told} for row in _rows(compared, tests, s.metrics, s.rollout)]


def _rows(compared: Any, tests: dict[str, Dataset], metrics: tuple[str, ...], rollout: int | None) -> list[Row]:
    if not compared:  # points that differ per sample have no mean field
        return []
    tables = [evaluate(compared, tests, metrics=metrics)]
    if rollout is not None:
        tables.append(evaluate(compared, tests, metrics=metrics, rollout=rollout))
    return [row for table in tables for row in table.rows]


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """The row with None for numbers that JSON does not have, such as errors of a rollout that blew up."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def _labelled(task: Task, splits: Splits) -> int:
    """How many predictions of the solver the data of training and validation are worth."""
    frames = splits.train.instants - task.mode.history if task.mode.ahead else 1
    return (len(splits.train) + len(splits.val)) * frames // max(task.mode.ahead, 1)


def _paid_off(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with `queries`, N*, and `solver`, the row at equal error. None and a solver: never; None and None: no solver is
    that accurate."""
    names = list(dict.fromkeys(row["surrogate"] for row in rows if row["kind"] == "solver"))
    single = [Row(**{k: row[k] for k in Row.__dataclass_fields__}) for row in rows if row["rollout"] is None]
    metric, dataset, made = single[0].metric, single[0].dataset, 0.0
    measured = Table([row for row in single if (row.metric, row.dataset) == (metric, dataset) and row.mean is not None])
    there = {row.surrogate: row for row in measured.rows}
    names = [name for name in names if name in there]
    if names:
        labelled = next(row["labelled"] for row in rows if row["kind"] == "solver")
        made = labelled * (there[names[-1]].ms_per_sample or 0.0) / 1000
    found = []
    for row in rows:
        row, queries, solver = {k: v for k, v in row.items() if k != "labelled"}, None, None
        if row["kind"] == "model" and names and row["surrogate"] in there:
            paid = measured.break_even(row["surrogate"], names, row["seconds"] + made, dataset=dataset, metric=metric)
            queries, solver = paid.queries, paid.solver
        found.append(_finite({**row, "queries": queries, "solver": solver}))
    return found


def _epochs(training: Training, task: Task, model: Any, splits: Splits, folder: Path, seconds: float) -> int | None:
    """How many epochs fit into the time, by three of which the last two are measured; kept in a file, so that a training that
    goes on has the same schedule. None for a model that needs no optimiser."""
    if not isinstance(model, AbstractTrainable):
        return None
    file = folder / "epochs.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        trial = replace(training, settings=replace(training.settings, epochs=3))
        found = fitted(trial, task, model, splits, folder / "trial", jax.random.key(0)).history.seconds
        shutil.rmtree(folder / "trial")
        each = float(np.mean(found[1:]))
        write_json(file, int(np.clip(seconds / max(each, 1e-9), 3, _MOST_EPOCHS)))
    return json.loads(file.read_text())
