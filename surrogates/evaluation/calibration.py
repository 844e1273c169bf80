"""`calibration`: does the truth look like one more draw of a surrogate? Coverage at all levels, ranks, TARP, spread and skill."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.arguments import checked, count, kind, number, random_key
from ...datasets.dataset import Dataset
from ..surrogate import AbstractSurrogate, generative
from ..task.task import Task
from ..training.result import members_of
from .forecast import SampleForecast

LEVELS = tuple(np.round(np.arange(0.05, 1.0, 0.05), 2).tolist())
FUNCTIONALS = "mean", "rms", "largest"


@dataclass(frozen=True)
class Calibration:
    """What `calibration` measured, of every channel `(c,)` in the order of `labels`. It prints as a table.

    **Fields:**

    - `levels` `(k,)`; `pointwise` `(k, c)`: the share of points (by volume, over all samples) at which the truth is inside the
      central interval of this level.
    - `simultaneous` `(k, c)`: the share of samples whose truth is inside a band at every point, the narrowest band of constant
      width in standard deviations that contains a draw with this probability.
    - `tarp` `(k,)`: expected coverage of balls around random points in the space of all channels (Lemos et al. 2023); unlike the
      others it notices a posterior that is just the prior.
    - `ranks`: by functional, "mean", "rms" and "largest" of a field, the rank of the truth among the draws, `(samples, c)`, from
      0 to n (simulation-based calibration, Talts et al. 2018); uniform if calibrated. `p_values` `(c,)` by functional: of
      the Kolmogorov-Smirnov test of that.
    - `crps` `(c,)`, in the units of the field; `spread_skill` `(c,)`: the root mean variance of the draws, times √((n + 1)/n),
      over the root mean square error of their mean; 1 if calibrated.
    - `draws`: n.

    **Example:**

        >>> members = sx.Ensemble(tuple(sx.FNO(task, width=4, modes=4, depth=1, key=k) for k in jax.random.split(key, 2)))
        >>> type(sx.calibration(members, ds, n=9, key=key)).__name__
        'Calibration'
    """

    labels: tuple[str, ...]
    levels: np.ndarray
    pointwise: np.ndarray
    simultaneous: np.ndarray
    tarp: np.ndarray
    ranks: dict[str, np.ndarray] = field(repr=False)
    p_values: dict[str, np.ndarray]
    crps: np.ndarray
    spread_skill: np.ndarray
    draws: int

    @checked
    def coverage(self, level: float, label: str | None = None, *, simultaneous: bool = False) -> float:
        """The measured coverage at one level, between the levels by interpolation; of the first channel by default."""
        number("coverage", "level", level, above=0, below=1)
        if label is not None and label not in self.labels:
            raise KeyError(f"coverage(label={label!r}): the channels are {list(self.labels)}")
        curve = (self.simultaneous if simultaneous else self.pointwise)[:, self.labels.index(label) if label else 0]
        return float(np.interp(level, [0, *self.levels, 1], [0, *curve, 1]))

    def plot(self):
        """A matplotlib figure: coverage over level, which is a diagonal if calibrated, and a histogram of ranks of every
        functional with its 99 % range."""
        import matplotlib.pyplot as plt

        figure, panels = plt.subplots(
            1, 1 + len(self.ranks), figsize=(4 * (1 + len(self.ranks)), 3.4), layout="constrained"
        )
        axes = panels[0]
        axes.plot([0, 1], [0, 1], color="0.7", zorder=0)
        for c, label in enumerate(self.labels):
            (line,) = axes.plot(self.levels, self.pointwise[:, c], label=f"{label}, points")
            axes.plot(self.levels, self.simultaneous[:, c], "--", color=line.get_color(), label=f"{label}, whole field")
        axes.plot(self.levels, self.tarp, "k:", label="TARP")
        axes.set(xlabel="level", ylabel="coverage", xlim=(0, 1), ylim=(0, 1))
        axes.legend(frameon=False, fontsize=8)
        for axes, (name, ranks) in zip(panels[1:], self.ranks.items(), strict=True):
            bins = min(20, self.draws + 1, max(len(ranks) // 5, 2))
            expected = len(ranks) / bins
            margin = 2.58 * np.sqrt(expected * (1 - 1 / bins))
            axes.axhspan(expected - margin, expected + margin, color="0.9", zorder=0)
            shares = (ranks + 0.5) / (self.draws + 1)
            axes.hist(shares, bins=bins, range=(0, 1), histtype="step", label=self.labels)
            axes.set(xlabel=f"rank of the truth, {name}", ylabel="samples")
        return figure

    def __str__(self) -> str:
        heads = (
            "channel",
            "coverage 50 %",
            "coverage 90 %",
            "whole field 90 %",
            "spread/skill",
            "CRPS",
            "least p of ranks",
        )
        lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
        for c, label in enumerate(self.labels):
            worst = min(p[c] for p in self.p_values.values())
            cells = (
                self.coverage(0.5, label), self.coverage(0.9, label), self.coverage(0.9, label, simultaneous=True),
                self.spread_skill[c], self.crps[c], worst,
            )  # fmt: skip
            lines.append(f"| {label} | {' | '.join(f'{x:.3g}' for x in cells)} |")
        off = float(np.abs(self.tarp - self.levels).max())
        return "\n".join([*lines, f"\nTARP is at most {off:.2g} off the diagonal, with {self.draws} draws per sample."])


@checked
def calibration(
    surrogate: Any,
    data: Dataset,
    *,
    n: int = 99,
    key: Any,
    levels: Sequence[float] = LEVELS,
    batch_size: int = 16,
) -> Calibration:
    """Draw n predictions for every sample of a dataset and compare the truth with them.

        found = sx.calibration(prior.conditioned(sx.Observe("u", at=xy, std=0.01)), test, key=key)
        print(found); found.plot()

    If truth and draws have the same distribution, every curve is the diagonal, exactly so for any n, up to the random error of
    a finite number of samples: about √(L (1 − L)/samples) of a coverage of whole fields at level L.

    **Arguments:**

    - `surrogate`: one that draws samples, or a result of `fit` (its first seed).
    - `data`: a dataset with truths, 50 samples or more.
    - `n`, `key`: draws per sample, 19 at least for levels up to 90 %; random key.
    - `levels`: of the curves, inside (0, 1).
    - `batch_size`: samples per compiled call.

    **Raises:** `TypeError` for a surrogate without samples; `ValueError` for levels outside (0, 1) and fewer than two samples.

    **Example:**

        >>> gp = sx.Ensemble(tuple(sx.FNO(task, width=4, modes=4, depth=1, key=k) for k in jax.random.split(key, 2)))
        >>> sx.calibration(gp, ds, n=9, key=key).pointwise.shape[-1] > 0
        True
    """
    from scipy.stats import kstest  # takes a tenth of the time of importing this library

    model = members_of(surrogate)[0]
    kind("calibration", "surrogate", model, AbstractSurrogate, "pass a surrogate that draws samples")
    generative(model)
    n, key = count("calibration", "n", n, 2), random_key("calibration", key)
    shares = np.asarray([number("calibration", "levels", each, above=0, below=1) for each in levels])
    if len(data) < 2 or not len(shares):
        raise ValueError(
            f"calibration: {len(data)} samples at {len(shares)} levels; give two samples or more, and a level"
        )
    task = model.task
    task.check(data)
    drawn = model.predict_samples(data, n, key=key, batch_size=batch_size)
    truths = [_frames(task, data[i]) for i in range(len(data))]
    # Distances in the space of all channels are in units of their sizes over the data.
    size = np.sqrt(np.mean([((t - truths[0]) ** 2).mean(tuple(range(t.ndim - 1))) for t in truths[1:]], 0))
    size = np.where(size > 0, size, 1)
    found = []
    for i, truth in enumerate(truths):
        draws = np.asarray(jax.vmap(task.join)({name: values[i] for name, values in drawn.items()}))
        weights = np.broadcast_to(np.asarray(task.weights(data[i]), np.float64), truth.shape[:-1])
        # Another truth is a random point that does not depend on this one.
        found.append(_compare(draws, truth, truths[(i + 1) % len(truths)], weights / weights.sum(), size, shares))
    columns = {name: np.stack([each[name] for each in found]) for name in found[0]}
    ranks = {name: columns[name] for name in FUNCTIONALS}
    uniform = {name: (each + 0.5) / (n + 1) for name, each in ranks.items()}
    return Calibration(
        labels=task.labels,
        levels=shares,
        pointwise=columns["pointwise"].mean(0),
        simultaneous=np.stack([np.clip(level * (n + 1) - columns["deviation"], 0, 1).mean(0) for level in shares]),
        tarp=np.array([np.clip(level * (n + 1) - columns["nearer"], 0, 1).mean() for level in shares]),
        ranks=ranks,
        p_values={name: np.array([kstest(one, "uniform").pvalue for one in each.T]) for name, each in uniform.items()},
        crps=columns["crps"].mean(0),
        spread_skill=np.sqrt((n + 1) / n * columns["variance"].mean(0) / columns["error"].mean(0)),
        draws=n,
    )


def _frames(task: Task, fields) -> np.ndarray:
    """The truth `(frames, *space, c)`."""
    return np.asarray(task.wanted({name: jnp.asarray(fields[name]) for name in task.targets}), np.float64)


def _compare(
    draws: np.ndarray, truth: np.ndarray, other: np.ndarray, weights: np.ndarray, size: np.ndarray, levels: np.ndarray
) -> dict:
    """The ranks and scores of one sample. A rank r of n + 1 stands for the shares from r/(n + 1) to (r + 1)/(n + 1), of which
    the part below a level counts: the expected coverage of a calibrated surrogate is the level itself, for any n."""
    n = len(draws)
    # About the truth, so that large values that vary little keep their digits.
    near = np.asarray(draws, np.float64) - truth
    rank = (near < 0).sum(0)[None]
    low, high = rank / (n + 1), (rank + 1) / (n + 1)
    half = levels.reshape(-1, *(1,) * truth.ndim) / 2
    inside = np.clip(np.minimum(high, 0.5 + half) - np.maximum(low, 0.5 - half), 0, None) * (n + 1)
    points = tuple(range(1, inside.ndim - 1))
    crps, share = (np.asarray(x) for x in _scored(near, weights))
    w = weights[..., None]
    real = w > 0
    space = tuple(range(truth.ndim - 1))
    every = {
        "mean": lambda x: (w * np.where(real, x, 0)).sum(space),
        "rms": lambda x: (w * np.where(real, x, 0) ** 2).sum(space),
        "largest": lambda x: np.where(real, x, -np.inf).max(space),
    }
    ranked = {
        name: np.sum([function(truth + each) < function(truth) for each in near], 0) for name, function in every.items()
    }
    distance = [(w * ((truth + each - other) / size) ** 2).sum() for each in near]
    nearer = np.sum(np.array(distance) < (w * ((truth - other) / size) ** 2).sum())
    return {
        "pointwise": (w * inside).sum(points),
        "deviation": np.round(share * (n + 1) - 0.5),
        "nearer": nearer,
        "crps": (w * crps).sum(space),
        "variance": (w * near.var(0, ddof=1)).sum(space),
        "error": (w * near.mean(0) ** 2).sum(space),
        **ranked,
    }


@jax.jit
def _scored(near: Array, weights: Array) -> tuple[Array, Array]:
    """The score at every point, and the level of the narrowest band, of draws `near` about the truth."""
    zero = jnp.zeros(near.shape[1:], near.dtype)
    forecast = SampleForecast(near.mean(0), near)
    return forecast.crps(zero), forecast.deviation(zero, weights)
