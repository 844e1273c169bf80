"""The inverse of a constant-coefficient operator as a preconditioner of a variable-coefficient one."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ....core.domains import Boundary
from ...kernels import fast_poisson


class FastPoisson(eqx.Module):
    """M⁻¹ r = s · (−Δ_h + shift)⁻¹ (s · r) by sine, cosine and Fourier transforms (Concus and Golub 1973), a fixed map.

    Without a Dirichlet axis and with shift 0 constants are in the null space of M⁻¹ as they are in that of −∇·(a∇): the
    mean of r is ignored and M⁻¹ r has zero mean, whatever the scaling.

    **Arguments:**

    - `spacing`, `boundaries`: grid spacing and boundary ("dirichlet", "neumann", "periodic") per axis, as of the operator.
    - `scaling`: s, a scalar or a field `(*n)`; a^(−1/2) for the operator −∇·(a∇). Good choice: none for coefficients that
      jump (iterations bounded by the contrast), a^(−1/2) for smooth ones. The wrong choice converges, slowly.
    - `shift`: a number, not negative; 0 by default.
    - `dtype`: "float32" makes the transforms of a float64 system in half the time, at the same number of iterations where A
      is not M itself.

    **Example:**

        >>> M = sx.linear.FastPoisson((1 / 16, 1 / 16), ("dirichlet", "dirichlet"))
        >>> int(sx.linear.solve(A, b, sx.linear.CG(M)).stats.iterations) <= 2
        True
    """

    scaling: Float[Array, "..."] | None
    shift: ScalarLike
    spacing: tuple[float, ...] = eqx.field(static=True)
    boundaries: tuple[Boundary, ...] = eqx.field(static=True)
    dtype: str | None = eqx.field(static=True)

    def __init__(self, spacing, boundaries, scaling=None, shift: ScalarLike = 0.0, dtype: str | None = None):
        self.spacing, self.boundaries, self.shift, self.dtype = tuple(spacing), tuple(boundaries), shift, dtype
        self.scaling = None if scaling is None else jnp.asarray(scaling)

    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n"]:
        scaling = 1 if self.scaling is None else self.scaling
        rhs = (scaling * self._centred(r)).astype(self.dtype or r.dtype)
        z = fast_poisson.solve_constant(rhs, self.spacing, self.boundaries, self.shift)
        return self._centred(scaling * z.astype(r.dtype))

    def _centred(self, r):
        if "dirichlet" in self.boundaries:
            return r
        return r - jnp.where(jnp.asarray(self.shift) == 0, r.mean(), 0)
