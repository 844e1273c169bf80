"""`LevenbergMarquardt`: damped Gauss-Newton steps on sums of squares."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, count, number
from .steps import AbstractDoubleStep, Residuals, Taken, Value, with_metrics

_BLOCKS = 4  # in which the symmetric half of JᵀJ is computed


class LevenbergMarquardt(AbstractDoubleStep):
    """Levenberg-Marquardt steps for a loss ½‖r(θ)‖²: θ ← θ − (JᵀJ + λ I)⁻¹ Jᵀ r with J = ∂r/∂θ, in float64.

        fit(PINN(problem, key=key), sampler=UniformSampler(3000), optimizer=LevenbergMarquardt(), steps=300)

    J and the smaller of JᵀJ and JJᵀ are formed once per step. Then several dampings λ are tried, each with a Cholesky
    factorisation of its own, and the trial with the lowest loss on the same points is taken, if it is lower than before. If none
    is, the parameters stay and the damping grows; a trial that is not finite counts as no improvement. With fewer residuals than
    parameters the same step is θ − Jᵀ (JJᵀ + λ I)⁻¹ r.

    With `accelerated` every trial step p is bent by −½ (JᵀJ + λ I)⁻¹ Jᵀ r″, where r″ is the second derivative of r along p,
    unless that is longer than p/2. Much smaller dampings are then accepted, and the loss of a small network was 35 to 900 times
    lower after the same number of steps, of which each takes longer.

    **Arguments:**

    - `hold`: number of steps on the same points; 5 to 50. Use at least three times as many residuals as parameters.
    - `damping`: the first λ as a share of the largest diagonal entry of JᵀJ; 1e-2 to 1e-4.
    - `trials`: number of dampings per step, each ten times the one before; 3 to 6.
    - `accelerated`: whether steps follow the curvature of r (geodesic acceleration).

    A step on n residuals of d parameters costs about n d² operations and one factorisation of d³/3 per trial. The memory is that
    of J, 8 n d bytes. JᵀJ resolves directions whose singular value is 1e-8 of the largest one or more; `GaussNewton`, on a QR
    factorisation of J, resolves 1e-13, for models that are linear in their parameters. A small residual is no small error next
    to a shock: compare with a reference.

    **Metrics:** "damping", λ over the largest diagonal entry of JᵀJ; "accepted", the share of steps that improved the loss.

    **Raises:** `TypeError` if the objective is no sum of squares.

    Source: Marquardt, SIAM J. Appl. Math. 11 (1963); the form with JJᵀ: Jnini et al., arXiv 2505.12149;
    acceleration: Transtrum & Sethna, arXiv 1201.5885.
    """

    hold: int = eqx.field(static=True, default=10)
    damping: float = eqx.field(static=True, default=1e-3)
    trials: int = eqx.field(static=True, default=4)
    accelerated: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        check_fields(self)
        count("LevenbergMarquardt", "hold", self.hold)
        count("LevenbergMarquardt", "trials", self.trials)
        number("LevenbergMarquardt", "damping", self.damping, above=0)

    def init(self, params: PyTree) -> Float[Array, ""]:
        return jnp.asarray(self.damping, ravel_pytree(params)[0].dtype)

    def reset(self, memory: Float[Array, ""]) -> Float[Array, ""]:
        return memory

    def __call__(self, params: PyTree, memory: Float[Array, ""], value: Value, residuals: Residuals) -> Taken:
        start, unravel = ravel_pytree(params)
        loss, outcome = value(params)
        r, jacobian = residuals.vector(params), residuals.jacobian(params)
        gradient = r @ jacobian
        tall = jacobian.shape[0] >= jacobian.shape[1]
        gram = symmetric_product(jacobian if tall else jacobian.T)
        top = jnp.maximum(gram.diagonal().max(), jnp.finfo(r.dtype).tiny)
        smallest = 10 * jnp.finfo(r.dtype).eps  # below it the factorisation is of rounding
        dampings = jnp.maximum(memory * 10.0 ** (jnp.arange(self.trials) - max(self.trials - 2, 0)), smallest)

        def trial(damping):
            factor = cho_factor(gram + damping * top * jnp.eye(len(gram), dtype=gram.dtype), lower=True)

            def solved(r):
                return cho_solve(factor, r @ jacobian) if tall else cho_solve(factor, r) @ jacobian

            move = -solved(r)
            moved = start + move
            if self.accelerated:
                bend = -0.5 * solved(second_derivative(lambda v: residuals.vector(unravel(v)), start, move))
                small = jnp.linalg.norm(bend) < 0.5 * jnp.linalg.norm(move)  # else the expansion means nothing
                moved = jnp.where(small, moved + bend, moved)
            after = value(unravel(moved))[0]
            return moved, jnp.where(jnp.isfinite(after), after, jnp.inf)

        # One trial after the other: batched factorisations on a CPU are slower, and their matrices would all be in memory.
        moved, losses = jax.lax.map(trial, dampings)
        best = jnp.argmin(losses)
        accepted = losses[best] < loss
        memory = jnp.where(accepted, dampings[best], jnp.minimum(memory * 10.0 ** (max(self.trials - 1, 1)), 1e6))
        finite = jnp.isfinite(loss) & jnp.isfinite(gradient).all()
        outcome = with_metrics(outcome, damping=dampings[best], accepted=accepted)
        return Taken(
            unravel(jnp.where(accepted, moved[best], start)),
            memory.astype(start.dtype),
            loss,
            outcome,
            finite,
            accepted,
        )


def second_derivative(function, point: Float[Array, " d"], along: Float[Array, " d"]) -> Float[Array, " n"]:
    """d²/dt² f(x + t v) at t = 0."""
    slope = lambda x: jax.jvp(function, (x,), (along,))[1]  # noqa: E731
    return jax.jvp(slope, (point,), (along,))[1]


def symmetric_product(a: Float[Array, "n d"]) -> Float[Array, "d d"]:
    """AᵀA. Only the blocks on and below the diagonal are computed: of 4 by 4, ten."""
    edges = [round(a.shape[1] * i / _BLOCKS) for i in range(_BLOCKS + 1)]
    parts = [a[:, i:j] for i, j in itertools.pairwise(edges)]
    product = {(i, j): parts[i].T @ parts[j] for i in range(_BLOCKS) for j in range(i + 1)}
    return jnp.block([[product[i, j] if j <= i else product[j, i].T for j in range(_BLOCKS)] for i in range(_BLOCKS)])
