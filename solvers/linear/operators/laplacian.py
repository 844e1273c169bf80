"""Operators that fast transforms diagonalise, and the direct solve with them."""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, ScalarLike

from ....core.domains import Boundary
from ...kernels import fast_poisson, stencil
from ..direct.refinement import refine
from ..method import AbstractMethod
from ..solution import Stats, Status
from .diffusion import Diffusion
from .field_operator import AbstractFieldOperator


class Laplacian(AbstractFieldOperator):
    """u ↦ −scale · Δ_h u + shift · u on a box, symmetric: `Diffusion` with a constant coefficient and without its arrays.

    `inverse` costs two fast transforms per axis, about as much as one or two iterations of conjugate gradients.

    **Arguments:**

    - `shape`: of the unknowns: interior nodes on Dirichlet axes, cell centres on Neumann axes, all points on periodic ones.
    - `spacing`, `boundaries`: grid spacing and boundary ("dirichlet", "neumann", "periodic") per axis.
    - `shift`, `scale`: numbers; differentiable. An implicit heat step is `shift=1, scale=ν·dt`. `scale` must not be zero for
      `inverse`, and positive values of both make the operator positive definite.
    - `dtype`: of the unknowns, JAX's default float by default.

    Without a Dirichlet axis and with shift 0 constants are the null space. Raises `ValueError` if the lengths of shape,
    spacing and boundaries differ or a boundary is unknown.
    """

    shift: Float[Array, ""]
    scale: Float[Array, ""]
    shape: tuple[int, ...] = eqx.field(static=True)
    spacing: tuple[float, ...] = eqx.field(static=True)
    boundaries: tuple[Boundary, ...] = eqx.field(static=True)
    symmetric: ClassVar[bool] = True

    def __init__(
        self, shape, spacing, boundaries, shift: ScalarLike = 0.0, scale: ScalarLike = 1.0, dtype: DTypeLike = float
    ):
        self.shape, self.spacing, self.boundaries = tuple(shape), tuple(spacing), tuple(boundaries)
        if not len(self.shape) == len(self.spacing) == len(self.boundaries):
            raise ValueError(
                f"Laplacian: shape {self.shape}, spacing {self.spacing} and boundaries {self.boundaries} need one entry per axis"
            )
        self.shift, self.scale = jnp.asarray(shift, dtype), jnp.asarray(scale, dtype)

    def mv(self, vector):
        return self.scale * stencil.apply_laplacian(vector, self.spacing, self.boundaries) + self.shift * vector

    def inverse(self, b: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """A⁻¹ b; of a singular operator the pseudo-inverse: the mean of b is ignored and the result has zero mean."""
        return fast_poisson.solve_constant(b / self.scale, self.spacing, self.boundaries, self.shift / self.scale)

    def as_diffusion(self) -> Diffusion:
        """The same operator with arrays of coefficients, for obstacles and for methods that want faces."""
        faces = stencil.unit_faces(self.shape, self.boundaries, self.shift.dtype)
        return Diffusion([self.scale * a for a in faces], self.shape, self.spacing, self.boundaries, self.shift)

    def transpose(self):
        return self

    def diagonal(self) -> Float[Array, "*n"]:
        return self.as_diffusion().diagonal()

    def in_structure(self):
        return jax.ShapeDtypeStruct(self.shape, self.shift.dtype)


def as_diffusion(operator, user: str) -> Diffusion:
    """The operator as `Diffusion`, for methods that work with its faces. Raises `TypeError` naming the `user`."""
    while isinstance(operator, lx.TaggedLinearOperator):
        operator = operator.operator
    if isinstance(operator, Laplacian):
        return operator.as_diffusion()
    if not isinstance(operator, Diffusion):
        raise TypeError(
            f"{user} works on grids and supports Diffusion and Laplacian operators, got {type(operator).__name__}: use "
            "Jacobi(), ChebyshevPolynomial(), JacobiIteration or a Krylov method"
        )
    return operator


class Spectral(AbstractFieldOperator):
    """u ↦ Q (symbol · Qᵀu), diagonal in the orthogonal sine, cosine and Hartley bases of the boundaries, symmetric.

    **Arguments:**

    - `symbol`: eigenvalue of each mode `(*n)`, in the order of `kernels.fast_poisson.eigenvalues`; differentiable.
    - `boundaries`: per axis.

    `Spectral.function` makes functions of −Δ_h, for example `lambda k: k + 0.1 * k**2` for −Δ + 0.1 Δ² or
    `lambda k: k**0.7` for a fractional Laplacian. `inverse` is the pseudo-inverse: modes with symbol 0 are ignored. Its
    relative error grows with the ratio of the largest to the smallest |symbol|.
    """

    symbol: Float[Array, "*n"]
    boundaries: tuple[Boundary, ...] = eqx.field(static=True)
    symmetric: ClassVar[bool] = True

    def __init__(self, symbol, boundaries):
        self.symbol, self.boundaries = jnp.asarray(symbol), tuple(boundaries)
        if self.symbol.ndim != len(self.boundaries):
            raise ValueError(
                f"Spectral: a symbol of shape {self.symbol.shape} needs as many boundaries, got {self.boundaries}"
            )

    @classmethod
    def function(
        cls,
        f: Callable[[Float[Array, "..."]], Float[Array, "..."]],
        shape,
        spacing,
        boundaries,
        dtype: DTypeLike = float,
    ) -> "Spectral":
        """f(−Δ_h) for a function f of its eigenvalues."""
        return cls(f(jnp.asarray(fast_poisson.eigenvalues(shape, spacing, boundaries), dtype)), boundaries)

    def mv(self, vector):
        return fast_poisson.apply_symbol(vector, self.symbol, self.boundaries)

    def inverse(self, b: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """A⁻¹ b, the pseudo-inverse where the symbol has zeros."""
        return fast_poisson.apply_symbol(b, fast_poisson.inverse_symbol(self.symbol), self.boundaries)

    def transpose(self):
        return self

    def diagonal(self) -> Float[Array, "*n"]:
        return fast_poisson.mode_diagonal(self.symbol, self.boundaries)

    def in_structure(self):
        return jax.ShapeDtypeStruct(self.symbol.shape, self.symbol.dtype)


class FastPoissonSolve(AbstractMethod):
    """Direct solve with an operator that has an `inverse` (`Laplacian`, `Spectral`) and refinement with the true residual:
    x ← x + A⁻¹ (b − A x).

    One step is enough unless the tolerance lies below the rounding of A⁻¹. In float32 the residual has a floor near
    ε ‖A‖ ‖x‖, as every method has it, about 1e-3 ‖b‖ for smooth b at 256² points; a solve that hits it ends as `stagnated`
    with the best x. So does a singular operator (no Dirichlet side, shift 0) with a right-hand side that is not orthogonal to
    its null space; x then solves for the part that is.

    **Arguments:**

    - `rtol`, `atol`: stop at ‖b − A x‖₂ ≤ max(rtol ‖b‖₂, atol).
    - `max_steps`: limit on applications of A⁻¹, 3 by default: one solve and two refinements.

    Raises `TypeError` for an operator that has no inverse by transforms.
    """

    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=3)
    history: ClassVar[bool] = False
    needs_symmetric: ClassVar[bool] = True

    def __check_init__(self):
        if self.max_steps < 0:
            raise ValueError(f"FastPoissonSolve: max_steps must not be negative, got {self.max_steps}")

    def bind(self, operator) -> "FastPoissonSolve":
        _invertible(operator)
        return self

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""] | None = None
    ) -> tuple[Float[Array, "..."], Stats]:
        inverse = _invertible(operator).inverse
        if tolerance is None:
            tolerance = jnp.maximum(self.rtol * self.measure(b), self.atol)

        return refine(operator, b, x0, tolerance, lambda r, _: (inverse(r), 1, Status.stagnated), self)


def _invertible(operator):
    """The operator itself, without tags."""
    while isinstance(operator, lx.TaggedLinearOperator):
        operator = operator.operator
    if not isinstance(operator, Laplacian | Spectral):
        raise TypeError(
            f"FastPoissonSolve inverts Laplacian and Spectral operators, got {type(operator).__name__}: use CG with the "
            "preconditioner FastPoisson or Multigrid, or leave the method out"
        )
    return operator
