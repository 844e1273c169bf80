"""The report of `surrogax train`: one HTML file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..datasets.dataset import Dataset
from ..surrogates.evaluation import plots
from ..surrogates.evaluation.report import AbstractPart, Heading, Paragraph, Picture, Results, Settings, write_report
from ..surrogates.evaluation.table import Table
from ..surrogates.task.task import Task
from ..surrogates.training.checkpoint import environment
from ..surrogates.training.result import FitResult
from .choices import Training
from .toml_text import to_toml
from .training_data import grid_of


def write_training_report(
    path: Path,
    training: Training,
    task: Task,
    models: Mapping[str, Any],
    table: Table,
    rollout: Table | None,
    tests: Mapping[str, Dataset],
) -> None:
    """Write errors, samples, training curves, spectra and all settings."""
    here, metric = next(iter(tests)), training.settings.metrics[0]
    measured = replace(table, rows=[r for r in table.rows if r.metric == metric])
    best = {label: m.best if isinstance(m, FitResult) else m for label, m in models.items()}
    parts: list[AbstractPart] = [Paragraph(repr(task)), Heading("Test errors"), Results(table)]
    parts.append(
        Picture(
            "Error against time per sample in full batches; grey: the front of surrogates that no other beats in both.",
            measured.pareto(y=metric, dataset=here),
        )
    )
    if rollout is not None:
        parts += [
            Heading(f"Rollouts of {training.settings.rollout} frames"),
            Results(rollout),
            Picture(
                "Error per frame.", replace(rollout, rows=[r for r in rollout.rows if r.dataset == here]).plot(metric)
            ),
        ]
    drawn = {name: data for name, data in tests.items() if (grid := grid_of(data)) and grid.ndim < 3}
    if drawn:
        parts.append(Heading("Samples"))
    for label, surrogate in best.items():
        for name, data in drawn.items():
            if any(r.surrogate == label and r.dataset == name for r in table.rows):
                parts.append(
                    Picture(
                        f"{label}, {name}: input, truth, prediction, error of test samples.",
                        plots.plot_predictions(surrogate, data),
                    )
                )
    curves = {label: m for label, m in models.items() if isinstance(m, FitResult) and m.history.loss}
    if curves:
        parts.append(Heading("Training"))
    for label, result in curves.items():
        parts.append(Picture(f"{label}: loss and validation error per epoch.", result.history.plot()))
    parts.append(Heading("Errors"))
    parts.append(Picture("Distribution over test samples.", plots.plot_error_histogram(measured, metric, dataset=here)))
    if drawn:
        parts.append(Picture("Energy spectrum.", plots.plot_spectrum(best, drawn[here])))
    parts += [Heading("Settings"), Settings({"config.toml": to_toml(training.to_dict())}), Settings(environment())]
    write_report(path, f"{', '.join(models)}: {', '.join(task.targets)}", parts)
