"""Stabilised biconjugate gradients for non-symmetric operators (van der Vorst 1992)."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ScalarLike

from ..driver import Recurrence, verdict
from ..inner_products import dot, norm, ratio
from ..preconditioning import Preconditioner
from ..solution import PAUSED, Status
from .krylov_method import AbstractKrylov, Norm


class BiCGStabState(NamedTuple):
    """x and its residual r; the shadow residual and its norm; the direction p; ρ = shadowᵀ r; whether no step was done yet."""

    x: Array
    r: Array
    shadow: Array
    p: Array
    rho: Array
    shadow_size: Array
    fresh: Array | bool


class BiCGStab(AbstractKrylov):
    """BiCGStab for a non-symmetric operator, preconditioned from the right, so that r stays b − A x.

    Short recurrences (eight arrays, whatever the number of steps), two products with A and two with M⁻¹ per iteration. The
    residual falls irregularly. When the shadow residual has become orthogonal to the residual, or a stabilising step has
    length zero, the recurrence starts again from the true residual.

    **Arguments:**

    - `preconditioner`: a fixed linear map r ↦ M⁻¹ r, a callable pytree or one that is set up from the operator. For cotangents
      its transpose is used (see `solve`).
    - `rtol`, `atol`, `history`: as in `CG`; the norm is ‖r‖₂.
    - `max_steps`: limit on iterations, each with two products.

    Fails (`breakdown`, `stagnated`) where eigenvalues lie near the imaginary axis, as for skew-symmetric operators: use
    `FGMRES`. Source: van der Vorst, SIAM J. Sci. Stat. Comput. 13 (1992).

    **Example:**

        >>> import scipy.sparse as sp
        >>> M = sp.diags([-1.5, 4.0, -0.5], [-1, 0, 1], shape=(20, 20), dtype=np.float32)       # not symmetric
        >>> sx.linear.Status(int(sx.linear.solve(M, jnp.ones(20), sx.linear.BiCGStab()).status)).name
        'converged'
    """

    preconditioner: Preconditioner | None = None
    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=1000)
    history: bool = eqx.field(static=True, default=False)
    norm: ClassVar[Norm] = "residual"
    needs_symmetric: ClassVar[bool] = False

    def recurrence(self, operator) -> Recurrence:
        def start(x, r, last):
            size = norm(r)
            return BiCGStabState(x, r, r, r, size**2, size, True), size

        def step(state):
            x, r, shadow, p, rho, shadow_size, fresh = state
            direction = self.precondition(p)
            v = operator.mv(direction)
            sigma = dot(shadow, v)
            alpha = ratio(rho, sigma, sigma != 0)
            s = r - alpha * v
            stabiliser = self.precondition(s)
            t = operator.mv(stabiliser)
            squared = dot(t, t)
            omega = ratio(dot(t, s), squared, squared > 0)
            x = x + alpha * direction + omega * stabiliser
            r = s - omega * t
            rho_new, size = dot(shadow, r), norm(r)
            parallel = jnp.abs(rho_new) > jnp.finfo(r.dtype).eps * shadow_size * size
            ok = (sigma != 0) & (omega != 0) & parallel
            p = r + ratio(rho_new * alpha, rho * omega, ok) * (p - omega * v)
            failure = jnp.where(fresh & (sigma == 0), Status.breakdown, PAUSED)
            state = BiCGStabState(x, r, shadow, p, rho_new, shadow_size, False)
            return state, size, verdict(ok, failure, sigma, omega, size)

        return Recurrence(start, step, lambda state: state.x)
