"""`FitResult`, which `fit` returns, and `AbstractDirectFit`, the base class of models that are fitted without an optimiser."""

import abc
import os
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array

from ...datasets.dataset import Dataset
from ..batching import Batch
from ..ensemble import Ensemble
from ..given_data import Given
from ..surrogate import AbstractObserving, AbstractSurrogate, Capabilities, conditionable, generative, probabilistic
from ..task.task import Fields, Place, Task
from .history import History


@dataclass(frozen=True, repr=False)
class FitResult:
    """The result of `fit`. It can be used in place of a surrogate and then behaves as `best`.

    With several seeds, `best` is the one with the lowest validation error.

    **Fields:**

    - `members`: one model per seed, with the parameters that had the lowest validation error (the last ones without `val`).
    - `lasts`: one model per seed, with the parameters after the last step.
    - `history`: losses, validation errors and times.

    **Example:**

        >>> fit = sx.fit(sx.LinearSpectral(task, modes=4), ds)
        >>> type(fit.best).__name__
        'FittedLinearSpectral'
    """

    members: tuple[Any, ...]
    lasts: tuple[Any, ...]
    history: History

    @property
    def best_seed(self) -> int:
        """The number of the seed with the lowest validation error; 0 without validation."""
        errors = self.history.best_error
        return int(np.argmin(errors)) if len(errors) == len(self.members) else 0

    @property
    def best(self) -> Any:
        """The best model by validation error: of the best seed, with its best parameters."""
        return self.members[self.best_seed]

    @property
    def last(self) -> Any:
        """The model of the same seed after the last step."""
        return self.lasts[self.best_seed]

    @property
    def ensemble(self) -> Ensemble:
        """The members of all seeds as one surrogate, whose `std` is their standard deviation.

        **Raises:** `ValueError` with fewer than two seeds.
        """
        return Ensemble(self.members)  # pyright: ignore[reportCallIssue]

    @property
    def task(self) -> Task:
        return self.best.task

    @property
    def capabilities(self) -> Capabilities:
        return self.best.capabilities

    @property
    def parameters(self) -> int:
        return self.best.parameters

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        return self.best(fields, at)

    def on_batch(self, batch: Batch, at: Place | None = None) -> dict[str, Array]:
        """`AbstractSurrogate.on_batch` of `best`."""
        return self.best.on_batch(batch, at)

    def predict(self, data: Given, **options: Any) -> dict[str, np.ndarray]:
        """`AbstractSurrogate.predict` of `best`."""
        return self.best.predict(data, **options)

    def predict_std(self, data: Given, **options: Any) -> dict[str, np.ndarray]:
        """`AbstractSurrogate.predict_std` of `best`."""
        return self.best.predict_std(data, **options)

    def predict_samples(self, data: Given, n: int, **options: Any) -> dict[str, np.ndarray]:
        """`AbstractSurrogate.predict_samples` of `best`."""
        return self.best.predict_samples(data, n, **options)

    def posterior(self, obs: Any, **options: Any) -> Any:
        """`AbstractPrior.posterior` of `best`, a `Denoiser`."""
        return conditionable(self.best).posterior(obs, **options)

    def conditioned(self, obs: Any, **options: Any) -> AbstractObserving:
        """`AbstractPrior.conditioned` of `best`, a `Denoiser`."""
        return conditionable(self.best).conditioned(obs, **options)

    def std(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        """`AbstractProbabilistic.std` of `best`."""
        return probabilistic(self.best).std(fields, at)

    def samples(self, fields: Fields, n: int, *, key: Array, at: Place | None = None) -> dict[str, Array]:
        """`AbstractGenerative.samples` of `best`."""
        return generative(self.best).samples(fields, n, key=key, at=at)

    def rollout(self, data: Given, steps: int) -> Dataset:
        """`AbstractSurrogate.rollout` of `best`."""
        return self.best.rollout(data, steps)

    def save(self, path: str | os.PathLike) -> None:
        """`AbstractSurrogate.save` of `best`."""
        self.best.save(path)

    def export(self, path: str | os.PathLike, **options: Any) -> None:
        """`AbstractSurrogate.export` of `best`."""
        self.best.export(path, **options)

    def report(self, path: str | os.PathLike, data: Dataset | None = None) -> None:
        """Write one HTML file with the losses per epoch and, with `data` on a grid, errors, predictions and a spectrum."""
        from ..evaluation.evaluate import evaluate  # evaluates results
        from ..evaluation.plots import plot_predictions, plot_spectrum
        from ..evaluation.report import AbstractPart, Paragraph, Picture, Results, write_report

        parts: list[AbstractPart] = [Paragraph(repr(self)), Paragraph(repr(self.task))]
        if self.history.loss:
            parts.append(Picture("Loss and validation error per epoch.", self.history.plot()))
        if data is not None:
            parts.append(Results(evaluate({type(self.best).__name__: self}, data)))
            parts.append(Picture("Samples: input, truth, prediction, error.", plot_predictions(self, data)))
            parts.append(Picture("Energy spectrum.", plot_spectrum({type(self.best).__name__: self}, data)))
        write_report(path, type(self.best).__name__, parts)

    def __repr__(self) -> str:
        history, parts = self.history, []
        if len(self.members) > 1:
            parts.append(f"{len(self.members)} seeds")
        if history.rounds:
            parts.append(f"{history.duration} in {sum(history.seconds):.3g} s, loss {np.mean(history.loss[-1]):.4g}")
        if history.val:
            of = f" (seed {self.best_seed})" if len(self.members) > 1 else ""
            parts.append(f"best validation error {np.min(history.best_error):.4g}{of}")
        return f"FitResult({', '.join([type(self.best).__name__, *parts])})"


def members_of(model: AbstractSurrogate | FitResult) -> tuple[AbstractSurrogate, ...]:
    """The members of a result of `fit`, one per seed; a single surrogate is returned as a tuple of one."""
    return model.members if isinstance(model, FitResult) else (model,)


class AbstractDirectFit(eqx.Module):
    """The settings of a surrogate that `fit` fits by linear algebra instead of an optimiser, such as `PODRegression`.

    **Example:**

        >>> isinstance(sx.PODRegression(task, rank=4), sx.AbstractDirectFit)
        True
    """

    @abc.abstractmethod
    def fitted(self, train: Dataset, val: Dataset | None) -> AbstractSurrogate:
        """The surrogate fitted to `train`. A method that makes choices or estimates errors uses `val` for them."""
