"""`SSBroyden` and `LBFGS`: quasi-Newton steps with a strong Wolfe search, in float64."""

from typing import Literal, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PyTree

from ...core.arguments import check_fields, count
from ...core.minimize import optimizer_step, select
from .steps import AbstractDoubleStep, Residuals, Taken, Value, with_metrics


class QuasiNewtonMemory(eqx.Module):
    """What `SSBroyden` remembers: the inverse Hessian; its last step, and the gradient and step length there.

    `fresh` says that there is no last step; `scaled`, that the inverse Hessian is no longer the identity.
    """

    inverse: Float[Array, "d d"]
    step: Float[Array, " d"]
    gradient: Float[Array, " d"]
    length: Float[Array, ""]
    fresh: Bool[Array, ""]
    scaled: Bool[Array, ""]


class SSBroyden(AbstractDoubleStep):
    """Self-scaled Broyden steps (Al-Baali; Urbán et al. 2024) with a strong Wolfe line search, in float64.

    The d × d inverse Hessian is updated by a member of Broyden's family that is chosen in every step, and scaled before. It
    needs 8 d² bytes: 72 MB for 3000 parameters. A step costs two to four gradients of the loss and about 10 d² operations,
    much less than one of `LevenbergMarquardt`, of which many more are needed; it is good for shocks and for losses that are no
    sum of squares. If the search finds no lower value, the parameters stay and the inverse Hessian becomes the identity again.

    **Arguments:**

    - `hold`: number of steps on the same points; 100 to 500. The inverse Hessian is kept when the points change.
    - `update`: "broyden"; "bfgs" with self-scaling (SSBFGS); or "plain", BFGS without scaling.
    - `search_steps`: largest number of evaluations of a line search.

    **Metrics:** "accepted"; "step_length".

    Source: Urbán, Stefanou & Pons, arXiv 2405.04230, section 3.

    **Example:**

        >>> sx.SSBroyden(update="bfgs").hold
        200
    """

    hold: int = eqx.field(static=True, default=200)
    update: Literal["broyden", "bfgs", "plain"] = eqx.field(static=True, default="broyden")
    search_steps: int = eqx.field(static=True, default=20)

    def __check_init__(self):
        check_fields(self)
        count("SSBroyden", "hold", self.hold)
        count("SSBroyden", "search_steps", self.search_steps)

    def init(self, params: PyTree) -> QuasiNewtonMemory:
        flat = ravel_pytree(params)[0]
        return QuasiNewtonMemory(
            jnp.eye(flat.size, dtype=flat.dtype),
            jnp.zeros_like(flat),
            jnp.zeros_like(flat),
            jnp.ones((), flat.dtype),
            jnp.asarray(True),
            jnp.asarray(False),
        )

    def reset(self, memory: QuasiNewtonMemory) -> QuasiNewtonMemory:
        # Differences of gradients at different points say nothing about the curvature.
        return eqx.tree_at(lambda m: m.fresh, memory, jnp.asarray(True))

    def __call__(self, params: PyTree, memory: QuasiNewtonMemory, value: Value, residuals: Residuals) -> Taken:
        start, unravel = ravel_pytree(params)
        function = lambda v: value(unravel(v))[0]  # noqa: E731
        (loss, outcome), gradient = jax.value_and_grad(lambda v: value(unravel(v)), has_aux=True)(start)
        inverse, scaled = self._updated(memory, gradient)
        direction = -inverse @ gradient
        downhill = (direction @ gradient < 0) & jnp.isfinite(direction).all()
        direction = jnp.where(downhill, direction, -gradient)
        # The first step along a gradient whose units say nothing.
        direction = jnp.where(scaled, direction, direction / jnp.maximum(1, jnp.linalg.norm(direction)))
        search = optax.scale_by_zoom_linesearch(self.search_steps, slope_rtol=1e-4, curv_rtol=0.9)
        step, found = cast(
            tuple[Array, optax.ScaleByZoomLinesearchState],
            search.update(direction, search.init(start), start, value=loss, grad=gradient, value_fn=function),
        )
        moved = start + step
        after = function(moved)
        accepted = jnp.isfinite(after) & (after < loss) & jnp.isfinite(moved).all()
        memory = QuasiNewtonMemory(
            jnp.where(accepted, inverse, jnp.eye(start.size, dtype=start.dtype)),
            jnp.where(accepted, step, 0),
            gradient,
            jnp.asarray(found.learning_rate, start.dtype),
            ~accepted,
            scaled & accepted,
        )
        finite = jnp.isfinite(loss) & jnp.isfinite(gradient).all()
        outcome = with_metrics(outcome, accepted=accepted, step_length=jnp.where(accepted, memory.length, 0))
        return Taken(unravel(jnp.where(accepted, moved, start)), memory, loss, outcome, finite, accepted)

    def _updated(
        self, memory: QuasiNewtonMemory, gradient: Float[Array, " d"]
    ) -> tuple[Float[Array, "d d"], Bool[Array, ""]]:
        """The inverse Hessian after the last step, and whether it was ever updated."""
        y = gradient - memory.gradient
        curved = memory.step @ y > jnp.finfo(y.dtype).eps * jnp.linalg.norm(memory.step) * jnp.linalg.norm(y)
        useful = ~memory.fresh & curved
        step, change = jnp.where(useful, memory.step, 1), jnp.where(useful, y, 1)
        new = updated_inverse(
            memory.inverse, step, change, memory.gradient, memory.length, first=~memory.scaled, update=self.update
        )
        useful &= jnp.isfinite(new).all()
        return jnp.where(useful, new, memory.inverse), memory.scaled | useful


def updated_inverse(
    inverse: Float[Array, "d d"],
    step: Float[Array, " d"],
    change: Float[Array, " d"],
    gradient: Float[Array, " d"],
    length: Float[Array, ""],
    *,
    first: Bool[Array, ""] | bool,
    update: str,
) -> Float[Array, "d d"]:
    """The inverse Hessian H⁺ after a step s = α p, p = −H g, which changed the gradient by y:

    H⁺ = (1/τ) [H − H y (H y)ᵀ / yᵀHy + φ (yᵀHy) v vᵀ] + s sᵀ / yᵀs, with v = s / yᵀs − H y / yᵀHy.

    H⁺ y = s for every τ and φ. With τ = φ = 1 it is BFGS.

    **Arguments:** `step` s, `change` y, `gradient` g before the step, `length` α; `first`: whether H is the identity still.
    """
    n = step.size
    curvature = change @ step
    hy = inverse @ change
    yhy = change @ hy
    h, b = yhy / curvature, -length * (step @ gradient) / curvature
    if update == "broyden":
        a = b * h - 1  # not negative but for rounding
        a = jnp.where(jnp.abs(a) < 1e-12, 1e-12, a)
        c = jnp.sqrt(jnp.abs(a) / jnp.abs(1 + a))
        lower = jnp.minimum(1, h * (1 - c))
        theta = jnp.maximum((lower - 1) / a, jnp.minimum(1 / lower, (1 - b) / b))
        sigma = 1 + a * theta
        root = jnp.abs(sigma) ** (1 / (1 - n)) if n > 1 else jnp.ones_like(sigma)
        share = jnp.minimum(1, 1 / b)
        scaling = jnp.where(theta <= 0, jnp.minimum(share * root, sigma), share * jnp.minimum(root, 1 / theta))
        scaling = jnp.where(first, h / sigma, scaling)
        phi = (1 - theta) / sigma
    elif update == "bfgs":
        scaling, phi = jnp.where(first, h, jnp.minimum(1, 1 / b)), 1.0
    else:
        scaling, phi = 1.0, 1.0
    v = step / curvature - hy / yhy
    inner = inverse - jnp.outer(hy, hy) / yhy + phi * yhy * jnp.outer(v, v)
    return inner / scaling + jnp.outer(step, step) / curvature


class LBFGS(AbstractDoubleStep):
    """Limited-memory BFGS of optax with a strong Wolfe search, in float64, which says why it stopped.

    It stops, and keeps the parameters until the points change, when the search finds no lower value, or when the largest entry of
    the gradient times that of the parameters (1 if they are smaller) is at most ε |loss|, for rounding ε of the type in which it
    computes. Fixed tolerances would end it early where losses are small.

    **Arguments:**

    - `hold`: number of steps on the same points, 100 to 1000. The memory is forgotten when they change.
    - `memory_size`: number of steps that it remembers, 10 to 100.
    - `search_steps`: largest number of evaluations of a line search.

    **Metrics:** "gradient", its largest entry; "stopped_gradient" and "stopped_search", the shares of steps at which it had
    stopped for this reason.

    Source: Liu & Nocedal, Math. Program. 45 (1989).

    **Example:**

        >>> sx.LBFGS(memory_size=20).hold
        500
    """

    hold: int = eqx.field(static=True, default=500)
    memory_size: int = eqx.field(static=True, default=50)
    search_steps: int = eqx.field(static=True, default=25)

    def __check_init__(self):
        check_fields(self)
        for name in ("hold", "memory_size", "search_steps"):
            count("LBFGS", name, vars(self)[name])

    @property
    def _optimizer(self) -> optax.GradientTransformationExtraArgs:
        return optax.lbfgs(
            memory_size=self.memory_size,
            linesearch=optax.scale_by_zoom_linesearch(self.search_steps, initial_guess_strategy="one"),
        )

    def init(self, params: PyTree) -> PyTree:
        flat = ravel_pytree(params)[0]
        return self._optimizer.init(flat), jnp.asarray(False), jnp.zeros_like(flat)

    def reset(self, memory: PyTree) -> PyTree:
        _, _, flat = memory
        return self._optimizer.init(flat), jnp.asarray(False), flat

    def __call__(self, params: PyTree, memory: PyTree, value: Value, residuals: Residuals) -> Taken:
        state, failed, like = memory
        start, unravel = ravel_pytree(params)
        moved, new, (loss, outcome), gradient = optimizer_step(
            self._optimizer, lambda v: value(unravel(v)), start, state
        )
        moved = cast(Array, moved)
        largest = jnp.abs(gradient).max()
        flat = largest * jnp.maximum(1, jnp.abs(start).max()) <= jnp.finfo(start.dtype).eps * jnp.abs(loss)
        after = value(unravel(moved))[0]
        lower = jnp.isfinite(after) & (after < loss)
        accepted = ~flat & ~failed & lower
        failed = failed | (~flat & ~lower)
        outcome = with_metrics(outcome, gradient=largest, stopped_gradient=flat, stopped_search=failed)
        memory = (select(accepted, new, state), failed, like)
        finite = jnp.isfinite(loss) & jnp.isfinite(gradient).all()
        return Taken(unravel(jnp.where(accepted, moved, start)), memory, loss, outcome, finite, accepted)
