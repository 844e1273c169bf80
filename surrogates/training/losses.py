"""Losses of one prediction in physical units, from the same norms as the metrics."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from ...core.domains import Grid
from ...solvers.kernels.norms import relative_h1, relative_l2, squared_l2


@runtime_checkable
class Loss(Protocol):
    """`loss(u, reference, weights, grid)`: fields `(*space, c)`, quadrature weights `(*space)`, grid or None for points."""

    def __call__(self, u, reference, weights, grid: Grid | None) -> Float[Array, ""]: ...


@dataclass(frozen=True)
class RelativeL2:
    """‖u − v‖ / ‖v‖, all channels of a sample together."""

    def __call__(self, u, reference, weights, grid: Grid | None = None) -> Float[Array, ""]:
        return relative_l2(u, reference, weights)


@dataclass(frozen=True)
class RelativeH1:
    """‖u − v‖_{H¹} / ‖v‖_{H¹} with finite-difference gradients; grids only."""

    def __call__(self, u, reference, weights, grid: Grid | None = None) -> Float[Array, ""]:
        if grid is None:
            raise ValueError("RelativeH1 needs a grid: point clouds have no differences")
        return relative_h1(u, reference, weights, grid.spacing, tuple(lay == "periodic" for lay in grid.layouts))


@dataclass(frozen=True)
class MSE:
    """‖u − v‖² / volume, summed over channels."""

    def __call__(self, u, reference, weights, grid: Grid | None = None) -> Float[Array, ""]:
        return squared_l2(u - reference, weights).sum() / weights.sum()
