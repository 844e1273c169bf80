"""Losses of one prediction in physical units, from the same norms as the metrics."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from ...core.domains import AbstractDomain
from ...solvers.kernels.norms import relative_h1, relative_l2, squared_l2


@runtime_checkable
class Loss(Protocol):
    """`loss(u, reference, weights, domain)`: fields `(*space, c)`, quadrature weights `(*space)`, and where they live."""

    def __call__(self, u, reference, weights, domain: AbstractDomain) -> Float[Array, ""]: ...


@dataclass(frozen=True)
class RelativeL2:
    """‖u − v‖ / ‖v‖, all channels of a sample together."""

    def __call__(self, u, reference, weights, domain: AbstractDomain) -> Float[Array, ""]:
        return relative_l2(u, reference, weights)


@dataclass(frozen=True)
class RelativeH1:
    """‖u − v‖_{H¹} / ‖v‖_{H¹} with finite-difference gradients; grids only."""

    def __call__(self, u, reference, weights, domain: AbstractDomain) -> Float[Array, ""]:
        grid = domain.as_grid("RelativeH1")
        return relative_h1(u, reference, weights, grid.spacing, tuple(lay == "periodic" for lay in grid.layouts))


@dataclass(frozen=True)
class MSE:
    """‖u − v‖² / volume, summed over channels."""

    def __call__(self, u, reference, weights, domain: AbstractDomain) -> Float[Array, ""]:
        return squared_l2(u - reference, weights).sum() / weights.sum()
