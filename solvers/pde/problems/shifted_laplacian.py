"""The shifted Laplacian: (−Δ + c) u = f."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, ScalarLike

from ....core.domains import Box, Grid
from ...kernels import stencil
from ...linear.linear_solve import solve
from ...linear.operators.diffusion import Diffusion
from ...linear.preconditioners.fast_poisson import FastPoisson
from ...random import Distribution
from ..boundary_nodes import interior, on_grid, with_zero_boundary
from ..declaration import Fields, Problem
from ..natural_cg import natural_cg
from ..pointwise_derivatives import Jet, Jets, laplacian
from ..registry import register_problem
from ..solved import Solved


@register_problem("shifted_laplacian")
def shifted_laplacian(
    c: Distribution | float, f: Distribution | float = 1.0, *, box: Box | None = None, rtol: float | None = None
) -> Problem:
    """(−Δ + c) u = f in the box with u = 0 on Dirichlet sides and no flux through Neumann sides, c one number per sample.

    Positive definite for c > −λ_min(−Δ), which is 2π² on the unit square and 0 without a Dirichlet side; below, the solve
    reports a breakdown. For c ≥ 0 one iteration suffices.

    **Arguments:**

    - `c`, `f`: a distribution (then an input that is random) or a number; `f` may be a law of fields.
    - `box`: the unit square with Dirichlet sides by default.
    - `rtol`: as for `darcy`.
    """
    equation = ShiftedLaplacian(Box.unit(2) if box is None else box, rtol)
    return Problem(
        "u",
        equation.box,
        inputs={"c": c, "f": f},
        solve=equation.solve,
        operator=equation.operator,
        residual=equation.residual,
    )


@dataclass(frozen=True)
class ShiftedLaplacian:
    """The discrete equation."""

    box: Box
    rtol: float | None

    def residual(self, u: Jet, inputs: Jets) -> Array:
        return -laplacian(u, self.box.names) + inputs.c * u - inputs.f

    def operator(self, inputs: Fields, grid: Grid) -> tuple[Diffusion, Array]:
        b = jnp.asarray(interior(on_grid(inputs["f"], grid, "shifted_laplacian: f"), self.box))
        faces = stencil.face_means(jnp.ones(grid.shape, b.dtype), self.box.conditions, "arithmetic")
        return Diffusion(faces, b.shape, grid.spacing, self.box.conditions, shift=inputs["c"]), b

    def solve(self, inputs: Fields, grid: Grid, *, rtol: ScalarLike | None = None) -> Solved:
        operator, b = self.operator(inputs, grid)
        shift = abs(jnp.asarray(inputs["c"], b.dtype))
        preconditioner = FastPoisson(grid.spacing, self.box.conditions, shift=shift)
        solution = solve(operator, b, natural_cg(preconditioner, b, self.rtol if rtol is None else rtol))
        return Solved({"u": with_zero_boundary(solution.value, self.box)}, solution.stats)
