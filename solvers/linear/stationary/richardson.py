"""The loop that all stationary iterations run in; Richardson and damped Jacobi iteration."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax.core import Tracer
from jaxtyping import Array, Float, Int, ScalarLike

from ..krylov.driver import RUNNING
from ..method import AbstractMethod, bound, transposed
from ..preconditioners.jacobi import Jacobi
from ..solution import Stats, Status

State = TypeVar("State")


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
    """

    preconditioner: Callable
    omega: ScalarLike = 1.0
    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=1000)
    history: bool = eqx.field(static=True, default=False)
    needs_symmetric: ClassVar[bool] = False

    def __check_init__(self):
        check_steps(self)

    def bind(self, operator) -> "Richardson":
        return dataclasses.replace(self, preconditioner=bound(self.preconditioner, operator))

    def transposed(self, operator) -> "Richardson":
        return dataclasses.replace(self, preconditioner=transposed(self.preconditioner, operator))

    def describe(self) -> str:
        return f"Richardson({type(self.preconditioner).__name__})"

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""] | None = None
    ) -> tuple[Float[Array, "..."], Stats]:
        """x and its `Stats`. `tolerance`, if given, is the ‖b − A x‖₂ to reach instead of max(rtol ‖b‖₂, atol)."""
        preconditioner = bound(self.preconditioner, operator)

        def step(state, k):
            x, r = state
            x = x + (self.omega * preconditioner(r)).astype(b.dtype)
            r = b - operator.mv(x)
            return (x, r), self.measure(r)

        start = (x0, b - operator.mv(x0))
        return iterate(self, operator, b, start, step, lambda state: state[0], tolerance)


class JacobiIteration(AbstractMethod):
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
    """

    omega: ScalarLike = 1.0
    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=10_000)
    history: bool = eqx.field(static=True, default=False)
    needs_symmetric: ClassVar[bool] = False

    def __check_init__(self):
        check_steps(self)
        check_omega(self)

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""] | None = None
    ) -> tuple[Float[Array, "..."], Stats]:
        """x and its `Stats`. `tolerance`, if given, is the ‖b − A x‖₂ to reach instead of max(rtol ‖b‖₂, atol)."""
        options = {name: getattr(self, name) for name in ("omega", "rtol", "atol", "max_steps", "history")}
        return Richardson(preconditioner=Jacobi(), **options)(operator, b, x0, tolerance)


def iterate(
    method,
    operator: lx.AbstractLinearOperator,
    b: Float[Array, "..."],
    start: State,
    step: Callable[[State, Int[Array, ""]], tuple[State, Float[Array, ""]]],
    solution: Callable[[State], Float[Array, "..."]],
    tolerance: Float[Array, ""] | None,
    window: ScalarLike = 100,
) -> tuple[Float[Array, "..."], Stats]:
    """Run `step` until ‖b − A x‖₂ meets the tolerance; the number of steps is the number of iterations.

    The norm that `step` returns is tested in every iteration. It may differ from the true one by rounding, so the true
    residual is computed when it meets the tolerance, and the iteration goes on to half the tolerance if that does not. An
    iteration is `stagnated` when its residual is near the lowest one and that has not fallen by 1e-4 of itself for `window`
    iterations, or when the true residual stopped falling.

    **Arguments:**

    - `method`: its `rtol`, `atol`, `max_steps` and `history` are used.
    - `start`: what is carried from step to step.
    - `step`: `(state, number of the step) -> (state, ‖b − A x‖₂ of the new state)`.
    - `solution`: x from a state.
    - `window`: at least the number of iterations for which the residual may grow before it falls.
    """
    if tolerance is None:
        tolerance = jnp.maximum(method.rtol * method.measure(b), method.atol)
    tolerance = tolerance.astype(b.dtype)
    buffer = jnp.full(method.max_steps if method.history else 0, jnp.nan, b.dtype)
    first = method.measure(b - operator.mv(solution(start)))

    def advance(carry):
        state, _, low, since, k, target, status, buffer = carry
        state, size = step(state, k)
        size = size.astype(b.dtype)
        improved = size < (1 - 1e-4) * low
        low, since = jnp.where(improved, size, low), jnp.where(improved, 0, since + 1)
        stuck = (since >= window) & (size <= 2 * low)
        status = jnp.where(stuck, Status.stagnated, status)
        status = jnp.where(jnp.isfinite(size), status, Status.non_finite)
        if method.history:
            buffer = buffer.at[k].set(size)
        return state, size, low, since, k + 1, target, status, buffer

    def unfinished(carry):
        _, size, _, _, k, target, status, _ = carry
        return (status == RUNNING) & (size > target) & (k < method.max_steps)

    def attempt(carry):
        """Iterate until the norm of the steps meets its target, then look at the true residual."""
        inner, best = carry
        state, size, low, since, k, target, status, buffer = jax.lax.while_loop(unfinished, advance, inner)
        true = method.measure(b - operator.mv(solution(state)))
        ended = jnp.where(k >= method.max_steps, Status.max_steps, RUNNING)
        ended = jnp.where((size <= target) & (true > 0.75 * best), Status.stagnated, ended)
        status = jnp.where(status == RUNNING, ended, status)
        status = jnp.where(true <= tolerance, Status.converged, status)
        status = jnp.where(jnp.isfinite(true), status, Status.non_finite)
        return (state, size, low, since, k, target / 2, status, buffer), true

    finite = jnp.isfinite(first) & jnp.isfinite(tolerance)
    status = jnp.where(finite, jnp.where(first <= tolerance, Status.converged, RUNNING), Status.non_finite)
    if method.max_steps == 0:
        status = jnp.where(status == RUNNING, Status.max_steps, status)
    inner = (start, first, first, jnp.asarray(0), jnp.asarray(0), tolerance, status, buffer)
    outer = (inner, jnp.asarray(jnp.inf, b.dtype))
    inner, residual = jax.lax.while_loop(lambda carry: carry[0][6] == RUNNING, attempt, outer)
    state, _, _, _, k, _, status, buffer = inner
    residual = jnp.where(k > 0, residual, first)
    return solution(state), Stats(status.astype(jnp.int32), k, residual, buffer if method.history else None)


def check_omega(method) -> None:
    """Raises `ValueError` for an `omega` outside (0, 2) whose value is known."""
    if not isinstance(method.omega, Tracer) and not 0 < method.omega < 2:
        raise ValueError(
            f"{type(method).__name__}: omega must lie in (0, 2), got {method.omega}; the iteration cannot converge outside"
        )


def check_steps(method) -> None:
    """Raises `ValueError` for a negative step limit."""
    if method.max_steps < 0:
        raise ValueError(f"{type(method).__name__}: max_steps must not be negative, got {method.max_steps}")
