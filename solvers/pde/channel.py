"""Viscous incompressible flow through a channel with obstacles, on a staggered grid."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, ScalarLike

from ...core.domains import Boundary
from ..kernels import staggered, stencil
from ..kernels.staggered import Faces
from ..kernels.strong_stability import THIRD_ORDER, one_step
from ..linear.linear_solve import solve
from ..linear.operators.diffusion import Diffusion
from ..linear.operators.laplacian import Laplacian


class ViscousFlow(eqx.Module):
    """One step of v_t + ∇·(v⊗v) = −∇p + νΔv + f, ∇·v = 0.

    Normal components live at the faces of the cells, with both outer faces on every axis that is not periodic: component i
    has n_i + 1 entries along axis i. Axis 0 is periodic or leads from an inflow, where v is given, to an outflow, where v is
    continued and p = 0 half a cell beyond; the other axes are periodic or have walls without slip.

    Momentum is exchanged by fluxes through the faces of the control volumes round the velocities: advection by the mean of the
    neighbours less a sixth of the curvature upstream (third order for a uniform flow), viscosity by differences. Beside walls
    and solid cells the velocity along them is continued with the opposite sign, so that it vanishes at the wall. What momentum
    the fluid loses to solid cells is the force on them, exactly.

    Time: three stages of Runge-Kutta (SSP) with the old pressure gradient, then the projection by the increment of the
    pressure (Van Kan 1986), second order.
    """

    free: Faces  # 1 on the faces where the velocity is unknown
    solid: Faces  # 1 on the faces of solid cells
    operator: Laplacian | Diffusion  # minus the Laplacian of the pressure
    boundaries: tuple[Boundary, ...] = eqx.field(static=True)  # of the pressure
    spacing: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, shape, spacing, periodic: tuple[bool, ...], solid: Any):
        self.spacing = tuple(spacing)
        self.boundaries = tuple(
            "periodic" if p else ("dirichlet" if axis == 0 else "neumann") for axis, p in enumerate(periodic)
        )
        fluid = jnp.ones(shape) if solid is None else jnp.where(solid, 0.0, 1.0)
        faces = list(stencil.open_faces(fluid, self.boundaries))
        if self.boundaries[0] == "dirichlet":
            faces[0] = faces[0].at[0].set(0)
        if solid is None and all(periodic):
            self.operator = Laplacian(shape, self.spacing, self.boundaries)
        else:
            closed = stencil.diffusion_diagonal(faces, self.spacing, self.boundaries) == 0
            self.operator = Diffusion(faces, shape, self.spacing, self.boundaries).with_obstacle(closed, "neumann")
            faces = self.operator.faces
        self.free = tuple(
            staggered.with_walls(f, axis, b) for axis, (f, b) in enumerate(zip(faces, self.boundaries, strict=True))
        )
        self.solid = tuple(
            1 - jnp.floor(staggered.wall_means(fluid, axis, b)) for axis, b in enumerate(self.boundaries)
        )

    def start(self, velocity: Float[Array, "*space d"], inflow: Array) -> tuple[Faces, Array]:
        """Faces and pressure from velocities at the cell centres, not yet without divergence."""
        faces = tuple(
            staggered.wall_means(velocity[..., axis], axis, b) * self.free[axis]
            for axis, b in enumerate(self.boundaries)
        )
        return self.entered(faces, inflow), jnp.zeros(velocity.shape[:-1], velocity.dtype)

    def entered(self, faces: Faces, inflow: Array) -> Faces:
        """With the inflow on the first faces of axis 0."""
        if self.boundaries[0] == "periodic":
            return faces
        return (faces[0].at[0].set(inflow * (1 - self.solid[0][0])), *faces[1:])

    def step(self, faces: Faces, pressure: Array, nu: ScalarLike, forcing: Array, dt: ScalarLike, method):
        """Faces and pressure a time dt later, the force on the solid cells `(d,)` and the `Stats` of the pressure solve.

        **Arguments:** `forcing`: f, `(d,)`; `method`: of `linear.solve`.
        """
        dt = jnp.asarray(dt, pressure.dtype)
        moved, force = eqx.filter_checkpoint(self.transport)(faces, pressure, nu, forcing, dt)
        moved, increment, stats = self.projected(moved, method, dt)
        return moved, pressure + increment, force, stats

    def projected(self, faces: Faces, method, dt: ScalarLike = 1.0):
        """The faces without their divergence, v − dt ∇φ, with φ and the `Stats` of its solve."""
        b = -staggered.divergence(self._inner(faces), self.spacing, self.boundaries) / dt
        b = b - b.mean() if isinstance(self.operator, Laplacian) else b * self._fluid
        solution = solve(self.operator, b, method)
        slopes = self.slopes(solution.value)
        return tuple(v - dt * g for v, g in zip(faces, slopes, strict=True)), solution.value, solution.stats

    def transport(self, faces: Faces, pressure: Array, nu: ScalarLike, forcing: Array, dt: Array):
        """Faces after advection, viscosity, forcing and the old pressure gradient, and the force on the solid cells."""
        slopes = self.slopes(pressure)

        def rate(faces, _):
            return tuple(
                free * (self.exchanged(faces, i, nu)[0] + forcing[i]) - g
                for i, (free, g) in enumerate(zip(self.free, slopes, strict=True))
            )

        force = jnp.stack([self.exchanged(faces, i, nu)[1] + self._pressed(pressure, i) for i in range(len(faces))])
        return one_step(THIRD_ORDER, rate, faces, dt, lambda c: None), force

    def slopes(self, pressure: Array) -> Faces:
        """∇p on the faces where the velocity is unknown, 0 on the others."""
        inner = staggered.gradient(pressure, self.spacing, self.boundaries)
        full = (
            staggered.with_walls(g, axis, b) for axis, (g, b) in enumerate(zip(inner, self.boundaries, strict=True))
        )
        return tuple(free * g for free, g in zip(self.free, full, strict=True))

    def exchanged(self, faces: Faces, i: int, nu: ScalarLike) -> tuple[Array, Array]:
        """The rate of component i by advection and viscosity, and the momentum that solid cells take up per time."""
        v, rate, force = faces[i], jnp.zeros_like(faces[i]), jnp.zeros((), faces[i].dtype)
        volume = jnp.asarray(jnp.prod(jnp.asarray(self.spacing)), v.dtype)
        for e, h in enumerate(self.spacing):
            before, after = self._neighbours(v, i, e)
            walls = self._neighbours_of_mask(self.solid[i], i, e)
            free = self._neighbours_of_mask(self.free[i], i, e)
            if e != i:
                # Solid beside fluid: the velocity vanishes in between.
                before, after = (
                    jnp.where((walls[0] > 0) & (free[1] > 0), -after, before),
                    jnp.where((walls[1] > 0) & (free[0] > 0), -before, after),
                )
            curvature = self._after(after, i, e) - 2 * v + self._before(before, i, e)
            upstream, downstream = self._neighbours_of_mask(curvature * self.free[i], i, e)
            carrier = self._carrier(faces, i, e)
            mean = (before + after) / 2
            carried = carrier * mean - (jnp.maximum(carrier, 0) * upstream + jnp.minimum(carrier, 0) * downstream) / 6
            flux = carried - nu * (after - before) / h
            rate += (self._before(flux, i, e) - self._after(flux, i, e)) / h
            taken = jnp.where((free[0] > 0) & (walls[1] > 0), flux, 0) - jnp.where(
                (walls[0] > 0) & (free[1] > 0), flux, 0
            )
            if self._wraps(e):  # the first and the last face are one
                taken = lax.slice_in_dim(taken, 1, taken.shape[e], axis=e)
            force += taken.sum() * volume / h
        return rate, force

    def _pressed(self, pressure: Array, i: int) -> Array:
        """The pressure on the faces between fluid and solid cells, times their area."""
        inner = self._inner(self.solid)[i]
        full = staggered.gradient(pressure * self._fluid, self.spacing, self.boundaries)[i]
        area = jnp.prod(jnp.asarray(self.spacing)).astype(pressure.dtype)
        if self.boundaries[i] == "dirichlet":
            inner = inner.at[0].set(0).at[-1].set(0)
        return -(inner * full).sum() * area

    @property
    def _fluid(self) -> Array:
        """1 in the cells that have an open face."""
        if isinstance(self.operator, Laplacian):
            return jnp.ones(self.operator.shape)
        faces = self.operator.faces
        return (stencil.diffusion_diagonal(faces, self.spacing, self.boundaries) > 0).astype(faces[0].dtype)

    def _inner(self, faces: Faces) -> Faces:
        """As `kernels.staggered` has them: without the outer faces of walls."""
        return tuple(
            staggered.without_walls(f, axis, b) for axis, (f, b) in enumerate(zip(faces, self.boundaries, strict=True))
        )

    def _wraps(self, e: int) -> bool:
        return self.boundaries[e] == "periodic"

    def _extended(self, v: Array, i: int, e: int, first: float, last: float) -> Array:
        """With one entry more at both ends of axis e, multiples of the outermost ones; of periodic axes those round it."""
        n = v.shape[e]
        start, end = lax.slice_in_dim(v, 0, 1, axis=e), lax.slice_in_dim(v, n - 1, n, axis=e)
        ends = (end, start) if self._wraps(e) else (first * start, last * end)
        return jnp.concatenate([ends[0], v, ends[1]], e)

    def _pairs(self, wide: Array, e: int) -> tuple[Array, Array]:
        return lax.slice_in_dim(wide, 0, wide.shape[e] - 1, axis=e), lax.slice_in_dim(wide, 1, wide.shape[e], axis=e)

    def _neighbours(self, v: Array, i: int, e: int) -> tuple[Array, Array]:
        """The velocities before and after every face of the control volumes along axis e, one more than velocities."""
        along_wall = e != i
        first = -1.0 if along_wall else 1.0
        last = -1.0 if along_wall and e != 0 else 1.0
        return self._pairs(self._extended(v, i, e, first, last), e)

    def _neighbours_of_mask(self, mask: Array, i: int, e: int) -> tuple[Array, Array]:
        return self._pairs(self._extended(mask, i, e, 0.0, 0.0), e)

    def _before(self, at_faces: Array, i: int, e: int) -> Array:
        return lax.slice_in_dim(at_faces, 0, at_faces.shape[e] - 1, axis=e)

    def _after(self, at_faces: Array, i: int, e: int) -> Array:
        return lax.slice_in_dim(at_faces, 1, at_faces.shape[e], axis=e)

    def _carrier(self, faces: Faces, i: int, e: int) -> Array:
        """The velocity through the faces of the control volumes along axis e."""
        if e == i:
            before, after = self._pairs(self._extended(faces[i], i, e, 1.0, 1.0), e)
            return (before + after) / 2
        mean = staggered.wall_means(faces[e], i, self.boundaries[i])
        if self._wraps(e):  # face j of a periodic axis lies after cell j
            n = mean.shape[e]
            return jnp.concatenate([lax.slice_in_dim(mean, n - 1, n, axis=e), mean], e)
        return mean


def centre_velocity(faces: Faces, boundaries: tuple[Boundary, ...]) -> Float[Array, "*space d"]:
    """Velocities at the cell centres."""

    def mean(v, axis, boundary):
        if boundary == "periodic":
            return (v + jnp.roll(v, 1, axis)) / 2
        return (
            lax.slice_in_dim(v, 0, v.shape[axis] - 1, axis=axis) + lax.slice_in_dim(v, 1, v.shape[axis], axis=axis)
        ) / 2

    return jnp.stack([mean(v, axis, b) for axis, (v, b) in enumerate(zip(faces, boundaries, strict=True))], -1)
