"""The loop that all iterative methods run in, and its verdict.

A method gives an attempt: it makes a new x from an old one and its residual. The loop computes the true residual b − A x
after every attempt, keeps the best x, and decides: converged, go on, or failed. `iterate` attempts by running a `Recurrence`
until its own residual meets the tolerance, with a look at the true one every `LOOK` steps (Krylov methods, stationary
iterations); `refine` attempts by one correction.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..kernels.batch_flags import any_of_batch
from .method import AbstractMethod
from .solution import DEFLATED, PAUSED, RUNNING, Stats, Status

# Most steps between two looks at the true residual, each a product and a copy of x.
LOOK = 50


class Recurrence(NamedTuple):
    """One iterative method as functions of its state, which is any pytree.

    - `start(x, r, last) -> (state, size)`: begin at x with the true residual r; size is |r| in the method's norm. `last` is the
      state in which the recurrence ended before it starts again, at first all zeros.
    - `step(state) -> (state, size, status)`: one iteration; size is the recurrence's |r|, status is `RUNNING`, `PAUSED`,
      `DEFLATED` or a `Status`.
    - `solution(state) -> x`.
    - `step_if(state, active)`: optional; as `step`, but without effect on the state where `active` is False. Then a
      batch goes on until all its systems are done, without choosing between old and new arrays in every iteration.
    - `fallbacks(state)`: optional; number of proposals of a learned direction that were replaced since `start`.
    - `keeps_best`: return the best x whose true residual was computed, and look at it now and then. False returns the last x,
      so that a fixed number of steps is the same linear map of b whatever the residual does (a residual may grow before it
      falls).
    - `first_look`: steps before the first look; the following ones are twice as far apart, up to `LOOK`.
    - `monotone`: the recurrence's |r| never rises. Then a true one above the best has been lost to rounding, and the
      recurrence starts again from the best x.
    - `trusts_claims`: an x that the recurrence claims to be converged is better than any without a claim. For methods that
      lower the energy of the error in every step: in float32 the rounding of A x alone may exceed |b| at an x whose error
      is small.
    - `tighter`: after a claim that missed, the next target is the tolerance over this.
    """

    start: Callable[[Array, Array, Any], tuple[Any, Array]]
    step: Callable[[Any], tuple[Any, Array, Array]]
    solution: Callable[[Any], Array]
    fallbacks: Callable[[Any], Array] | None = None
    step_if: Callable[[Any, Array], tuple[Any, Array, Array]] | None = None
    keeps_best: bool = True
    first_look: int = 10
    monotone: bool = False
    trusts_claims: bool = False
    tighter: float = 4.0


class Running(NamedTuple):
    """A recurrence that was looked at: its state, the |r| it claims, the count of steps when it began, whether it must start
    again."""

    state: Any
    size: Array
    begun: Array
    restart: Array


class Progress(NamedTuple):
    """The carry of the outer loop.

    `x` and its true residual `r` are where the next attempt starts, `best_x` and its |r|, `best`, what will be returned.
    `reference` was the best |r| at the last start. `target` is the |r| that a recurrence has to claim. `steps` counts against
    `max_steps`, `iterations` is reported. `running` is the recurrence, None in `refine`.
    """

    x: Array
    r: Array
    best_x: Array
    best: Array
    reference: Array
    target: Array
    steps: Array
    iterations: Array
    status: Array
    history: Array
    fallbacks: Array
    running: Running | None


class Attempt(NamedTuple):
    """What an attempt made of a `Progress`: a new x, whose residual is not yet known, and the new counts.

    `status` is `RUNNING` or how the attempt itself ended. If it was not a look in passing (`running.restart`) and the true |r|
    exceeds `required` times the reference, the attempts since the last start were in vain, and the solve ends with the status
    `failure`. `claimed`: the recurrence claims convergence. `back`: if this x is not the best one, the next attempt starts from
    that.
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
    claimed: Array
    back: Array
    running: Running | None


class Steps(NamedTuple):
    """The carry of the inner loop over the steps of a `Recurrence`."""

    state: Any
    size: Array
    target: Array
    count: Array
    limit: Array
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

    def next_look(count, begun):
        if not recurrence.keeps_best:
            return jnp.asarray(method.max_steps)
        return jnp.minimum(count + jnp.clip(count - begun, recurrence.first_look, LOOK), method.max_steps)

    def unfinished(steps: Steps):
        return (steps.status == RUNNING) & (steps.count < steps.limit) & (steps.size > steps.target)

    def advance(steps: Steps) -> Steps:
        state, size, target, count, limit, status, history = steps
        if recurrence.step_if is None:
            state, size, status = recurrence.step(state)
            active = jnp.asarray(True)
        else:
            active = unfinished(steps)
            state, new_size, new_status = recurrence.step_if(state, active)
            size, status = jnp.where(active, new_size, size), jnp.where(active, new_status, status)
        if record:
            history = history.at[jnp.where(active, count, len(history))].set(size)  # past the end nothing is set
        return Steps(state, size, target, count + active, limit, status, history)

    go_on = unfinished if recurrence.step_if is None else lambda steps: any_of_batch(unfinished(steps))

    def replaced(state):
        return 0 if recurrence.fallbacks is None else recurrence.fallbacks(state)

    def sweep(progress: Progress) -> Attempt:
        """Step until the recurrence claims convergence, pauses or fails, or a look is due."""
        kept = progress.running
        state, size = jax.lax.cond(
            kept.restart,
            lambda: _like((kept.state, kept.size), recurrence.start(progress.x, progress.r, kept.state)),
            lambda: (kept.state, kept.size),
        )
        running, begun = jnp.asarray(RUNNING), jnp.where(kept.restart, progress.steps, kept.begun)
        first = Steps(
            state, size, progress.target, progress.steps, next_look(progress.steps, begun), running, progress.history
        )
        steps = jax.lax.while_loop(go_on, advance, first)
        claimed = steps.size <= steps.target
        paused = (steps.status == PAUSED) & ~claimed
        deflated = (steps.status == DEFLATED) & ~claimed
        # Without a step nothing would ever change: the start has met NaN.
        status = jnp.where((steps.count > progress.steps) | claimed, steps.status, Status.non_finite)
        return Attempt(
            x=recurrence.solution(steps.state),
            target=jnp.where(claimed, tolerance / recurrence.tighter, steps.target),
            steps=steps.count,
            iterations=steps.count,
            status=status,
            required=jnp.where(deflated, jnp.inf, jnp.where(paused, 0.999, 0.75)).astype(b.dtype),
            failure=jnp.asarray(Status.stagnated),
            history=steps.history,
            fallbacks=progress.fallbacks + replaced(steps.state) - replaced(state),
            claimed=claimed,
            back=recurrence.monotone | deflated,
            running=Running(steps.state, steps.size, begun, claimed | paused | deflated),
        )

    history = _empty_history(method, record, b.dtype)
    running = Running(*_nothing(recurrence, x0), jnp.asarray(0), jnp.asarray(True))
    end = _attempts(method, operator, b, x0, tolerance, sweep, history, recurrence, running)
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
            claimed=jnp.asarray(False),
            back=jnp.asarray(False),
            running=None,
        )

    tolerance, history = tolerance.astype(b.dtype), _empty_history(method, record, b.dtype)
    end = _attempts(method, operator, b, x0, tolerance, corrected, history)
    return end.best_x, Stats(end.status, end.iterations, end.best, end.history if record else None)


def _attempts(
    method,
    operator,
    b,
    x0,
    tolerance,
    attempt,
    history,
    recurrence: Recurrence | None = None,
    running: Running | None = None,
) -> Progress:
    """Attempt until the true residual meets the tolerance, or an attempt fails. The true |r| goes into the history.

    Without a `recurrence` every attempt starts anew.
    """
    keeps_best = recurrence is None or recurrence.keeps_best
    monotone = recurrence is not None and recurrence.monotone
    trusts_claims = recurrence is not None and recurrence.trusts_claims

    def judged(progress: Progress) -> Progress:
        made: Attempt = attempt(progress)
        r = b - operator.mv(made.x)
        size = method.measure(r)
        finite = jnp.isfinite(size)
        best_x, best = made.x, size
        better = finite
        if keeps_best:
            better = (size < progress.best) | (finite & made.claimed & trusts_claims)
        best_x, best = jnp.where(better, made.x, progress.best_x), jnp.where(better, size, progress.best)

        x, running, ended, lost = made.x, made.running, jnp.asarray(True), jnp.asarray(False)
        if running is not None:
            lost = monotone & ~better & (size > 2 * running.size)
            ended = running.restart | lost
            running = running._replace(restart=ended)
            back = made.back & ended & ~better
            x = jnp.where(back, best_x, x)
            r = jax.lax.cond(back, lambda: b - operator.mv(best_x), lambda: r)

        status = jnp.where(made.steps >= method.max_steps, Status.max_steps, RUNNING)
        required = jnp.where(lost, 0.999, made.required)
        status = jnp.where(ended & (best > required * progress.reference), made.failure, status)
        status = jnp.where(finite, status, Status.non_finite)
        status = jnp.where(made.status < 0, status, made.status)
        status = jnp.where(best <= tolerance, Status.converged, status).astype(jnp.int32)
        last = progress.steps if running is None else jnp.maximum(made.steps - 1, 0)
        history = made.history.at[last].set(size) if len(made.history) else made.history
        reference = jnp.where(ended, best, progress.reference)
        counts = (made.steps, made.iterations, status)
        return Progress(x, r, best_x, best, reference, made.target, *counts, history, made.fallbacks, running)

    r = b - operator.mv(x0)
    size = method.measure(r)
    finite = jnp.isfinite(size) & jnp.isfinite(tolerance)
    status = jnp.where(finite, jnp.where(size <= tolerance, Status.converged, RUNNING), Status.non_finite)
    if method.max_steps == 0:
        status = jnp.where(status == RUNNING, Status.max_steps, status)
    zero, best = jnp.asarray(0), jnp.where(finite, size, jnp.nan)
    counts = (zero, zero, status.astype(jnp.int32))
    start = Progress(x0, r, x0, best, best, tolerance, *counts, history, zero, running)
    return jax.lax.while_loop(lambda progress: progress.status == RUNNING, judged, start)


def _nothing(recurrence: Recurrence, x) -> tuple[Any, Array]:
    """A state of zeros, and a size, of the types that a recurrence at x has."""

    def zeros(tree):
        return jax.tree.map(lambda leaf: jnp.zeros(jnp.shape(leaf), jnp.result_type(leaf)), tree)

    # A state that carries something over from the last one knows its type from x alone.
    first = jax.eval_shape(lambda: recurrence.start(x, x, None))
    return zeros(first)


def _like(old, new):
    """`new` with the types of `old`: a start may hold Python numbers."""
    return jax.tree.map(lambda a, b: jnp.asarray(b, a.dtype), old, new)


def _empty_history(method: AbstractMethod, record: bool, dtype) -> Float[Array, " steps"]:
    return jnp.full(method.max_steps if record else 0, jnp.nan, dtype)


def verdict(ok: Bool[Array, ""], failure: int | Int[Array, ""], *numbers: Float[Array, ""]) -> Int[Array, ""]:
    """The status of a step: `RUNNING`, `failure` if not ok, `non_finite` if one of the numbers is not finite."""
    finite = jnp.isfinite(jnp.stack(numbers)).all()
    return jnp.where(finite, jnp.where(ok, RUNNING, failure), Status.non_finite)
