"""Minimal residuals for symmetric indefinite operators (Paige and Saunders 1975)."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ScalarLike

from ..driver import Recurrence
from ..inner_products import dot, norm, ratio
from ..preconditioning import Preconditioner
from ..solution import PAUSED, RUNNING, Status
from .krylov_method import AbstractKrylov, Norm


class Rotation(NamedTuple):
    """A Givens rotation."""

    cos: Array
    sin: Array


class MINRESState(NamedTuple):
    """x; the last two Lanczos vectors, their M⁻¹ image z and norms γ; the last two directions w; the residual r where it is
    kept explicitly (else None); |r| up to its sign, η; the last two rotations; the largest entry of the tridiagonal matrix."""

    x: Array
    v_old: Array
    v: Array
    z: Array
    w_old: Array
    w: Array
    r: Array | None
    gamma_old: Array
    gamma: Array
    eta: Array
    older: Rotation
    old: Rotation
    scale: Array


class MINRES(AbstractKrylov):
    """MINRES for a symmetric operator, indefinite or singular, with a symmetric positive definite preconditioner.

    Lanczos vectors of M⁻¹A and Givens rotations minimise √(rᵀ M⁻¹ r) over the Krylov space. A singular system that has a
    solution gets one. One that has none runs to the least-squares residual and ends as `stagnated`. Where rounding lets x grow
    along the null space, the true residual, looked at now and then, shows it, and the best x is returned.

    **Arguments:**

    - `preconditioner`: symmetric positive definite, as for `CG`, even where A is indefinite (for example |diag A|⁻¹).
    - `rtol`, `atol`, `max_steps`, `history`: as in `CG`.
    - `norm`: "residual" stops at ‖r‖₂ (with a preconditioner r is kept by a recurrence of its own, one array more),
      "natural" at √(rᵀ M⁻¹ r), which falls monotonically.

    A preconditioner that is not positive definite ends it as `breakdown`. Source: Paige and Saunders, SIAM J. Numer. Anal.
    12 (1975); preconditioned form: Elman, Silvester and Wathen, Finite Elements and Fast Iterative Solvers, algorithm 4.1.

    **Example:**

        >>> shifted = sx.linear.Laplacian((15, 15), (1 / 16, 1 / 16), ("dirichlet", "dirichlet"), shift=-30.0)
        >>> sx.linear.Status(int(sx.linear.solve(shifted, b, sx.linear.MINRES(rtol=1e-4)).status)).name      # indefinite
        'converged'
    """

    preconditioner: Preconditioner | None = None
    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    norm: Norm = eqx.field(static=True, default="residual")
    max_steps: int = eqx.field(static=True, default=1000)
    history: bool = eqx.field(static=True, default=False)
    needs_symmetric: ClassVar[bool] = True

    def recurrence(self, operator) -> Recurrence:
        explicit = self.norm == "residual" and self.preconditioner is not None

        def start(x, r, last):
            z = self.precondition(r)
            eta = jnp.sqrt(jnp.abs(dot(r, z)))
            one, zero = jnp.ones_like(eta), jnp.zeros_like(eta)
            vectors = (jnp.zeros_like(r), r, z, jnp.zeros_like(r), jnp.zeros_like(r), r if explicit else None)
            # γ_old = 1 divides v_old = 0.
            identity = Rotation(one, zero)
            return MINRESState(x, *vectors, one, eta, eta, identity, identity, zero), norm(r) if explicit else eta

        def step(state):
            x, v_old, v, z, w_old, w, r, gamma_old, gamma, eta, older, old, scale = state
            z = z / gamma
            product = operator.mv(z)
            delta = dot(z, product)
            v_new = product - (delta / gamma) * v - (gamma / gamma_old) * v_old
            z_new = self.precondition(v_new)
            square = dot(v_new, z_new)
            # The square of a Lanczos vector that is all rounding may come out negative.
            tiny = jnp.finfo(square.dtype).eps * jnp.maximum(scale, jnp.abs(delta))
            definite = square >= -(tiny**2)
            gamma_new = jnp.sqrt(jnp.maximum(square, 0))
            scale = jnp.maximum(scale, jnp.abs(delta) + gamma_new)

            # The new column of the tridiagonal matrix, turned by the two older rotations and by a new one.
            bulge, above = older.sin * gamma, old.sin * delta + older.cos * old.cos * gamma
            diagonal = old.cos * delta - older.cos * old.sin * gamma
            pivot = jnp.hypot(diagonal, gamma_new)
            # ‖A r‖ of the residual before this step: nothing left means that no solution has a smaller residual.
            least = jnp.hypot(diagonal, old.cos * gamma_new) <= 100 * jnp.finfo(square.dtype).eps * scale
            ok = definite & ~least & (pivot > 0)
            cos, sin = ratio(diagonal, pivot, ok), ratio(gamma_new, pivot, ok)
            w_new = ratio(jnp.ones_like(pivot), pivot, ok) * (z - bulge * w_old - above * w)
            x = x + cos * eta * w_new
            eta = jnp.where(ok, -sin * eta, eta)
            if explicit:
                turned = sin**2 * r + ratio(cos * eta, gamma_new, ok & (gamma_new > 0)) * v_new
                r = jnp.where(ok, turned, r)
            size = norm(r) if explicit else jnp.abs(eta)
            status = jnp.where(definite, jnp.where(ok, RUNNING, PAUSED), Status.breakdown)
            status = jnp.where(jnp.isfinite(square) & jnp.isfinite(delta), status, Status.non_finite)
            # A vanished Lanczos vector ends the space: the residual is zero then, and the division by 1 is not used.
            gamma_new = jnp.where(gamma_new > 0, gamma_new, 1)
            lanczos, rotations = (gamma, gamma_new, eta), (old, Rotation(cos, sin))
            return MINRESState(x, v, v_new, z_new, w, w_new, r, *lanczos, *rotations, scale), size, status

        return Recurrence(start, step, lambda state: state.x, monotone=True)
