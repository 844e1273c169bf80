"""`Table`, the result of `evaluate`: its rows, and text and figures made from them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from ...core.files import write_json


@dataclass(frozen=True)
class Row:
    """One measured number; see `evaluate`.

    **Fields:**

    - `surrogate`, `seed`, `dataset`, `field`, `metric`: what was measured. `field` is the name of a channel.
    - `step`: number of the predicted frame, from 0 on; None if there is one prediction without frames.
    - `mean`, `stderr`: mean of the metric over the samples, and its standard error (None for one sample).
    - `ms_per_sample_1`, `ms_per_sample`: milliseconds per sample at batch size 1 and in full batches; None for all seeds but the
      first, and without timing.
    - `parameters`: number of trained or fitted real numbers.
    - `label_error`: error of the data themselves; None if unknown.
    - `time`: time from the last given frame to the predicted one; None without a time step.
    """

    surrogate: str
    seed: int
    dataset: str
    field: str
    metric: str
    step: int | None
    mean: float
    stderr: float | None
    ms_per_sample_1: float | None
    ms_per_sample: float | None
    parameters: int
    label_error: float | None
    time: float | None = None


@dataclass(frozen=True)
class Table:
    """The result of `evaluate`. It prints as a Markdown table.

    **Fields:**

    - `rows`: one `Row` per measured number.
    - `missing`: what was left out, and why.
    - `samples`: the metric of every sample, arrays `(sample, step)` by (surrogate, seed, dataset, field, metric), for paired
      comparisons and histograms.
    """

    rows: list[Row]
    missing: list[str] = field(default_factory=list)
    samples: Mapping[tuple, np.ndarray] = field(default_factory=dict, repr=False)

    def value(
        self, surrogate: str, dataset: str | None = None, metric: str = "rel_l2", field: str | None = None
    ) -> float:
        """The mean of a metric over samples, seeds and steps.

        **Arguments:** `surrogate`, `metric`: which rows to average. `dataset`, `field`: only rows of these; by default of all.

        **Raises:** `KeyError` if there is no such row.
        """
        found = [
            r.mean
            for r in self.rows
            if r.surrogate == surrogate
            and r.metric == metric
            and dataset in (None, r.dataset)
            and field in (None, r.field)
        ]
        if not found:
            raise KeyError(f"no row for {surrogate!r}, dataset {dataset!r}, metric {metric!r}; missing: {self.missing}")
        return float(np.mean(found))

    def summary(self) -> list[dict]:
        """One dict per surrogate, dataset, field and metric, with the mean over samples, steps and seeds ("mean"), the standard
        deviation over seeds ("std_seeds"), and times, sizes and label errors."""
        groups: dict[tuple, list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row.surrogate, row.dataset, row.field, row.metric), []).append(row)
        records = []
        for (surrogate, dataset, name, metric), rows in groups.items():
            per_seed = [np.mean([r.mean for r in rows if r.seed == s]) for s in sorted({r.seed for r in rows})]
            records.append(
                {
                    "surrogate": surrogate,
                    "dataset": dataset,
                    "field": name,
                    "metric": metric,
                    "mean": float(np.mean(per_seed)),
                    "seeds": len(per_seed),
                    "std_seeds": float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else None,
                    "stderr": rows[0].stderr,
                    "ms_per_sample_1": rows[0].ms_per_sample_1,
                    "ms_per_sample": rows[0].ms_per_sample,
                    "parameters": rows[0].parameters,
                    "label_error": rows[0].label_error,
                }
            )
        return records

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Column heads and rows of a printed table: one row per surrogate, one column per dataset and metric, then times and
        size."""
        records = self.summary()
        columns = list(dict.fromkeys((r["dataset"], r["field"], r["metric"]) for r in records))
        one_field = len({c[1] for c in columns}) == 1
        heads = [f"{m}{'' if one_field else f' {f}'} @ {d}" for d, f, m in columns]
        rows = []
        for name in dict.fromkeys(r["surrogate"] for r in records):
            mine = {(r["dataset"], r["field"], r["metric"]): r for r in records if r["surrogate"] == name}
            first = next(iter(mine.values()))
            measured = [_cell(mine[c]) if c in mine else "–" for c in columns]
            costs = [_number(first["ms_per_sample_1"]), _number(first["ms_per_sample"]), f"{first['parameters']:,}"]
            rows.append([name, *measured, *costs])
        return ["surrogate", *heads, "ms/sample, batch 1", "ms/sample, full batch", "parameters"], rows

    def notes(self) -> list[str]:
        """Sentences to print below the table: the errors of the labels, and what was left out and why."""
        labels = {(r.dataset, r.field): r.label_error for r in self.rows if r.label_error is not None}
        notes = []
        if labels:
            text = ", ".join(f"{_number(100 * v)} % ({f} @ {d})" for (d, f), v in labels.items())
            notes.append(f"Error of the labels themselves: {text}.")
        if self.missing:
            notes.append("Not run: " + "; ".join(self.missing) + ".")
        return notes

    def to_markdown(self) -> str:
        """The table and its notes as Markdown."""
        heads, rows = self.cells()
        lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes())])

    def to_json(self, path: str | Path):
        """Write rows and missing entries to a JSON file. Numbers that are not finite become null."""
        rows = [
            {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(r).items()}
            for r in self.rows
        ]
        write_json(path, {"rows": rows, "missing": self.missing})

    def pareto(self, x: str = "ms_per_sample", y: str = "rel_l2", dataset: str | None = None):
        """A matplotlib figure of error against cost, log-log, with the front of surrogates that no other one beats in both.

        **Arguments:**

        - `x`: the cost: "ms_per_sample", "ms_per_sample_1" or "parameters".
        - `y`: the metric.
        - `dataset`: by default the first one that has such rows.

        **Raises:** `ValueError` if there is no such row.
        """
        import matplotlib.pyplot as plt

        records = [r for r in self.summary() if r["metric"] == y and r.get(x) and dataset in (None, r["dataset"])]
        if not records:
            raise ValueError(
                f"pareto: no row has x={x!r}, y={y!r} and dataset={dataset!r}; evaluate with timing=True and metrics=({y!r},)"
            )
        dataset = dataset or records[0]["dataset"]
        records = sorted((r for r in records if r["dataset"] == dataset), key=lambda r: r[x])
        figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
        front, best = [], np.inf
        for i, r in enumerate(records):
            axes.loglog(r[x], r["mean"], "o")
            below = i % 2  # labels of neighbours are written above and below their points in turn
            axes.annotate(
                r["surrogate"],
                (r[x], r["mean"]),
                xytext=(4, -10 if below else 4),
                textcoords="offset points",
                fontsize=8,
            )
            if r["mean"] < best:
                best = r["mean"]
                front.append((r[x], r["mean"]))
        axes.step(*zip(*front, strict=True), where="post", color="0.7", zorder=0, label="front")
        axes.margins(x=0.25, y=0.15)
        axes.set(xlabel=f"{x.replace('_', ' ')} (full batch)" if x == "ms_per_sample" else x, ylabel=y, title=dataset)
        axes.grid(alpha=0.3)
        return figure

    def plot(self, y: str = "rel_l2", x: Literal["t", "step"] = "t"):
        """A matplotlib figure of a metric per predicted frame, one line per surrogate.

        **Arguments:** `y`: the metric. `x`: "step" for the number of the frame, or "t" for the time since the last given frame
        (the number of the frame if the data have no time step).

        **Raises:** `ValueError` for another `x`, or if no row has frames (evaluate with `rollout=…`).
        """
        import matplotlib.pyplot as plt

        if x not in ("t", "step"):
            raise ValueError(f"plot(x={x!r}): expected 't' or 'step'")
        rows = [r for r in self.rows if r.metric == y and r.step is not None]
        if not rows:
            raise ValueError(f"plot: no row has a frame and y={y!r}; evaluate with rollout=… and metrics=({y!r},)")
        timed = x == "t" and all(r.time is not None for r in rows)
        figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
        for name in dict.fromkeys(r.surrogate for r in rows):
            groups: dict[float, list[float]] = {}
            for r in rows:
                if r.surrogate == name and r.step is not None:
                    groups.setdefault(r.time if timed and r.time is not None else r.step + 1, []).append(r.mean)
            places = sorted(groups)
            axes.semilogy(places, [np.mean(groups[place]) for place in places], label=name)
        axes.set(xlabel="t" if timed else "step", ylabel=y)
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
        return figure

    def __str__(self) -> str:
        return self.to_markdown()

    def _repr_markdown_(self) -> str:
        return self.to_markdown()


def _cell(record: dict) -> str:
    value = record["mean"]
    text = f"{100 * value:.3g} %" if record["metric"].startswith(("rel_", "max_")) else f"{value:.3g}"
    if record["std_seeds"] is not None:
        scale = 100 if text.endswith("%") else 1
        text += f" ± {scale * record['std_seeds']:.2g} ({record['seeds']} seeds)"
    return text


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
