"""`GaussNewton`: least squares by an orthogonal factorisation, for models that are linear in their parameters or nearly so."""

import equinox as eqx
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from ...core.arguments import check_fields, count, number
from .steps import AbstractDoubleStep, Residuals, Taken, Value, with_metrics
from .trials import lowest


class GaussNewton(AbstractDoubleStep):
    """Gauss-Newton steps for a loss ½‖r(θ)‖²: θ ← θ − α J⁺ r with J = ∂r/∂θ = Q U Σ Vᵀ, in float64.

        fit(RandomFeatures(problem, features=800, key=key), sampler=UniformSampler(4000), optimizer=GaussNewton(), steps=1)

    Singular values below `rcond` times the largest one count as zero. α is 1, or a power of ½ if the loss grows. For a model
    that is linear in its parameters, on a linear equation, one step is the solution; on other equations this is Newton's method
    without second derivatives of r, which needs 5 to 15 steps from a good start. For networks use `LevenbergMarquardt`.

    **Arguments:**

    - `hold`: number of steps on the same points.
    - `rcond`: smallest singular value that counts, as a share of the largest one; 1e-13 to 1e-10 in float64.
    - `halvings`: number of step lengths 1, ½, ¼, … that are tried.

    **Metrics:** "rank", the number of singular values that count; "accepted".

    **Raises:** `TypeError` if the objective is no sum of squares.

    **Example:**

        >>> line = sx.Problem("u", sx.Box(x=(0, 1)), residual=lambda u, p: u.xx + 2)          # u = x (1 − x)
        >>> u = sx.fit(sx.RandomFeatures(line, features=40, scale=3.0, key=key),
        ...            optimizer=sx.GaussNewton(), steps=1, progress=False)
        >>> bool(abs(u.predict({}, at=sx.Box(x=(0, 1)).grid(3))["u"][0, 1] - 0.25) < 1e-4)
        True
    """

    hold: int = eqx.field(static=True, default=20)
    rcond: float = eqx.field(static=True, default=1e-13)
    halvings: int = eqx.field(static=True, default=8)

    def __check_init__(self):
        check_fields(self)
        count("GaussNewton", "hold", self.hold)
        count("GaussNewton", "halvings", self.halvings)
        number("GaussNewton", "rcond", self.rcond, least=0, below=1)

    def init(self, params: PyTree) -> None:
        return None

    def reset(self, memory: None) -> None:
        return None

    def __call__(self, params: PyTree, memory: None, value: Value, residuals: Residuals) -> Taken:
        start, unravel = ravel_pytree(params)
        loss, outcome = value(params)
        move, rank = minimal_norm(residuals.jacobian(params), residuals.vector(params), self.rcond)

        def trial(length):
            moved = start - length * move
            return moved, value(unravel(moved))[0]

        moved, _, accepted = lowest(trial, 0.5 ** jnp.arange(self.halvings, dtype=start.dtype), loss)
        finite = jnp.isfinite(loss) & jnp.isfinite(move).all()
        outcome = with_metrics(outcome, rank=rank, accepted=accepted)
        return Taken(unravel(jnp.where(accepted, moved, start)), None, loss, outcome, finite, accepted)


def minimal_norm(
    a: Float[Array, "n d"], b: Float[Array, " n"], rcond: float
) -> tuple[Float[Array, " d"], Int[Array, ""]]:
    """The shortest x that minimises ‖A x − b‖, and the numerical rank. Columns are scaled to length 1 first."""
    scale = jnp.linalg.norm(a, axis=0)
    scale = jnp.where(scale > 0, scale, 1)
    a = a / scale
    if a.shape[0] > a.shape[1]:  # the triangle has the singular values of a, and is smaller
        q, a = jnp.linalg.qr(a)
        b = b @ q
    u, s, vt = jnp.linalg.svd(a, full_matrices=False)
    counts = s > rcond * s[0]
    x = jnp.where(counts, (b @ u) / jnp.where(counts, s, 1), 0) @ vt
    return x / scale, counts.sum()
