"""`History`: the record of a training run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SPENT = ("data", "training", "validation", "writing")


@dataclass
class History:
    """Losses, validation errors and times of a training run, one entry per epoch (without data: per round of steps).

    **Fields:**

    - `seeds`: number of models trained at once.
    - `epochs`: whether a round is a pass over data; else it is a number of steps.
    - `steps`: number of steps, `[epoch]`.
    - `loss`: mean training loss, `[epoch][seed]`.
    - `val`: validation error after the epoch, `[epoch][seed]`; empty without validation.
    - `seconds`: duration, `[epoch]`.
    - `spent`: what the seconds were spent on, `[epoch]` by name: "data" (waiting for batches), "training", "validation",
      "writing" (checkpoints, metrics and logs of the epoch before).
    - `metrics`: means of further numbers that the objective and the optimiser report, by name, `[epoch][seed]`: of optax's
      optimisers "gradient_norm", and "learning_rate" where the optimiser's memory holds one (`optax.inject_hyperparams`).
    - `open_steps`, `open_loss`, `open_metrics`, `open_spent`: the current, unfinished epoch: its number of steps, the sums of
      their losses and metrics per seed, and its seconds so far.
    """

    seeds: int = 1
    epochs: bool = True
    steps: list[int] = field(default_factory=list)
    loss: list[list[float]] = field(default_factory=list)
    val: list[list[float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    metrics: dict[str, list[list[float]]] = field(default_factory=dict)
    open_steps: int = 0
    open_loss: list[float] = field(default_factory=list)
    open_metrics: dict[str, list[float]] = field(default_factory=dict)
    spent: dict[str, list[float]] = field(default_factory=dict)
    open_spent: dict[str, float] = field(default_factory=dict)

    def spend(self, seconds: float, what: str):
        """Add seconds to the current epoch: `what` is "data", "training", "validation" or "writing"."""
        self.open_spent[what] = self.open_spent.get(what, 0.0) + seconds

    def advance(self, losses: np.ndarray, metrics: Mapping[str, np.ndarray], seconds: float):
        """Add steps to the current epoch: their losses and metrics `(seeds, steps)`, and the seconds that they took."""
        # A number that a former version did not record is left out of the epoch that it began.
        known = metrics if self.open_steps == 0 else self.open_metrics
        self.open_metrics = {
            name: _added(self.open_metrics.get(name, []), values) for name, values in metrics.items() if name in known
        }
        self.open_steps += losses.shape[1]
        self.open_loss = _added(self.open_loss, losses)
        self.spend(seconds, "training")

    def close(self, val: np.ndarray | None, seconds: float):
        """End the current epoch. `val` `(seeds,)` are its validation errors, or None; they took `seconds` more."""
        self.spend(seconds, "validation")
        self.loss.append([x / self.open_steps for x in self.open_loss])
        for name, sums in self.open_metrics.items():
            self.metrics.setdefault(name, []).append([x / self.open_steps for x in sums])
        if val is not None:
            self.val.append([float(x) for x in val])
        self.seconds.append(sum(self.open_spent.values()))
        for what in SPENT:
            self.spent.setdefault(what, []).append(self.open_spent.get(what, 0.0))
        self.steps.append(self.open_steps)
        self.open_steps, self.open_loss, self.open_metrics, self.open_spent = 0, [], {}, {}

    def row(self, i: int) -> dict[str, float]:
        """The numbers of the finished epoch `i`, from 0 on, by name: "epoch" (from 1 on), "loss", "val" (if there is validation),
        "seconds", "seconds_data", "seconds_training" and so on, and further metrics. They are means over seeds."""
        values = {"epoch": float(i + 1), "loss": float(np.mean(self.loss[i]))}
        if self.val:
            values["val"] = float(np.mean(self.val[i]))
        values["seconds"] = self.seconds[i]
        values |= {f"seconds_{what}": seconds for what, seconds in self.at(i, self.spent).items()}
        return {**values, **{name: float(np.mean(v)) for name, v in self.at(i, self.metrics).items()}}

    def at(self, i: int, lists: Mapping[str, list]) -> dict[str, Any]:
        """The entries of epoch `i` of `metrics` or `spent`; those that were not recorded from the beginning are aligned at their
        ends."""
        places = {name: i - self.rounds + len(values) for name, values in lists.items()}
        return {name: lists[name][place] for name, place in places.items() if place >= 0}

    @property
    def latest(self) -> dict[str, float]:
        """The numbers of the last finished epoch; see `row`."""
        return self.row(self.rounds - 1)

    @property
    def rounds(self) -> int:
        """Number of finished epochs."""
        return len(self.loss)

    @property
    def duration(self) -> str:
        """How long was trained: "3 epochs", or "600 steps" without epochs."""
        number, what = (self.rounds, "epoch") if self.epochs else (sum(self.steps), "step")
        return f"{number} {what}{'' if number == 1 else 's'}"

    @property
    def best_error(self) -> np.ndarray:
        """Lowest validation error so far of every seed, `(seeds,)`; infinity before the first one."""
        return self._ranked.min(0) if self.val else np.full(self.seeds, np.inf)

    @property
    def rounds_since_best(self) -> int:
        """Number of epochs since the last improvement of the best validation error of any seed."""
        if not self.val:
            return 0
        return len(self.val) - 1 - int(np.max(np.argmin(self._ranked, axis=0)))

    @property
    def _ranked(self) -> np.ndarray:
        """Validation errors `(rounds, seeds)` with infinity for NaN."""
        return np.nan_to_num(self.val, nan=np.inf, posinf=np.inf)

    @property
    def gap(self) -> tuple[str, float] | None:
        """A metric that was also measured on points which are not trained on ("residual" as "independent_residual"), and how many
        times larger it is there in the last epoch, for the seed where that is most; None without such a metric."""
        for name in self.metrics:
            if f"independent_{name}" in self.metrics:
                seen, other = (np.asarray(self.metrics[n][-1]) for n in (name, f"independent_{name}"))
                return name, float(np.max(other / np.maximum(seen, np.finfo(float).tiny)))
        return None

    def plot(self):
        """A matplotlib figure of training loss and validation error per epoch (without data over the steps), and of a metric
        that was also measured on independent points: the mean over seeds, and their range as a band.

        **Raises:** `ValueError` without epochs, as after a fit by linear algebra.
        """
        import matplotlib.pyplot as plt

        if not self.loss:
            raise ValueError("plot: no epoch was recorded; a model that is fitted by linear algebra has no history")
        figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
        lines = [("training loss", self.loss), ("validation error", self.val)]
        if self.gap is not None:
            name = self.gap[0]
            lines += [(name, self.metrics[name]), (f"independent {name}", self.metrics[f"independent_{name}"])]
        ends = np.arange(1, self.rounds + 1) if self.epochs else np.cumsum(self.steps)
        for label, values in lines:
            if values:
                values = np.asarray(values)
                axes.semilogy(ends, values.mean(1), label=label)
                if self.seeds > 1:
                    axes.fill_between(ends, values.min(1), values.max(1), alpha=0.35, linewidth=0)
        axes.set(xlabel="epoch" if self.epochs else "step")
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
        return figure


def _added(sums: list[float], values: np.ndarray) -> list[float]:
    """The sums per seed, increased by the sums of `values` `(seeds, steps)` over the steps."""
    total = values.sum(1, np.float64)
    return [float(x) for x in (total + np.asarray(sums) if sums else total)]
