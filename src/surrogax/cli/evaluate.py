"""The command that evaluates saved surrogates."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..datasets.opening import open_dataset
from ..surrogates.evaluation.evaluate import evaluate
from .use import saved


@dataclass
class Evaluate:
    """Evaluate saved surrogates on a data file and print a table."""

    models: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Files written by `surrogate.save`, or run folders with one model."""
    data: Path
    """Data file."""
    metrics: tuple[str, ...] = ("rel_l2",)
    """Names of metrics; see the documentation of `evaluate`."""
    rollout: int | None = None
    """For autoregressive surrogates: number of frames to predict from the start of every trajectory."""
    out: Path | None = None
    """JSON file to which the rows of the table are written."""

    def run(self) -> None:
        """Evaluate, print the table and write its rows."""
        data = open_dataset(self.data)
        table = evaluate(
            {str(path): saved(path) for path in self.models}, data, metrics=self.metrics, rollout=self.rollout
        )
        print(table)
        if self.out is not None:
            table.to_json(self.out)
