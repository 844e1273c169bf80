"""Shallow water over a bed, in 1 or 2 dimensions."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from ....core.arrays import AnyArray
from ....core.domains import Box, Grid
from ...kernels.exponential import Instants
from ...kernels.finite_volume import Averages
from ...random import Distribution
from ..conservation_laws import ShallowWater
from ..declaration import Fields, Problem
from ..finite_volume_solver import FiniteVolumes, Limiter, Walls, broadcast
from ..flow_laws import Dam
from ..registry import register_problem
from ..solved import Solved


@register_problem("shallow_water")
def shallow_water(
    depth0: Distribution | Float[AnyArray, "*space"] | float | None = None,
    velocity0: Distribution | Float[AnyArray, "..."] | float = 0.0,
    bed: Distribution | Float[AnyArray, "*space"] | float = 0.0,
    gravity: Distribution | float = 1.0,
    *,
    box: Box | None = None,
    walls: Walls = "outflow",
    limiter: Limiter = "monotonized_central",
    courant: float = 0.4,
    duration: float = 1.0,
) -> Problem:
    """h_t + ∇·(h v) = 0 and (h v)_t + ∇·(h v⊗v + ½ g h²) = −g h ∇b for the depth h of water over a bed of height b.

    Finite volumes: MUSCL of h + b and v, HLL fluxes with the hydrostatic reconstruction of Audusse et al. (2004), Heun steps
    (`kernels.finite_volume`). A lake at rest stays at rest over any bed, to rounding. Second order where the solution is smooth
    and monotone. Mass is conserved to rounding on periodic axes and between reflecting walls, over a flat bed momentum too on
    periodic axes. Differentiable with respect to all inputs.

    `problem.solve(inputs, grid, times=…)` gives "depth" `(t, *space)` and "velocity" `(t, *space, 2)`, in one dimension `(t, n)`.
    The depth must stay positive: there is no dry land, and where the water runs dry the status is non_finite.

    **Arguments:**

    - `depth0`: h at the start, an array, a number or a law; by default `pde.Dam()`, the radial dam break of PDEBench.
    - `velocity0`: v at the start.
    - `bed`: b.
    - `gravity`: g, above 0 (9.81 in m/s²), or a law of numbers.
    - `box`: 1 or 2 axes, "periodic" or "neumann"; by default (−2.5, 2.5)² with ends, as in PDEBench.
    - `walls`: what is beyond sides that are not periodic, "outflow" (waves leave) or "reflecting".
    - `limiter`: "minmod" (careful), "van_leer", "monotonized_central" (sharp).
    - `courant`: Courant number, at most 0.5.
    - `duration`: end of the time interval (0, duration); `solve` goes on beyond it.

    PDEBench: `generate(problem("shallow_water"), 1000, 128, key, times=np.linspace(0, 1, 101))`. `solve` has the option
    `max_steps`, the most time steps between two instants; where they do not suffice the status is max_steps.
    """
    box = Box(x=(-2.5, 2.5, "neumann"), y=(-2.5, 2.5, "neumann")) if box is None else box
    if not isinstance(gravity, Distribution) and not gravity > 0:
        raise ValueError(f"shallow_water: gravity={gravity} must be positive")
    inputs = {
        "depth0": Dam() if depth0 is None else depth0,
        "velocity0": velocity0,
        "bed": bed,
        "gravity": gravity,
    }
    equation = Water(FiniteVolumes("shallow_water", box, walls, limiter, courant), inputs)
    return Problem(
        ("depth", "velocity"),
        box,
        time=(0.0, duration),
        inputs=inputs,
        initial={"depth": "depth0", "velocity": "velocity0"},
        solve=equation.solve,
        step=equation.step,
        no_residual="solutions jump at bores, so that the equations hold in the weak sense only",
    )


@dataclass(frozen=True, eq=False)
class Water:
    """The equations by a method. `inputs` are those that are declared."""

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
        times, (law, w) = self.method.instants(times), self._start(inputs, grid)
        if max_steps is None:
            max_steps = self.method.step_limit(self._shortest_step, inputs, self.inputs, grid, times)
        w, stats = self.method.run(law, w, grid, times, max_steps)
        velocity = w[:, 1] if grid.ndim == 1 else jnp.moveaxis(w[:, 1:-1], 1, -1)
        return Solved({"depth": w[:, 0] - w[:, -1], "velocity": velocity}, stats)

    def step(self, fields: Fields, inputs: Fields, grid: Grid, dt: float, *, rtol: float | None = None) -> Solved:
        start = {f"{name}0": value for name, value in fields.items()}
        solved = self.solve({**inputs, **start}, grid, times=[dt])
        return Solved({name: value[0] for name, value in solved.fields.items()}, solved.stats)

    def _start(self, inputs: Fields, grid: Grid) -> tuple[ShallowWater, Averages]:
        components = grid.ndim if grid.ndim > 1 else 0
        depth, bed = (broadcast(inputs[name], grid) for name in ("depth0", "bed"))
        velocity = broadcast(inputs["velocity0"], grid, components)
        self.method.check(grid, depth0=(depth, 0), velocity0=(velocity, components), bed=(bed, 0))
        parts = jnp.moveaxis(velocity, -1, 0) if components else velocity[None]
        return ShallowWater(inputs["gravity"]), jnp.concatenate([(depth + bed)[None], parts, bed[None]])

    def _shortest_step(self, inputs: Fields, grid: Grid, last: float) -> Array:
        return self.method.longest_step(*self._start(inputs, grid), grid)
