"""Iterative refinement: residuals in one precision, corrections in a lower one (Wilkinson 1963)."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ..driver import refine
from ..inner_products import norm
from ..method import AbstractMethod, check_limits
from ..solution import Stats, Status


class Refinement(AbstractMethod):
    """x ← x + d with A d ≈ b − A x: the residual in the precision of the system, the correction by `inner` in a lower one.

    Each correction lowers the error by about κ(A) ε of the lower precision or by `inner.rtol`, whichever is larger, so a few
    float32 solves give float64 accuracy; memory and time per iteration are about half. The system must be float64
    (`jax.enable_x64`); a float32 system raises `ValueError`.

    **Arguments:**

    - `inner`: a method for the correction, for example `CG(Multigrid(), rtol=1e-3)`. Good values of its rtol: 1e-2 to 1e-4 (the
      floor of float32 is met soon). Its atol is not used. All its arrays are rounded, so a preconditioner that is a fixed
      map must be a pytree of arrays, not a function that closes over them.
    - `dtype`: precision of the correction.
    - `rtol`, `atol`: for the final true residual ‖b − A x‖₂.
    - `max_steps`: limit on corrections (`inner` has its own limit on iterations).
    - `history`: record the true residual norm after every correction.

    `Stats.iterations` counts the iterations of all corrections together. A correction that does not lower the residual by a
    quarter ends it with the failure of `inner` if that is a breakdown, else as `stagnated`. Source: Higham, Accuracy and
    Stability of Numerical Algorithms, chapter 12.

    **Example:**

        >>> sx.linear.Refinement(sx.linear.CG(rtol=1e-3)).dtype
        'float32'
    """

    inner: AbstractMethod
    rtol: ScalarLike = 1e-10
    atol: ScalarLike = 0.0
    dtype: str = eqx.field(static=True, default="float32")
    max_steps: int = eqx.field(static=True, default=20)
    history: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        check_limits(self)

    @property
    def needs_symmetric(self) -> bool:
        return self.inner.needs_symmetric

    def bind(self, operator, *, transpose: bool = False) -> "Refinement":
        inner = self.inner.bind(self._lower(operator), transpose=transpose)
        return dataclasses.replace(self, inner=_rounded(inner, self.dtype))

    def measure(self, r: Float[Array, "..."]) -> Float[Array, ""]:
        return norm(r)

    def describe(self) -> str:
        return f"Refinement({self.inner.describe()})"

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""]
    ) -> tuple[Float[Array, "..."], Stats]:
        lower, inner = self._lower(operator), self.inner

        def correction(r, size):
            unit = (r / size).astype(self.dtype)
            d, stats = inner(lower, unit, jnp.zeros_like(unit), jnp.asarray(inner.rtol) * inner.measure(unit))
            failure = jnp.where(stats.status == Status.breakdown, Status.breakdown, Status.stagnated)
            return size * d.astype(b.dtype), stats.iterations, failure

        return refine(self, correction, operator, b, x0, tolerance, self.history)

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


def _rounded(tree, dtype: str):
    def leaf(x):
        return x.astype(dtype) if eqx.is_inexact_array(x) else x

    return jax.tree.map(leaf, tree)
