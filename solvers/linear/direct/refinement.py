"""Iterative refinement: residuals in one precision, corrections in a lower one (Wilkinson 1963)."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ..krylov.driver import RUNNING
from ..method import AbstractMethod
from ..solution import Stats, Status


class Refinement(AbstractMethod):
    """x ← x + d with A d ≈ b − A x: the residual in the precision of the system, the correction by `inner` in a lower one.

    Each correction lowers the error by about κ(A) ε of the lower precision or by `inner.rtol`, whichever is larger, so a few
    float32 solves give float64 accuracy; memory and time per iteration are about half. The system must be float64
    (`jax.enable_x64`); a float32 system raises `ValueError`.

    **Arguments:**

    - `inner`: a method for the correction, for example `CG(Multigrid(), rtol=1e-3)`. Good values of its rtol: 1e-2 to 1e-4 (the
      floor of float32 is met soon). Its atol is not used. Its preconditioner must be a pytree of arrays if it is bound by
      hand; all its arrays are rounded.
    - `dtype`: precision of the correction.
    - `rtol`, `atol`: for the final true residual ‖b − A x‖₂.
    - `max_steps`: limit on corrections (`inner` has its own limit on iterations).
    - `history`: record the true residual norm after every correction.

    `Stats.iterations` counts the iterations of all corrections together. A correction that does not lower the residual by a
    quarter ends it with the failure of `inner` if that is a breakdown, else as `stagnated`. Source: Higham, Accuracy and
    Stability of Numerical Algorithms, chapter 12.
    """

    inner: AbstractMethod
    rtol: ScalarLike = 1e-10
    atol: ScalarLike = 0.0
    dtype: str = eqx.field(static=True, default="float32")
    max_steps: int = eqx.field(static=True, default=20)
    history: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if self.max_steps < 0:
            raise ValueError(f"Refinement: max_steps must not be negative, got {self.max_steps}")

    @property
    def needs_symmetric(self) -> bool:
        return self.inner.needs_symmetric

    def bind(self, operator) -> "Refinement":
        return dataclasses.replace(self, inner=_rounded(self.inner.bind(self._lower(operator)), self.dtype))

    def transposed(self, operator) -> "Refinement":
        return dataclasses.replace(self, inner=_rounded(self.inner.transposed(self._lower(operator)), self.dtype))

    def describe(self) -> str:
        return f"Refinement({self.inner.describe()})"

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""] | None = None
    ) -> tuple[Float[Array, "..."], Stats]:
        """x and its `Stats`. `tolerance`, if given, is the |r| to reach instead of max(rtol |b|, atol)."""
        lower, inner = self._lower(operator), self.bind(operator).inner
        if tolerance is None:
            tolerance = jnp.maximum(self.rtol * self.measure(b), self.atol)

        def correction(r, size):
            unit = (r / size).astype(self.dtype)
            d, stats = inner(lower, unit, jnp.zeros_like(unit), jnp.asarray(inner.rtol) * inner.measure(unit))
            failure = jnp.where(stats.status == Status.breakdown, Status.breakdown, Status.stagnated)
            return size * d.astype(b.dtype), stats.iterations, failure

        return refine(operator, b, x0, tolerance, correction, self)

    def _lower(self, operator):
        given = operator.in_structure().dtype
        if jnp.finfo(given).bits <= jnp.finfo(self.dtype).bits:
            raise ValueError(
                f"Refinement: the system is {given}, corrections in {self.dtype} gain nothing; build it in float64 with "
                "jax.enable_x64, or use the inner method alone"
            )
        lower = _rounded(operator, self.dtype)
        if lower.in_structure().dtype != self.dtype:
            raise TypeError(
                f"Refinement: {type(operator).__name__} cannot be rounded to {self.dtype}, its dtype is not that of its "
                "arrays; use an operator made of arrays"
            )
        return lower


def refine(operator, b, x0, tolerance, correction, method) -> tuple[Float[Array, "..."], Stats]:
    """x ← x + d until the true residual meets `tolerance`. The best x is kept; a step that does not lower |r| by a quarter is
    the last.

    **Arguments:** `correction(r, |r|) -> (d, iterations, status if it fails)`; `method` gives `measure`, `max_steps`,
    `history`.
    """
    buffer = jnp.full(method.max_steps if method.history else 0, jnp.nan, b.dtype)

    def step(carry):
        x, r, size, k, iterations, _, buffer = carry
        d, inner_iterations, failure = correction(r, size)
        x_new = x + d
        r_new = b - operator.mv(x_new)
        size_new = method.measure(r_new)
        failure = jnp.where(jnp.isfinite(size_new), failure, Status.non_finite)
        status = jnp.where(k + 1 >= method.max_steps, Status.max_steps, RUNNING)
        status = jnp.where(size_new <= 0.75 * size, status, failure)
        status = jnp.where(size_new <= tolerance, Status.converged, status)
        better = size_new < size
        x, r, size = (jnp.where(better, new, old) for new, old in ((x_new, x), (r_new, r), (size_new, size)))
        if method.history:
            buffer = buffer.at[k].set(size_new)
        return x, r, size, k + 1, iterations + inner_iterations, status, buffer

    r = b - operator.mv(x0)
    size = method.measure(r)
    status = jnp.where(size <= tolerance, Status.converged, RUNNING if method.max_steps else Status.max_steps)
    status = jnp.where(jnp.isfinite(size) & jnp.isfinite(tolerance), status, Status.non_finite)
    carry = (x0, r, size, jnp.asarray(0), jnp.asarray(0), status, buffer)
    x, _, size, _, iterations, status, buffer = jax.lax.while_loop(lambda c: c[5] == RUNNING, step, carry)
    return x, Stats(status.astype(jnp.int32), iterations, size, buffer if method.history else None)


def _rounded(tree, dtype: str):
    def leaf(x):
        return x.astype(dtype) if eqx.is_inexact_array(x) else x

    return jax.tree.map(leaf, tree)
