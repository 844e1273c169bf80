"""What gas and shallow water share: initial fields with a velocity, solves and steps by finite volumes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.domains import Grid
from ..kernels.exponential import Instants
from ..kernels.finite_volume import AbstractConservationLaw, Averages
from ..kernels.viscous_stress import ViscousStress
from .declaration import Fields
from .finite_volume_solver import FiniteVolumes, broadcast
from .marching import check_numbers, one_step
from .solved import Solved


@dataclass(frozen=True, eq=False)
class AbstractFlow(ABC):
    """The equations by a method. `inputs` are those that are declared; the initial value of an unknown is called "unknown0"."""

    method: FiniteVolumes
    inputs: Fields
    # The inputs that are scalar fields. "velocity0" is a field too; all others are numbers.
    scalars: ClassVar[tuple[str, ...]]

    @abstractmethod
    def law(self, inputs: Fields) -> AbstractConservationLaw:
        """The law with the numbers among the inputs."""

    @abstractmethod
    def stress(self, inputs: Fields) -> ViscousStress | None:
        """The viscosity, if there is any."""

    @abstractmethod
    def primitive(self, scalars: list[Float[Array, "*space"]], velocity: Float[Array, "d *space"]) -> Averages:
        """w `(c, *space)` of the `scalars`, in their order, and the velocity."""

    @abstractmethod
    def unknowns(self, w: Float[Array, "t c *space"]) -> dict[str, Array]:
        """The scalar unknowns `(t, *space)` by name."""

    def solve(
        self, inputs: Fields, grid: Grid, *, times: Instants | None = None, max_steps: int | None = None
    ) -> Solved:
        times, (law, w) = self.method.instants(times), self._start(inputs, grid)
        if max_steps is None:
            max_steps = self.method.step_limit(self._shortest_step, inputs, self.inputs, grid, times)
        w, stats = self.method.run(law, w, grid, times, max_steps, stress=self.stress(inputs))
        velocity = w[:, 1] if grid.ndim == 1 else jnp.moveaxis(w[:, 1:-1], 1, -1)
        return Solved({**self.unknowns(w), "velocity": velocity}, stats)

    def step(self, fields: Fields, inputs: Fields, grid: Grid, dt: float, *, rtol: float | None = None) -> Solved:
        return one_step(self.solve, fields, inputs, {name: f"{name}0" for name in fields}, grid, dt)

    def _start(self, inputs: Fields, grid: Grid) -> tuple[AbstractConservationLaw, Averages]:
        components = grid.ndim if grid.ndim > 1 else 0
        scalars = {name: broadcast(inputs[name], grid) for name in self.scalars}
        velocity = broadcast(inputs["velocity0"], grid, components)
        self.method.check(
            grid, **{name: (value, 0) for name, value in scalars.items()}, velocity0=(velocity, components)
        )
        check_numbers(self.method.name, inputs, without=("velocity0", *scalars))
        parts = jnp.moveaxis(velocity, -1, 0) if components else velocity[None]
        return self.law(inputs), self.primitive(list(scalars.values()), parts)

    def _shortest_step(self, inputs: Fields, grid: Grid, last: float) -> Array:
        return self.method.longest_step(*self._start(inputs, grid), grid, self.stress(inputs))
