"""`SPRING`: natural gradient steps with momentum."""

import equinox as eqx
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, count, number
from .damped_normal_equations import DampedNormalEquations
from .steps import AbstractDoubleStep, Residuals, Taken, Value, with_metrics
from .trials import lowest


class SPRING(AbstractDoubleStep):
    """Natural gradient steps with momentum for a loss ½‖r(θ)‖², in float64:

        φ ← μ φ + Jᵀ (JJᵀ + λ I)⁻¹ (r − μ J φ),   θ ← θ − η φ.

        fit(PINN(problem, key=key), sampler=UniformSampler(500), optimizer=SPRING(), steps=2000)

    φ is the move nearest to μ times the last one that solves the damped linearised equations. It so adds up what the
    residuals at many sets of points say, and each step may see fewer residuals than the model has parameters. η is 1, or a power
    of ½ if the loss on the points of the step grows; if none lowers it the parameters stay, and φ is forgotten.

    **Arguments:**

    - `hold`: number of steps on the same points; 1 to 5.
    - `damping`: λ as a share of the largest diagonal entry of JJᵀ or JᵀJ, 1e-3 to 1e-8; it stays the same. Smaller ones go
      further in the end, and need more points.
    - `momentum`: μ, .8 to .99. 0 is the natural gradient, which for sums of squares is `LevenbergMarquardt` of fixed damping.
    - `halvings`: number of step lengths 1, ½, ¼, … that are tried.

    **Metrics:** "accepted"; "step_length", η.

    **Raises:** `TypeError` if the objective is no sum of squares.

    Source: Goldshlager, Abrahamsen & Lin, J. Comput. Phys. 516 (2024); the search along φ is ours.

    **Example:**

        >>> sx.SPRING(damping=1e-4).momentum
        0.9
    """

    hold: int = eqx.field(static=True, default=1)
    damping: float = eqx.field(static=True, default=1e-6)
    momentum: float = eqx.field(static=True, default=0.9)
    halvings: int = eqx.field(static=True, default=6)

    def __check_init__(self):
        check_fields(self)
        count("SPRING", "hold", self.hold)
        count("SPRING", "halvings", self.halvings)
        number("SPRING", "damping", self.damping, above=0)
        number("SPRING", "momentum", self.momentum, least=0, below=1)

    def init(self, params: PyTree) -> Float[Array, " d"]:
        return jnp.zeros_like(ravel_pytree(params)[0])

    def reset(self, memory: Float[Array, " d"]) -> Float[Array, " d"]:
        return memory

    def __call__(self, params: PyTree, memory: Float[Array, " d"], value: Value, residuals: Residuals) -> Taken:
        start, unravel = ravel_pytree(params)
        loss, outcome = value(params)
        r, equations = residuals.vector(params), DampedNormalEquations.of(residuals.jacobian(params))
        before = self.momentum * memory
        damped = equations.damped(jnp.asarray(self.damping, r.dtype))
        move = before + damped.solve(r - equations.jacobian @ before)

        def trial(length):
            moved = start - length * move
            return moved, value(unravel(moved))[0]

        lengths = 0.5 ** jnp.arange(self.halvings, dtype=start.dtype)
        moved, best, accepted = lowest(trial, lengths, loss)
        finite = jnp.isfinite(loss) & jnp.isfinite(move).all()
        outcome = with_metrics(outcome, accepted=accepted, step_length=jnp.where(accepted, lengths[best], 0))
        memory = jnp.where(accepted & finite, move, 0)
        return Taken(unravel(jnp.where(accepted, moved, start)), memory, loss, outcome, finite, accepted)
