"""Tsallis-INF: a bandit without assumptions on how costs arise (Zimmert and Seldin 2021)."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, ScalarLike

from .bandits import AbstractPolicy, Context, checked_interval, unit_context

_NEWTON_STEPS = (
    24  # far away a step multiplies the distance by 1.5, so 1e6 arms need 17; then it converges quadratically
)


class TsallisState(eqx.Module):
    """**Fields:** per bin and arm the importance-weighted sum of costs `(bins, arms)`, per bin the sum of costs and the
    number of rounds `(bins,)`, the probability with which the last arm was drawn, the random key."""

    losses: Float[Array, "bins arms"]
    total: Float[Array, " bins"]
    rounds: Int[Array, " bins"]
    probability: Float[Array, ""]
    key: PRNGKeyArray


class TsallisINF(AbstractPolicy):
    """In round t arm i is drawn with p = argmin_p ⟨p, k⟩/K − (4/η) Σ √p_i over the simplex, η = 2/√t; then k_i grows by
    cost/p_i.

    k is an unbiased estimate of what every arm would have cost so far, K the mean cost seen. The regret against the best
    fixed arm is O(√(arms · T)) for any sequence of costs. With a context there is an independent learner per bin of its
    interval, which follows a cost that changes with the context, at the price of `bins` times the exploration.

    Source: Khodak et al., Learning to Relax (ICLR 2024), algorithm 1 and section 4; the scale K as in their program. One
    departure: their Newton iteration for p starts at −1 and overshoots in later rounds; see `tsallis_probabilities`.

    **Arguments:**

    - `context`: interval (low, high) of the context; None ignores contexts.
    - `bins`: learners on equal parts of that interval. The paper has 5 for 5000 systems.

    **Example:**

        >>> sx.linear.TsallisINF().bins
        1
    """

    context: tuple[float, float] | None = eqx.field(static=True, default=None)
    bins: int = eqx.field(static=True, default=1)

    def __init__(self, context: tuple[float, float] | None = None, bins: int = 1):
        if bins < 1 or (context is None and bins > 1):
            raise ValueError(f"TsallisINF: bins={bins} with context={context}; bins > 1 divide a context=(low, high)")
        self.context = None if context is None else checked_interval(context, "TsallisINF")
        self.bins = bins

    def init(self, arms: int, key: PRNGKeyArray) -> TsallisState:
        zeros = jnp.zeros(self.bins)
        return TsallisState(jnp.zeros((self.bins, arms)), zeros, jnp.zeros(self.bins, jnp.int32), jnp.ones(()), key)

    def choose(self, state: TsallisState, context: Context = None) -> tuple[Int[Array, ""], TsallisState]:
        i = self._bin(context)
        scale = state.total[i] / jnp.maximum(state.rounds[i], 1)
        eta = 2 / jnp.sqrt(state.rounds[i] + 1.0)
        p = tsallis_probabilities(state.losses[i] / jnp.where(scale > 0, scale, 1), eta)
        key, draw = jax.random.split(state.key)
        arm = jax.random.categorical(draw, jnp.log(p)).astype(jnp.int32)
        return arm, TsallisState(state.losses, state.total, state.rounds, p[arm], key)

    def update(self, state: TsallisState, arm: Int[Array, ""], context: Context, cost: ScalarLike) -> TsallisState:
        i = self._bin(context)
        return TsallisState(
            state.losses.at[i, arm].add(cost / state.probability),
            state.total.at[i].add(cost),
            state.rounds.at[i].add(1),
            state.probability,
            state.key,
        )

    def _bin(self, context):
        if self.context is None:
            return 0
        position = unit_context(context, self.context, "TsallisINF(context=…)")
        return jnp.minimum((position * self.bins).astype(jnp.int32), self.bins - 1)


def tsallis_probabilities(losses: Float[Array, " arms"], eta: ScalarLike) -> Float[Array, " arms"]:
    """p_i = 4/(η (ℓ_i − x))², with x < min ℓ such that Σ p_i = 1.

    Newton on the sum, which is convex and increasing in x: from x = min ℓ − 2/η, where it is at least 1, the iterates fall
    monotonically to the root. Shifts of ℓ are taken out first, so that float32 suffices for large losses.
    """
    gaps = (losses - losses.min()) * eta / 2  # p = (gap + y)⁻² with y = (min ℓ − x) η/2, from y = 1

    def newton(_, y):
        inverse = 1 / (gaps + y)
        return y + (jnp.sum(inverse**2) - 1) / (2 * jnp.sum(inverse**3))

    y = jax.lax.fori_loop(0, _NEWTON_STEPS, newton, jnp.ones((), gaps.dtype))
    p = (gaps + y) ** -2
    return p / p.sum()
