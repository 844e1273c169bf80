"""Shallow water over a bed, in 1 or 2 dimensions."""

from typing import Any

import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from ....core.arrays import AnyArray
from ....core.domains import Box
from ...kernels.finite_volume import Averages
from ...random import Distribution
from ..conservation_laws import ShallowWater
from ..declaration import Fields, Problem
from ..finite_volume_flow import AbstractFlow
from ..finite_volume_solver import FiniteVolumes, Limiter, Walls
from ..flow_laws import Dam
from ..registry import register_problem


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
    _check_gravity(gravity)
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


class Water(AbstractFlow):
    """The equations by a method."""

    scalars = ("depth0", "bed")

    def law(self, inputs: Fields) -> ShallowWater:
        _check_gravity(inputs["gravity"])
        return ShallowWater(inputs["gravity"])

    def stress(self, inputs: Fields) -> None:
        return None

    def primitive(self, scalars: list[Array], velocity: Array) -> Averages:
        depth, bed = scalars
        return jnp.concatenate([(depth + bed)[None], velocity, bed[None]])

    def unknowns(self, w: Array) -> dict[str, Array]:
        return {"depth": w[:, 0] - w[:, -1]}


def _check_gravity(gravity: Any) -> None:
    if not isinstance(gravity, Distribution | Tracer) and not gravity > 0:
        raise ValueError(f"shallow_water: gravity={gravity} must be positive")
