"""ChebCB: a contextual bandit that fits every arm's cost as a Chebyshev series in the context."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, ScalarLike

from .bandits import AbstractPolicy, Context, checked_interval, unit_context


class ChebState(eqx.Module):
    """**Fields:** per arm the normal matrix `(arms, m, m)`, right-hand side `(arms, m)` and sum of squared costs of its
    least squares problem, and the coefficients; the largest cost, the number of rounds, the prediction for the last arm and
    the sum of squared prediction errors; the random key."""

    normal: Float[Array, "arms m m"]
    moment: Float[Array, "arms m"]
    squares: Float[Array, " arms"]
    theta: Float[Array, "arms m"]
    largest: Float[Array, ""]
    rounds: Int[Array, ""]
    prediction: Float[Array, ""]
    errors: Float[Array, ""]
    key: PRNGKeyArray


class ChebCB(AbstractPolicy):
    """Inverse-gap weighting on box-constrained least squares.

    The cost of arm i at context c, mapped to z ∈ [−1, 1], is predicted as s_i = Σ_j θ_ij T_j(z), j < m, where θ_i minimises
    the squared error on the rounds of that arm subject to |θ_i0| ≤ K and |θ_ij| ≤ 2K/j. The arm of the lowest prediction is
    played, every other one with probability 1/(d + η (s_i − min s)), where

        η = 2t √(d t / (R + 2 a² t)),   a = (π + (2/π) log(2m + 1)) K / (2 (m + 1)).

    d is the number of arms, t that of rounds, K the largest cost seen, R the sum of squared prediction errors beyond that of
    the final fits, a a bound on the error of a series of m terms. Costs have to be smooth in the context, as the logarithm of
    a condition number is; where they jump, or for very short sequences, `TsallisINF` with bins is the safer choice.

    Source: Khodak et al., Learning to Relax (ICLR 2024), algorithm 2 and section 4. The constants are those of their
    program, where costs are divided by K N for a number N that cancels, and the Lipschitz constant of a cost on the interval
    is in effect estimated as K / (high − low). Departures: R uses all costs at the current scale and subtracts the residuals
    of all arms; least squares are solved from normal matrices by coordinate descent from the previous coefficients, which
    for fewer rounds than terms need not give the solution of smallest norm.

    **Arguments:**

    - `context`: interval (low, high) of the context, which is one number; values outside count as the nearest end.
    - `terms`: m, 6 in the paper. Theory has it grow as T^(3/11).
    - `sweeps`: of coordinate descent per round on the fits of all arms, which start from those of the round before. They are
      not run to convergence where few data leave θ nearly free; exact fits are no better.

    **Example:**

        >>> sx.linear.ChebCB(context=(-0.15, 0.65)).terms
        6
    """

    context: tuple[float, float] = eqx.field(static=True)
    terms: int = eqx.field(static=True, default=6)
    sweeps: int = eqx.field(static=True, default=24)

    def __init__(self, context: tuple[float, float], terms: int = 6, sweeps: int = 24):
        if terms < 1 or sweeps < 1:
            raise ValueError(f"ChebCB: terms={terms} and sweeps={sweeps} must be at least 1")
        self.context, self.terms, self.sweeps = checked_interval(context, "ChebCB"), terms, sweeps

    def init(self, arms: int, key: PRNGKeyArray) -> ChebState:
        m, zero = self.terms, jnp.zeros(())
        table = jnp.zeros((arms, m))
        return ChebState(
            jnp.zeros((arms, m, m)), table, jnp.zeros(arms), table, zero, jnp.zeros((), jnp.int32), zero, zero, key
        )

    def choose(self, state: ChebState, context: Context) -> tuple[Int[Array, ""], ChebState]:
        predictions = jnp.matmul(state.theta, self._features(context), precision="highest")
        best = predictions.argmin()
        p = 1 / (len(predictions) + self._eta(state) * (predictions - predictions[best]))
        p = p.at[best].set(0)
        p = p.at[best].set(1 - p.sum())
        key, draw = jax.random.split(state.key)
        arm = jax.random.categorical(draw, jnp.log(p)).astype(jnp.int32)
        return arm, eqx.tree_at(lambda s: (s.prediction, s.key), state, (predictions[arm], key))

    def update(self, state: ChebState, arm: Int[Array, ""], context: Context, cost: ScalarLike) -> ChebState:
        features = self._features(context)
        normal = state.normal.at[arm].add(jnp.outer(features, features))
        moment = state.moment.at[arm].add(cost * features)
        largest = jnp.maximum(state.largest, cost)
        orders = jnp.arange(1, self.terms, dtype=features.dtype)
        box = largest * jnp.concatenate([jnp.ones(1, features.dtype), 2 / orders])
        return ChebState(
            normal,
            moment,
            state.squares.at[arm].add(jnp.square(cost)),
            box_least_squares(normal, moment, box, state.theta, self.sweeps),
            largest,
            state.rounds + 1,
            state.prediction,
            state.errors + jnp.square(cost - state.prediction),
            state.key,
        )

    def _eta(self, state: ChebState):
        m, d, t = self.terms, len(state.theta), state.rounds.astype(state.errors.dtype)
        product = jnp.einsum("ijk,ik->ij", state.normal, state.theta, precision="highest")
        residuals = jnp.sum(state.theta * (product - 2 * state.moment)) + state.squares.sum()
        excess = jnp.maximum(state.errors - residuals, 0)
        truncation = (math.pi + 2 / math.pi * math.log(2 * m + 1)) / (2 * (m + 1)) * state.largest
        uncertainty = excess + 2 * truncation**2 * t
        return 2 * t * jnp.sqrt(d * t / jnp.where(uncertainty > 0, uncertainty, 1))

    def _features(self, context):
        z = 2 * unit_context(context, self.context, "ChebCB") - 1
        values = [jnp.ones_like(z), z]
        while len(values) < self.terms:
            values.append(2 * z * values[-1] - values[-2])
        return jnp.stack(values[: self.terms])


def box_least_squares(
    normal: Float[Array, "arms m m"],
    moment: Float[Array, "arms m"],
    box: Float[Array, " m"],
    start: Float[Array, "arms m"],
    sweeps: int,
) -> Float[Array, "arms m"]:
    """Per arm θ that lowers ½ θᵀGθ − hᵀθ subject to |θ_j| ≤ box_j, by cyclic coordinate descent from `start`.

    Every step is exact in its coordinate, so the objective never grows; coordinates without data (G_jj = 0) stay.
    """

    def sweep(_, theta):
        for j in range(normal.shape[-1]):
            curvature = normal[:, j, j]
            slope = moment[:, j] - jnp.einsum("ij,ij->i", normal[:, j], theta, precision="highest")
            value = theta[:, j] + jnp.where(curvature > 0, slope / jnp.where(curvature > 0, curvature, 1), 0)
            theta = theta.at[:, j].set(jnp.clip(value, -box[j], box[j]))
        return theta

    return jax.lax.fori_loop(0, sweeps, sweep, start)
