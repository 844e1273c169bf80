"""How many iterations of SOR are needed at most, as a function of ω: what the bandits' guarantees rest on."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ..stationary.sor_spectral_radius import sor_radius


class RelaxationBound(NamedTuple):
    """**Fields:** `iterations`, U at every ω; `alpha`, the slowest rate on the interval; `lipschitz`, of U to the right of ω*.

    **Example:**

        >>> bound = sx.linear.near_asymptotic_bound(jnp.array([1.5]), 0.98, 0.1, 1e-6)
        >>> bound.iterations.shape
        (1,)
    """

    iterations: Float[Array, "..."]
    alpha: Float[Array, ""]
    lipschitz: Float[Array, ""]


def near_asymptotic_bound(
    omega: Float[Array, "..."], beta: ScalarLike, tau: ScalarLike, eps: ScalarLike
) -> RelaxationBound:
    """U(ω) = 1 + log ε / log(ρ + τ (1 − ρ)), ρ the spectral radius of SOR with ω.

    If ‖C^k‖ ≤ (ρ + τ (1 − ρ))^k at the k where SOR stops, C the map of one iteration on residuals, then it reduces the residual
    by ε in fewer than U(ω) iterations. τ = 0 is asymptotic convergence from the start; on the paper's 10×10 Laplacian τ = 0.2
    suffices at all ω in [1, 1.95].

    With α = τ + (1 − τ) max(β², ω_max − 1), U ≤ 1 + log ε / log α everywhere, and U falls up to ω* and beyond has the Lipschitz
    constant −(1 − τ) log ε / (α log² α), provided that τ ≥ 1/e² or β² ≥ 4/e² (1 − 1/e²).

    Source: Khodak et al., Learning to Relax (ICLR 2024), section 2.2 and appendix B.

    **Arguments:** `omega` in [1, 2), its largest value is ω_max; `beta` = ρ(I − D⁻¹ A) in [0, 1); `tau` in [0, 1); `eps`, the
    relative residual to reach.

    **Example:**

        >>> bound = sx.linear.near_asymptotic_bound(jnp.array([1.5]), 0.98, 0.1, 1e-6)
        >>> bool(bound.iterations[0] > 1)
        True
    """
    radius, tau, decay = sor_radius(omega, beta), jnp.asarray(tau), jnp.log(jnp.asarray(eps))
    alpha = tau + (1 - tau) * jnp.maximum(jnp.square(beta), jnp.max(omega) - 1)
    lipschitz = -(1 - tau) * decay / (alpha * jnp.log(alpha) ** 2)
    return RelaxationBound(1 + decay / jnp.log(radius + tau * (1 - radius)), alpha, lipschitz)
