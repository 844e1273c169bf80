"""The heat equation: u_t = ν Δu."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ....core.domains import Box, Grid
from ...kernels.exponential import Instants, checked_instants
from ...kernels.fast_poisson import BACKWARD, FORWARD
from ...random import Distribution, GaussianField
from ..boundary_nodes import interior, with_zero_boundary
from ..declaration import Fields, Problem
from ..marching import initial_field, integration_stats, one_step
from ..pointwise_derivatives import Jet, Jets, laplacian
from ..registry import register_problem
from ..solved import Solved
from ..spectral_eigenvalues import squared_wavenumbers


@register_problem("heat")
def heat(
    nu: Distribution | float = 0.01, u0: Distribution | None = None, *, box: Box | None = None, duration: float = 1.0
) -> Problem:
    """u_t = ν Δu in a box, by default the periodic unit interval; u = 0 on Dirichlet sides, no flux through Neumann sides.

    u(t) = Q exp(−ν|k|²t) Qᵀ u0 with the eigenfunctions Q of the box: exact for every u0 that the grid holds, at any t ≥ 0
    without steps, whatever `rtol`. Differentiable with respect to ν and u0.

    **Arguments:**

    - `nu`: a number, or a distribution of numbers (then a random input).
    - `u0`: the law of the initial field, by default `GaussianField(2, 5, 25·5^(−1.5))` under the box's condition. Its
      values on Dirichlet sides are ignored.
    - `box`: 1 to 3 axes with any conditions.
    - `duration`: end of the time interval (0, duration), for training without data; `solve` goes on beyond it.
    """
    box = Box.unit(1, "periodic") if box is None else box
    u0 = GaussianField(2, 5, 25 * 5**-1.5, box.conditions[0]) if u0 is None else u0
    equation = Heat(box)
    return Problem(
        "u",
        box,
        time=(0.0, duration),
        inputs={"nu": nu, "u0": u0},
        residual=equation.residual,
        initial="u0",
        solve=equation.solve,
        step=equation.step,
    )


@dataclass(frozen=True)
class Heat:
    """The equation on a box."""

    box: Box

    def residual(self, u: Jet, inputs: Jets) -> Array:
        return u.t - inputs.nu * laplacian(u, self.box.names)

    def solve(self, inputs: Fields, grid: Grid, *, times: Instants | None = None, rtol: float | None = None) -> Solved:
        u0, times = initial_field("heat", self.box, inputs, grid, times)
        modes = jnp.asarray(interior(u0, self.box))
        squares = squared_wavenumbers(self.box, modes.shape)
        for axis, condition in enumerate(self.box.conditions):
            modes = FORWARD[condition](modes, axis, norm="ortho")

        def at(t):
            u = modes * jnp.exp(-inputs["nu"] * t * squares).astype(modes.dtype)
            for axis, condition in enumerate(self.box.conditions):
                u = BACKWARD[condition](u, axis, norm="ortho")
            return with_zero_boundary(u, self.box)

        u = jax.vmap(at)(jnp.asarray(checked_instants(times), modes.dtype))
        return Solved({"u": u}, integration_stats(u, 0))

    def step(self, fields: Fields, inputs: Fields, grid: Grid, dt: float, *, rtol: float | None = None) -> Solved:
        return one_step(self.solve, fields, inputs, {"u": "u0"}, grid, dt, rtol=rtol)
