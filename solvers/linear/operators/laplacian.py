"""−scale · Δ_h + shift with constant coefficients, and how operators on grids give their faces."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, ScalarLike

from ....core.arguments import kind
from ....core.domains import Boundary
from ...kernels import fast_poisson, stencil
from .diffusion import Diffusion
from .field_operator import AbstractFieldOperator, untagged


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

    **Example:**

        >>> A = sx.linear.Laplacian((63,), (1 / 64,), ("dirichlet",))
        >>> x = A.inverse(jnp.ones(63))                                                 # −u″ = 1
        >>> round(float(x[31]), 4)                                                      # 1/8 in the middle
        0.125
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
        for what, value in (("shape", shape), ("spacing", spacing), ("boundaries", boundaries)):
            kind("Laplacian", what, value, (tuple, list, np.ndarray), "pass one entry per axis, such as (64, 64)")
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
    operator = untagged(operator)
    if isinstance(operator, Laplacian):
        return operator.as_diffusion()
    if not isinstance(operator, Diffusion):
        raise TypeError(
            f"{user} works on grids and supports Diffusion and Laplacian operators, got {type(operator).__name__}: use "
            "SmoothedAggregation() for Sparse, Jacobi(), ChebyshevPolynomial(), JacobiIteration or a Krylov method"
        )
    return operator
