"""Young's theory of SOR: the spectral radius of one iteration, and the relaxation factor that minimises it."""

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, ArrayLike, Float, ScalarLike, Shaped

from ..operators.eigenvalue_bounds import extreme_ritz_values, nonzero_diagonal


def optimal_omega(beta: ScalarLike) -> Float[Array, ""]:
    """ω* = 1 + (β / (1 + √(1 − β²)))², the ω with the smallest `sor_radius` (Young 1954).

    **Arguments:** `beta`: ρ(I − D⁻¹ A) in [0, 1), for example `jacobi_radius(operator)`, or cos(π/(n + 1)) for the Laplacian on
    n² interior nodes.

    **Example:**

        >>> round(float(sx.linear.optimal_omega(jnp.cos(jnp.pi / 16))), 3)
        1.674
    """
    beta = jnp.asarray(beta)
    return 1 + (beta / (1 + jnp.sqrt(1 - jnp.square(beta)))) ** 2


def jacobi_radius(operator: lx.AbstractLinearOperator, steps: int = 64) -> Float[Array, ""]:
    """β = ρ(I − D⁻¹ A) of a symmetric operator with a positive diagonal, for `optimal_omega` and `sor_radius`.

    From the extreme Ritz values of D⁻¹ A after `steps` products with A, which lie inside the spectrum: a lower bound, right to
    a few digits if `steps` is some two times the points per side. A singular operator has β = 1; its value leaves the
    null space out.

    **Example:**

        >>> round(float(sx.linear.jacobi_radius(A)), 2)                                  # cos π/16
        0.98
    """
    low, high = extreme_ritz_values(operator, jax.random.key(0), steps, nonzero_diagonal(operator))
    return jnp.maximum(1 - low, high - 1)


def sor_radius(omega: Shaped[ArrayLike, "..."], beta: ScalarLike) -> Float[Array, "..."]:
    """Spectral radius of the SOR iteration, the factor by which the residual falls per iteration in the long run.

    ((ω β + √(ω² β² − 4 (ω − 1))) / 2)² for ω < ω* and ω − 1 above, for symmetric positive definite operators that are
    consistently ordered, as 5- and 7-point stencils are in red-black and in natural order (Young 1954).

    **Example:**

        >>> beta = jnp.cos(jnp.pi / 16)
        >>> omega = sx.linear.optimal_omega(beta)
        >>> bool(jnp.allclose(sx.linear.sor_radius(omega, beta), omega - 1, atol=1e-3))
        True
    """
    omega = jnp.asarray(omega)
    root = jnp.square(omega * beta) - 4 * (omega - 1)
    below = (omega * beta + jnp.sqrt(jnp.where(root > 0, root, 1))) ** 2 / 4
    return jnp.where(root > 0, below, omega - 1)
