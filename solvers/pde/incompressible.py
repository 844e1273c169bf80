"""Incompressible flow on a staggered grid: one step of transport, buoyancy and projection."""

from typing import cast

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from ...core.arrays import AnyArray
from ...core.domains import Boundary, Grid
from ..kernels import advection, staggered, stencil
from ..kernels.staggered import Faces
from ..linear.linear_solve import solve
from ..linear.operators.diffusion import Diffusion
from ..linear.operators.laplacian import Laplacian

SCHEMES = {"semi_lagrangian": advection.semi_lagrangian, "maccormack": advection.maccormack}


class Flow(eqx.Module):
    """One step of the discrete equations."""

    fluid: Float[Array, "*space"]  # 1 and 0
    open: Faces  # 1 on the faces that fluid crosses
    known: Faces  # 1 on the faces, walls included, that have fluid on a side
    parts: Int[Array, "*space"]
    operator: Laplacian | Diffusion
    n_parts: int = eqx.field(static=True)
    boundaries: tuple[Boundary, ...] = eqx.field(static=True)
    spacing: tuple[float, ...] = eqx.field(static=True)
    scheme: str = eqx.field(static=True)

    def __init__(self, grid: Grid, solid, parts, n_parts: int, open_top: bool, scheme: str):
        self.parts, self.n_parts, self.scheme = jnp.asarray(parts), n_parts, scheme
        conditions: list[Boundary] = ["periodic" if w == "periodic" else "neumann" for w in grid.layouts]
        self.boundaries = (*conditions[:-1], "dirichlet" if open_top else conditions[-1])
        self.spacing = grid.spacing
        self.fluid = jnp.ones(grid.shape) if solid is None else jnp.where(solid, 0.0, 1.0)
        faces = stencil.unit_faces(grid.shape, self.boundaries, self.fluid.dtype)
        if open_top:
            faces = (*faces[:-1], faces[-1].at[..., 0].set(0))
        if solid is None and not open_top:
            self.operator, self.open = Laplacian(grid.shape, self.spacing, self.boundaries), faces
        else:
            # A fluid cell without open faces would have a row of zeros: it counts as solid.
            crossed = [a * o for a, o in zip(faces, stencil.open_faces(self.fluid, self.boundaries), strict=True)]
            closed = stencil.diffusion_diagonal(crossed, self.spacing, self.boundaries) == 0
            whole = Diffusion(faces, grid.shape, self.spacing, self.boundaries)
            self.operator = whole.with_obstacle(closed, "neumann")
            self.open = self.operator.faces
        self.known = tuple(
            jnp.ceil(staggered.wall_means(self.fluid, axis, b)) for axis, b in enumerate(self.boundaries)
        )

    def start(self, values):
        density = self.fluid * values["density0"]
        faces = tuple(o * jnp.broadcast_to(v, o.shape) for o, v in zip(self.open, values["velocity0"], strict=True))
        return density, faces, jnp.zeros_like(density)

    def frame(self, state):
        density, faces, pressure = state
        velocity = jnp.stack(staggered.point_means(faces, self.boundaries), axis=-1)
        return {"density": density, "velocity": velocity, "pressure": pressure}

    def step(self, state, values, dt, method):
        density, faces, pressure = state
        # The projection is linear in the velocity: its derivative needs nothing kept and no solve repeated.
        density, faces = eqx.filter_checkpoint(self.transport)(density, faces, values, dt)
        b = self.centred(-staggered.divergence(faces, self.spacing, self.boundaries) / dt)
        solution = solve(self.operator, b, method, x0=pressure)
        pressure = self.centred(solution.value)
        slopes = staggered.gradient(pressure, self.spacing, self.boundaries)
        faces = tuple(v - dt * o * g for v, o, g in zip(faces, self.open, slopes, strict=True))
        return (density, faces, pressure), solution.stats

    def transport(self, density, faces, values, dt):
        """Source, advection and buoyancy: all but the pressure."""
        density, faces = self.advect(self.fluid * (density + dt * values["source"]), faces, dt)
        up, boundary = len(faces) - 1, self.boundaries[-1]
        lift = staggered.without_walls(staggered.wall_means(density, up, boundary), up, boundary)
        return density, (*faces[:-1], faces[-1] + dt * values["buoyancy"] * lift * self.open[-1])

    def advect(self, density, faces, dt):
        periodic = [b == "periodic" for b in self.boundaries]
        at_points = staggered.point_means(faces, self.boundaries)

        def advected(q, velocity, weights):
            return SCHEMES[self.scheme](q, velocity, dt, self.spacing, periodic, weights)

        moved = []
        for axis, boundary in enumerate(self.boundaries):
            q = staggered.with_walls(faces[axis], axis, boundary)
            velocity = tuple(
                q if e == axis else staggered.wall_means(v, axis, boundary) for e, v in enumerate(at_points)
            )
            q = staggered.without_walls(advected(q, velocity, self.known[axis]), axis, boundary)
            moved.append(q * self.open[axis])
        return self.fluid * advected(density, at_points, self.fluid), tuple(moved)

    def centred(self, b):
        """Zero mean on every part of the fluid on which the pressure equation is singular."""
        total, count = jnp.zeros((2, self.n_parts + 1), b.dtype).at[:, self.parts].add(jnp.stack([b, jnp.ones_like(b)]))
        return b - (total / jnp.maximum(count, 1)).at[0].set(0)[self.parts]


def connected_parts(grid: Grid, solid, open_top: bool) -> tuple[Int[AnyArray, "*space"], int]:
    """Every cell's connected part of the fluid 1 … k, 0 where the pressure has no free constant, and k."""
    if isinstance(solid, Tracer):
        return (jnp.zeros(grid.shape, int), 0) if open_top else (jnp.where(solid, 0, 1), 1)
    import scipy.ndimage

    fluid = np.ones(grid.shape, bool) if solid is None else ~np.asarray(solid)
    labels, n = cast(tuple[np.ndarray, int], scipy.ndimage.label(fluid))
    ends = [(labels.take(0, axis), labels.take(-1, axis)) for axis, w in enumerate(grid.layouts) if w == "periodic"]
    links = [(a[(a > 0) & (b > 0)], b[(a > 0) & (b > 0)]) for a, b in ends]
    if open_top:
        links.append((labels[..., -1].ravel(), np.zeros(labels[..., -1].size, int)))
    a, b = (np.concatenate([pair[i] for pair in links] or [np.zeros(0, int)]) for i in range(2))
    graph = scipy.sparse.coo_array((np.ones(len(a)), (a, b)), shape=(n + 1, n + 1))
    count, merged = scipy.sparse.csgraph.connected_components(graph, directed=False)
    return merged[labels], count - 1
