"""Preconditioned conjugate gradients (Hestenes and Stiefel 1952)."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from .method import AbstractMethod, bound
from .status import Stats, Status


class CG(AbstractMethod):
    """Conjugate gradients for a symmetric positive definite operator.

    The recurrence's residual drifts from the true one, which has a floor near ε ‖A‖ ‖x‖ (in float32 and for smooth
    right-hand sides this is 1e-3 of ‖b‖ at 256² points already). So when the recurrence meets the tolerance the true residual
    is computed; if it does not meet it, the method restarts from it with a tolerance four times tighter, and ends as
    `stagnated` when that did not lower the true residual by a quarter.

    **Arguments:**

    - `preconditioner`: symmetric positive definite map r ↦ M⁻¹ r, a callable pytree, or one that is set up from the
      operator, as `Multigrid()` and `Jacobi()`; none by default. It gets no gradient (at convergence the solution does not
      depend on it).
    - `rtol`, `atol`: stop at |r| ≤ max(rtol |b|, atol) for r = b − A x. Good values of rtol: 1e-5 in float32, 1e-10 in
      float64.
    - `norm`: "residual" is |r| = ‖r‖₂. "natural" is |r| = √(rᵀ M⁻¹ r), which measures the energy norm of the error up to
      the quality of the preconditioner; with a good one it can be met in float32 where the other has its floor.
    - `max_steps`: limit on iterations (products with A), 1000 by default.
    - `history`: record the residual norm of the recurrence per iteration.
    """

    preconditioner: Callable | None = None
    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    norm: Literal["residual", "natural"] = eqx.field(static=True, default="residual")
    max_steps: int = eqx.field(static=True, default=1000)
    history: bool = eqx.field(static=True, default=False)
    needs_symmetric: ClassVar[bool] = True

    def __check_init__(self):
        if self.max_steps < 0:
            raise ValueError(f"CG: max_steps must not be negative, got {self.max_steps}")
        if self.norm not in ("residual", "natural"):
            raise ValueError(f"CG: unknown norm {self.norm!r}; use 'residual' or 'natural'")

    def bind(self, operator) -> "CG":
        return dataclasses.replace(self, preconditioner=bound(self.preconditioner, operator))

    def describe(self) -> str:
        return "CG" if self.preconditioner is None else f"CG({type(self.preconditioner).__name__})"

    def measure(self, r: Float[Array, "..."]) -> Float[Array, ""]:
        """|r| in the norm of the stopping test."""
        return self._measure(r, self._precondition(r) if self.norm == "natural" else r)

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""] | None = None
    ) -> tuple[Float[Array, "..."], Stats]:
        """x and its `Stats`. `tolerance`, if given, is the |r| to reach instead of max(rtol |b|, atol)."""
        if tolerance is None:
            tolerance = jnp.maximum(self.rtol * self.measure(b), self.atol)
        tolerance = tolerance.astype(b.dtype)
        buffer = jnp.full(self.max_steps if self.history else 0, jnp.nan, b.dtype)

        def iterate(carry):
            x, r, p, gamma, _, k, status, buffer = carry
            q = operator.mv(p)
            curvature = _dot(p, q)
            ok = (curvature > 0) & (gamma > 0)
            alpha = jnp.where(ok, gamma / jnp.where(ok, curvature, 1), 0)
            x = x + alpha * p
            r = r - alpha * q
            z = self._precondition(r)
            gamma_new = _dot(r, z)
            p = z + jnp.where(ok, gamma_new / jnp.where(ok, gamma, 1), 0) * p
            size = self._measure(r, z)
            finite = jnp.isfinite(curvature) & jnp.isfinite(gamma_new)
            status = jnp.where(finite, jnp.where(ok, _RUNNING, Status.breakdown), Status.non_finite)
            if self.history:
                buffer = buffer.at[k].set(size)
            return x, r, p, gamma_new, size, k + 1, status, buffer

        def sweep(carry):
            """Iterate until the recurrence claims convergence, then look at the true residual."""
            x, r, target, best_x, best, k, _, buffer = carry
            z = self._precondition(r)

            def unfinished(inner):
                *_, size, k, status, _ = inner
                return (status == _RUNNING) & (k < self.max_steps) & (size > target)

            start = (x, r, z, _dot(r, z), self._measure(r, z), k, jnp.asarray(_RUNNING), buffer)
            x, _, _, _, _, k, status, buffer = jax.lax.while_loop(unfinished, iterate, start)
            r = b - operator.mv(x)
            true = self.measure(r)
            best_x = jnp.where(true < best, x, best_x)
            ended = jnp.where(k >= self.max_steps, Status.max_steps, _RUNNING)
            ended = jnp.where(true > 0.75 * best, Status.stagnated, ended)
            ended = jnp.where(jnp.isfinite(true), ended, Status.non_finite)
            status = jnp.where(status == _RUNNING, ended, status)
            best = jnp.where(true < best, true, best)
            status = jnp.where(best <= tolerance, Status.converged, status)
            return x, r, tolerance / 4, best_x, best, k, status, buffer

        r = b - operator.mv(x0)
        first = self.measure(r)
        finite = jnp.isfinite(first) & jnp.isfinite(tolerance)
        status = jnp.where(finite, jnp.where(first <= tolerance, Status.converged, _RUNNING), Status.non_finite)
        if self.max_steps == 0:
            status = jnp.where(status == _RUNNING, Status.max_steps, status)
        carry = (x0, r, tolerance, x0, jnp.where(finite, first, jnp.inf), jnp.asarray(0), status, buffer)
        _, _, _, x, residual, k, status, buffer = jax.lax.while_loop(lambda c: c[6] == _RUNNING, sweep, carry)
        residual = jnp.where(finite, residual, jnp.nan)
        return x, Stats(status.astype(jnp.int32), k, residual, buffer if self.history else None)

    def _precondition(self, r):
        return r if self.preconditioner is None else self.preconditioner(r)

    def _measure(self, r, z):
        # Rounding can make a tiny square negative. A large negative one (M is not definite) is a breakdown in `iterate`.
        return jnp.sqrt(jnp.abs(_dot(r, z if self.norm == "natural" else r)))


_RUNNING = -1


def _dot(a, b):
    return jnp.vdot(a, b, precision=jax.lax.Precision.HIGHEST)
