"""Preconditioned Richardson iteration."""

import dataclasses
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ..inner_products import norm
from ..method import AbstractMethod, check_limits
from ..preconditioning import Map, Preconditioner, applied, bound_map, bound_transpose
from ..solution import Stats
from .stationary_method import Sweeps, sweep_until


class Richardson(AbstractMethod):
    """Preconditioned Richardson iteration x ← x + ω M⁻¹ (b − A x): with `Multigrid()` multigrid on its own.

    It converges if |1 − ω λ| < 1 for all eigenvalues λ of M⁻¹ A. `CG` with the same preconditioner needs fewer iterations and no
    ω; this one is linear in b, has no inner products, and takes preconditioners and operators that are not symmetric.

    **Arguments:**

    - `preconditioner`: r ↦ M⁻¹ r, or one that is set up from the operator, as `Multigrid()` and `Jacobi()`.
    - `omega`: damping, 1 by default. May be traced.
    - `rtol`, `atol`: stop at ‖b − A x‖₂ ≤ max(rtol ‖b‖₂, atol). Good values of rtol: 1e-5 in float32, 1e-10 in float64.
    - `max_steps`: limit on iterations, each one product with A.
    - `history`: record ‖b − A x‖₂ per iteration.

    Divergence ends as `non_finite` or `max_steps`.

    **Example:**

        >>> sx.linear.Status(int(sx.linear.solve(A, b, sx.linear.Richardson(sx.linear.Multigrid(), rtol=1e-4)).status)).name
        'converged'
    """

    preconditioner: Preconditioner
    omega: ScalarLike = 1.0
    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=1000)
    history: bool = eqx.field(static=True, default=False)
    needs_symmetric: ClassVar[bool] = False

    def __check_init__(self):
        check_limits(self)

    def bind(self, operator, *, transpose: bool = False) -> "Richardson":
        if not transpose:
            return dataclasses.replace(self, preconditioner=bound_map(self.preconditioner, operator))
        transposed = bound_transpose(self.preconditioner, operator)
        if transposed is None:
            raise TypeError(
                f"Richardson: the preconditioner {type(self.preconditioner).__name__} is not linear, so the transposed system "
                "of a derivative has none; use FGMRES, which does without it there"
            )
        return dataclasses.replace(self, preconditioner=transposed)

    def measure(self, r: Float[Array, "..."]) -> Float[Array, ""]:
        return norm(r)

    def describe(self) -> str:
        return f"Richardson({type(self.preconditioner).__name__})"

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""]
    ) -> tuple[Float[Array, "..."], Stats]:
        def correction(r):
            return jnp.asarray(self.omega * applied(self.preconditioner, r), b.dtype)

        sweeps = damped_sweeps(operator, b, correction)
        return sweep_until(self, sweeps, operator, b, x0, tolerance, self.history)


class RichardsonState(NamedTuple):
    """x and its residual b − A x."""

    x: Array
    r: Array


def damped_sweeps(operator, b: Float[Array, "*n"], correction: Map) -> Sweeps:
    """x ← x + correction(b − A x)."""

    def step(state: RichardsonState):
        x = state.x + correction(state.r)
        r = b - operator.mv(x)
        return RichardsonState(x, r), norm(r)

    return Sweeps(RichardsonState, step, lambda state: state.x)
