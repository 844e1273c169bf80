"""What `fit` returns, and what fits without an optimiser."""

import abc
import os
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array

from ...datasets.dataset import Dataset
from ..ensemble import Ensemble
from ..surrogate import AbstractSurrogate, Capabilities
from ..task.task import Fields, Place, Task
from .history import History


@dataclass(frozen=True)
class FitResult:
    """What `fit` returns; it stands wherever a surrogate does, as `best`.

    **Fields:** `members` (the best of every seed by validation), `lasts` (the last of every seed), `history`.
    """

    members: tuple[Any, ...]
    lasts: tuple[Any, ...]
    history: History = field(repr=False)

    @property
    def best(self) -> Any:
        """The model of the first seed with the lowest validation error (the last one without validation data)."""
        return self.members[0]

    @property
    def last(self) -> Any:
        """The model of the first seed after the last step."""
        return self.lasts[0]

    @property
    def ensemble(self) -> Ensemble:
        """All seeds as one surrogate, whose `std` is their spread."""
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

    def predict(self, data: Dataset, **options: Any) -> dict[str, np.ndarray]:
        """`AbstractSurrogate.predict` of `best`."""
        return self.best.predict(data, **options)

    def rollout(self, data: Dataset, steps: int) -> Dataset:
        """`AbstractSurrogate.rollout` of `best`."""
        return self.best.rollout(data, steps)

    def save(self, path: str | os.PathLike) -> None:
        """`AbstractSurrogate.save` of `best`."""
        self.best.save(path)


def members_of(model: AbstractSurrogate | FitResult) -> tuple[AbstractSurrogate, ...]:
    """The surrogates of all seeds; a surrogate alone is one."""
    return model.members if isinstance(model, FitResult) else (model,)


class AbstractDirectFit(eqx.Module):
    """A surrogate that is fitted by linear algebra instead of an optimiser."""

    @abc.abstractmethod
    def fitted(self, train: Dataset, val: Dataset | None) -> AbstractSurrogate:
        """The surrogate fitted to `train`; `val` serves for choices and error estimates, where the method has some."""
