"""The command that evaluates saved surrogates."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..datasets.opening import open_dataset
from ..surrogates.evaluation.evaluate import evaluate
from ..surrogates.saving import load


@dataclass
class Evaluate:
    """Evaluate saved surrogates on a data file and print a table."""

    models: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Files written by `surrogate.save` or found in a run folder (best.sgx, last.sgx)."""
    data: Path
    """Data file."""
    metrics: tuple[str, ...] = ("rel_l2",)
    """Metrics; see the documentation of `evaluate`."""
    rollout: int | None = None
    """Steps of a rollout, for autoregressive surrogates."""
    out: Path | None = None
    """JSON file for the rows."""

    def run(self) -> None:
        data = open_dataset(self.data)
        table = evaluate(
            {str(path): load(path) for path in self.models}, data, metrics=self.metrics, rollout=self.rollout
        )
        print(table)
        if self.out is not None:
            table.to_json(self.out)
