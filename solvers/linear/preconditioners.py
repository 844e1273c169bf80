"""Approximate inverses: symmetric positive definite maps r ↦ M⁻¹ r."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..domains import Boundary
from ..kernels import fast_poisson


class FastPoisson(eqx.Module):
    """M⁻¹ r = s · (−Δ_h)⁻¹ (s · r) by sine, cosine and Fourier transforms (Concus and Golub 1973).

    **Arguments:**

    - `scaling`: s, a scalar or a field `(*n)`; a^(−1/2) for the operator −∇·(a∇). Good choice: none for coefficients that
      jump (iterations bounded by the contrast), a^(−1/2) for smooth ones. The wrong choice converges, slowly.
    """

    scaling: Float[Array, "..."] | None
    spacing: tuple[float, ...] = eqx.field(static=True)
    boundaries: tuple[Boundary, ...] = eqx.field(static=True)

    def __init__(self, spacing, boundaries, scaling=None):
        self.spacing, self.boundaries = tuple(spacing), tuple(boundaries)
        self.scaling = None if scaling is None else jnp.asarray(scaling)

    def __call__(self, r):
        if self.scaling is None:
            return fast_poisson.solve_constant(r, self.spacing, self.boundaries)
        return self.scaling * fast_poisson.solve_constant(self.scaling * r, self.spacing, self.boundaries)


class Jacobi(eqx.Module):
    """M⁻¹ r = r / diag(A)."""

    diagonal: Float[Array, "*n"]

    def __call__(self, r):
        return r / self.diagonal
