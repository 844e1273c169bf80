"""The tidy rows of `surrogax bench` as tables and pictures: one board per task."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..surrogates.evaluation.break_even import BreakEven
from ..surrogates.evaluation.report import AbstractPart, Cells, Heading, Paragraph, Picture, Settings
from ..surrogates.evaluation.table import Row, Table

BREAK_EVEN = (
    "N*: predictions after which a model has paid off against the fastest solver that is at least as accurate, at the resolution "
    "of the training: (seconds of training + samples of training at the price of the most accurate solver) over the time that a "
    "prediction saves."
)
_ROW = tuple(field.name for field in fields(Row))


@dataclass(frozen=True)
class Board:
    """One task of a leaderboard.

    **Fields:** `name`; `says`, a sentence; `single` and `rollout`, the tables of single predictions and of rollouts (without rows
    for steady tasks); `spent`, by model the seconds and epochs of the training and N*; `settings`, as TOML; `models`, their
    options by name.
    """

    name: str
    says: str
    single: Table
    rollout: Table
    spent: Mapping[str, dict[str, Any]]
    settings: str
    models: Mapping[str, Mapping[str, Any]]

    @property
    def metric(self) -> str:
        """The metric of the pictures."""
        return self.single.rows[0].metric

    @property
    def dataset(self) -> str:
        """The test samples at the resolution of the training."""
        return self.single.rows[0].dataset

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows of the table of single predictions, with the cost of the training."""
        heads, rows = self.single.cells()
        told = [_told(self.spent.get(row[0])) for row in rows]
        return [*heads, "training s", "epochs", "N*"], [[*row, *more] for row, more in zip(rows, told, strict=True)]

    def pareto(self):
        """A figure of error against time per sample."""
        rows = [r for r in self.single.rows if r.metric == self.metric and math.isfinite(r.mean)]
        return replace(self.single, rows=rows).pareto(y=self.metric, dataset=self.dataset)

    def per_frame(self):
        """A figure of the error per frame of a rollout."""
        rows = [r for r in self.rollout.rows if (r.metric, r.dataset) == (self.metric, self.dataset)]
        return replace(self.rollout, rows=rows).plot(self.metric)

    def parts(self) -> list[AbstractPart]:
        """The board as parts of a report."""
        said = f"{self.name}: error against time per sample; grey: the front of rows that no other beats in both."
        parts: list[AbstractPart] = [Heading(self.name), Paragraph(self.says), Cells(*self.cells())]
        parts += [Paragraph(note) for note in self.single.notes()]
        parts.append(Picture(said, self.pareto()))
        if self.rollout.rows:
            parts += [
                Cells(*self.rollout.cells()),
                Picture(f"{self.name}: error per frame of a rollout.", self.per_frame()),
            ]
        return [*parts, Settings({"settings": self.settings}), Settings(self.models)]


def boards(record: Mapping[str, Any]) -> list[Board]:
    """The boards of what is in leaderboard.json."""
    found = []
    for name, task in record["tasks"].items():
        own = [row for row in record["rows"] if row["task"] == name]
        rows = [_row(row) for row in own]
        single, rollout = ([r for r in rows if (r.rollout is not None) is long] for long in (False, True))
        spent = {
            row["surrogate"]: {k: row[k] for k in ("kind", "seconds", "epochs", "queries", "solver")} for row in own
        }
        found.append(Board(name, task["says"], Table(single), Table(rollout), spent, task["settings"], task["models"]))
    return found


def _row(found: Mapping[str, Any]) -> Row:
    values: dict[str, Any] = {name: found[name] for name in _ROW}
    return Row(**{**values, "mean": math.nan if values["mean"] is None else values["mean"]})


def _told(spent: dict[str, Any] | None) -> list[str]:
    """Seconds, epochs and N* in a row; nothing for what needs no training."""
    if spent is None or spent["seconds"] is None:
        return ["", "", ""]
    never = spent["queries"] is None and spent["solver"] is not None
    paid = BreakEven(math.inf if never else spent["queries"], spent["solver"])
    return [f"{spent['seconds']:.3g}", f"{spent['epochs'] or ''}", str(paid)]
