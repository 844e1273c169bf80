"""Losses of one predicted frame. They use the same norms as the metrics."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from ...core.arguments import check_fields, number
from ...core.domains import AbstractDomain
from ...solvers.kernels.norms import relative_h1, relative_l2, squared_l2


@runtime_checkable
class Loss(Protocol):
    """A loss of one frame of all targets together, in physical units. Write your own as a frozen dataclass with this `__call__`,
    or as a function.

    **Example:**

        >>> isinstance(sx.losses.MSE(), sx.losses.Loss)
        True
    """

    def __call__(self, u, reference, weights, domain: AbstractDomain) -> Float[Array, ""]:
        """The loss of the prediction `u` against `reference`, both `(*space, c)`, with quadrature weights `(*space)`, at the
        points of `domain`."""
        ...


@dataclass(frozen=True)
class AbstractFieldLoss(abc.ABC):
    """A loss of one target field. The loss of several targets is the weighted mean of their losses, so that the units of one
    field do not decide how well another is learned.

    `u` and `reference` are in units of the standard deviation of the field in the training data, and relative to the origin of
    the field if the task has one (`Task.origins`).

    **Arguments:** `weights`: weight of every field by name, such as `{"p": 0.1}`; 1 for fields that are not named.

    **Raises:** `TypeError` or `ValueError` for weights that are no numbers, or negative.

    **Example:**

        >>> isinstance(sx.losses.RelativeL2(), sx.losses.AbstractFieldLoss)
        True
    """

    weights: Mapping[str, float] | tuple[tuple[str, float], ...] = ()

    def __post_init__(self):
        check_fields(self)
        if isinstance(self.weights, Mapping):
            object.__setattr__(self, "weights", tuple(self.weights.items()))  # which can be hashed
        for name, weight in self.weights:
            number(type(self).__name__, f"weights[{name!r}]", weight, least=0)

    @abc.abstractmethod
    def __call__(self, u, reference, weights, domain: AbstractDomain) -> Float[Array, ""]:
        """The loss of the prediction `u` of one field against `reference`, both `(*space, c)`, with quadrature weights
        `(*space)`, at the points of `domain`."""

    def weight(self, name: str) -> float:
        """The weight of the field `name`."""
        return float(dict(self.weights).get(name, 1.0))


@dataclass(frozen=True)
class RelativeL2(AbstractFieldLoss):
    """‖u − v‖ / ‖v‖ in L2, over all components of a field together, for the prediction u and the truth v.

    It is infinite for a sample whose target is zero everywhere.

    **Example:**

        >>> sx.losses.RelativeL2(weights={"u": 2.0}).weights
        (('u', 2.0),)
    """

    def __call__(self, u, reference, weights, domain: AbstractDomain) -> Float[Array, ""]:
        return relative_l2(u, reference, weights)


@dataclass(frozen=True)
class RelativeH1(AbstractFieldLoss):
    """‖u − v‖_{H¹} / ‖v‖_{H¹}, with gradients by finite differences. It needs a grid.

    It is infinite for a sample whose target is zero everywhere.

    **Example:**

        >>> sx.Supervised(loss=sx.losses.RelativeH1()).loss
        RelativeH1(weights=())
    """

    def __call__(self, u, reference, weights, domain: AbstractDomain) -> Float[Array, ""]:
        grid = domain.as_grid("RelativeH1")
        return relative_h1(u, reference, weights, grid.spacing, tuple(lay == "periodic" for lay in grid.layouts))


@dataclass(frozen=True)
class MSE(AbstractFieldLoss):
    """∫ (u − v)² / volume, summed over the components of a field: the mean squared error, in units of the field's variance.

    **Example:**

        >>> sx.Supervised(loss=sx.losses.MSE()).loss
        MSE(weights=())
    """

    def __call__(self, u, reference, weights, domain: AbstractDomain) -> Float[Array, ""]:
        return squared_l2(u - reference, weights).sum() / weights.sum()
