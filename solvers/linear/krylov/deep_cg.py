"""Conjugate directions proposed by a learned map of the residual (Kaneda et al. 2023)."""

import dataclasses
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ..driver import Recurrence, iterate, verdict
from ..inner_products import dot, norm, ratio
from ..method import AbstractMethod, check_limits
from ..preconditioning import AbstractPreconditioner, Preconditioner, applied, bound_map, bound_transpose
from ..solution import Stats, Status


class Direction(NamedTuple):
    """A direction d, its product A d and its curvature dᵀA d."""

    d: Array
    product: Array
    curvature: Array


class DeepCGState(NamedTuple):
    """x, its residual r by the recurrence, the last two directions, the number of proposals replaced so far."""

    x: Array
    r: Array
    older: Direction
    newer: Direction
    fallbacks: Array | int


class DeepCG(AbstractMethod):
    """Deep conjugate directions for a symmetric positive (semi-)definite operator.

    Each step takes q = direction(r/‖r‖), makes it A-orthogonal to the last two directions only,

        d = q − (qᵀA p₁ / p₁ᵀA p₁) p₁ − (qᵀA p₀ / p₀ᵀA p₀) p₀,      x ← x + α d,  α = dᵀr / dᵀA d,

    which lowers the energy ½ eᵀA e of the error e by (dᵀr)²/(2 dᵀA d). The same is computed for q = r, the direction of
    conjugate gradients. Where the proposal is not finite or lowers the energy less than that safe direction (by rounding or
    more), the safe one is taken and counted in `Stats.fallbacks`. So no step is worse than steepest descent whatever the
    direction does, the iteration converges with every direction, and with q = r it is `CG`. That costs a second product
    with A per step, little beside a network.

    The residual follows the recurrence r ← r − α A d and the true b − A x has the last word, as in `CG`.

    **Arguments:**

    - `direction`: a callable pytree r ↦ q on residuals of unit norm, or an `AbstractPreconditioner`, whose `bind(operator)`
      returns one, as `surrogax.load("deepcg-poisson-64")`. It may compute in another dtype than the system's. It gets no
      gradient.
    - `rtol`, `atol`: stop at ‖r‖₂ ≤ max(rtol ‖b‖₂, atol). In float32 the residual of a smooth solution has a floor of about
      ε ‖A‖ ‖x‖: 1e-4 is safe, 1e-6 needs a system in float64 (the direction may stay in float32).
    - `fallback`: a method that takes over from the best iterate where this one has not converged after `max_steps`, or has
      met a breakdown or a floor. Its status is then the result's; iterations add up, and its own count as fallbacks.
    - `max_steps`: 1000 by default; 100 with a `fallback`.
    - `history`: record the residual norm per iteration (of this method, not of its fallback).

    Source: Kaneda et al., A Deep Conjugate Direction Method for Iteratively Solving Linear Systems, ICML 2023, algorithm 1,
    which has no safeguard and recomputes b − A x in every step.

    **Example:**

        >>> identity = lambda r: r                                                       # any map from a residual to a direction
        >>> sx.linear.Status(int(sx.linear.solve(A, b, sx.linear.DeepCG(identity, max_steps=200)).status)).name
        'converged'
    """

    direction: Preconditioner
    rtol: ScalarLike = 1e-4
    fallback: AbstractMethod | None = None
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=-1)
    history: bool = eqx.field(static=True, default=False)
    needs_symmetric: ClassVar[bool] = True

    def __init__(
        self, direction, rtol=1e-4, fallback=None, atol=0.0, max_steps: int | None = None, history: bool = False
    ):
        if max_steps is None:
            max_steps = 1000 if fallback is None else 100
        _check_direction(direction)
        self.direction, self.rtol, self.fallback, self.atol = direction, rtol, fallback, atol
        self.max_steps, self.history = max_steps, history
        check_limits(self)

    def bind(self, operator, *, transpose: bool = False) -> "DeepCG":
        fallback = None if self.fallback is None else self.fallback.bind(operator, transpose=transpose)
        make = bound_transpose if transpose else bound_map
        return dataclasses.replace(self, direction=make(self.direction, operator), fallback=fallback)

    def measure(self, r: Float[Array, "..."]) -> Float[Array, ""]:
        return norm(r)

    def describe(self) -> str:
        inner = type(self.direction).__name__
        return f"DeepCG({inner})" if self.fallback is None else f"DeepCG({inner}, {self.fallback.describe()})"

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""]
    ) -> tuple[Float[Array, "..."], Stats]:
        x, stats = iterate(self, self.recurrence(operator), operator, b, x0, tolerance, self.history)
        if self.fallback is None:
            return x, stats
        x, rest = self.fallback(operator, b, x, tolerance)
        iterations, fallbacks = stats.iterations + rest.iterations, stats.fallbacks + rest.iterations
        return x, Stats(rest.status, iterations, rest.residual, stats.history, fallbacks)

    def recurrence(self, operator) -> Recurrence:
        """The iteration for `operator`, of a bound method."""

        def start(x, r, last):
            none = Direction(jnp.zeros_like(r), jnp.zeros_like(r), jnp.zeros((), r.dtype))
            return DeepCGState(x, r, none, none, 0), norm(r)

        def conjugate(q, product, previous):
            """q and A q made A-orthogonal to the previous directions."""
            for p in previous:
                overlap = ratio(dot(q, p.product), p.curvature, p.curvature > 0)
                q, product = q - overlap * p.d, product - overlap * p.product
            return q, product

        def step(state):
            x, r, older, newer, fallbacks = state
            unit = ratio(r, norm(r), norm(r) > 0)
            q = applied(self.direction, unit).astype(r.dtype)
            q = ratio(q, norm(q), jnp.isfinite(norm(q)) & (norm(q) > 0))
            proposal, safe = (conjugate(v, operator.mv(v), (newer, older)) for v in (q, unit))
            slope, curvature, gain = _gain(*proposal, r)
            safe_slope, safe_curvature, safe_gain = _gain(*safe, r)
            replaced = ~(gain >= (1 - 1e-3) * safe_gain)
            d, product = (jnp.where(replaced, b, a) for a, b in zip(proposal, safe, strict=True))
            slope, curvature = jnp.where(replaced, safe_slope, slope), jnp.where(replaced, safe_curvature, curvature)
            ok = curvature > 0
            alpha = ratio(slope, curvature, ok)
            r = r - alpha * product
            size = norm(r)
            state = DeepCGState(x + alpha * d, r, newer, Direction(d, product, curvature), fallbacks + replaced)
            return state, size, verdict(ok, Status.breakdown, curvature, size)

        return Recurrence(start, step, lambda state: state.x, lambda state: state.fallbacks, trusts_claims=True)


def _gain(d, product, r):
    """dᵀr, dᵀA d and the decrease (dᵀr)²/dᵀA d of the energy, 0 where the curvature is not positive."""
    slope, curvature = dot(d, r), dot(d, product)
    return slope, curvature, ratio(slope**2, curvature, curvature > 0)


def _check_direction(direction) -> None:
    if not callable(direction) and not isinstance(direction, AbstractPreconditioner):
        raise TypeError(
            "DeepCG: direction must be a map of residuals or an AbstractPreconditioner, which bind(operator) turns into "
            f"one, got {direction!r:.80}"
        )
