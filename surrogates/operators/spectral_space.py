"""Functions on a box, and in time, as coefficients of orthonormal functions that suit its boundary conditions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.domains import AbstractDomain, Box, Grid
from ...solvers.kernels.interpolate import apply_along_axes
from ...solvers.kernels.laplacian_eigenbasis import eigenfunctions, eigenvalues, known_modes
from ...solvers.kernels.legendre import gauss_points, polynomials
from ...solvers.pde.declaration import Interval
from ...solvers.pde.pointwise_derivatives import AbstractDerivatives, Orders


@dataclass(frozen=True)
class SpectralSpace:
    """u(x) = Σ_k û_k φ_k(x) with orthonormal products φ_k of sines and cosines: a Fourier series along periodic axes, sines along
    Dirichlet and cosines along Neumann axes, so that every u fulfils the homogeneous conditions of the box.

    With a `time` interval every φ_k has a factor more, one of the first `degrees` orthonormal polynomials of the time from its
    start on. Time is then the first axis of all arrays, and its collocation points are Gauss's.

    Coefficients are arrays `(*modes, c)` or `(degrees, *modes, c)`.
    """

    box: Box
    modes: tuple[int, ...]
    time: Interval | None = None
    degrees: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an array of coefficients, without channels."""
        return self.modes if self.time is None else (self.degrees, *self.modes)

    @property
    def size(self) -> float:
        """The volume of the box, times the length of the time."""
        return math.prod(self.box.extent) * (1.0 if self.time is None else self.time.length)

    @property
    def still(self) -> "SpectralSpace":
        """The functions of space alone."""
        return replace(self, time=None, degrees=0)

    def grid(self, factor: float = 1.0) -> Grid:
        """The smallest natural grid on which the functions of space stay orthonormal, with `factor` times the modes per axis."""
        shape = []
        for m, boundary in zip(self.modes, self.box.conditions, strict=True):
            n = math.ceil(factor * m)
            shape.append(n + {"dirichlet": 2, "neumann": 0, "periodic": (n + 1) % 2}[boundary])
        return self.box.grid(tuple(shape))

    def instants(self, factor: float = 1.0) -> np.ndarray | None:
        """Gauss points in time, counted from its start, `factor` times as many as there are degrees."""
        return None if self.time is None else gauss_points(math.ceil(factor * self.degrees), self.time.length)[0]

    def weights(self, grid: Grid, instants: np.ndarray | None) -> np.ndarray:
        """The weights of the quadrature on `grid`, in time times those of as many Gauss points as there are `instants`. They have
        the shape of values at these points without channels, `(*space,)` or `(times, *space)`."""
        if self.time is None or instants is None:
            return np.asarray(grid.weights)
        own = gauss_points(len(instants), self.time.length)[1]
        return own[(slice(None), *(None,) * grid.ndim)] * np.asarray(grid.weights)

    def coefficients(self, values: Float[Array, "*points c"], grid: Grid) -> Float[Array, "*modes c"]:
        """∫ u φ_k by the quadrature of `grid`, and of Gauss points in time, from values there; exact where they resolve u.

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
        if self.time is not None:
            t, w = gauss_points(values.shape[0], self.time.length)
            matrices = [(w[:, None] * polynomials(self.degrees, t, self.time.length)).T, *matrices]
        return apply_along_axes(values, matrices)

    def values(
        self,
        coefficients: Float[Array, "*modes c"],
        grid: Grid,
        orders: Orders | None = None,
        instants: np.ndarray | None = None,
    ) -> Float[Array, "*points c"]:
        """The function, or its derivative of the given orders (time first), at the points of a grid, and at `instants`."""
        orders = (0,) * len(self.shape) if orders is None else orders
        matrices = [
            np.asarray(self._along(axis, x, order))
            for axis, (x, order) in enumerate(zip(grid.coordinates, orders[-grid.ndim :], strict=True))
        ]
        if self.time is not None:
            assert instants is not None
            matrices = [polynomials(self.degrees, instants, self.time.length, orders[0]), *matrices]
        return apply_along_axes(coefficients, matrices)

    def at(self, coefficients: Float[Array, "*modes c"], place: AbstractDomain) -> Float[Array, "*points c"]:
        """The function at the points of a grid or a cloud; in time at those of `place.over_time(…)`."""
        points = place.sites().points
        if place.space_axes == place.ndim:  # one axis per coordinate: the points are a product of lines
            lines = [points[tuple(slice(None) if a == axis else 0 for a in range(place.ndim))][:, axis]
                     for axis in range(place.ndim)]  # fmt: skip
            return apply_along_axes(coefficients, [self._functions(axis, x) for axis, x in enumerate(lines)])
        flat = points.reshape(-1, points.shape[-1])
        value = jnp.tensordot(self._functions(0, flat[:, 0]), coefficients, 1, precision="highest")
        for axis in range(1, place.ndim):
            value = jnp.einsum("pm,pm...->p...", self._functions(axis, flat[:, axis]), value, precision="highest")
        return value.reshape(*points.shape[:-1], -1)

    @property
    def eigenvalues(self) -> Float[np.ndarray, "*modes"]:
        """|k|², of −Δ."""
        total = np.zeros(())
        for m, axis, boundary in zip(self.modes, self.box.axes, self.box.conditions, strict=True):
            total = total[..., None] + eigenvalues(m, axis.length, boundary)
        return total

    def _functions(self, axis: int, x):
        """Those of one axis of the coefficients."""
        if self.time is None:
            return self._along(axis, x)
        return self._along(axis - 1, x) if axis else polynomials(self.degrees, x, self.time.length)

    def _along(self, axis: int, x, order: int = 0):
        own, boundary = self.box.axes[axis], self.box.conditions[axis]
        return eigenfunctions(self.modes[axis], x - own.start, own.length, boundary, order)


@dataclass(frozen=True, eq=False)
class InSpace(AbstractDerivatives):
    """A function by its coefficients `(*modes,)`, with exact derivatives at the points of a grid, and at `instants`."""

    hat: Float[Array, "*modes"]
    space: SpectralSpace
    grid: Grid
    instants: np.ndarray | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return self.space.box.names + ("t",) * (self.instants is not None)

    @property
    def coordinates(self) -> tuple[Array, ...]:
        lines = list(self.grid.coordinates)
        if self.space.time is not None and self.instants is not None:
            lines = [self.space.time.start + self.instants, *lines]
        meshes = np.meshgrid(*lines, indexing="ij", sparse=True)
        found = [jnp.asarray(x, self.hat.dtype) for x in meshes]
        return tuple(found if self.instants is None else (*found[1:], found[0]))

    def derivative(self, orders: Orders) -> Array:
        if self.instants is not None:
            orders = (orders[-1], *orders[:-1])
        return self.space.values(self.hat[..., None], self.grid, orders, self.instants)[..., 0]


@dataclass(frozen=True)
class InverseLaplacian:
    """The unknown ψ with −Δψ = w, for an unknown w called `of`, in the coefficients: ψ̂_k = ŵ_k / |k|², without mean if the box
    leaves it free. It is an entry of `solved` of `NeuralSpectral`.

    **Example:**

        >>> flow = sx.problem("navier_stokes", f=0.0, stream_function=True, duration=1.0)
        >>> model = sx.NeuralSpectral(
        ...     flow, modes=5, degrees=3, width=4, depth=1, solved={"psi": sx.InverseLaplacian("w")}, key=key
        ... )
        >>> model.task.targets
        ('w', 'psi')
    """

    of: str

    def __call__(self, hats: Mapping[str, Float[Array, "*modes"]], space: SpectralSpace) -> Float[Array, "*modes"]:
        if self.of not in hats:
            raise ValueError(f"{self!r}: the network returns {sorted(hats)}")
        squares = space.eigenvalues
        factors = np.where(squares > 0, 1 / np.where(squares > 0, squares, 1), 0)
        return hats[self.of] * jnp.asarray(factors, hats[self.of].dtype)
