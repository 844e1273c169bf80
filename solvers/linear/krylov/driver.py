"""What the Krylov methods share: the loop on a recurrence's residual and the true residual that has the last word."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..method import AbstractMethod, bound, transposed
from ..solution import Stats, Status

# What a step may return beside a `Status` that ends the iteration.
RUNNING = -1
PAUSED = -2  # the recurrence cannot go on from here: look at the true residual and start again from it


class Recurrence(NamedTuple):
    """One Krylov method as three functions. `state` is any pytree.

    - `start(x, r) -> (state, size)`: begin at x with the true residual r; size is |r| in the method's norm.
    - `step(state) -> (state, size, status)`: one iteration; size is the recurrence's |r|, status is `RUNNING`, `PAUSED` or a
      `Status`.
    - `solution(state) -> x`.
    - `step_if(state, active)`: optional; as `step`, but without effect on x and on the residual where `active` is False. Then a
      batch goes on until all its systems are done, without choosing between old and new arrays in every iteration.
    - `fallbacks(state)`: of learned directions, how many proposals were replaced since `start`.
    """

    start: Callable[[Array, Array], tuple[Any, Array]]
    step: Callable[[Any], tuple[Any, Array, Array]]
    solution: Callable[[Any], Array]
    fallbacks: Callable[[Any], Array] | None = None
    step_if: Callable[[Any, Array], tuple[Any, Array, Array]] | None = None


class AbstractKrylov(AbstractMethod):
    """A method given by its `recurrence`, with an optional preconditioner."""

    preconditioner: eqx.AbstractVar[Callable | None]
    max_steps: eqx.AbstractVar[int]
    history: eqx.AbstractVar[bool]

    def __check_init__(self):
        if self.max_steps < 0:
            raise ValueError(f"{type(self).__name__}: max_steps must not be negative, got {self.max_steps}")

    @abc.abstractmethod
    def recurrence(self, operator) -> Recurrence: ...

    def bind(self, operator):
        return dataclasses.replace(self, preconditioner=bound(self.preconditioner, operator))

    def transposed(self, operator):
        return dataclasses.replace(self, preconditioner=transposed(self.preconditioner, operator))

    def describe(self) -> str:
        name = type(self).__name__
        return name if self.preconditioner is None else f"{name}({type(self.preconditioner).__name__})"

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""] | None = None
    ) -> tuple[Float[Array, "..."], Stats]:
        """x and its `Stats`. `tolerance`, if given, is the |r| to reach instead of max(rtol |b|, atol)."""
        method = self.bind(operator)
        return iterate(method, method.recurrence(operator), operator, b, x0, tolerance)

    def precondition(self, r: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return r if self.preconditioner is None else self.preconditioner(r)


def iterate(
    method,
    recurrence: Recurrence,
    operator,
    b: Float[Array, "*n"],
    x0: Float[Array, "*n"],
    tolerance: Float[Array, ""] | None = None,
) -> tuple[Float[Array, "*n"], Stats]:
    """Run a recurrence until the true residual b − A x meets the tolerance, in `method.measure`.

    A recurrence's residual drifts from the true one, which has a floor near ε ‖A‖ ‖x‖. So when the recurrence claims
    convergence the true residual is computed. If that misses, the recurrence starts again from it with a target four times
    tighter. It ends as `stagnated` when a claim did not lower the true residual by a quarter, or a pause not at all. The best
    iterate among those checked is returned.

    **Arguments:** `method` gives `rtol`, `atol`, `max_steps`, `history` and `measure`; `tolerance` replaces
    max(rtol |b|, atol).
    """
    if tolerance is None:
        tolerance = jnp.maximum(method.rtol * method.measure(b), method.atol)
    tolerance = jnp.asarray(tolerance).astype(b.dtype)
    buffer = jnp.full(method.max_steps if method.history else 0, jnp.nan, b.dtype)

    def unfinished(inner):
        _, size, target, k, status, _ = inner
        return (status == RUNNING) & (k < method.max_steps) & (size > target)

    def advance(inner):
        state, size, target, k, status, buffer = inner
        if recurrence.step_if is None:
            state, size, status = recurrence.step(state)
            active = jnp.asarray(True)
        else:
            active = unfinished(inner)
            state, new_size, new_status = recurrence.step_if(state, active)
            size, status = jnp.where(active, new_size, size), jnp.where(active, new_status, status)
        if method.history:
            buffer = buffer.at[jnp.where(active, k, len(buffer))].set(size)  # past the end nothing is set
        return state, size, target, k + active, status, buffer

    go_on = unfinished if recurrence.step_if is None else lambda inner: any_of_batch(unfinished(inner))

    def sweep(carry):
        """Iterate until the recurrence claims convergence, then look at the true residual."""
        x, r, target, best_x, best, k, _, buffer, fallbacks = carry
        state, size = recurrence.start(x, r)
        inner = (state, size, target, k, jnp.asarray(RUNNING), buffer)
        state, size, _, k, status, buffer = jax.lax.while_loop(go_on, advance, inner)
        x = recurrence.solution(state)
        r = b - operator.mv(x)
        true = method.measure(r)
        paused = (status == PAUSED) & (size > target)
        in_vain = true > jnp.where(paused, 0.999, 0.75) * best
        ended = jnp.where(k >= method.max_steps, Status.max_steps, RUNNING)
        ended = jnp.where(in_vain & (paused | (size <= target)), Status.stagnated, ended)
        ended = jnp.where(jnp.isfinite(true), ended, Status.non_finite)
        status = jnp.where(status < 0, ended, status)
        best_x = jnp.where(true < best, x, best_x)
        best = jnp.where(true < best, true, best)
        target = jnp.where(paused, target, tolerance / 4)
        status = jnp.where(best <= tolerance, Status.converged, status)
        if recurrence.fallbacks is not None:
            fallbacks = fallbacks + recurrence.fallbacks(state)
        return x, r, target, best_x, best, k, status, buffer, fallbacks

    r = b - operator.mv(x0)
    first = method.measure(r)
    finite = jnp.isfinite(first) & jnp.isfinite(tolerance)
    status = jnp.where(finite, jnp.where(first <= tolerance, Status.converged, RUNNING), Status.non_finite)
    if method.max_steps == 0:
        status = jnp.where(status == RUNNING, Status.max_steps, status)
    carry = (x0, r, tolerance, x0, jnp.where(finite, first, jnp.inf), jnp.asarray(0), status, buffer, jnp.asarray(0))
    _, _, _, x, residual, k, status, buffer, fallbacks = jax.lax.while_loop(lambda c: c[6] == RUNNING, sweep, carry)
    residual = jnp.where(finite, residual, jnp.nan)
    fallbacks = None if recurrence.fallbacks is None else fallbacks
    return x, Stats(status.astype(jnp.int32), k, residual, buffer if method.history else None, fallbacks)


@jax.custom_batching.custom_vmap
def any_of_batch(flag: Bool[Array, ""]) -> Bool[Array, ""]:
    """The flag itself; under `vmap` whether any system of the batch raises it, one flag for all."""
    return flag


@any_of_batch.def_vmap
def _any_of_batch(size, batched, flag):
    return any_of_batch(flag.any(0)), False


def dot(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, ""]:
    return jnp.vdot(a, b, precision=jax.lax.Precision.HIGHEST)


def norm(a: Float[Array, "..."]) -> Float[Array, ""]:
    return jnp.sqrt(dot(a, a))


def ratio(a: Float[Array, "..."], b: Float[Array, "..."], safe: Bool[Array, "..."]) -> Float[Array, "..."]:
    """a / b where that is safe, 0 elsewhere, without a division by zero on the way."""
    return jnp.where(safe, a / jnp.where(safe, b, 1), 0)


def verdict(ok: Bool[Array, ""], failure: int | Int[Array, ""], *numbers: Float[Array, ""]) -> Int[Array, ""]:
    """The status of a step: `RUNNING`, `failure` if not ok, `non_finite` if one of the numbers is not finite."""
    finite = jnp.isfinite(jnp.stack(numbers)).all()
    return jnp.where(finite, jnp.where(ok, RUNNING, failure), Status.non_finite)
