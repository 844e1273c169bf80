"""What `fit` returns, and what fits without an optimiser."""

from dataclasses import dataclass, field

import equinox as eqx

from ...datasets.dataset import Dataset
from ..surrogate import AbstractSurrogate
from .history import History


@dataclass(frozen=True)
class FitResult:
    """What `fit` returns; it stands wherever a surrogate does, as `best`.

    **Fields:** `members` (the best of every seed by validation), `lasts` (the last of every seed), `history`.
    """

    members: tuple[AbstractSurrogate, ...]
    lasts: tuple[AbstractSurrogate, ...]
    history: History = field(repr=False)

    @property
    def best(self) -> AbstractSurrogate:
        """Of the first seed, the parameters with the lowest validation error (the last ones without validation data)."""
        return self.members[0]

    @property
    def last(self) -> AbstractSurrogate:
        return self.lasts[0]

    @property
    def task(self):
        return self.best.task

    @property
    def capabilities(self):
        return self.best.capabilities

    @property
    def parameters(self) -> int:
        return self.best.parameters

    def __call__(self, fields, at=None):
        return self.best(fields, at)

    def predict(self, data: Dataset, **options):
        return self.best.predict(data, **options)

    def rollout(self, data: Dataset, steps: int) -> Dataset:
        return self.best.rollout(data, steps)

    def save(self, path):
        self.best.save(path)


class DirectFit(eqx.Module):
    """A surrogate that is fitted by linear algebra instead of an optimiser: `fitted(train, val)` returns the result."""

    def fitted(self, train: Dataset, val: Dataset | None) -> AbstractSurrogate:
        raise TypeError(f"{type(self).__name__} must define `fitted(train, val)`")
