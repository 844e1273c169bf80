"""Damped Jacobi iteration."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ..method import check_omega
from ..preconditioners.jacobi import Jacobi
from .richardson import damped_sweeps
from .stationary_method import AbstractStationary, Sweeps


class JacobiIteration(AbstractStationary):
    """Damped Jacobi iteration x ← x + ω D⁻¹ (b − A x), D the diagonal of A.

    It converges for symmetric positive definite A if 0 < ω < 2 / λmax(D⁻¹ A); the error of the eigenvector with eigenvalue λ of
    D⁻¹ A is multiplied by 1 − ω λ per iteration, so that a Poisson problem with n points per side takes O(n²) iterations.
    Without a shift and with ω = 1 the highest mode on periodic and Neumann boxes does not fall at all.

    **Arguments:**

    - `omega`: damping, in (0, 2); 1 is plain Jacobi, 2/3 to 0.8 smooths best. May be traced.
    - `rtol`, `atol`: stop at ‖b − A x‖₂ ≤ max(rtol ‖b‖₂, atol). Good values of rtol: 1e-5 in float32, 1e-10 in float64.
    - `max_steps`: limit on iterations, each one product with A.
    - `history`: record ‖b − A x‖₂ per iteration.

    Works with every operator of lineax that has a diagonal, symmetric or not. Raises `ValueError` for `omega` outside (0, 2)
    unless it is traced. Divergence ends as `non_finite` or `max_steps`.

    **Example:**

        >>> sx.linear.Status(int(sx.linear.solve(A, b, sx.linear.JacobiIteration(rtol=1e-3)).status)).name
        'converged'
    """

    omega: ScalarLike = 1.0
    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=10_000)
    history: bool = eqx.field(static=True, default=False)
    needs_symmetric: ClassVar[bool] = False

    def __check_init__(self):
        check_omega("JacobiIteration", self.omega)

    def bind(self, operator, *, transpose: bool = False) -> "JacobiIteration":
        return self

    def sweeps(self, operator, b: Float[Array, "*n"]) -> Sweeps:
        inverse = Jacobi().bind(operator)
        return damped_sweeps(operator, b, lambda r: jnp.asarray(self.omega * inverse(r), b.dtype))
