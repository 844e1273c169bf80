"""The settings of `surrogax train` that hold for all models."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro

from ..core.arguments import check_fields, misfit
from .options import default_of
from .problem_data import ProblemData


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Train surrogates on a data file or a registered problem, compare them on unseen samples, write a report.

    The same command resumes an interrupted run; a finished one says so. The run folder, on this machine, holds config.toml (all
    settings, accepted back by `surrogax train FOLDER/config.toml`), metrics.json, table.json, environment.json, report.html and
    a folder of every model: best.sgx and last.sgx (the saved surrogates), metrics.jsonl (a line per epoch), checkpoints/.
    """

    folder: Path = Path("runs/train")
    """Run folder."""
    data: str = ""
    """Data file, folder of splits, or address such as s3://bucket/file. Either this or --problem NAME."""
    axes: dict[str, str] = field(default_factory=dict)
    """For data files that do not tell what their axes mean: for every array a word per axis, such as u "sample time x y"."""
    problem: ProblemData = ProblemData()  # noqa: RUF009 (frozen)
    """Samples of a registered problem, generated and kept in a cache."""
    inputs: tuple[str, ...] = ()
    """Names of input fields and parameters, by spaces or commas. By default every one that is no target."""
    targets: tuple[str, ...] = ()
    """Names of the fields to predict."""
    train: int | None = None
    """Training samples; by default those of the split "train", or 80 % of a file without splits."""
    val: int | None = None
    """Validation samples, by which the best weights are chosen; by default the split "valid", or 10 %."""
    test: int | None = None
    """Test samples, read once, for the table; by default the split "test", or 10 %."""
    subsample: int = 1
    """Train on every n-th point per axis; the table then shows both resolutions."""
    subsample_time: int = 1
    """Keep every n-th instant."""
    epochs: int = 50
    """Passes over the training data."""
    steps: int = 2000
    """Optimiser steps of models that learn without data: neural-spectral, pinn, spinn, pig, random-features."""
    batch_size: int = 20
    """Samples per optimiser step."""
    seeds: int = 1
    """Networks trained at once from different initial weights."""
    symmetry: bool = False
    """Transform every sample by a random symmetry that the problem declares."""
    unroll: int = 1
    """For autoregressive models: predictions in a row whose errors are summed in the loss."""
    noise: float = 0.0
    """White noise on the input fields, in units of their standard deviations; 1e-3 to 1e-2 for rollouts."""
    ema: float = 0.0
    """Decay of averaged weights, such as 0.999; 0 takes the weights themselves."""
    patience: int | None = None
    """Stop after so many epochs without a better validation error."""
    dtype: str | None = None
    """Precision in which networks compute, such as bfloat16."""
    metrics: tuple[str, ...] = ("rel_l2",)
    """Metrics of the table."""
    rollout: int | None = None
    """For autoregressive models: frames to predict from the start of every test trajectory, in a second table."""
    baselines: bool = True
    """Add the mean, persistence and, for steady problems, the solver at three settings to the table."""
    seed: int = 0
    """Seed of data, split, weights and batches."""

    def __post_init__(self):
        check_fields(self)
        for name in ("inputs", "targets", "metrics"):
            listed = tuple(word for text in vars(self)[name] for word in text.split(",") if word)
            object.__setattr__(self, name, listed)


def instance(kind: type, values: Mapping[str, Any], where: str) -> Any:
    """A dataclass from the values of a file.

    **Raises:** `ValueError`, which begins with `where`, for unknown names and values of another kind.
    """
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := [name for name in values if name not in fields]:
        raise ValueError(f"{where}unknown setting {unknown[0]!r}; known: {', '.join(fields)}")
    given = {}
    for name, value in values.items():
        nested = fields[name].default
        if dataclasses.is_dataclass(nested) and isinstance(value, Mapping):
            given[name] = instance(type(nested), value, f"{where}{name}: ")
        else:
            given[name] = None if value == "None" else tuple(value) if isinstance(value, list) else value
    if "folder" in given:
        given["folder"] = Path(given["folder"])
    unchecked = object.__new__(kind)
    for name, each in fields.items():
        object.__setattr__(unchecked, name, given[name] if name in given else default_of(each))
    required = [name for name, value in vars(unchecked).items() if value is tyro.MISSING]
    if not required and (said := misfit(unchecked)):
        raise ValueError(f"{where}{said}")
    return kind(**given)


def plain(value: Any) -> Any:
    """A setting as TOML holds it; None, for which TOML has no word, is "None"."""
    if dataclasses.is_dataclass(value):
        return {name: plain(each) for name, each in vars(value).items()}
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return "None" if value is None else value
