"""Gas without viscosity, the Euler equations, and with it."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from ....core.arrays import AnyArray
from ....core.domains import Box
from ...kernels.finite_volume import Averages
from ...kernels.viscous_stress import ViscousStress
from ...random import Distribution
from ..conservation_laws import Gas, GasFlux
from ..declaration import Fields, Problem
from ..finite_volume_flow import AbstractFlow
from ..finite_volume_solver import FiniteVolumes, Reconstruction, Walls
from ..flow_laws import Riemann
from ..registry import register_problem


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
    method = FiniteVolumes("euler", box, walls, reconstruction, courant)
    start = {"density0": density0, "velocity0": velocity0, "pressure0": pressure0}
    return GasFlow(method, {**gas_at_start("euler", start), "gamma": gamma}, riemann).problem(duration)


@register_problem("compressible_navier_stokes")
def compressible_navier_stokes(
    viscosity: Distribution | float = 1e-2,
    bulk_viscosity: Distribution | float = 1e-2,
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
    """`euler` with a viscous gas, without conduction of heat: (ρv)_t gains ∇·σ and E_t gains ∇·(σv) with the stress
    σ = η (∇v + ∇vᵀ − ⅔ ∇·v) + ζ ∇·v (`kernels.viscous_stress`). These are the equations of PDEBench's compressible data
    (Takamoto et al. 2022, eq. 10), which have η = ζ = 1e-8, 0.01 or 0.1.

    Steps are explicit: many where η/ρ times the step of `euler` exceeds the square of the spacing. Walls have no friction.

    **Arguments:** as for `euler`, and

    - `viscosity`, `bulk_viscosity`: η and ζ, at least 0, or laws of numbers.
    """
    name = "compressible_navier_stokes"
    box = Box.unit(1, "neumann") if box is None else box
    method = FiniteVolumes(name, box, walls, reconstruction, courant)
    start = {"density0": density0, "velocity0": velocity0, "pressure0": pressure0}
    numbers = {"gamma": gamma, "viscosity": viscosity, "bulk_viscosity": bulk_viscosity}
    return GasFlow(method, {**gas_at_start(name, start), **numbers}, riemann).problem(duration)


def gas_at_start(name: str, given: Fields) -> Fields:
    """`given`, or the default laws if none of them is; `ValueError` if only some are."""
    missing = [field for field, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        raise ValueError(f"{name}: {missing} are missing; give all of {', '.join(given)}, or none of them")
    return Riemann().inputs() if missing else given


@dataclass(frozen=True, eq=False)
class GasFlow(AbstractFlow):
    """The equations by a method."""

    riemann: GasFlux
    scalars = ("density0", "pressure0")

    def __post_init__(self):
        self._check(self.inputs)

    def problem(self, duration: float) -> Problem:
        return Problem(
            ("density", "velocity", "pressure"),
            self.method.box,
            time=(0.0, duration),
            inputs=self.inputs,
            initial={"density": "density0", "velocity": "velocity0", "pressure": "pressure0"},
            solve=self.solve,
            step=self.step,
            no_residual="solutions jump at shocks and contacts, so that the equations hold in the weak sense only",
        )

    def law(self, inputs: Fields) -> Gas:
        self._check(inputs)
        return Gas(inputs["gamma"], self.riemann)

    def stress(self, inputs: Fields) -> ViscousStress | None:
        return ViscousStress(inputs["viscosity"], inputs["bulk_viscosity"]) if "viscosity" in inputs else None

    def primitive(self, scalars: list[Array], velocity: Array) -> Averages:
        density, pressure = scalars
        return jnp.concatenate([density[None], velocity, pressure[None]])

    def unknowns(self, w: Array) -> dict[str, Array]:
        return {"density": w[:, 0], "pressure": w[:, -1]}

    def _check(self, inputs: Fields) -> None:
        known = {k: v for k, v in inputs.items() if not isinstance(v, Distribution | Tracer)}
        if "gamma" in known and not known["gamma"] > 1:
            raise ValueError(
                f"{self.method.name}: gamma={known['gamma']}; the ratio of heat capacities is above 1, for example 1.4"
            )
        for name in ("viscosity", "bulk_viscosity"):
            if name in known and not known[name] >= 0:
                raise ValueError(f"{self.method.name}: {name}={known[name]} must not be negative")
