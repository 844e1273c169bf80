"""Derivatives of fields that are known on a uniform grid."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.domains import Grid
from ..kernels.differentiation import finite_difference_matrix, fourier_matrix
from ..kernels.interpolate import apply_along_axes
from .pointwise_derivatives import AbstractDerivatives, Orders


@dataclass(frozen=True, eq=False)
class OnGrid(AbstractDerivatives):
    """A field by its values on a grid, and at instants if in time: Fourier series along periodic axes, finite differences
    along the others and along time.

    Smooth periodic fields get derivatives to rounding, which grows like the number of points to the power of the order;
    elsewhere the error is O(h^accuracy), also beside the sides, where the formulas are one-sided.

    **Arguments:**

    - `values`: `(*space)`, or `(t, *space)` with `times`.
    - `times`: the instants, increasing, not necessarily uniform.
    - `at`: coordinates, by name, at which to evaluate instead of at those of the grid; an axis keeps its place in the arrays
      with length 1. `at={"x": 0.0}` is a side of the box, `at={"t": 0.0}` the start.
    - `accuracy`: order of the finite differences; every axis needs `accuracy` + 4 points for fourth derivatives.
    """

    values: Float[Array, "..."]
    grid: Grid
    times: Float[np.ndarray, " t"] | None = None
    at: Mapping[str, float] = field(default_factory=dict)
    accuracy: int = 6

    @property
    def names(self) -> tuple[str, ...]:
        return self.grid.names + ("t",) * (self.times is not None)

    @property
    def coordinates(self) -> tuple[Array, ...]:
        lines = {name: np.array([self.at[name]]) if name in self.at else self._nodes[name] for name in self._order}
        meshes = np.meshgrid(*lines.values(), indexing="ij", sparse=True)
        found = dict(zip(lines, meshes, strict=True))
        return tuple(jnp.asarray(found[name], self.values.dtype) for name in self.names)

    def derivative(self, orders: Orders) -> Array:
        wanted = dict(zip(self.names, orders, strict=True))
        values = self.values
        for axis, name in enumerate(self._order):
            if wanted[name] or name in self.at:
                values = apply_along_axes(values, [self._matrix(name, wanted[name])], axis)
        return values

    @property
    def _order(self) -> tuple[str, ...]:
        """The coordinates in the order of the array's axes."""
        return ("t",) * (self.times is not None) + self.grid.names

    @cached_property
    def _nodes(self) -> dict[str, np.ndarray]:
        nodes = dict(zip(self.grid.names, self.grid.coordinates, strict=True))
        return nodes if self.times is None else nodes | {"t": np.asarray(self.times, np.float64)}

    def _matrix(self, name: str, order: int) -> np.ndarray:
        nodes = self._nodes[name]
        targets = np.array([self.at[name]]) if name in self.at else nodes
        layouts = dict(zip(self.grid.names, self.grid.layouts, strict=True))
        if layouts.get(name) == "periodic":
            length = self.grid.box.extent[self.grid.names.index(name)]
            return fourier_matrix(nodes, targets, length, order)
        return finite_difference_matrix(nodes, targets, order, self.accuracy)
