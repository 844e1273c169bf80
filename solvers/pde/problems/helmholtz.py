"""The Helmholtz equation: Δu + k² u = f."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ScalarLike

from ....core.domains import Box, Grid
from ...kernels.fast_poisson import BACKWARD, FORWARD
from ...linear.solution import Stats, Status
from ...random import Distribution, GaussianField
from ..boundary_nodes import interior, on_grid, with_zero_boundary
from ..declaration import Fields, Problem
from ..marching import check_numbers
from ..pointwise_derivatives import Jet, Jets, laplacian
from ..registry import register_problem
from ..solved import Solved
from ..spectral_eigenvalues import squared_wavenumbers

_NEAR = 1e-9  # of |k² − |K|²| relative to |K|²: resonance


@register_problem("helmholtz")
def helmholtz(k: Distribution | float = 1.0, f: Distribution | None = None, *, box: Box | None = None) -> Problem:
    """Δu + k² u = f in a box, (−1, 1)² by default; u = 0 on Dirichlet sides, no flux through Neumann sides.

    û = f̂ / (k² − |K|²) in the eigenfunctions of the box with wavenumbers K: spectrally accurate where f is smooth and, on
    Dirichlet sides, vanishes with its even derivatives. Not positive definite for k above the lowest |K|; no iteration, so
    no matter. Differentiable with respect to k and f.

    **Arguments:**

    - `k`: a number, or a distribution of numbers. Where k² is an eigenvalue |K|² of the box, a resonance, there is no solution: a
      number raises `ValueError`, a random one gives the status breakdown.
    - `f`: the law of the source, by default `GaussianField(4, 3, 10)` under the box's condition. The test of
      physics-informed networks has k = 1 and the f of u = sin πx sin 4πy. Its values on Dirichlet sides are ignored.
    - `box`: 1 to 3 axes with any conditions. On a periodic or Neumann box k = 0 is a resonance.
    """
    box = Box(x=(-1, 1), y=(-1, 1)) if box is None else box
    f = GaussianField(4.0, 3.0, 10.0, box.conditions[0]) if f is None else f
    equation = Helmholtz(box)
    return Problem("u", box, inputs={"k": k, "f": f}, residual=equation.residual, solve=equation.solve)


@dataclass(frozen=True)
class Helmholtz:
    """The equation on a box."""

    box: Box

    def residual(self, u: Jet, inputs: Jets) -> Array:
        return laplacian(u, self.box.names) + inputs.k**2 * u - inputs.f

    def solve(self, inputs: Fields, grid: Grid, *, rtol: ScalarLike | None = None) -> Solved:
        if grid != self.box.grid(grid.shape):
            raise ValueError(f"helmholtz: {grid} does not suit {self.box}; use box.grid({grid.shape})")
        check_numbers("helmholtz", inputs, without=("f",))
        modes = jnp.asarray(interior(on_grid(inputs["f"], grid, "helmholtz: f"), self.box))
        squares = squared_wavenumbers(self.box, modes.shape)
        for axis, condition in enumerate(self.box.conditions):
            modes = FORWARD[condition](modes, axis, norm="ortho")
        difference = inputs["k"] ** 2 - squares
        resonant = abs(difference) <= _NEAR * np.maximum(squares, 1e-300)
        if isinstance(resonant, np.ndarray) and resonant.any():
            nearest = float(squares[resonant].min())
            raise ValueError(
                f"helmholtz: k={inputs['k']} is a resonance: k² equals the eigenvalue {nearest:g} of −Δ on {self.box}, "
                "so that there is no solution for every f; change k"
            )
        u = modes / jnp.where(resonant, 1, jnp.asarray(difference, modes.dtype))
        for axis, condition in enumerate(self.box.conditions):
            u = BACKWARD[condition](u, axis, norm="ortho")
        status = jnp.where(jnp.any(resonant), Status.breakdown, Status.converged)
        status = jnp.where(jnp.isfinite(u).all(), status, Status.non_finite)
        return Solved({"u": with_zero_boundary(u, self.box)}, Stats(status, jnp.asarray(0), jnp.zeros((), u.dtype)))
