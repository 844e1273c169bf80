"""Policies that choose one of finitely many parameter values per system and learn from the cost alone."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree, Scalar, ScalarLike

Context = Float[Array, "..."] | float | None


class AbstractPolicy(eqx.Module):
    """A bandit: `init` makes its state, a small pytree; `choose` an arm, then `update` with the cost of that arm.

    All three are pure functions for `lax.scan`, `jit` and `vmap` (a batch of states is a batch of independent learners).
    Costs are ≥ 0 and of any scale, which the policies estimate from what they have seen.

    **Example:**

        >>> isinstance(sx.linear.TsallisINF(), sx.linear.AbstractPolicy)
        True
    """

    @abc.abstractmethod
    def init(self, arms: int, key: jax.Array) -> PyTree:
        """State before the first round; `key` decides all later draws."""

    @abc.abstractmethod
    def choose(self, state: PyTree, context: Context) -> tuple[Int[Array, ""], PyTree]:
        """The arm of this round, 0 … arms − 1, for a context known beforehand."""

    @abc.abstractmethod
    def update(self, state: PyTree, arm: Int[Array, ""], context: Context, cost: ScalarLike) -> PyTree:
        """The state after the arm that the last `choose` returned was found to cost `cost`."""


def unit_context(context: Context, interval: tuple[float, float], who: str) -> Scalar:
    """Position of the context in its interval, 0 … 1; values outside count as the nearest end."""
    if context is None:
        raise ValueError(f"{who} needs a context, the system has none: use TsallisINF() without context instead")
    if jnp.ndim(context) != 0:
        raise ValueError(
            f"{who} takes one number as context, got shape {jnp.shape(context)}: choose one by systems(context='name')"
        )
    low, high = interval
    return jnp.clip((jnp.asarray(context, jnp.result_type(float)) - low) / (high - low), 0, 1)


def checked_interval(interval: tuple[float, float], who: str) -> tuple[float, float]:
    """The interval (low, high) of a context as floats; raises `ValueError`, naming `who`, unless low < high."""
    low, high = map(float, interval)
    if not low < high:
        raise ValueError(f"{who}: context={tuple(interval)} is no interval (low, high) with low < high")
    return low, high
