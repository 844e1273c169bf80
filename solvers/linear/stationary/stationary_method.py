"""What the stationary iterations have in common: the watch over their residual, and the driver that runs them."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ..driver import Recurrence, iterate
from ..inner_products import norm
from ..method import AbstractMethod, check_limits
from ..solution import RUNNING, Stats, Status


class Sweeps(NamedTuple):
    """One stationary iteration as functions of its state, which is any pytree.

    - `start(x, r) -> state`: begin at x with the residual r = b − A x.
    - `step(state) -> (state, ‖b − A x‖₂ of the new state)`.
    - `solution(state) -> x`.
    - `window`: at least the number of iterations for which the residual may grow before it falls.
    """

    start: Callable[[Array, Array], Any]
    step: Callable[[Any], tuple[Any, Array]]
    solution: Callable[[Any], Array]
    window: ScalarLike = 100


class Watched(NamedTuple):
    """The state of the sweeps, the lowest residual so far and the number of iterations since it last fell."""

    state: Any
    lowest: Array
    since: Array


class AbstractStationary(AbstractMethod):
    """A method given by its `sweeps`, without a preconditioner."""

    history: eqx.AbstractVar[bool]

    def __check_init__(self):
        check_limits(self)

    @abc.abstractmethod
    def sweeps(self, operator, b: Float[Array, "*n"]) -> Sweeps:
        """The iteration for `operator` and `b`, of a bound method."""

    def measure(self, r: Float[Array, "..."]) -> Float[Array, ""]:
        return norm(r)

    def describe(self) -> str:
        return type(self).__name__

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""]
    ) -> tuple[Float[Array, "..."], Stats]:
        return sweep_until(self, self.sweeps(operator, b), operator, b, x0, tolerance, self.history)


def sweep_until(
    method: AbstractMethod, sweeps: Sweeps, operator, b, x0, tolerance: Float[Array, ""], record: bool
) -> tuple[Float[Array, "..."], Stats]:
    """Run sweeps in the driver until ‖b − A x‖₂ ≤ tolerance, and return the last x.

    The iteration is `stagnated` when its residual is near the lowest one and that has not fallen by 1e-4 of itself for
    `window` iterations. `record`: keep the residual of every iteration as `Stats.history`.
    """

    def start(x, r, last):
        size = method.measure(r).astype(b.dtype)
        return Watched(sweeps.start(x, r), size, jnp.asarray(0)), size

    def step(watched: Watched):
        state, size = sweeps.step(watched.state)
        size = size.astype(b.dtype)
        fell = size < (1 - 1e-4) * watched.lowest
        lowest, since = jnp.where(fell, size, watched.lowest), jnp.where(fell, 0, watched.since + 1)
        stuck = (since >= sweeps.window) & (size <= 2 * lowest)
        status = jnp.where(stuck, Status.stagnated, RUNNING)
        return Watched(state, lowest, since), size, jnp.where(jnp.isfinite(size), status, Status.non_finite)

    # The residual of a sweep is true up to rounding, so half the tolerance is tight enough.
    solution = lambda watched: sweeps.solution(watched.state)  # noqa: E731
    recurrence = Recurrence(start, step, solution, keeps_best=False, tighter=2)
    return iterate(method, recurrence, operator, b, x0, tolerance, record)
