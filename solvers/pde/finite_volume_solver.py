"""Solutions in time of conservation laws on a box, by `kernels.finite_volume`."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ...core.arguments import count, number
from ...core.domains import Box, Grid
from ..kernels.exponential import Instants, checked_instants
from ..kernels.finite_volume import (
    RECONSTRUCTIONS,
    AbstractConservationLaw,
    AbstractSide,
    Averages,
    Outflow,
    Periodic,
    Sides,
    Wall,
    longest_step,
    rate_of_change,
)
from ..kernels.strong_stability import march
from ..kernels.viscous_stress import ViscousStress
from ..linear.solution import Stats, Status
from .inputs import Fields
from .typical_inputs import smallest

Walls = Literal["outflow", "reflecting"]
Limiter = Literal["minmod", "van_leer", "monotonized_central"]
Reconstruction = Literal["minmod", "van_leer", "monotonized_central", "weno5"]

_WALLS: dict[str, Callable[[], AbstractSide]] = {"outflow": Outflow, "reflecting": Wall}
_MOST = 2**30  # steps: they are counted in int32
_MARGIN = 8  # of the number of steps over what the fastest wave at the start needs: skipped steps cost little


@dataclass(frozen=True, eq=False)
class FiniteVolumes:
    """Finite volumes in space, Runge-Kutta steps of a given Courant number in time.

    **Arguments:**

    - `name`: of the problem, for messages.
    - `box`: 1 or 2 axes, periodic or "neumann" (cells up to the walls).
    - `walls`: what is beyond sides that are not periodic.
    - `reconstruction`: "weno5", or the limiter of slopes.
    - `courant`: Courant number, above 0 and at most 0.5, beyond which positivity is lost.
    """

    name: str
    box: Box
    walls: Walls
    reconstruction: Reconstruction
    courant: float

    def __post_init__(self):
        number(self.name, "courant", self.courant, above=0, below=0.5 + 1e-12)
        if "dirichlet" in self.box.conditions or len(self.box.axes) > 2:
            raise ValueError(
                f"{self.name} is solved on cells, on 1 or 2 axes that are 'periodic' or 'neumann', for example "
                f"Box(x=(0, 1, 'neumann')); got {self.box}"
            )

    def instants(self, times: Instants | None) -> Instants:
        """The instants, or a `ValueError` that asks for them."""
        if times is None:
            raise ValueError(f"{self.name}: give the instants to solve for, for example times=np.linspace(0, 1, 11)")
        return times

    def check(self, grid: Grid, **fields: tuple[Array, int]) -> None:
        """Check that fields have the shape of the grid and as many components, 0 for a scalar, as they should.

        **Raises:** `ValueError`.
        """
        if grid != self.box.grid(grid.shape):
            raise ValueError(f"{self.name}: {grid} does not suit {self.box}; use box.grid({grid.shape})")
        for field, (values, components) in fields.items():
            expected = (*grid.shape, components) if components else grid.shape
            if values.shape != expected:
                raise ValueError(f"{self.name}: {field} has shape {values.shape}, expected {expected}")

    def sides(self, ends: Mapping[str, tuple[AbstractSide, AbstractSide]] | None = None) -> Sides:
        """The two sides of every axis; `ends` replaces those of some axes by name."""
        plain = [
            (Periodic(), Periodic()) if c == "periodic" else (_WALLS[self.walls](), _WALLS[self.walls]())
            for c in self.box.conditions
        ]
        return [(ends or {}).get(name, sides) for name, sides in zip(self.box.names, plain, strict=True)]

    def run(
        self,
        law: AbstractConservationLaw,
        w: Averages,
        grid: Grid,
        times: Instants,
        max_steps: int,
        *,
        sides: Sides | None = None,
        forcing: Float[Array, "t *space"] | None = None,
        stress: ViscousStress | None = None,
    ) -> tuple[Float[Array, "t c *n"], Stats]:
        """The primitive variables `(t, c, *space)` at `times`, from w `(c, *space)` at time 0.

        **Arguments:**

        - `max_steps`: the most steps between two instants.
        - `sides`: by default `sides()`.
        - `forcing`: added to the rate of q, at the instants; linear in between and constant before the first.
        - `stress`: that of a viscous gas.
        """
        lengths = jnp.asarray(self._lengths(times), w.dtype)
        max_steps = count(self.name, "max_steps", max_steps)
        data = None if forcing is None else jnp.concatenate([forcing[:1], forcing]).astype(w.dtype)[:, None]
        sides = self.sides() if sides is None else sides
        return _run(law, w, data, sides, stress, lengths, grid.spacing, self.reconstruction, self.courant, max_steps)

    def step_limit(
        self,
        shortest: Callable[[Fields, Grid, float], Array],
        given: Fields,
        declared: Fields,
        grid: Grid,
        times: Instants,
    ) -> int:
        """The most steps between two instants by default: 8 times what the fastest waves of the start need.

        Rounded up to a power of 2, so that other inputs do not need another program.

        **Arguments:** `shortest`: (inputs, grid, last instant) ↦ the shortest step expected; see `typical_inputs.smallest`.
        """
        longest, last = self._lengths(times).max(), float(np.asarray(times)[-1])
        step = smallest(lambda inputs, grid: shortest(inputs, grid, last), given, declared, grid, times)
        needed = longest / step if step > 0 else 1.0
        return min(2 ** math.ceil(math.log2(_MARGIN * needed + _MARGIN)), _MOST)

    def longest_step(
        self, law: AbstractConservationLaw, w: Averages, grid: Grid, stress: ViscousStress | None = None
    ) -> Array:
        """The time step of the Courant number at w, less where viscosity needs it."""
        return _longest_step(law, law.conserved(w), stress, grid.spacing, self.courant)

    def _lengths(self, times: Instants) -> np.ndarray:
        return np.diff(checked_instants(times), prepend=0.0)


@eqx.filter_jit
def _run(
    law: AbstractConservationLaw,
    w: Averages,
    data: Array | None,
    sides: Sides,
    stress: ViscousStress | None,
    lengths: Float[Array, " t"],
    spacing: Sequence[float],
    reconstruction: str,
    courant: float,
    max_steps: int,
) -> tuple[Float[Array, "t c *n"], Stats]:
    states = RECONSTRUCTIONS[reconstruction]

    def rate(q, forcing):
        change = rate_of_change(law, q, spacing, sides, states)
        if stress is not None:
            change = change + stress.rate(law, law.primitive(q), spacing, sides)
        return change if forcing is None else change + forcing

    def longest(q):
        return _longest_step(law, q, stress, spacing, courant)

    q, steps, reached = march(rate, longest, law.conserved(w), lengths, max_steps, data, states.scheme)
    finite = jnp.isfinite(q).all()
    ended = jnp.where(reached.all(), Status.converged, Status.max_steps)
    stats = Stats(jnp.where(finite, ended, Status.non_finite), steps.sum(), jnp.zeros((), q.dtype))
    return jax.vmap(law.primitive)(q), stats


def _longest_step(
    law: AbstractConservationLaw,
    q: Averages,
    stress: ViscousStress | None,
    spacing: Sequence[float],
    courant: float,
) -> Array:
    step = longest_step(law, q, spacing, courant)
    return step if stress is None else 1 / (1 / step + 1 / stress.longest_step(law.primitive(q), spacing))


def broadcast(value: ArrayLike, grid: Grid, components: int = 0) -> Array:
    """A constant as a field `(*space)`, or `(*space, components)`; fields as they are, in JAX's default precision."""
    value = jnp.asarray(value, float)
    if value.ndim == 0 or value.shape == (components,):
        return jnp.broadcast_to(value, (*grid.shape, components) if components else grid.shape)
    return value
