"""Geometric multigrid as a preconditioner."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ...kernels import multigrid, stencil_matrix
from ..inner_products import power_of_four
from ..operators.diffusion import Diffusion
from ..operators.laplacian import as_diffusion
from ..preconditioning import AbstractPreconditioner


class Multigrid(AbstractPreconditioner):
    """M⁻¹ r = one V-cycle for −∇·(a∇u) + shift · u: black box multigrid (Dendy 1982) with Chebyshev smoothing.

    `CG(Multigrid())` needs 7 to 11 iterations for a residual of 1e-8 at any size, with coefficients that jump across smooth
    interfaces, with obstacles and under all boundary conditions; `Richardson(Multigrid())` is multigrid on its own. Cycles run
    in float32 even for float64 systems: a preconditioner needs no more, and they are bound by memory.

    Interpolation comes from the operator, so jumps and obstacles need no special case; coarse operators are Galerkin products.
    The smoother is an optimised fourth-kind Chebyshev polynomial (Lottes 2023) in S A, S_i = 1/Σ_j|a_ij|, whose spectrum ends at
    1, symmetric before and after, so M is symmetric positive definite for every positive definite operator.

    **Arguments:**

    - `degree`: products with A in each smoothing, 1 to 3. 2 is a good value; 1 where the operator is cheap and the iteration
      count does not matter.
    - `omega`: the bound of the spectrum is divided by this. Up to 1.2 it mostly saves a little; beyond, smoothing may diverge.
      May be traced.

    Needs more iterations where jumps are finer than coarse grids can see (41 for random blocks of 8 points, contrast 1e4) and
    where the coefficient depends on the direction; in 3D the set-up costs as much as 250 iterations of plain CG. For negative
    shifts beyond the lowest eigenvalue it is not definite. `bind` raises `TypeError` for operators that are not on a grid, and
    `ValueError` for a `degree` it does not know or where rings of odd size leave too large a coarsest grid.

    Source: Dendy (1982), Black box multigrid, section 2; Lottes (2023), Optimal polynomial smoothers for multigrid V-cycles,
    algorithm 2 and table 1.

    **Example:**

        >>> int(sx.linear.solve(A, b, sx.linear.CG(sx.linear.Multigrid())).stats.iterations) < 10
        True
    """

    degree: int = eqx.field(static=True, default=2)
    omega: ScalarLike = 1.0

    def __check_init__(self):
        if self.degree not in (1, 2, 3):
            raise ValueError(f"Multigrid: degree must be 1, 2 or 3, got {self.degree}")

    def bind(self, operator) -> "BoundMultigrid":
        a = as_diffusion(operator, "Multigrid")
        unit = power_of_four(jnp.abs(a.diagonal()).max())
        single = lambda x: jnp.asarray(x / unit, jnp.float32)  # noqa: E731
        matrix = stencil_matrix.from_faces([single(f) for f in a.faces], a.spacing, a.boundaries, single(a.shift))
        return BoundMultigrid(multigrid.hierarchy(matrix, a.spacing), self.degree, self.omega, unit)

    @staticmethod
    def suits(operator: Diffusion) -> bool:
        """Whether the grid can be coarsened far enough."""
        periodic = tuple(b == "periodic" for b in operator.boundaries)
        return multigrid.can_be_coarsened(operator.shape, operator.spacing, periodic)


class BoundMultigrid(eqx.Module):
    """`Multigrid` for one operator: r ↦ one V-cycle, in float32. The levels are those of A / `unit`, whose entries float32 holds
    whatever the units of A."""

    levels: multigrid.Hierarchy
    degree: int = eqx.field(static=True)
    omega: ScalarLike
    unit: Float[Array, ""]

    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n"]:
        omega = jnp.asarray(self.omega, jnp.float32)
        z = multigrid.cycle(self.levels, r.astype(jnp.float32), self.degree, omega)
        return z.astype(r.dtype) * (1 / self.unit)
