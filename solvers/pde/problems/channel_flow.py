"""Viscous flow through a channel, past obstacles: incompressible Navier-Stokes with a pressure solve in every step."""

import math
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, ScalarLike

from ....core.arrays import AnyArray
from ....core.domains import Grid
from ...kernels.exponential import Instants
from ...linear.method import AbstractMethod
from ...linear.method_choice import choose
from ...random import Distribution
from ..channel import ViscousFlow, centre_velocity
from ..conditions import Free
from ..declaration import Fields, Problem
from ..finite_volume_solver import broadcast
from ..marching import cells_for_obstacles, check_numbers, frame_schedule, frames
from ..registry import register_problem
from ..solved import Solved
from ..typical_inputs import smallest


@register_problem("channel_flow")
def channel_flow(
    grid: tuple[int, ...] | Grid,
    solid: Bool[AnyArray, "*space"] | None = None,
    *,
    inflow: Distribution | Float[AnyArray, "..."] | float = 1.0,
    nu: Distribution | ScalarLike = 1e-2,
    velocity0: Distribution | Float[AnyArray, "..."] | float = 0.0,
    forcing: Distribution | Float[AnyArray, " d"] | float = 0.0,
) -> Problem:
    """v_t + ∇·(v⊗v) = −∇p + νΔv + f with ∇·v = 0 in a channel along the first axis, in 2 or 3 dimensions. v = `inflow` at its
    start, p = 0 and a free outflow at its end, v = 0 on the sides of the channel and on the solid cells.

    Staggered grid, advection of second order (third along a uniform flow), three stages of Runge-Kutta with the projection by
    the increment of the pressure: second order in space and time. Obstacles are steps of cells, which makes their position
    uncertain by half a cell: the drag of a cylinder of 10 cells is about 5 % off, see `docs/decisions.md`.

    `problem.solve(inputs=None, *, steps | times, dt, rtol, pressure_solver)` gives "velocity" `(t, *space, d)` at the cell
    centres and "pressure" `(t, *space)`, with `stats` of the pressure solve of every step, and `diagnostics["force"]`
    `(steps, d)`, the force of the fluid of density 1 on all solid cells at the start of every step: drag along the first axis
    and lift across. It is the momentum that the fluid loses to them, exactly.

    - `steps`: number of steps of length `dt`; one frame after each of them, none of the start.
    - `times`: or the instants of the frames (0 is the start), reached by equal steps of at most `dt`.
    - `dt`: by default as long as is stable for 1.5 times the fastest velocity of the start; give it where narrow gaps speed the
      flow up by more. A step that is too long ends with the status non_finite.
    - `pressure_solver`: a method of `linear.solve`, by default what that picks, with relative tolerance `rtol`.
    - inputs: as below, in `inputs` or as keywords; derivatives with respect to all of them, one checkpoint per step.

    **Arguments:**

    - `grid`: cells per axis, in a channel with sides of width 1 along the second axis, or a `Grid` of the layouts "cells" (inflow
      and outflow along the first axis, walls along others) and "periodic". A channel that is periodic along the first axis has
      no inflow, is driven by `forcing`, and may have no walls and no obstacles: all axes are periodic then.
    - `solid`: True in solid cells, for example `((grid.points - centre) ** 2).sum(-1) < radius**2`.
    - `inflow`: the velocity along the channel at its start: a number, a profile over the cells of the other axes, or a law.
    - `nu`: ν > 0.
    - `velocity0`: the velocity at the start at the cell centres, `(*space, d)`; its divergence is removed. 0 by default, which
      becomes the flow without vorticity.
    - `forcing`: f, a number along the channel or a vector.
    """
    own = cells_for_obstacles("channel_flow", grid, solid, across=1)
    if own.layouts[0] == "periodic" and (set(own.layouts) != {"periodic"} or solid is not None):
        raise ValueError(
            f"channel_flow: a channel without inflow is periodic along all axes and has no obstacles: {own}"
        )
    inputs = {"inflow": inflow, "nu": nu, "velocity0": velocity0, "forcing": forcing}
    channel = Channel(own, solid, inputs)
    return Problem(
        ("velocity", "pressure"),
        own.box,
        time=(0.0, math.inf),
        inputs=inputs,
        boundary=Free(),
        solve=channel.solve,
        grid=own,
        no_residual="solid cells have edges, and the unknown velocity is a vector, of which jets, of scalar fields, do not exist",
    )


@dataclass(frozen=True, eq=False)
class Channel:
    """The discrete equations on their grid. `inputs` are those that are declared."""

    grid: Grid
    solid: Bool[AnyArray, "*space"] | None
    inputs: Fields

    def solve(
        self,
        inputs: Fields,
        grid: Grid,
        *,
        steps: int | None = None,
        times: Instants | None = None,
        dt: ScalarLike | None = None,
        rtol: ScalarLike | None = None,
        pressure_solver: AbstractMethod | None = None,
    ) -> Solved:
        inflow, velocity, forcing = (jnp.asarray(inputs[k], float) for k in ("inflow", "velocity0", "forcing"))
        profile, d = grid.shape[1:], grid.ndim
        if inflow.shape not in ((), profile):
            raise ValueError(f"channel_flow: inflow has shape {inflow.shape}, expected a number or {profile}")
        if velocity.shape not in ((), (*grid.shape, d)):
            raise ValueError(f"channel_flow: velocity0 has shape {velocity.shape}, expected {(*grid.shape, d)}")
        if forcing.shape not in ((), (d,)):
            raise ValueError(f"channel_flow: forcing has shape {forcing.shape}, expected a number or {(d,)}")
        check_numbers("channel_flow", inputs, without=("inflow", "velocity0", "forcing"))
        if not isinstance(inputs["nu"], Tracer) and not inputs["nu"] > 0:
            raise ValueError(f"channel_flow: nu={inputs['nu']} must be positive")
        if dt is None:
            dt = smallest(_stable_step, inputs, self.inputs, grid, [0.0] if times is None else times)
        lengths, per_frame, start = frame_schedule("channel_flow", steps, times, dt)
        flow = ViscousFlow(grid.shape, grid.spacing, grid.periodic, self.solid)
        method = pressure_solver
        if method is None:
            method = choose(flow.operator) if rtol is None else choose(flow.operator, rtol=rtol)
        values = {
            "inflow": jnp.broadcast_to(inflow, profile),
            "velocity0": broadcast(velocity, grid, d),
            "nu": jnp.asarray(inputs["nu"], float),
            "forcing": jnp.zeros(d).at[0].set(forcing) if forcing.ndim == 0 else forcing,
        }
        return _run(flow, values, jnp.asarray(lengths, float), per_frame, start, method)


@eqx.filter_jit
def _run(flow: ViscousFlow, values, lengths: Array, per_frame: int, with_start: bool, method: AbstractMethod) -> Solved:
    method = method.bind(jax.lax.stop_gradient(flow.operator))

    def step(state, dt):
        faces, pressure = state
        faces, pressure, force, stats = flow.step(faces, pressure, values["nu"], values["forcing"], dt, method)
        return (faces, pressure), (stats, force)

    def frame(state):
        return {"velocity": centre_velocity(state[0], flow.boundaries), "pressure": state[1]}

    faces, pressure = flow.start(values["velocity0"], values["inflow"])
    # The pressure that removes the divergence of the start acts for an instant and is not that of the flow.
    start = (flow.projected(faces, method)[0], pressure)
    _, fields, (stats, force) = frames(step, frame, start, lengths, per_frame, with_start)
    return Solved(fields, stats, diagnostics={"force": force})


def _stable_step(inputs: Fields, grid: Grid) -> Array:
    """For 1.5 times the fastest velocity of the start: 0.7 of a cell, and the limit of the viscosity."""
    largest = jnp.maximum(
        abs(jnp.asarray(inputs["inflow"], float)).max(), abs(jnp.asarray(inputs["velocity0"], float)).max()
    )
    h = min(grid.spacing)
    viscous = 0.5 * h**2 / (grid.ndim * jnp.asarray(inputs["nu"], float))
    return jnp.minimum(0.7 * h / (1.5 * jnp.maximum(largest, 1e-30)), viscous)
