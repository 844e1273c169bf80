"""Buoyant smoke round obstacles: incompressible flow with a pressure solve in every step."""

import math
from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, ScalarLike

from ....core.arrays import AnyArray
from ....core.domains import Grid
from ...kernels.exponential import Instants
from ...linear.method import AbstractMethod
from ...linear.method_choice import choose
from ...random import Distribution
from ..conditions import Free
from ..declaration import Fields, Problem
from ..incompressible import SCHEMES, Flow, connected_parts
from ..marching import cells_for_obstacles, frame_schedule, frames
from ..registry import register_problem
from ..solved import Solved


@register_problem("smoke")
def smoke(
    grid: tuple[int, ...] | Grid,
    solid: Bool[AnyArray, "*space"] | None = None,
    *,
    buoyancy: Distribution | ScalarLike = 1.0,
    source: Distribution | Float[AnyArray, "*space"] | float | None = None,
    density0: Distribution | Float[AnyArray, "*space"] | float = 0.0,
    open_top: bool = False,
    scheme: Literal["maccormack", "semi_lagrangian"] = "maccormack",
) -> Problem:
    """ρ_t + v·∇ρ = s and v_t + v·∇v = −∇p + b ρ e_up with ∇·v = 0: warm smoke of density ρ in air without viscosity that
    rises along the last axis. Nothing flows through the sides of the box and of solid cells; the fluid slips along them.

    Splitting of Stam (1999) on the staggered grid: source, advection, buoyancy, and the projection v − Δt ∇p with the
    pressure equation −∇·∇p = −∇·v/Δt. Stable for every Δt, first order in time, in space the order of `scheme`.

    `problem.solve(inputs=None, *, steps | times, dt, rtol, pressure_solver)` gives "density" and "pressure" `(t, *space)` and
    "velocity" `(t, *space, d)` at the cell centres, with `stats` of the pressure solve of every step, `(steps,)` each:

    - `steps`: number of steps of length `dt`; one frame after each of them, none of the start.
    - `times`: or the instants of the frames (0 is the start), reached by equal steps of at most `dt`.
    - `dt`: by default the time in which speed 1 crosses a cell. Accurate while |v| dt is at most a few cells and no more than
      the thickness of the walls, which particles would jump over otherwise.
    - `pressure_solver`: a method of `linear.solve`, by default what that picks, with relative tolerance `rtol`. It starts from
      the pressure of the step before. The divergence left is that tolerance times the divergence before the projection.
    - inputs: `buoyancy`, `source`, `density0` as below and `velocity0`, components on the faces without divergence (default:
      at rest), in `inputs` or as keywords; derivatives with respect to all of them, one checkpoint per step. The solution's
      `restart` holds `density0` and `velocity0` from which another solve goes on: the fields at the centres do not.

    The advection does not conserve density exactly: smoke that rises past a disc on 48×72 cells for 2.5 units of time ends
    with 7 % more than was supplied.

    **Arguments:**

    - `grid`: cells per axis (cubes in a box of width 1), or a `Grid` with layouts "cells" and "periodic".
    - `solid`: True in solid cells. A concrete mask may cut the fluid into several parts; one that is traced may not.
    - `buoyancy`: b, a number.
    - `source`: s, density per time; by default 4 in a ball of radius 1/8 above the middle of the floor.
    - `density0`: the density at the start.
    - `open_top`: p = 0 beyond the upper end of the last axis, where smoke leaves.
    - `scheme`: advection, see `kernels.advection`.

    Each of `buoyancy`, `source` and `density0` may be a distribution: then `generate` samples it and `solve` asks for it.
    Example: `sol = problem("smoke", grid=(64, 96), solid=mask).solve(steps=100)`, then `sol["density"][-1]`, `sol.status`.
    """
    own = cells_for_obstacles("smoke", grid, solid, across=0)
    if open_top and own.layouts[-1] != "cells":
        raise ValueError(f"smoke: open_top needs a last axis of layout 'cells': {own}")
    if scheme not in SCHEMES:
        raise ValueError(f"smoke: unknown scheme {scheme!r}; use one of {list(SCHEMES)}")
    inputs = {
        "buoyancy": buoyancy,
        "source": _ball(own) if source is None else source,
        "density0": density0,
        "velocity0": (0.0,) * own.ndim,
    }
    equation = Smoke(own, solid, *connected_parts(own, solid, open_top), open_top, scheme)
    return Problem(
        ("density", "velocity", "pressure"),
        own.box,
        time=(0.0, math.inf),
        inputs=inputs,
        boundary=Free(),
        solve=equation.solve,
        grid=own,
        no_residual="source and solid cells have edges, so that the equations hold in the weak sense only",
    )


@dataclass(frozen=True, eq=False)
class Smoke:
    """The discrete equations on their grid. `parts`, `n_parts`: of the fluid, see `connected_parts`."""

    grid: Grid
    solid: Bool[AnyArray, "*space"] | None
    parts: Int[AnyArray, "*space"]
    n_parts: int
    open_top: bool
    scheme: str

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
        lengths, per_frame, start = frame_schedule("smoke", steps, times, min(grid.spacing) if dt is None else dt)
        values, lengths = jax.tree.map(lambda v: jnp.asarray(v, float), (dict(inputs), lengths))
        flow = Flow(grid, self.solid, self.parts, self.n_parts, self.open_top, self.scheme)
        method = pressure_solver
        if method is None:
            method = choose(flow.operator) if rtol is None else choose(flow.operator, rtol=rtol)
        return _run(flow, values, lengths, per_frame, start, method)


@eqx.filter_jit
def _run(flow: Flow, values, lengths, per_frame: int, with_start: bool, method: AbstractMethod) -> Solved:
    method = method.bind(jax.lax.stop_gradient(flow.operator))

    def step(state, dt):
        return flow.step(state, values, dt, method)

    start = flow.start(values)
    (density, faces, _), fields, stats = frames(step, flow.frame, start, lengths, per_frame, with_start)
    return Solved(fields, stats, {"density0": density, "velocity0": faces})


def _ball(grid: Grid) -> Float[np.ndarray, "*space"]:
    width, height = np.asarray(grid.box.extent), np.asarray(grid.box.lower)
    centre = np.append(height[:-1] + width[:-1] / 2, height[-1] + 0.2)
    return np.where(((grid.points - centre) ** 2).sum(-1) < 1 / 64, 4.0, 0.0)
