"""Preconditioned conjugate gradients (Hestenes and Stiefel 1952)."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ScalarLike

from ..driver import LOOK, Recurrence, verdict
from ..inner_products import dot, ratio
from ..preconditioning import Preconditioner
from ..solution import DEFLATED, Status
from .krylov_method import AbstractKrylov, Norm


class CGState(NamedTuple):
    """x, its residual r by the recurrence, z = M⁻¹ r (None without a preconditioner), the last direction p, γ = rᵀ z and
    β = γ / γ_before; pᵀ M p, and the largest pᵀ A p / pᵀ M p so far; whether p is a null vector but for rounding, and the part
    of b along such directions, which no x can reach."""

    x: Array
    r: Array
    z: Array | None
    p: Array
    gamma: Array
    beta: Array
    length: Array
    steepest: Array
    flat: Array
    unreachable: Array


class CG(AbstractKrylov):
    """Conjugate gradients for a symmetric positive definite operator, or a semidefinite one in a consistent system.

    The recurrence's residual drifts from the true one, which has a floor near ε ‖A‖ ‖x‖ (in float32 and for smooth
    right-hand sides this is 1e-3 of ‖b‖ at 256² points already). So when the recurrence meets the tolerance the true residual
    is computed; if it does not meet it, the method restarts from it with a tolerance four times tighter, and ends as
    `stagnated` when that did not lower the true residual by a quarter. `Refinement` goes below the floor.

    **Arguments:**

    - `preconditioner`: symmetric positive definite map r ↦ M⁻¹ r, any callable pytree or one that is set up from the
      operator, as `Multigrid()` and `Jacobi()`; none by default. It gets no gradient (at convergence the solution does not
      depend on it).
    - `rtol`, `atol`: stop at |r| ≤ max(rtol |b|, atol) for r = b − A x. Good values of rtol: 1e-5 in float32, 1e-10 in
      float64.
    - `norm`: "residual" is |r| = ‖r‖₂. "natural" is |r| = √(rᵀ M⁻¹ r), which measures the energy norm of the error up to
      the quality of the preconditioner; with a good one it can be met in float32 where the other has its floor.
    - `max_steps`: limit on iterations (products with A), 1000 by default.
    - `history`: record the residual norm per iteration, as the recurrence knows it (see `Stats`).

    A direction of negative curvature ends it as `breakdown` (use `MINRES` for indefinite operators). One without curvature is
    a null vector: the part of b along it has no preimage and is left out from then on, so that a singular system without
    a solution runs to about the least residual and ends as `stagnated`.

    **Example:**

        >>> solution = sx.linear.solve(A, b, sx.linear.CG(sx.linear.Multigrid(), rtol=1e-5))
        >>> sx.linear.Status(int(solution.status)).name, int(solution.stats.iterations) < 10
        ('converged', True)
    """

    preconditioner: Preconditioner | None = None
    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    norm: Norm = eqx.field(static=True, default="residual")
    max_steps: int = eqx.field(static=True, default=1000)
    history: bool = eqx.field(static=True, default=False)
    needs_symmetric: ClassVar[bool] = True

    def recurrence(self, operator) -> Recurrence:
        plain = self.preconditioner is None

        # The direction is updated at the start of a step and not at its end: then nothing reads the old one afterwards, and
        # XLA updates it in place instead of copying it in every iteration.
        def start(x, r, last: CGState | None):
            unreachable = jnp.zeros_like(r)
            if last is not None:
                r = r - last.unreachable
                square = dot(last.p, last.p)
                more = ratio(dot(last.p, r), square, last.flat & (square > 0))
                r, unreachable = r - more * last.p, last.unreachable + more * last.p
            z = self.precondition(r)
            gamma = dot(r, z)
            zero, no = jnp.zeros_like(gamma), jnp.asarray(False)
            state = CGState(x, r, None if plain else z, jnp.zeros_like(r), gamma, zero, zero, zero, no, unreachable)
            return state, self.measured(r, z)

        def step_if(state, active):
            x, r, z, p, gamma, beta, length, steepest, flat, unreachable = state
            # A system of a batch that waits for others keeps its direction, by numbers and not by a choice of arrays.
            p = jnp.where(active, 1, 0).astype(r.dtype) * (r if plain else z) + jnp.where(active, beta, 1) * p
            q = operator.mv(p)
            curvature = dot(p, q)
            length = jnp.where(active, gamma + beta**2 * length, length)
            flat = jnp.where(
                active, (gamma > 0) & (jnp.abs(curvature) <= jnp.finfo(r.dtype).eps * steepest * length), flat
            )
            steepest = jnp.maximum(steepest, ratio(curvature, length, length > 0))
            ok = (curvature > 0) & (gamma > 0) & ~flat
            alpha = ratio(gamma, curvature, ok & active)
            x = x + alpha * p
            r = r - alpha * q
            z = self.precondition(r)
            gamma_new = dot(r, z)
            beta = jnp.where(active, ratio(gamma_new, gamma, ok), beta)
            gamma = jnp.where(active, gamma_new, gamma)
            state = CGState(x, r, None if plain else z, p, gamma, beta, length, steepest, flat, unreachable)
            failure = jnp.where(flat, DEFLATED, Status.breakdown)
            return state, self.measured(r, z), verdict(ok, failure, curvature, gamma_new)

        step = lambda state: step_if(state, True)  # noqa: E731
        return Recurrence(start, step, lambda state: state.x, step_if=step_if, first_look=LOOK, trusts_claims=True)
