"""Functions on a box as coefficients of the eigenfunctions of the Laplacian that suit its boundary conditions."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.domains import AbstractDomain, Box, Grid
from ...solvers.kernels.interpolate import apply_along_axes
from ...solvers.kernels.laplacian_eigenbasis import eigenfunctions, eigenvalues, known_modes
from ...solvers.pde.pointwise_derivatives import AbstractDerivatives, Orders


@dataclass(frozen=True)
class SpectralSpace:
    """u(x) = Σ_k û_k φ_k(x) with orthonormal products φ_k of sines and cosines: a Fourier series along periodic axes, sines along
    Dirichlet and cosines along Neumann axes, so that every u fulfils the homogeneous conditions of the box.

    Coefficients are arrays `(*modes, c)`.
    """

    box: Box
    modes: tuple[int, ...]

    def grid(self, factor: float = 1.0) -> Grid:
        """The smallest natural grid on which the functions stay orthonormal, with `factor` times the modes per axis."""
        shape = []
        for m, boundary in zip(self.modes, self.box.conditions, strict=True):
            n = math.ceil(factor * m)
            shape.append(n + {"dirichlet": 2, "neumann": 0, "periodic": (n + 1) % 2}[boundary])
        return self.box.grid(tuple(shape))

    def coefficients(self, values: Float[Array, "*space c"], grid: Grid) -> Float[Array, "*modes c"]:
        """∫ u φ_k dx by the quadrature of `grid`, from values at its points; exact where the grid resolves u.

        **Raises:** `ValueError` for a grid with fewer points than modes.
        """
        known = [known_modes(n, b) for n, b in zip(grid.shape, self.box.conditions, strict=True)]
        if any(n < m for n, m in zip(known, self.modes, strict=True)):
            raise ValueError(
                f"{grid} knows {tuple(known)} functions per axis, of {self.modes} that are asked for; give inputs on a finer "
                "grid, or use fewer modes"
            )
        matrices = [
            (h * self._along(axis, x)).T for axis, (h, x) in enumerate(zip(grid.spacing, grid.coordinates, strict=True))
        ]
        return apply_along_axes(values, matrices)

    def values(
        self, coefficients: Float[Array, "*modes c"], grid: Grid, orders: Orders | None = None
    ) -> Float[Array, "*space c"]:
        """The function, or its derivative of the given orders, at the points of a grid."""
        orders = (0,) * len(self.modes) if orders is None else orders
        matrices = [
            np.asarray(self._along(axis, x, order))
            for axis, (x, order) in enumerate(zip(grid.coordinates, orders, strict=True))
        ]
        return apply_along_axes(coefficients, matrices)

    def at(self, coefficients: Float[Array, "*modes c"], place: AbstractDomain) -> Float[Array, "*points c"]:
        """The function at the points of a grid or a cloud."""
        points = place.sites().points
        if place.space_axes == place.ndim:  # one axis per coordinate: the points are a product of lines
            lines = [points[tuple(slice(None) if a == axis else 0 for a in range(place.ndim))][:, axis]
                     for axis in range(place.ndim)]  # fmt: skip
            return apply_along_axes(coefficients, [self._along(axis, x) for axis, x in enumerate(lines)])
        value = jnp.tensordot(self._along(0, points[:, 0]), coefficients, 1, precision="highest")
        for axis in range(1, place.ndim):
            value = jnp.einsum("pm,pm...->p...", self._along(axis, points[:, axis]), value, precision="highest")
        return value

    @property
    def eigenvalues(self) -> Float[np.ndarray, "*modes"]:
        """|k|², of −Δ."""
        total = np.zeros(())
        for m, axis, boundary in zip(self.modes, self.box.axes, self.box.conditions, strict=True):
            total = total[..., None] + eigenvalues(m, axis.length, boundary)
        return total

    def _along(self, axis: int, x, order: int = 0):
        own, boundary = self.box.axes[axis], self.box.conditions[axis]
        return eigenfunctions(self.modes[axis], x - own.start, own.length, boundary, order)


@dataclass(frozen=True, eq=False)
class InSpace(AbstractDerivatives):
    """A function by its coefficients `(*modes,)`, with exact derivatives at the points of a grid."""

    hat: Float[Array, "*modes"]
    space: SpectralSpace
    grid: Grid

    @property
    def names(self) -> tuple[str, ...]:
        return self.space.box.names

    @property
    def coordinates(self) -> tuple[Array, ...]:
        meshes = np.meshgrid(*self.grid.coordinates, indexing="ij", sparse=True)
        return tuple(jnp.asarray(x, self.hat.dtype) for x in meshes)

    def derivative(self, orders: Orders) -> Array:
        return self.space.values(self.hat[..., None], self.grid, orders)[..., 0]
