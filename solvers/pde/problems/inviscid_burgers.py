"""Burgers' equation without viscosity: u_t + (u²/2)_x = f."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from ....core.arrays import AnyArray
from ....core.domains import Box, Grid
from ...kernels.exponential import Instants
from ...kernels.finite_volume import AbstractSide, Inflow, Outflow
from ...random import AbstractLaw, Distribution
from ..conservation_laws import QuadraticAdvection
from ..declaration import Fields, Problem
from ..finite_volume_solver import FiniteVolumes, Reconstruction, broadcast
from ..flow_laws import WaveSum
from ..marching import check_numbers, one_step
from ..registry import register_problem
from ..solved import Solved


@register_problem("inviscid_burgers")
def inviscid_burgers(
    u0: Distribution | Float[AnyArray, " n"] | float | None = None,
    forcing: AbstractLaw | Float[AnyArray, "..."] | float = 0.0,
    *,
    left: Distribution | float | None = None,
    right: Distribution | float | None = None,
    box: Box | None = None,
    reconstruction: Reconstruction = "monotonized_central",
    courant: float = 0.4,
    duration: float = 1.0,
) -> Problem:
    """u_t + (u²/2)_x = f in an interval, by default the periodic unit interval: shocks that satisfy the entropy condition.

    Finite volumes: MUSCL, Godunov's flux, Heun steps (`kernels.finite_volume`). Second order where u is smooth and monotone,
    shocks spread over two or three cells. Values are cell averages. ∫u is conserved to rounding, without forcing on periodic
    intervals; no new extrema, and the total variation does not grow. Differentiable with respect to all inputs; where shocks form
    the derivative of the discrete solution is that of no limit.

    **Arguments:**

    - `u0`: the initial field or its law, by default that of PDEBench, `pde.WaveSum()`.
    - `forcing`: f, a number, a field, or a law, also one that depends on time (`pde.TravellingWaves()`): then `solve` takes an
      array `(t, n)` at its instants, linear in between and constant before the first.
    - `left`, `right`: on an interval with "neumann" ends, the value of u beyond the end, of which what moves inwards enters; a
      number or a law of numbers. By default what leaves, leaves.
    - `box`: an interval, "periodic" or "neumann".
    - `reconstruction`: slopes limited by "minmod" (careful), "van_leer" or "monotonized_central" (sharp), or "weno5", at three
      times the cost: of fifth order in one dimension, 3 to 14 % better where shocks dominate.
    - `courant`: Courant number, at most 0.5.
    - `duration`: end of the time interval (0, duration); `solve` goes on beyond it.

    `solve` has the option `max_steps`, the most time steps between two instants; where they do not suffice the status is
    max_steps.
    """
    box = Box.unit(1, "periodic") if box is None else box
    if len(box.axes) != 1:
        raise ValueError(f"inviscid_burgers lives on an interval, not on {box}")
    if box.conditions == ("periodic",) and not (left is None and right is None):
        raise ValueError(
            f"inviscid_burgers: a periodic interval has no values left={left} and right={right} at its ends"
        )
    method = FiniteVolumes("inviscid_burgers", box, "outflow", reconstruction, courant)
    ends = {name: value for name, value in (("left", left), ("right", right)) if value is not None}
    inputs = {"u0": WaveSum() if u0 is None else u0, "forcing": forcing, **ends}
    timed = isinstance(forcing, AbstractLaw) and forcing.is_timed
    equation = InviscidBurgers(method, inputs)
    return Problem(
        "u",
        box,
        time=(0.0, duration),
        inputs=inputs,
        initial="u0",
        solve=equation.solve,
        step=None if timed else equation.step,
        no_residual="solutions jump, so that the equation holds in the weak sense only",
    )


@dataclass(frozen=True, eq=False)
class InviscidBurgers:
    """The equation by a method. `inputs` are those that are declared."""

    method: FiniteVolumes
    inputs: Fields

    def solve(
        self,
        inputs: Fields,
        grid: Grid,
        *,
        times: Instants | None = None,
        max_steps: int | None = None,
    ) -> Solved:
        times, u0 = self.method.instants(times), broadcast(inputs["u0"], grid)
        self.method.check(grid, u0=(u0, 0))
        check_numbers("inviscid_burgers", inputs, without=("u0", "forcing"))
        forcing = _at_instants(jnp.asarray(inputs["forcing"], float), grid, times)
        (axis,) = grid.names
        ends = {axis: (_side(inputs, "left"), _side(inputs, "right"))} if grid.layouts == ("cells",) else {}
        if max_steps is None:
            max_steps = self.method.step_limit(self._shortest_step, inputs, self.inputs, grid, times)
        sides = self.method.sides(ends)
        u, stats = self.method.run(QuadraticAdvection(), u0[None], grid, times, max_steps, sides=sides, forcing=forcing)
        return Solved({"u": u[:, 0]}, stats)

    def step(self, fields: Fields, inputs: Fields, grid: Grid, dt: float, *, rtol: float | None = None) -> Solved:
        return one_step(self.solve, fields, inputs, {"u": "u0"}, grid, dt)

    def _shortest_step(self, inputs: Fields, grid: Grid, last: float) -> Array:
        """For the fastest value at the start or at an end, and what the forcing may add until the last instant."""
        starts = [abs(jnp.asarray(inputs[name], float)).max() for name in ("u0", "left", "right") if name in inputs]
        fastest = jnp.stack(starts).max() + last * abs(jnp.asarray(inputs["forcing"], float)).max()
        return self.method.longest_step(QuadraticAdvection(), jnp.full((1, 1), fastest), grid)


def _side(inputs: Fields, name: str) -> AbstractSide:
    return Inflow(jnp.asarray(inputs[name], float)[None]) if name in inputs else Outflow()


def _at_instants(forcing: Array, grid: Grid, times: Instants) -> Float[Array, "t n"]:
    """The forcing at every instant; a constant one is repeated."""
    if forcing.ndim < 2:
        return jnp.broadcast_to(broadcast(forcing, grid), (len(times), *grid.shape))
    if forcing.shape != (len(times), *grid.shape):
        raise ValueError(
            f"inviscid_burgers: forcing has shape {forcing.shape}, expected one field for each of the {len(times)} instants, "
            f"{(len(times), *grid.shape)}, or one field {grid.shape}"
        )
    return forcing
