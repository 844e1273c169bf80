"""Second-order elliptic problems: Darcy flow, Poisson, shifted Laplacian."""

import dataclasses
from typing import Literal

import jax.numpy as jnp

from ...core.domains import Box, Grid
from ..kernels import stencil
from ..linear.krylov.cg import CG
from ..linear.linear_solve import solve
from ..linear.operators.diffusion import Diffusion
from ..linear.preconditioners.fast_poisson import FastPoisson
from ..random import Distribution, Threshold
from .affine import interior, with_zero_boundary
from .problem import Fields, Problem, register_problem
from .symmetry import Dihedral


@register_problem("darcy")
def darcy(
    a: Distribution | float = Threshold(12, 3),
    f: Distribution | float = 1.0,
    g: Distribution | float = 0.0,
    *,
    box: Box | None = None,
    faces: Literal["harmonic", "arithmetic"] = "harmonic",
    preconditioner: Literal["auto", "plain", "scaled"] = "auto",
    rtol: float | None = None,
) -> Problem:
    """−∇·(a∇u) = f in the box, u = g on Dirichlet sides; no flux through Neumann sides. Without a Dirichlet side the mean
    of f is ignored and u has zero mean.

    Vertex-centred finite volumes of second order on nodes (Dirichlet), cell-centred on Neumann axes, with conjugate
    gradients preconditioned by fast sine or cosine transforms. Differentiable with respect to a, f and g.

    **Arguments:**

    - `a`, `f`, `g`: a distribution (then the field of that name is an input) or a number. `g` is given on all nodes, only
      its boundary values matter.
    - `box`: the unit square with Dirichlet sides by default, as in the FNO paper.
    - `faces`: mean of a at the faces between points. Harmonic conserves the flux across a jump; arithmetic is what the
      FNO paper's generator does.
    - `preconditioner`: "plain" (−Δ)⁻¹, bounded by the contrast, for jumps; "scaled" a^(−½) (−Δ)⁻¹ a^(−½) for smooth
      fields; "auto" asks the distribution and takes "plain" when it does not know.
    - `rtol`: of the solve, in the natural norm of `CG`, so that the error in the energy norm is about rtol; by default 1e-8
      in float64 and 1e-4 in float32.

    Fails for a ≤ 0 (status breakdown, or non_finite with the scaled preconditioner).
    """
    box = Box.unit(2) if box is None else box
    inputs = {"a": a, "f": f, "g": g}
    scaled = preconditioner == "scaled" or (preconditioner == "auto" and getattr(a, "smooth", False))
    constants = {k: v for k, v in inputs.items() if not isinstance(v, Distribution)}

    def system(fields: Fields, grid: Grid):
        fields = _complete(fields, constants, grid)
        a_faces = stencil.face_means(fields["a"], box.conditions, faces)
        b = jnp.asarray(interior(fields["f"], box)) + stencil.boundary_lift(
            fields["g"], a_faces, grid.spacing, box.conditions
        )
        return Diffusion(a_faces, b.shape, grid.spacing, box.conditions), _centred(b, box)

    def solve_one(fields: Fields, grid: Grid, rtol: float | None = rtol):
        operator, b = system(fields, grid)
        complete = _complete(fields, constants, grid)
        scaling = interior(complete["a"], box) ** -0.5 if scaled else None
        # With constant coefficients one transform in full precision solves the system.
        dtype = "float32" if isinstance(a, Distribution) else None
        solution = solve(
            operator, b, natural_cg(FastPoisson(grid.spacing, box.conditions, scaling, dtype=dtype), b, rtol)
        )
        return {"u": _with_boundary(_centred(solution.value, box), complete["g"], box)}, solution.stats

    square = len(box.axes) == 2 and len(set(box.extent)) == len(set(box.conditions)) == 1
    isotropic = all(_isotropic(v) for v in inputs.values())
    return Problem(
        "u",
        box,
        parameters={k: v for k, v in inputs.items() if isinstance(v, Distribution)},
        solve=solve_one,
        operator=system,
        symmetry=Dihedral() if square and isotropic else None,
        recipe=f"darcy(a={a}, f={f}, g={g}, box={box}, faces={faces}, scaled={scaled}, rtol={rtol})",
    )


@register_problem("poisson")
def poisson(
    f: Distribution | float = 1.0, g: Distribution | float = 0.0, *, box: Box | None = None, rtol: float | None = None
) -> Problem:
    """−Δu = f in the box, u = g on Dirichlet sides; all-Neumann and periodic boxes give the solution of zero mean."""
    return dataclasses.replace(
        darcy(1.0, f, g, box=box, rtol=rtol), recipe=f"poisson(f={f}, g={g}, box={box}, rtol={rtol})"
    )


@register_problem("shifted_laplacian")
def shifted_laplacian(
    c: Distribution | float, f: Distribution | float = 1.0, *, box: Box | None = None, rtol: float | None = None
) -> Problem:
    """(−Δ + c) u = f in the box with u = 0 on Dirichlet sides, c one number per sample.

    Positive definite for c > −λ_min(−Δ), which is 2π² on the unit square and 0 without a Dirichlet side; below, the solve
    reports a breakdown. For c ≥ 0 one iteration suffices.
    """
    box = Box.unit(2) if box is None else box
    inputs = {"c": c, "f": f}
    constants = {k: v for k, v in inputs.items() if not isinstance(v, Distribution)}

    def system(fields: Fields, grid: Grid):
        fields = {**constants, **fields}
        b = jnp.asarray(interior(_field(fields["f"], grid), box))
        faces = stencil.face_means(jnp.ones(grid.shape, b.dtype), box.conditions, "arithmetic")
        return Diffusion(faces, b.shape, grid.spacing, box.conditions, shift=fields["c"]), b

    def solve_one(fields: Fields, grid: Grid, rtol: float | None = rtol):
        fields = {**constants, **fields}
        operator, b = system(fields, grid)
        preconditioner = FastPoisson(grid.spacing, box.conditions, shift=abs(jnp.asarray(fields["c"], b.dtype)))
        solution = solve(operator, b, natural_cg(preconditioner, b, rtol))
        return {"u": with_zero_boundary(solution.value, box)}, solution.stats

    return Problem(
        "u",
        box,
        parameters={k: v for k, v in inputs.items() if isinstance(v, Distribution)},
        solve=solve_one,
        operator=system,
        recipe=f"shifted_laplacian(c={c}, f={f}, box={box}, rtol={rtol})",
    )


def natural_cg(preconditioner: FastPoisson, b, rtol: float | None) -> CG:
    """To `rtol` in the natural norm, by default 1e-8 in float64 and 1e-4 in float32."""
    default = 1e-8 if b.dtype == jnp.float64 else 1e-4
    return CG(preconditioner=preconditioner, rtol=default if rtol is None else rtol, norm="natural")


def _complete(fields: Fields, constants, grid: Grid) -> dict:
    return {name: _field(value, grid) for name, value in {**constants, **fields}.items() if name in ("a", "f", "g")}


def _field(value, grid: Grid):
    value = jnp.asarray(value, jnp.result_type(float, value) if not hasattr(value, "dtype") else value.dtype)
    return jnp.broadcast_to(value, grid.shape)


def _centred(unknowns, box: Box):
    """Zero mean without a Dirichlet side, where constants are in the null space of −∇·(a∇)."""
    return unknowns if "dirichlet" in box.conditions else unknowns - unknowns.mean()


def _with_boundary(unknowns, g, box: Box):
    inner = tuple(slice(1, -1) if b == "dirichlet" else slice(None) for b in box.conditions)
    return g.astype(unknowns.dtype).at[inner].set(unknowns)


def _isotropic(value) -> bool:
    """Numbers, and fields whose law does not distinguish directions, as all of `solvers.random`."""
    return not isinstance(value, Distribution) or value.is_field
