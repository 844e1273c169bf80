"""The divergence-free condition on vector fields, whose projection is one fast Poisson solve."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import checked
from ...core.domains import Boundary, Grid
from ..kernels import fast_poisson, staggered
from ..kernels.staggered import Faces
from ..kernels.stencil import pad_axis
from .conditions import AbstractCondition


class DivergenceFree(AbstractCondition):
    """∇·v = 0 for vector fields `(*space, d)`, by v − ∇φ with Δφ = ∇·v, the nearest such field.

    Two layouts of the components:

    - "points": all at the points of a periodic grid, with the derivative of their Fourier series; the alternating wave of an even
      number of points, which has no derivative there, is not changed.
    - "faces": component i at the face after each point along axis i (a staggered grid, with differences of neighbours). Along an
      axis that is not periodic the last face is a wall, through which nothing flows: its value becomes zero.

    `residual` is the divergence times the spacing, so that it compares with v. Exact by fast transforms, so that `Constraint`
    needs no iteration with metric="euclidean", which is right where the denoiser's own values are nearly free of divergence.

    **Raises:** `ValueError` for "points" on grids that are not periodic, and fewer than two axes.

    **Example:**

        >>> grid = sx.Grid.unit((8, 8), layout="periodic")
        >>> flow = sx.diffusion.DivergenceFree(grid).nearest(jax.random.normal(key, (8, 8, 2)))
        >>> flow.shape
        (8, 8, 2)
    """

    grid: Grid = eqx.field(static=True)
    layout: Literal["points", "faces"] = eqx.field(static=True)

    @checked
    def __init__(self, grid: Grid, layout: Literal["points", "faces"] = "points"):
        if grid.ndim < 2:
            raise ValueError(f"DivergenceFree: vector fields have two or more components, {grid!r} has one axis")
        if layout == "points" and not all(grid.periodic):
            raise ValueError(
                f"DivergenceFree(layout='points'): {grid!r} is not periodic along every axis; use layout='faces', which has walls"
            )
        self.grid, self.layout = grid, layout

    def residual(self, x):
        self._check(x)
        least = min(self.grid.spacing)
        if self.layout == "faces":
            walls = [jnp.ravel(pad_axis(c, axis, 1 - c.shape[axis], 0)) for axis, c in self._walled(x)]
            found = staggered.divergence(self._faces(x), self.grid.spacing, self._boundaries)
            return jnp.concatenate([jnp.ravel(least * found), *walls])
        waves, spectrum = self._waves(x.dtype), self._spectrum(x)
        found = jnp.fft.irfftn(1j * jnp.einsum("...i,...i->...", waves, spectrum, precision="highest"), self.grid.shape)
        return jnp.ravel(least * found).astype(x.dtype)

    def nearest(self, x):
        self._check(x)
        if self.layout == "faces":
            faces, spacing, sides = self._faces(x), self.grid.spacing, self._boundaries
            for _ in range(2):  # the second time takes off what rounding left
                # −Δ φ = ∇·v, so that v + ∇φ is free of divergence.
                potential = fast_poisson.solve_constant(staggered.divergence(faces, spacing, sides), spacing, sides)
                slopes = staggered.gradient(potential, spacing, sides)
                faces = tuple(f + s for f, s in zip(faces, slopes, strict=True))
            filled = [self._with_wall(f, axis) for axis, f in enumerate(faces)]
            return jnp.stack(filled, -1)
        waves, spectrum = self._waves(x.dtype), self._spectrum(x)
        squares = jnp.sum(waves**2, -1)
        along = jnp.einsum("...i,...i->...", waves, spectrum, precision="highest") / jnp.where(squares > 0, squares, 1)
        axes = tuple(range(self.grid.ndim))
        return jnp.fft.irfftn(spectrum - waves * along[..., None], self.grid.shape, axes=axes).astype(x.dtype)

    @property
    def _boundaries(self) -> tuple[Boundary, ...]:
        return tuple("periodic" if periodic else "neumann" for periodic in self.grid.periodic)

    def _spectrum(self, x) -> Array:
        return jnp.fft.rfftn(x, axes=tuple(range(self.grid.ndim)))

    def _waves(self, dtype) -> Float[Array, "*half d"]:
        """The wave numbers of the half spectrum; 0 for the alternating wave."""
        per_axis = []
        for axis, (n, length) in enumerate(zip(self.grid.shape, self.grid.box.extent, strict=True)):
            modes = np.fft.rfftfreq(n, 1 / n) if axis == self.grid.ndim - 1 else np.fft.fftfreq(n, 1 / n)
            per_axis.append(np.where(2 * np.abs(modes) == n, 0.0, 2 * np.pi * modes / length))
        return jnp.asarray(np.stack(np.meshgrid(*per_axis, indexing="ij"), -1), dtype)

    def _walled(self, x) -> list[tuple[int, Array]]:
        return [(axis, x[..., axis]) for axis, periodic in enumerate(self.grid.periodic) if not periodic]

    def _faces(self, x) -> Faces:
        """The components at the faces of `kernels.staggered`, without the walls."""
        return tuple(
            x[..., axis] if periodic else pad_axis(x[..., axis], axis, 0, -1)
            for axis, periodic in enumerate(self.grid.periodic)
        )

    def _with_wall(self, face: Array, axis: int) -> Array:
        return face if self.grid.periodic[axis] else pad_axis(face, axis, 0, 1)

    def _check(self, x) -> None:
        if x.shape != (*self.grid.shape, self.grid.ndim):
            raise ValueError(
                f"DivergenceFree: expected a vector field {(*self.grid.shape, self.grid.ndim)}, a sample has {x.shape}"
            )
