"""`Table`, the result of `evaluate`: its rows, and text and figures made from them."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...core.arguments import checked, number
from ...core.files import write_json
from .break_even import BreakEven, Cost, break_even
from .labels import place_labels

_COSTS = {
    "ms_per_sample": "ms per sample (full batch)",
    "ms_per_sample_1": "ms per sample (batch of 1)",
    "parameters": "parameters",
}


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
    - `rollout`: number of frames of the rollout; None for single predictions.
    - `starts`: number of starts in each trajectory over which single predictions were averaged; 1 for steady data.
    - `given`: number of frames that the surrogate is given; 0 for steady tasks.
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
    rollout: int | None = None
    starts: int = 1
    given: int = 0

    @property
    def title(self) -> str:
        """The metric and, in time, whether it is of single predictions or of a rollout."""
        if self.step is None and self.starts == 1:
            return self.metric
        return f"{self.metric}, {'one prediction' if self.rollout is None else f'rollout of {self.rollout}'}"


@dataclass(frozen=True)
class Table:
    """The result of `evaluate`. It prints as a Markdown table.

    **Fields:**

    - `rows`: one `Row` per measured number.
    - `missing`: what was left out, and why.
    - `samples`: the metric of every sample, arrays `(sample, step)` by (surrogate, seed, dataset, field, metric), for paired
      comparisons and histograms.

    **Example:**

        >>> table = sx.evaluate({"mean": sx.MeanField(task), "none": sx.MeanField(task)}, ds, timing=False)
        >>> table.to_markdown().splitlines()[0][:12]
        '| surrogate '
    """

    rows: list[Row]
    missing: list[str] = field(default_factory=list)
    samples: Mapping[tuple, np.ndarray] = field(default_factory=dict, repr=False)

    @checked
    def correlation_time(self, surrogate: str, *, dataset: str | None = None, below: float = 0.8) -> float:
        """How long the frames of a rollout stay correlated with the truth: the mean over samples, seeds and channels of the time
        of the last frame before the first one whose correlation is less than `below`.

        A rollout that stays correlated counts with its whole length, so that the value is a lower bound there. It needs
        `evaluate(…, metrics=("correlation",), rollout=…)` and a time step.

        **Raises:** `KeyError` if there are no such rows; `ValueError` without a time step.
        """
        times: dict[tuple, list[float | None]] = {}
        for row in self.rows:
            wanted = row.surrogate == surrogate and row.metric == "correlation" and row.rollout
            if wanted and dataset in (None, row.dataset):
                times.setdefault((row.surrogate, row.seed, row.dataset, row.field, row.metric), []).append(row.time)
        if not times:
            raise KeyError(
                f"no correlations of a rollout of {surrogate!r}; evaluate with metrics=('correlation',) and rollout=…"
            )
        lasted = []
        for place, each in times.items():
            if any(time is None for time in each):
                raise ValueError(f"correlation_time: the task of {surrogate!r} has no time step")
            ends = np.array([0.0, *each], float)
            kept = np.logical_and.accumulate(self.samples[place] >= below, 1).sum(1)
            lasted.append(ends[kept])
        return float(np.concatenate(lasted).mean())

    @checked
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

    @checked
    def break_even(
        self,
        surrogate: str,
        solvers: Sequence[str],
        seconds: float,
        *,
        dataset: str | None = None,
        metric: str = "rel_l2",
        field: str | None = None,
    ) -> BreakEven:
        """After how many predictions a surrogate has paid off against the fastest of the `solvers` that is at least as accurate,

            N* = B / (C − c),

        with the times C of the solver and c of the surrogate per sample in full batches, and the `seconds` B before the first
        prediction: of the training, and of the solves that made its data.

        **Arguments:** `surrogate`, `solvers`: names of rows, the latter for example of `SolverSurrogate`s on several grids.
        `seconds`: B. `dataset`, `metric`, `field`: whose errors are compared; by default those of all datasets and fields.

        **Raises:** `KeyError` if there is no such row; `ValueError` for a negative B.

        **Source:** N* of "break-even complexity", arXiv 2605.15399.
        """
        least = number("break_even", "seconds", seconds, least=0)

        def cost(name: str) -> Cost:
            error = self.value(name, dataset, metric, field)
            times = [
                r.ms_per_sample
                for r in self.rows
                if r.surrogate == name and dataset in (None, r.dataset) and r.ms_per_sample is not None
            ]
            return Cost(name, error, times[0] if times else None)

        return break_even(cost(surrogate), [cost(name) for name in solvers], least)

    def summary(self) -> list[dict]:
        """One dict per surrogate, dataset, field and metric, with the mean over samples, steps and seeds ("mean"), the standard
        deviation over seeds ("std_seeds"), the standard error of the mean over samples ("stderr", of the average over steps
        and seeds of each sample; None for one sample), and times, sizes and label errors."""
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
                    "stderr": self._stderr(surrogate, dataset, name, metric),
                    "title": rows[0].title,
                    "ms_per_sample_1": rows[0].ms_per_sample_1,
                    "ms_per_sample": rows[0].ms_per_sample,
                    "parameters": rows[0].parameters,
                    "label_error": rows[0].label_error,
                }
            )
        return records

    def _stderr(self, surrogate: str, dataset: str, field: str, metric: str) -> float | None:
        """The standard error over samples of the average over steps and seeds."""
        wanted = (surrogate, dataset, field, metric)
        found = [values.mean(1) for (s, _, d, f, m), values in self.samples.items() if (s, d, f, m) == wanted]
        if not found or len(found[0]) < 2:
            return None
        with np.errstate(invalid="ignore"):  # a reference of zero gives infinite relative errors
            return float(np.mean(found, 0).std(ddof=1) / np.sqrt(len(found[0])))

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Column heads and rows of a printed table: one row per surrogate, one column per dataset and metric, then times and
        size."""
        records = self.summary()
        columns = list(dict.fromkeys((r["dataset"], r["field"], r["metric"]) for r in records))
        titles = {(r["dataset"], r["field"], r["metric"]): r["title"] for r in reversed(records)}
        one_field = len({c[1] for c in columns}) == 1
        heads = [f"{'' if one_field else f'{f}: '}{titles[d, f, m]} @ {d}" for d, f, m in columns]
        rows = []
        for name in dict.fromkeys(r["surrogate"] for r in records):
            mine = {(r["dataset"], r["field"], r["metric"]): r for r in records if r["surrogate"] == name}
            first = next(iter(mine.values()))
            measured = [_cell(mine[c]) if c in mine else "–" for c in columns]
            costs = [_number(first["ms_per_sample_1"]), _number(first["ms_per_sample"]), f"{first['parameters']:,}"]
            rows.append([name, *measured, *costs])
        return ["surrogate", *heads, "ms/sample, batch 1", "ms/sample, full batch", "parameters"], rows

    def notes(self) -> list[str]:
        """Sentences to print below the table.

        They tell the errors of the labels, which surrogates are measured on different frames, and what was left out and why.
        """
        labels = {(r.dataset, r.field): r.label_error for r in self.rows if r.label_error is not None}
        notes = []
        if labels:
            text = ", ".join(f"{_number(100 * v)} % ({f} @ {d})" for (d, f), v in labels.items())
            notes.append(f"Error of the labels themselves: {text}.")
        given = {r.surrogate: r.given for r in self.rows}
        if len(set(given.values())) > 1:
            text = ", ".join(f"{name} {frames}" for name, frames in given.items())
            notes.append(
                f"Numbers of given frames: {text}. Errors are of the frames after these, and so of different frames."
            )
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

    @checked
    def pareto(self, x: str = "ms_per_sample", y: str = "rel_l2", dataset: str | None = None, field: str | None = None):
        """A matplotlib figure of error against cost, log-log, with the front of surrogates that no other one beats in both.

        There is one panel per field.

        **Arguments:**

        - `x`: the cost: "ms_per_sample", "ms_per_sample_1" or "parameters".
        - `y`: the metric.
        - `dataset`: by default the first one that has such rows.
        - `field`: by default all fields.

        **Raises:** `ValueError` if there is no such row.
        """
        import matplotlib.pyplot as plt

        if x not in ("ms_per_sample", "ms_per_sample_1", "parameters"):
            raise ValueError(f"pareto(x={x!r}): expected 'ms_per_sample', 'ms_per_sample_1' or 'parameters'")
        records = [r for r in self.summary() if r["metric"] == y and r[x]]
        records = [r for r in records if dataset in (None, r["dataset"]) and field in (None, r["field"])]
        if not records:
            raise ValueError(
                f"pareto: no row has x={x!r}, y={y!r}, dataset={dataset!r} and field={field!r}; evaluate with timing=True and "
                f"metrics=({y!r},)"
            )
        dataset = dataset or records[0]["dataset"]
        records = sorted((r for r in records if r["dataset"] == dataset), key=lambda r: r[x])
        fields, colors = list(dict.fromkeys(r["field"] for r in records)), self.colors()
        figure, panels = plt.subplots(
            1, len(fields), figsize=(1 + 4 * len(fields), 3.5), squeeze=False, layout="constrained"
        )
        labels = []
        for axes, name in zip(panels[0], fields, strict=True):
            front, best = [], np.inf
            here = [r for r in records if r["field"] == name]
            for r in here:
                axes.loglog(r[x], r["mean"], "o", color=colors[r["surrogate"]])
                if r["mean"] < best:
                    best = r["mean"]
                    front.append((r[x], r["mean"]))
            if front:  # no error is finite where the truth is zero
                axes.step(*zip(*front, strict=True), where="post", color="0.7", zorder=0, label="front")
            axes.margins(x=0.25, y=0.15)
            axes.set(
                xlabel=_COSTS[x],
                ylabel=records[0]["title"],
                title=dataset if len(fields) == 1 else f"{name} @ {dataset}",
            )
            axes.grid(alpha=0.3)
            corners = [(b[0], a[1]) for a, b in itertools.pairwise(front)]
            steps = np.array([place for pair in zip(front, corners, strict=False) for place in pair] + front[-1:])
            labels.append((axes, np.array([(r[x], r["mean"]) for r in here]), [r["surrogate"] for r in here], steps))
        for each in labels:
            place_labels(*each)
        return figure

    def colors(self) -> dict[str, Any]:
        """A colour for every surrogate, the same in all figures of this table."""
        import matplotlib.pyplot as plt

        cycle = plt.rcParams["axes.prop_cycle"].by_key()["color"]
        names = dict.fromkeys(r.surrogate for r in self.rows)
        return {name: cycle[i % len(cycle)] for i, name in enumerate(names)}

    @checked
    def plot(self, y: str = "rel_l2", x: Literal["t", "step"] = "t"):
        """A matplotlib figure of a metric per predicted frame: one panel per dataset and field, one line per surrogate.

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
        shown, colors = list(dict.fromkeys((r.dataset, r.field) for r in rows)), self.colors()
        names = list(dict.fromkeys(r.surrogate for r in rows))
        beside = len(names) > 5  # the lines would lie under their names
        size = (1 + 4 * len(shown) + 2 * beside, max(3.0, 0.5 + 0.25 * len(names)))
        figure, panels = plt.subplots(1, len(shown), figsize=size, squeeze=False, layout="constrained")
        for axes, (dataset, channel) in zip(panels[0], shown, strict=True):
            here = [r for r in rows if (r.dataset, r.field) == (dataset, channel)]
            for name in dict.fromkeys(r.surrogate for r in here):
                groups: dict[float, list[float]] = {}
                for r in here:
                    if r.surrogate == name and r.step is not None:
                        groups.setdefault(r.time if timed and r.time is not None else r.step + 1, []).append(r.mean)
                places = sorted(groups)
                means = [np.mean(groups[place]) for place in places]
                style = "--" if list(colors).index(name) >= 10 else "-"  # ten colours come again
                axes.semilogy(places, means, "o" * (len(places) == 1) + style, label=name, color=colors[name])
            axes.set(xlabel="t" if timed else "step", ylabel=here[0].title)
            if len(shown) > 1:
                axes.set_title(f"{channel} @ {dataset}", fontsize=10)
            if not beside:
                axes.legend(frameon=False)
            axes.grid(alpha=0.3)
        if beside:
            figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right center", frameon=False)
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
