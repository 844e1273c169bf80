"""The certified reduced basis method, online: solve, bound the error, evaluate outputs, at a cost free of the full size."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ....core.storage import register
from ...parameter_range import ParameterRange
from .residual_bound import contract, reduced_coefficients, residual_coefficients

Norm = Literal["energy", "X"]


class ReducedSolution(NamedTuple):
    """**Fields:** `coefficients` `(N,)`; `bound` `()` of the error in the model's norm; `norm` `()` of the reduced solution in
    the same norm; `outputs` `(L,)`, ⟨ℓ, u_N⟩, and `output_bounds` `(L,)` of their errors, ‖ℓ‖_X' ‖r‖_X' / α; `compliance` `()`,
    ⟨b, u_N⟩, below the true one by at most ‖r‖²_X' / α, the square of the energy bound."""

    coefficients: Float[Array | np.ndarray, "*batch n"]
    bound: Float[Array | np.ndarray, "*batch"]
    norm: Float[Array | np.ndarray, "*batch"]
    outputs: Float[Array | np.ndarray, "*batch l"]
    output_bounds: Float[Array | np.ndarray, "*batch l"]
    compliance: Float[Array | np.ndarray, "*batch"]


@register("ReducedBasis")
class ReducedBasis(eqx.Module):
    """u(μ) ≈ Σ_i c_i(μ) φ_i with Σ_q θ_q(μ) A_q^N c = Σ_r φ_r(μ) b_r^N and a bound of its error.

    With the residual r and the coercivity bound α ≤ α(μ), all in the inner product X,

        ‖u − u_N‖_μ ≤ ‖r‖_X' / √α     (norm="energy", ‖v‖²_μ = ⟨v, A(μ) v⟩), effectivity at most √(γ/α),
        ‖u − u_N‖_X ≤ ‖r‖_X' / α      (norm="X"),                            effectivity at most γ/α,

    γ the continuity constant (Rozza, Huynh and Patera 2008). With min-θ γ/α is max_q θ_q / min_q θ_q relative to the
    reference: for the thermal block the contrast. u is the solution of the affine system handed in: where that interpolates
    another problem (EIM), the error of the interpolation is not in the bound.

    Calling it is pure: jit, vmap and grad apply where the coercivity bound can be traced (`MinTheta`). It computes in
    float64 where x64 is on, else in float32, with a floor of the bound near 1e-7 of the right-hand side.

    **Fields:** `basis` φ `(N, *space)`, which only `field` touches; `matrices` A_q^N, `rhs` b_r^N, `functionals` ⟨ℓ, φ_i⟩ and
    their `dual_norms` ‖ℓ‖_X'; `residual`, x̂ ↦ ‖r‖_X'; `coercivity`, θ ↦ α; the functions θ and φ; the `training_range` of
    the parameters.

    Made by `weak_greedy(…).model()` or `CertifiedBasis.of(…).model()`.

    **Example:**

        >>> block = sx.problem("thermal_block", blocks=(2, 1))
        >>> training = {name: np.array([0.1, 1.0, 10.0]) for name in block.laws}
        >>> model = sx.reduced.weak_greedy(block.affine(block.box.grid(9)), training, tolerance=1e-2).model()
        >>> model.norm
        'energy'
    """

    basis: Float[Array | np.ndarray, "n *space"]
    matrices: Float[Array | np.ndarray, "q n n"]
    rhs: Float[Array | np.ndarray, "r n"]
    functionals: Float[Array | np.ndarray, "l n"]
    dual_norms: Float[Array | np.ndarray, " l"]
    residual: Callable
    coercivity: Callable
    coefficients: Callable
    rhs_coefficients: Callable
    training_range: ParameterRange
    norm: Norm = eqx.field(static=True)

    def __call__(self, parameters: Any) -> ReducedSolution:
        """The reduced solution at one parameter.

        **Warns** outside jit when a parameter is outside the range of the training set by more than 5 % of it; there the
        bound still holds but is not known to be small.
        """
        self.training_range.warn_outside(parameters, "see the bound")
        theta, phi = self.coefficients(parameters), self.rhs_coefficients(parameters)
        return self.at(theta, phi)

    def at(self, theta, phi) -> ReducedSolution:
        """The same from θ `(…, Q)` and φ `(…, R)`; NumPy arrays are computed with on the host, in their precision."""
        xp = jnp if isinstance(theta, jax.Array) else np
        c = reduced_coefficients(self.matrices, self.rhs, theta, phi)
        alpha = xp.asarray(self.coercivity(theta))
        bounded = alpha > 0
        alpha = xp.where(bounded, alpha, 1)
        size = xp.where(bounded, self.residual(residual_coefficients(c, theta, phi)), xp.inf)
        compliance = (contract("...r,ri->...i", phi, self.rhs) * c).sum(-1)
        square = compliance if self.norm == "energy" else (c**2).sum(-1)
        return ReducedSolution(
            coefficients=c,
            bound=size / (alpha**0.5 if self.norm == "energy" else alpha),
            norm=abs(square) ** 0.5,
            outputs=contract("ln,...n->...l", self.functionals, c),
            output_bounds=(size / alpha)[..., None] * self.dual_norms,
            compliance=compliance,
        )

    def field(self, coefficients: Float[Array, "*batch n"]) -> Float[Array, "..."]:
        """Σ_i c_i φ_i on the unknowns, at a cost of N products per unknown."""
        return jnp.tensordot(coefficients, self.basis, 1, precision="highest")

    def astype(self, dtype) -> "ReducedBasis":
        """With all arrays on the device in this precision; float64 needs x64."""
        return jax.tree.map(lambda x: jnp.asarray(x, dtype) if eqx.is_inexact_array_like(x) else x, self)
