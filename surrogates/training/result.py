"""`FitResult`, which `fit` returns, and `AbstractDirectFit`, the base class of models that are fitted without an optimiser."""

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
    """The result of `fit`. It can be used in place of a surrogate and then behaves as `best`.

    **Fields:**

    - `members`: one model per seed, with the parameters that had the lowest validation error (the last ones without `val`).
    - `lasts`: one model per seed, with the parameters after the last step.
    - `history`: losses, validation errors and times.
    """

    members: tuple[Any, ...]
    lasts: tuple[Any, ...]
    history: History = field(repr=False)

    @property
    def best(self) -> Any:
        """The first of `members`: the model of the first seed with its best parameters by validation error."""
        return self.members[0]

    @property
    def last(self) -> Any:
        """The first of `lasts`: the model of the first seed after the last step."""
        return self.lasts[0]

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
    """The members of a result of `fit`, one per seed; a single surrogate is returned as a tuple of one."""
    return model.members if isinstance(model, FitResult) else (model,)


class AbstractDirectFit(eqx.Module):
    """The settings of a surrogate that `fit` fits by linear algebra instead of an optimiser, such as `PODRegression`."""

    @abc.abstractmethod
    def fitted(self, train: Dataset, val: Dataset | None) -> AbstractSurrogate:
        """The surrogate fitted to `train`. A method that makes choices or estimates errors uses `val` for them."""
