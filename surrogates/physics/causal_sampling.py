"""`CausalR3`: points are retained where the residual is large, from the initial time onwards."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import check_fields, count, number
from ...core.domains import Box
from .sampling import Population, retained, uniform_points


class CausalR3(eqx.Module):
    """R3 behind a gate g that moves along time (Daw et al., ICML 2023, section 5).

        g(t) = ½ (1 − tanh(α (t̂ − γ))),   γ ← γ + η min(exp(−ε mean (g r)²), .1),

    with t̂ the time in units of the interval. The loss contains g r instead of r, and points are retained where g |r| exceeds its
    mean. The gate opens at γ = −½, before the start, and moves on while the residual behind it is small; it needs about 20 / η
    updates for the whole interval, so that shorter runs end with a part of the interval untrained.

    **Arguments:**

    - `n`: the number of points; 1000 to 10000.
    - `steepness`: α, 5 as published.
    - `rate`: η, 1e-3 as published, for 20000 updates or more.
    - `tolerance`: ε, 20 as published; larger numbers wait longer for the residual.

    **Raises:** `ValueError` for a problem without time. It fails, silently, if training ends before the gate has passed:
    the last value of the metric "weight", the mean of g² over the points, is then far below 1.

    **Example:**

        >>> sx.CausalR3(500).n
        500
    """

    n: int = eqx.field(static=True)
    steepness: float = eqx.field(static=True, default=5.0)
    rate: float = eqx.field(static=True, default=1e-3)
    tolerance: float = eqx.field(static=True, default=20.0)
    pool = 0
    keeps = True

    def __check_init__(self):
        check_fields(self)
        count("CausalR3", "n", self.n)
        for name in ("steepness", "rate", "tolerance"):
            number("CausalR3", name, vars(self)[name], above=0)

    def init(self, key: Array, box: Box) -> Population:
        points = uniform_points(key, box, self.n)
        return self._behind(points, jnp.asarray(-0.5, points.dtype), box)

    def update(self, key, population, residual, pool, at_pool, box):
        gated = population.factors * jnp.abs(residual)
        step = self.rate * jnp.minimum(jnp.exp(-self.tolerance * (gated**2).mean()), 0.1)
        return self._behind(retained(key, population.points, gated, box), population.memory + step, box)

    def _behind(self, points: Float[Array, "n d"], front: Float[Array, ""], box: Box) -> Population:
        if box.axes[-1].name != "t":
            raise ValueError(f"CausalR3 follows time, which the box {box} does not have; take R3")
        time = box.axes[-1]
        share = (points[:, -1] - time.start) / time.length
        return Population(points, 0.5 * (1 - jnp.tanh(self.steepness * (share - front))), front)
