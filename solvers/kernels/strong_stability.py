"""Runge-Kutta steps that preserve strong stability (Shu and Osher 1988), as long as the state allows, differentiable.

Each stage is a convex combination of Euler steps, so that what an Euler step of length `longest(q)` preserves (positivity,
bounds, total variation), the whole step preserves. The number of steps depends on the state; it is bounded by `max_steps`,
which is static, and steps after the end of an interval are skipped, so that a generous bound costs little.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .batch_flags import any_of_batch

State = Any  # an array or a pytree of arrays
Rate = Callable[[State, Any], State]


class Scheme(NamedTuple):
    """q_k = kept_k q + (1 − kept_k) (q_{k−1} + Δt · rate(q_{k−1}) at t + instant_k Δt), from q_0 = q, for every stage k."""

    kept: tuple[float, ...]
    instants: tuple[float, ...]


SECOND_ORDER = Scheme((0, 1 / 2), (0, 1))  # Heun's method
THIRD_ORDER = Scheme((0, 3 / 4, 1 / 3), (0, 1, 1 / 2))  # Shu and Osher (1988)


def one_step(scheme: Scheme, rate: Rate, q: State, dt: Float[Array, ""], data: Callable[[Array], Any]) -> State:
    """q(t + dt), an array or a pytree of arrays. `data(c)` are the data at t + c·dt."""

    def stage(last, row):
        kept, instant = row
        change = rate(last, data(instant))
        return jax.tree.map(lambda q, last, f: kept * q + (1 - kept) * (last + dt * f), q, last, change), None

    # A loop, because two or three copies of the rate take two or three times as long to compile.
    dtype = jax.tree.leaves(q)[0].dtype
    return lax.scan(stage, q, (jnp.asarray(scheme.kept, dtype), jnp.asarray(scheme.instants, dtype)))[0]


def march(
    rate: Rate,
    longest: Callable[[State], Float[Array, ""]],
    q: Float[Array, "..."],
    lengths: Float[Array, " t"] | Float[np.ndarray, " t"],
    max_steps: int,
    data: Any = None,
    scheme: Scheme = SECOND_ORDER,
) -> tuple[Float[Array, "t ..."], Int[Array, " t"], Bool[Array, " t"]]:
    """q after every one of some intervals of time, the number of steps in each, and whether its end was reached.

    A step is as long as `longest` allows, the last of an interval shorter. Under `vmap` every member of a batch has its own
    steps. Backward passes keep about √max_steps states per interval and compute the others again.

    **Arguments:**

    - `rate`: (q, data) ↦ dq/dt.
    - `longest`: q ↦ the longest stable step.
    - `q`: the state at the start.
    - `lengths`: of the intervals; 0 is allowed and gives the state as it is.
    - `max_steps`: the most steps in one interval. Where they do not suffice the state at the time that was reached stands in
      for that at the end, and the flag is False.
    - `data`: what the rate depends on beside q, a pytree of arrays with a first axis of len(lengths) + 1 instants, the ends of
      the intervals; it is interpolated linearly. None: nothing.
    - `scheme`: `SECOND_ORDER` or `THIRD_ORDER`.
    """
    inner = math.ceil(math.sqrt(max_steps))
    outer = math.ceil(max_steps / inner)

    def to_end(q, interval):
        length, before, after = interval

        def unfinished(carry):
            return (lax.stop_gradient(carry[1]) > 0) & (carry[2] < max_steps)

        def step(carry):
            q, left, n = carry
            running = unfinished(carry)
            dt = jnp.minimum(longest(q).astype(left.dtype), left)
            start, span = 1 - left / jnp.where(length > 0, length, 1), dt / jnp.where(length > 0, length, 1)

            def at(c):
                share = start + c * span
                return jax.tree.map(lambda a, b: a + (share * (b - a)).astype(a.dtype), before, after)

            moved = one_step(scheme, rate, q, dt.astype(q.dtype), at)
            return jnp.where(running, moved, q), jnp.where(running, left - dt, left), n + running

        def guarded(function):
            return lambda carry, _: (
                lax.cond(any_of_batch(unfinished(carry)), function, lambda c: c, carry),
                None,
            )

        def several(carry):
            return lax.scan(guarded(jax.checkpoint(step)), carry, None, inner)[0]

        carry = (q, length, jnp.zeros((), int))
        (q, left, n), _ = lax.scan(guarded(jax.checkpoint(several)), carry, None, outer)
        return q, (q, n, left <= 0)

    lengths = jnp.asarray(lengths, q.dtype)
    before = jax.tree.map(lambda d: jnp.asarray(d)[:-1], data)
    after = jax.tree.map(lambda d: jnp.asarray(d)[1:], data)
    _, (states, steps, reached) = lax.scan(to_end, q, (lengths, before, after))
    return states, steps, reached
