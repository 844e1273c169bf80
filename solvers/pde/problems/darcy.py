"""Darcy flow: −∇·(a∇u) = f."""

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, ScalarLike

from ....core.domains import Box, Grid
from ...kernels import stencil
from ...linear.linear_solve import solve
from ...linear.operators.diffusion import Diffusion
from ...linear.preconditioners.fast_poisson import FastPoisson
from ...linear.preconditioners.multigrid import Multigrid
from ...random import AbstractLaw, Distribution, Threshold
from ..boundary_nodes import interior, on_grid, with_boundary
from ..conditions import Sides
from ..declaration import Fields, Problem
from ..natural_cg import natural_cg, robust_cg
from ..pointwise_derivatives import Jet, Jets, flux_divergence
from ..registry import register_problem
from ..solved import Solved
from ..symmetry import Dihedral

Faces = Literal["harmonic", "arithmetic"]


@register_problem("darcy")
def darcy(
    a: Distribution | float = Threshold(12, 3),
    f: Distribution | float = 1.0,
    g: Distribution | float = 0.0,
    *,
    box: Box | None = None,
    faces: Faces = "harmonic",
    preconditioner: Literal["auto", "plain", "scaled", "multigrid"] = "auto",
    rtol: float | None = None,
) -> Problem:
    """−∇·(a∇u) = f in the box, u = g on Dirichlet sides; no flux through Neumann sides. Without a Dirichlet side the mean
    of f is ignored and u has zero mean.

    Vertex-centred finite volumes of second order on nodes (Dirichlet), cell-centred on Neumann axes, with conjugate
    gradients preconditioned by fast sine or cosine transforms, by multigrid for large contrasts, and by the diagonal where these
    do not suffice. Differentiable with respect to a, f and g.

    **Arguments:**

    - `a`, `f`, `g`: a distribution (then the field of that name is random) or a number. `g` is given on all nodes, only
      its boundary values matter.
    - `box`: the unit square with Dirichlet sides by default, as in the FNO paper.
    - `faces`: mean of a at the faces between points. Harmonic conserves the flux across a jump; arithmetic is what the
      FNO paper's generator does.
    - `preconditioner`: "plain" (−Δ)⁻¹, bounded by the contrast, for jumps; "scaled" a^(−½) (−Δ)⁻¹ a^(−½) for smooth
      fields; "multigrid" for any field, with a longer compilation. "auto" takes "scaled" where the law of a is smooth,
      "multigrid" where it is a `Threshold` between values that differ more than a hundred times, and "plain" elsewhere. A
      system that takes "plain" or "scaled" more than 100 steps goes on with the diagonal.
    - `rtol`: of the solve, in the natural norm of `CG`, so that the error in the energy norm is about rtol; by default 1e-8
      in float64 and 1e-4 in float32.

    A law of a with jumps, as the default, leaves no pointwise strong form: then there is no `residual`. Fails for a ≤ 0
    (status breakdown, or non_finite with the scaled preconditioner).
    """
    box = Box.unit(2) if box is None else box
    random, smooth = isinstance(a, AbstractLaw), not isinstance(a, AbstractLaw) or a.smooth
    scaled = preconditioner == "scaled" or (preconditioner == "auto" and random and smooth)
    steep = isinstance(a, Threshold) and not 0.01 <= a.upper / a.lower <= 100
    multigrid = preconditioner == "multigrid" or (preconditioner == "auto" and steep)
    equation = Darcy(box, faces, scaled, not random, multigrid, rtol)
    laws = [law for law in (a, f, g) if isinstance(law, AbstractLaw)]
    square = len(box.axes) == 2 and len(set(box.extent)) == len(set(box.conditions)) == 1
    return Problem(
        "u",
        box,
        inputs={"a": a, "f": f, "g": g},
        solve=equation.solve,
        operator=equation.operator,
        residual=equation.residual if smooth else None,
        no_residual="" if smooth else "a jumps, so that −∇·(a∇u) = f holds in the weak sense only",
        boundary=Sides(**{axis.name: "g" for axis in box.axes if axis.boundary == "dirichlet"}),
        symmetry=Dihedral() if square and all(law.isotropic for law in laws) else None,
    )


@dataclass(frozen=True)
class Darcy:
    """The discrete equation. `scaled`: use a^(−½) in the preconditioner; `constant`: a is one number; `multigrid`: use that."""

    box: Box
    faces: Faces
    scaled: bool
    constant: bool
    multigrid: bool
    rtol: float | None

    def residual(self, u: Jet, inputs: Jets) -> Array:
        return -flux_divergence(inputs.a, u, self.box.names) - inputs.f

    def operator(self, inputs: Fields, grid: Grid) -> tuple[Diffusion, Array]:
        return self._system(_on_grid(inputs, grid), grid)

    def solve(self, inputs: Fields, grid: Grid, *, rtol: ScalarLike | None = None) -> Solved:
        fields = _on_grid(inputs, grid)
        operator, b = self._system(fields, grid)
        scaling = interior(fields["a"], self.box) ** -0.5 if self.scaled else None
        # With constant coefficients one transform in full precision solves the system.
        dtype = None if self.constant else "float32"
        preconditioner = FastPoisson(grid.spacing, self.box.conditions, scaling, dtype=dtype)
        rtol = self.rtol if rtol is None else rtol
        # A constant coefficient is inverted by the preconditioner itself.
        method = natural_cg(preconditioner, b, rtol) if self.constant else robust_cg(preconditioner, b, rtol)
        if self.multigrid and Multigrid.suits(operator):
            method = natural_cg(Multigrid(), b, rtol)
        singular = "dirichlet" not in self.box.conditions
        solution = solve(operator, b, method, nullspace="constant" if singular else None)
        return Solved({"u": with_boundary(self._centred(solution.value), fields["g"], self.box)}, solution.stats)

    def _system(self, fields: Fields, grid: Grid) -> tuple[Diffusion, Array]:
        conditions = self.box.conditions
        a_faces = stencil.face_means(fields["a"], conditions, self.faces)
        lift = stencil.boundary_lift(fields["g"], a_faces, grid.spacing, conditions)
        b = (jnp.asarray(interior(fields["f"], self.box)) + lift).astype(a_faces[0].dtype)
        return Diffusion(a_faces, b.shape, grid.spacing, conditions), self._centred(b)

    def _centred(self, unknowns: Array) -> Array:
        """Zero mean without a Dirichlet side, where constants are in the null space of −∇·(a∇)."""
        return unknowns if "dirichlet" in self.box.conditions else unknowns - unknowns.mean()


def _on_grid(inputs: Fields, grid: Grid) -> Fields:
    return {name: on_grid(inputs[name], grid, f"darcy: {name}") for name in ("a", "f", "g")}
