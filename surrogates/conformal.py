"""Conformal prediction: bands around any surrogate that contain the truth with a given probability."""

import math
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.arguments import checked, number
from ..core.storage import register
from ..datasets.dataset import Dataset
from .surrogate import (
    AbstractInterval,
    AbstractRelative,
    AbstractSurrogate,
    Capabilities,
    about_origin,
    probabilistic,
)
from .task.task import Fields, Place, Task
from .trainable import Buffer
from .training.result import FitResult

_FLOOR = 1e-3  # of a target's standard deviation, added to predicted ones, which may be zero


@register("ConformalBand")
class ConformalBand(AbstractInterval, AbstractRelative):
    """A surrogate with calibrated bands; see `conformal`. Its prediction is that of the surrogate.

    **Fields:** `surrogate`; `scores`, the sorted scores of the calibration samples, `(n,)`, or `(n, *values)` by target if the
    band is not `simultaneous`; `level`, the default of `predict_interval` and `coverage`.

    **Example:**

        >>> band = sx.conformal(sx.MeanField(task), ds, level=0.8)
        >>> type(band).__name__, band.level
        ('ConformalBand', 0.8)
    """

    surrogate: AbstractSurrogate
    scores: Buffer
    level: float = eqx.field(static=True)
    simultaneous: bool = eqx.field(static=True)

    @property
    def task(self) -> Task:
        return self.surrogate.task

    @property
    def capabilities(self) -> Capabilities:
        return replace(self.surrogate.capabilities, has_std=False, has_samples=False)

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        return self.surrogate(fields, at)

    def interval(
        self, fields: Fields, level: float, at: Place | None = None
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Lower and upper end of the band of one sample.

        **Raises:** `ValueError` for a level that the number of calibration samples does not reach, and without `simultaneous` for
        other points than those of the calibration.
        """
        middle, radius = self.surrogate(fields, at), self._radius(level)
        std = probabilistic(self.surrogate).std(fields, at) if self.surrogate.capabilities.has_std else None
        half = {n: self._at(radius, n, u.shape) * _width(self.task, std, n) for n, u in middle.items()}
        return {n: middle[n] - half[n] for n in middle}, {n: middle[n] + half[n] for n in middle}

    @checked
    def predict_interval(
        self, data: Dataset, *, level: float | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Lower and upper ends for all samples of a dataset, in the shapes and units of `predict`."""
        radius = self._radius(self.level if level is None else level)
        middle, std = _predicted(self.surrogate, data)
        half = {n: self._at(radius, n, x.shape[1:]) * _width(self.task, std, n) for n, x in middle.items()}
        half = {n: np.asarray(x, np.float64) for n, x in half.items()}
        return {n: x - half[n] for n, x in middle.items()}, {n: x + half[n] for n, x in middle.items()}

    @checked
    def coverage(self, data: Dataset, *, level: float | None = None) -> float:
        """The share of samples whose truth lies in the band everywhere; without `simultaneous` the share of values in it."""
        radius, found = self._radius(self.level if level is None else level), _scores(self.surrogate, data)
        if self.simultaneous:
            return float((_largest(found) <= float(radius)).mean())
        inside = [np.ravel(found[n] <= np.asarray(self._at(radius, n, found[n].shape[1:]))) for n in found]
        return float(np.concatenate(inside).mean())

    def about_origin(self) -> "ConformalBand":
        return replace(self, surrogate=about_origin(self.surrogate))

    def _radius(self, level: float):
        """The order statistic of the scores at `level`."""
        n = len(jax.tree.leaves(self.scores.value)[0])
        return jax.tree.map(lambda s: s[_rank(n, level) - 1], self.scores.value)

    def _at(self, radius, name: str, shape: tuple[int, ...]):
        """The radius of one target. **Raises:** `ValueError` for values at other points than those of the calibration."""
        if self.simultaneous:
            return radius
        if radius[name].shape != shape:
            raise ValueError(
                f"the band of {name!r} was calibrated at {radius[name].shape} values, and is asked for {shape}; a simultaneous "
                "band serves other resolutions"
            )
        return radius[name]


@checked
def conformal(
    surrogate: AbstractSurrogate | FitResult, calibration: Dataset, *, level: float = 0.9, simultaneous: bool = True
) -> ConformalBand:
    """Bands u ± q w around the predictions u of a surrogate that contain the truth with probability `level` or more (split
    conformal prediction). They hold for finitely many samples and any surrogate, if calibration samples and later ones are
    exchangeable and had no part in the training.

    The score of a calibration sample is |truth − u| / w; q is its ⌈(n + 1) · level⌉-th smallest value among n samples. w is the
    predicted standard deviation where the surrogate has one (plus a thousandth of the target's), so that the band is wide where
    the surrogate is unsure; else the target's standard deviation in the training data.

    **Arguments:**

    - `surrogate`: any surrogate, or a result of `fit`, of which the best model is taken.
    - `calibration`: samples with targets that neither trained nor selected the surrogate; 100 to 1000. Of a trajectory the one
      prediction from its start counts, because windows of one trajectory are not exchangeable with those of another.
    - `level`: the wanted probability, below n/(n + 1).
    - `simultaneous`: the score is the largest over all points, frames and targets, so that the whole field is in the band with
      probability `level`. False gives each value an interval of its own, which holds value by value.

    A simultaneous band also serves other resolutions (`at=…`): its q is a maximum over the points of the calibration, which a
    finer grid may exceed where errors are rough. Out of distribution nothing is guaranteed; `band.coverage(test)` measures.

    **Raises:** `ValueError` for a level that n samples cannot reach, and for errors that are not finite.

    **Source:** Vovk, Gammerman and Shafer 2005; Lei et al., JASA 2018 (split); Diquigiovanni, Fontana and Vantini 2022
    (functions).

    **Example:**

        >>> band = sx.conformal(sx.MeanField(task), ds, level=0.8)
        >>> band.predict(ds[:2])["u"].shape
        (2, 16)
    """
    model = surrogate.best if isinstance(surrogate, FitResult) else surrogate
    level = number("conformal", "level", level, above=0, below=1)
    model.task.check(calibration)
    _rank(len(calibration), level)
    found = _scores(model, calibration)
    if any(not np.isfinite(s).all() for s in found.values()):
        raise ValueError("conformal: the surrogate's errors on the calibration samples are not all finite")
    scores = _largest(found) if simultaneous else found
    ranked = jax.tree.map(lambda s: jnp.asarray(_rounded_up(np.sort(s, 0))), scores)
    return ConformalBand(model, Buffer(ranked), level, simultaneous)  # pyright: ignore[reportCallIssue]


def _rounded_up(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """In float32 and no smaller, so that the sample whose score is the radius lies in the band."""
    near = x.astype(np.float32)
    return np.where(near < x, np.nextafter(near, np.float32(np.inf)), near)


def _rank(n: int, level: float) -> int:
    """⌈(n + 1) · level⌉. **Raises:** `ValueError` if it exceeds n: the band would be infinite."""
    level = number("interval", "level", level, above=0, below=1)
    rank = math.ceil((n + 1) * level * (1 - 1e-12))
    if rank > n:
        raise ValueError(
            f"a band at level {level:g} from {n} calibration samples is infinite; "
            f"{math.ceil(level / (1 - level) - 1e-9)} or more are needed"
        )
    return rank


def _predicted(surrogate: AbstractSurrogate, data: Dataset):
    """Predictions and their standard deviations by name; None where the surrogate has none."""
    return surrogate.predict(data), surrogate.predict_std(data) if surrogate.capabilities.has_std else None


def _width(task: Task, std, name: str):
    """w: the predicted standard deviation and a floor; without one the deviation of the target."""
    scale = {n: s for n, _, s in task.target_parts()}[name]
    return scale if std is None else std[name] + _FLOOR * scale


def _scores(surrogate: AbstractSurrogate, data: Dataset) -> dict[str, Float[np.ndarray, "n *values"]]:
    """|truth − prediction| / w of all values, by target; zero at padded points."""
    task, mode = surrogate.task, surrogate.task.mode
    middle, std = _predicted(surrogate, data)
    domain, found = data.domains[task.place], {}
    sites = None if domain.fixed else domain.sites(data.read(list(domain.arrays)))
    for name, u in middle.items():
        truth, spec = np.asarray(data[name], np.float64), task.spec(name)
        if spec.time:
            truth = truth[:, mode.history : mode.history + mode.ahead]
            truth = truth[:, 0] if mode.single else truth
        score = np.abs(truth - u) / np.asarray(_width(task, std, name), np.float64)
        if sites is not None and sites.mask is not None:
            mask = np.asarray(sites.mask)[(slice(None), *(None,) * (spec.time and not mode.single))]
            score = np.where(mask[(..., *(None,) * len(spec.components))], score, 0)
        found[name] = score
    return found


def _largest(scores: dict[str, np.ndarray]) -> Float[np.ndarray, " n"]:
    """The largest score of every sample."""
    return np.max([s.reshape(len(s), -1).max(1) for s in scores.values()], 0)
