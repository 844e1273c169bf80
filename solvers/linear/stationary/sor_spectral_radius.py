"""Young's theory of SOR: the spectral radius of one iteration, and the relaxation factor that minimises it."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, ScalarLike, Shaped


def optimal_omega(beta: ScalarLike) -> Float[Array, ""]:
    """ω* = 1 + (β / (1 + √(1 − β²)))², the ω with the smallest `sor_radius` (Young 1954).

    **Arguments:** `beta`: ρ(I − D⁻¹ A) in [0, 1), for example cos(π/(n + 1)) for the Laplacian on n² interior nodes.
    """
    beta = jnp.asarray(beta)
    return 1 + (beta / (1 + jnp.sqrt(1 - jnp.square(beta)))) ** 2


def sor_radius(omega: Shaped[ArrayLike, "..."], beta: ScalarLike) -> Float[Array, "..."]:
    """Spectral radius of the SOR iteration, the factor by which the residual falls per iteration in the long run.

    ((ω β + √(ω² β² − 4 (ω − 1))) / 2)² for ω < ω* and ω − 1 above, for symmetric positive definite operators that are
    consistently ordered, as 5- and 7-point stencils are in red-black and in natural order (Young 1954).
    """
    omega = jnp.asarray(omega)
    root = jnp.square(omega * beta) - 4 * (omega - 1)
    below = (omega * beta + jnp.sqrt(jnp.where(root > 0, root, 1))) ** 2 / 4
    return jnp.where(root > 0, below, omega - 1)
