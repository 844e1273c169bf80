"""The loop that all iterative methods run in, and its verdict.

A method gives an attempt: it makes a new x from an old one and its residual. The loop computes the true residual b − A x
after every attempt and decides from it: converged, go on, or failed. `iterate` attempts by running a `Recurrence` until its
own residual meets the tolerance (Krylov methods, stationary iterations); `refine` attempts by one correction.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .method import AbstractMethod
from .solution import PAUSED, RUNNING, Stats, Status


class Recurrence(NamedTuple):
    """One iterative method as functions of its state, which is any pytree.

    - `start(x, r) -> (state, size)`: begin at x with the true residual r; size is |r| in the method's norm.
    - `step(state) -> (state, size, status)`: one iteration; size is the recurrence's |r|, status is `RUNNING`, `PAUSED` or a
      `Status`.
    - `solution(state) -> x`.
    - `step_if(state, active)`: optional; as `step`, but without effect on x and on the residual where `active` is False. Then a
      batch goes on until all its systems are done, without choosing between old and new arrays in every iteration.
    - `fallbacks(state)`: optional; number of proposals of a learned direction that were replaced since `start`.
    - `keeps_best`: return the best x whose true residual was computed. False returns the last x, so that a fixed number of
      steps is the same linear map of b whatever the residual does (a residual may grow before it falls).
    - `tighter`: after a claim that missed, the next target is the tolerance over this.
    """

    start: Callable[[Array, Array], tuple[Any, Array]]
    step: Callable[[Any], tuple[Any, Array, Array]]
    solution: Callable[[Any], Array]
    fallbacks: Callable[[Any], Array] | None = None
    step_if: Callable[[Any, Array], tuple[Any, Array, Array]] | None = None
    keeps_best: bool = True
    tighter: float = 4.0


class Progress(NamedTuple):
    """The carry of the outer loop.

    `x` and its true residual `r` are where the next attempt starts, `best_x` and its |r|, `best`, what will be returned.
    `target` is the |r| that a recurrence has to claim. `steps` counts against `max_steps`, `iterations` is reported.
    """

    x: Array
    r: Array
    best_x: Array
    best: Array
    target: Array
    steps: Array
    iterations: Array
    status: Array
    history: Array
    fallbacks: Array


class Attempt(NamedTuple):
    """What an attempt made of a `Progress`: a new x, whose residual is not yet known, and the new counts.

    `status` is `RUNNING` or how the attempt itself ended. If the true |r| exceeds `required` times the best one so far, the
    attempt was in vain, and the solve ends with the status `failure`.
    """

    x: Array
    target: Array
    steps: Array
    iterations: Array
    status: Array
    required: Array
    failure: Array
    history: Array
    fallbacks: Array


class Steps(NamedTuple):
    """The carry of the inner loop over the steps of a `Recurrence`."""

    state: Any
    size: Array
    target: Array
    count: Array
    status: Array
    history: Array


def iterate(
    method: AbstractMethod,
    recurrence: Recurrence,
    operator,
    b: Float[Array, "*n"],
    x0: Float[Array, "*n"],
    tolerance: Float[Array, ""],
    record: bool,
) -> tuple[Float[Array, "*n"], Stats]:
    """Run a recurrence until the true residual b − A x meets the tolerance, in `method.measure`.

    A recurrence's residual drifts from the true one, which has a floor near ε ‖A‖ ‖x‖. So when the recurrence claims
    convergence the true residual is computed. If that misses, the recurrence starts again from it with a tighter target
    (van der Vorst and Ye 2000). It ends as `stagnated` when a claim did not lower the true residual by a quarter, or a
    pause not at all.

    **Arguments:** `method` gives `max_steps` and `measure`; `record`: keep the size of every step as `Stats.history`.
    """
    tolerance = tolerance.astype(b.dtype)

    def unfinished(steps: Steps):
        return (steps.status == RUNNING) & (steps.count < method.max_steps) & (steps.size > steps.target)

    def advance(steps: Steps) -> Steps:
        state, size, target, count, status, history = steps
        if recurrence.step_if is None:
            state, size, status = recurrence.step(state)
            active = jnp.asarray(True)
        else:
            active = unfinished(steps)
            state, new_size, new_status = recurrence.step_if(state, active)
            size, status = jnp.where(active, new_size, size), jnp.where(active, new_status, status)
        if record:
            history = history.at[jnp.where(active, count, len(history))].set(size)  # past the end nothing is set
        return Steps(state, size, target, count + active, status, history)

    go_on = unfinished if recurrence.step_if is None else lambda steps: any_of_batch(unfinished(steps))

    def sweep(progress: Progress) -> Attempt:
        """Step until the recurrence claims convergence, pauses or fails."""
        state, size = recurrence.start(progress.x, progress.r)
        first = Steps(state, size, progress.target, progress.steps, jnp.asarray(RUNNING), progress.history)
        steps = jax.lax.while_loop(go_on, advance, first)
        claimed = steps.size <= steps.target
        paused = (steps.status == PAUSED) & ~claimed
        replaced = 0 if recurrence.fallbacks is None else recurrence.fallbacks(steps.state)
        return Attempt(
            x=recurrence.solution(steps.state),
            target=jnp.where(paused, steps.target, tolerance / recurrence.tighter),
            steps=steps.count,
            iterations=steps.count,
            status=steps.status,
            required=jnp.where(paused, 0.999, jnp.where(claimed, 0.75, jnp.inf)).astype(b.dtype),
            failure=jnp.asarray(Status.stagnated),
            history=steps.history,
            fallbacks=progress.fallbacks + replaced,
        )

    history = _empty_history(method, record, b.dtype)
    end = _attempts(method, operator, b, x0, tolerance, sweep, history, keeps_best=recurrence.keeps_best)
    fallbacks = None if recurrence.fallbacks is None else end.fallbacks
    return end.best_x, Stats(end.status, end.iterations, end.best, end.history if record else None, fallbacks)


def refine(
    method: AbstractMethod,
    correction: Callable[[Array, Array], tuple[Array, Array | int, Array | int]],
    operator,
    b: Float[Array, "*n"],
    x0: Float[Array, "*n"],
    tolerance: Float[Array, ""],
    record: bool,
) -> tuple[Float[Array, "*n"], Stats]:
    """x ← x + d, d from `correction`, until the true residual meets the tolerance. A correction that does not lower |r| by a
    quarter is the last; the best x is returned.

    **Arguments:**

    - `method` gives `max_steps`, the limit on corrections, and `measure`.
    - `correction(r, |r|) -> (d, iterations, failure)`: `iterations` it took, `failure` the status if it was in vain.
    - `record`: keep the true |r| after every correction as `Stats.history`.
    """

    def corrected(progress: Progress) -> Attempt:
        d, iterations, failure = correction(progress.r, progress.best)
        return Attempt(
            x=progress.x + d,
            target=progress.target,
            steps=progress.steps + 1,
            iterations=progress.iterations + iterations,
            status=jnp.asarray(RUNNING),
            required=jnp.asarray(0.75, b.dtype),
            failure=jnp.asarray(failure),
            history=progress.history,
            fallbacks=progress.fallbacks,
        )

    tolerance, history = tolerance.astype(b.dtype), _empty_history(method, record, b.dtype)
    end = _attempts(method, operator, b, x0, tolerance, corrected, history, records=record)
    return end.best_x, Stats(end.status, end.iterations, end.best, end.history if record else None)


def _attempts(
    method, operator, b, x0, tolerance, attempt, history, keeps_best: bool = True, records: bool = False
) -> Progress:
    """Attempt until the true residual meets the tolerance, or an attempt fails.

    `records`: write the true |r| after every attempt into `history`, which an attempt may also do by itself.
    """

    def judged(progress: Progress) -> Progress:
        made: Attempt = attempt(progress)
        r = b - operator.mv(made.x)
        size = method.measure(r)
        status = jnp.where(made.steps >= method.max_steps, Status.max_steps, RUNNING)
        status = jnp.where(size > made.required * progress.best, made.failure, status)
        status = jnp.where(jnp.isfinite(size), status, Status.non_finite)
        status = jnp.where(made.status < 0, status, made.status)
        best_x, best = made.x, size
        if keeps_best:
            better = size < progress.best
            best_x, best = jnp.where(better, made.x, progress.best_x), jnp.where(better, size, progress.best)
        status = jnp.where(best <= tolerance, Status.converged, status).astype(jnp.int32)
        history = made.history.at[progress.steps].set(size) if records else made.history
        counts = (made.steps, made.iterations, status)
        return Progress(made.x, r, best_x, best, made.target, *counts, history, made.fallbacks)

    r = b - operator.mv(x0)
    size = method.measure(r)
    finite = jnp.isfinite(size) & jnp.isfinite(tolerance)
    status = jnp.where(finite, jnp.where(size <= tolerance, Status.converged, RUNNING), Status.non_finite)
    if method.max_steps == 0:
        status = jnp.where(status == RUNNING, Status.max_steps, status)
    zero, best = jnp.asarray(0), jnp.where(finite, size, jnp.nan)
    start = Progress(x0, r, x0, best, tolerance, zero, zero, status.astype(jnp.int32), history, zero)
    return jax.lax.while_loop(lambda progress: progress.status == RUNNING, judged, start)


def _empty_history(method: AbstractMethod, record: bool, dtype) -> Float[Array, " steps"]:
    return jnp.full(method.max_steps if record else 0, jnp.nan, dtype)


@jax.custom_batching.custom_vmap
def any_of_batch(flag: Bool[Array, ""]) -> Bool[Array, ""]:
    """The flag itself; under `vmap` whether any system of the batch raises it, one flag for all."""
    return flag


@any_of_batch.def_vmap
def _any_of_batch(size, batched, flag):
    return any_of_batch(flag.any(0)), False


def verdict(ok: Bool[Array, ""], failure: int | Int[Array, ""], *numbers: Float[Array, ""]) -> Int[Array, ""]:
    """The status of a step: `RUNNING`, `failure` if not ok, `non_finite` if one of the numbers is not finite."""
    finite = jnp.isfinite(jnp.stack(numbers)).all()
    return jnp.where(finite, jnp.where(ok, RUNNING, failure), Status.non_finite)
