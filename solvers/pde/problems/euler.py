"""Gas without viscosity: the Euler equations."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from ....core.arrays import AnyArray
from ....core.domains import Box, Grid
from ...kernels.exponential import Instants
from ...kernels.finite_volume import Averages
from ...random import Distribution
from ..conservation_laws import Gas, GasFlux
from ..declaration import Fields, Problem
from ..finite_volume_solver import FiniteVolumes, Reconstruction, Walls, broadcast
from ..flow_laws import Riemann
from ..registry import register_problem
from ..solved import Solved


@register_problem("euler")
def euler(
    density0: Distribution | Float[AnyArray, "..."] | float | None = None,
    velocity0: Distribution | Float[AnyArray, "..."] | float | None = None,
    pressure0: Distribution | Float[AnyArray, "..."] | float | None = None,
    gamma: Distribution | float = 5 / 3,
    *,
    box: Box | None = None,
    walls: Walls = "outflow",
    riemann: GasFlux = "hllc",
    reconstruction: Reconstruction = "monotonized_central",
    courant: float = 0.4,
    duration: float = 1.0,
) -> Problem:
    """ρ_t + ∇·(ρv) = 0, (ρv)_t + ∇·(ρ v⊗v + p) = 0, E_t + ∇·((E + p) v) = 0 with E = p/(γ − 1) + ½ρ|v|², in 1 or 2 dimensions.

    Finite volumes: MUSCL of density, velocity and pressure, an approximate Riemann solver at the faces, Heun steps
    (`kernels.finite_volume`): the method of PDEBench's data. Second order where the solution is smooth and monotone, shocks
    spread over about two cells, contacts over more and more. Mass, momentum and energy are conserved to rounding on periodic
    axes, mass and energy between reflecting walls. Differentiable with respect to all inputs.

    `problem.solve(inputs, grid, times=…)` gives "density", "pressure" `(t, *space)` and "velocity" `(t, *space, 2)`, in one
    dimension `(t, n)`. Near vacuum, or in float32 where the kinetic energy is 1e6 times the internal one, the pressure may
    become negative: then the status is non_finite.

    **Arguments:**

    - `density0`, `velocity0`, `pressure0`: the initial fields, each a number, an array or a law. By default
      `pde.Riemann()`, the shock tubes of PDEBench. Laws that belong together are given by `**law.inputs()`:
      `pde.GasWaves(mach=1)` are PDEBench's random fields in two dimensions,
      `pde.Riemann((1, 0.125), (0, 0), (1, 0.1), 0.5)` with gamma=1.4 Sod's tube.
    - `gamma`: γ, a number above 1 (1.4 air, 5/3 monatomic) or a law of numbers.
    - `box`: 1 or 2 axes, "periodic" or "neumann"; by default the unit interval with ends.
    - `walls`: what is beyond sides that are not periodic, "outflow" (waves leave) or "reflecting".
    - `riemann`: "hllc", or "hll" and "rusanov", which smear contacts and shear.
    - `reconstruction`: slopes limited by "minmod" (careful), "van_leer" or "monotonized_central" (sharp), or "weno5", at three
      times the cost: of fifth order in one dimension, 3 to 14 % better where shocks dominate.
    - `courant`: Courant number, at most 0.5.
    - `duration`: end of the time interval (0, duration); `solve` goes on beyond it.

    `solve` has the option `max_steps`, the most time steps between two instants; where they do not suffice the status is
    max_steps.
    """
    box = Box.unit(1, "neumann") if box is None else box
    if not isinstance(gamma, Distribution) and not gamma > 1:
        raise ValueError(f"euler: gamma={gamma}; the ratio of heat capacities is above 1, for example 1.4")
    laws = Riemann().inputs()
    given = {"density0": density0, "velocity0": velocity0, "pressure0": pressure0}
    missing = [name for name, value in given.items() if value is None]
    if missing and len(missing) < 3:
        raise ValueError(
            f"euler: {missing} are missing; give all of density0, velocity0 and pressure0, or none of them"
        )
    inputs = {**(laws if missing else given), "gamma": gamma}
    equation = Euler(FiniteVolumes("euler", box, walls, reconstruction, courant), riemann, inputs)
    return Problem(
        ("density", "velocity", "pressure"),
        box,
        time=(0.0, duration),
        inputs=inputs,
        initial={"density": "density0", "velocity": "velocity0", "pressure": "pressure0"},
        solve=equation.solve,
        step=equation.step,
        no_residual="solutions jump at shocks and contacts, so that the equations hold in the weak sense only",
    )


@dataclass(frozen=True, eq=False)
class Euler:
    """The equations by a method. `inputs` are those that are declared."""

    method: FiniteVolumes
    riemann: GasFlux
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
        return Solved({"density": w[:, 0], "velocity": velocity, "pressure": w[:, -1]}, stats)

    def step(self, fields: Fields, inputs: Fields, grid: Grid, dt: float, *, rtol: float | None = None) -> Solved:
        start = {f"{name}0": value for name, value in fields.items()}
        solved = self.solve({**inputs, **start}, grid, times=[dt])
        return Solved({name: value[0] for name, value in solved.fields.items()}, solved.stats)

    def _start(self, inputs: Fields, grid: Grid) -> tuple[Gas, Averages]:
        components = grid.ndim if grid.ndim > 1 else 0
        density, pressure = (broadcast(inputs[name], grid) for name in ("density0", "pressure0"))
        velocity = broadcast(inputs["velocity0"], grid, components)
        self.method.check(grid, density0=(density, 0), velocity0=(velocity, components), pressure0=(pressure, 0))
        parts = jnp.moveaxis(velocity, -1, 0) if components else velocity[None]
        return Gas(inputs["gamma"], self.riemann), jnp.concatenate([density[None], parts, pressure[None]])

    def _shortest_step(self, inputs: Fields, grid: Grid, last: float) -> Array:
        return self.method.longest_step(*self._start(inputs, grid), grid)
