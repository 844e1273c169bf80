"""Conjugate gradients for preconditioners that change or are not linear (Notay 2000; Golub and Ye 1999)."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ScalarLike

from ..driver import Recurrence, verdict
from ..inner_products import dot, norm, ratio
from ..preconditioning import Preconditioner
from ..solution import Status
from .krylov_method import AbstractKrylov, Norm


class FlexibleState(NamedTuple):
    """x, its residual r by the recurrence; the last m directions p_i and products A p_i as rows `(m, n)` with their
    curvatures p_iᵀ A p_i `(m,)`; the number of steps so far."""

    x: Array
    r: Array
    directions: Array
    products: Array
    curvatures: Array
    count: Array | int


class FlexibleCG(AbstractKrylov):
    """Flexible conjugate gradients, FCG(m), for a symmetric positive definite operator.

    Each preconditioned residual z = M_k(r) is made A-orthogonal to the last m directions explicitly,
    p = z − Σ_i (zᵀ A p_i / p_iᵀ A p_i) p_i, and the step is the exact line search α = pᵀ r / pᵀ A p, so M may be any map: a few
    steps of an inner iteration, a network, a multigrid cycle that is not symmetric. With m = 1 this is the Polak–Ribière
    formula β = zᵀ(r − r_old) / z_oldᵀ r_old, and with a fixed symmetric M it is `CG`. The energy norm of the error never rises.

    **Arguments:**

    - `preconditioner`: a map r ↦ M(r), a callable pytree or one that is set up from the operator.
    - `rtol`, `atol`, `max_steps`, `history`: as in `CG`; the norm is ‖r‖₂.
    - `directions`: m, 1 by default; more help where M varies strongly (2 arrays and 2 products per direction).

    A direction of zero or negative curvature, or one without descent (pᵀ r = 0), ends it as `breakdown`. Source: Notay,
    Flexible conjugate gradients, SIAM J. Sci. Comput. 22 (2000), algorithm FCG(m).

    **Example:**

        >>> sx.linear.Status(int(sx.linear.solve(A, b, sx.linear.FlexibleCG(sx.linear.SSOR())).status)).name
        'converged'
    """

    preconditioner: Preconditioner | None = None
    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    directions: int = eqx.field(static=True, default=1)
    max_steps: int = eqx.field(static=True, default=1000)
    history: bool = eqx.field(static=True, default=False)
    norm: ClassVar[Norm] = "residual"
    needs_symmetric: ClassVar[bool] = True

    def __check_init__(self):
        if self.directions < 1:
            raise ValueError(f"FlexibleCG: directions must be at least 1, got {self.directions}")

    def recurrence(self, operator) -> Recurrence:
        def start(x, r, last):
            none = jnp.zeros((self.directions, r.size), r.dtype)
            return FlexibleState(x, r, none, none, jnp.zeros(self.directions, r.dtype), 0), norm(r)

        def step(state):
            x, r, directions, products, curvatures, k = state
            z = self.precondition(r)
            overlaps = jnp.matmul(products, z.ravel(), precision=jax.lax.Precision.HIGHEST)
            overlaps = ratio(overlaps, curvatures, curvatures > 0)
            p = z - jnp.matmul(overlaps, directions, precision=jax.lax.Precision.HIGHEST).reshape(z.shape)
            q = operator.mv(p)
            curvature, slope = dot(p, q), dot(p, r)
            ok = (curvature > 0) & (slope != 0)
            alpha = ratio(slope, curvature, ok)
            r = r - alpha * q
            slot = k % self.directions
            kept = (directions.at[slot].set(p.ravel()), products.at[slot].set(q.ravel()))
            state = FlexibleState(x + alpha * p, r, *kept, curvatures.at[slot].set(curvature), k + 1)
            size = norm(r)
            return state, size, verdict(ok, Status.breakdown, curvature, size)

        return Recurrence(start, step, lambda state: state.x, trusts_claims=True)
