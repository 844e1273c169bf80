"""Losses of one predicted frame in physical units. They use the same norms as the metrics."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from ...core.domains import AbstractDomain
from ...solvers.kernels.norms import relative_h1, relative_l2, squared_l2


@runtime_checkable
class Loss(Protocol):
    """A loss of one frame. Write your own as a frozen dataclass with this `__call__`."""

    def __call__(self, u, reference, weights, domain: AbstractDomain) -> Float[Array, ""]:
        """The loss of the prediction `u` against `reference`, both `(*space, c)`, with quadrature weights `(*space)`, at the
        points of `domain`."""
        ...


@dataclass(frozen=True)
class RelativeL2:
    """‖u − v‖ / ‖v‖ in L2, over all channels together, for the prediction u and the truth v."""

    def __call__(self, u, reference, weights, domain: AbstractDomain) -> Float[Array, ""]:
        return relative_l2(u, reference, weights)


@dataclass(frozen=True)
class RelativeH1:
    """‖u − v‖_{H¹} / ‖v‖_{H¹}, with gradients by finite differences. It needs a grid."""

    def __call__(self, u, reference, weights, domain: AbstractDomain) -> Float[Array, ""]:
        grid = domain.as_grid("RelativeH1")
        return relative_h1(u, reference, weights, grid.spacing, tuple(lay == "periodic" for lay in grid.layouts))


@dataclass(frozen=True)
class MSE:
    """∫ (u − v)² / volume, summed over channels: the mean squared error."""

    def __call__(self, u, reference, weights, domain: AbstractDomain) -> Float[Array, ""]:
        return squared_l2(u - reference, weights).sum() / weights.sum()
