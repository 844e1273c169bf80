"""Stochastic interpolants: transport between two distributions by an ODE or an SDE (Albergo, Boffi and Vanden-Eijnden 2023)."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ...core.arguments import checked, count, number, random_key, real_array
from ...core.arrays import AnyArray


class AbstractInterpolant(eqx.Module):
    """x_t = a(t) x₀ + b(t) x₁ + g(t) z with z ~ N(0, 1), a(0) = b(1) = 1, a(1) = b(0) = g(0) = g(1) = 0.

    Its velocity is b(x, t) = E[ẋ_t | x_t = x] and its score E[−z | x_t = x]/g. The ODE ẋ = b and, for any ε ≥ 0, the SDE
    dx = (b + ε score) dt + √(2ε) dW carry the law of x₀ into that of x₁.

    **Example:**

        >>> isinstance(sx.diffusion.Linear(), sx.diffusion.AbstractInterpolant)
        True
    """

    @abc.abstractmethod
    def coefficients(self, t: Float[Array, ""]) -> tuple[Any, Any, Any]:
        """a, b and g at a time in [0, 1], differentiable inside it."""

    def between(self, x0: Float[Array, "*shape"], x1: Float[Array, "*shape"], z: Float[Array, "*shape"], t: Any):
        """x_t and its derivative ẋ_t, the target of a velocity."""
        t = jnp.asarray(t, jnp.result_type(float))
        (a, b, g), (da, db, dg) = jax.jvp(self.coefficients, (t,), (jnp.ones_like(t),))
        return a * x0 + b * x1 + g * z, da * x0 + db * x1 + dg * z


class Linear(AbstractInterpolant):
    """(1 − t) x₀ + t x₁ + c √(2 t (1 − t)) z. With c = 0 rectified flow, which has no SDE (Liu et al. 2023).

    **Arguments:** `noise`: c, 1 in the paper.

    **Example:**

        >>> sx.diffusion.Linear().noise
        1.0
    """

    noise: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        number("Linear", "noise", self.noise, least=0)

    def coefficients(self, t):
        return 1 - t, t, self.noise * jnp.sqrt(2 * t * (1 - t)) if self.noise else jnp.zeros_like(t)


class Trigonometric(AbstractInterpolant):
    """cos(πt/2) x₀ + sin(πt/2) x₁ + c √(2 t (1 − t)) z: preserves the variance of normalised data where c = 0.

    **Example:**

        >>> sx.diffusion.Trigonometric().noise
        0.0
    """

    noise: float = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        number("Trigonometric", "noise", self.noise, least=0)

    def coefficients(self, t):
        g = self.noise * jnp.sqrt(2 * t * (1 - t)) if self.noise else jnp.zeros_like(t)
        return jnp.cos(jnp.pi * t / 2), jnp.sin(jnp.pi * t / 2), g


@checked
def transport(
    velocity: Callable,
    x: AnyArray,
    *,
    steps: int = 50,
    score: Callable | None = None,
    diffusion: float = 0.0,
    key: Any = None,
    start: float = 0.0,
    end: float = 1.0,
    condition: Any = None,
) -> Float[Array, "n *shape"]:
    """Samples `(n, *shape)` at time `end` from those at `start`, by ẋ = velocity or the SDE with the same marginals.

    The ODE is integrated by Heun's method (order two, two evaluations per step; a single step is an Euler step from `start`
    alone, one evaluation), the SDE by Euler-Maruyama's (order one). Noise of sample i depends on `fold_in(key, i)` alone.

    **Arguments:**

    - `velocity`: `velocity(x, t, condition)` of one sample.
    - `x`: samples `(n, *shape)` of the first distribution.
    - `steps`: equal steps in time.
    - `score`, `diffusion`, `key`: `score(x, t, condition)` and ε of the SDE. The score of an interpolant grows like
      1/g near t = 0 and t = 1; start and end inside.
    - `start`, `end`: with `end` < `start` the ODE runs backwards; the SDE then has the velocity −b + ε score.

    **Raises:** `ValueError` for `diffusion` without score and key, or the reverse.

    **Example:**

        >>> x = sx.diffusion.transport(lambda x, t, condition: jnp.ones_like(x), jnp.zeros((5, 2)), steps=4)
        >>> x.round(4)[0].tolist()
        [1.0, 1.0]
    """
    x = jnp.asarray(real_array("transport", "x", x), float)
    if x.ndim < 1 or not len(x):
        raise ValueError(f"transport(x=…): expected samples (n, *shape), got the shape {x.shape}")
    steps, diffusion = count("transport", "steps", steps), number("transport", "diffusion", diffusion, least=0)
    first, last = number("transport", "start", start), number("transport", "end", end)
    if first == last:
        raise ValueError(f"transport(start={first:g}, end={last:g}): expected two different times")
    given = score is not None, key is not None
    if not (all(given) if diffusion else not any(given)):
        raise ValueError("transport: the SDE needs diffusion above 0, score=… and key=…; the ODE none of them")
    keys = None
    if diffusion:
        key = random_key("transport", key)
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(x)))
    times = jnp.linspace(first, last, steps + 1).astype(x.dtype)
    return _transported(velocity, score, x, keys, times, diffusion, condition)


@eqx.filter_jit
def _transported(velocity, score, x, keys, times, diffusion, condition):
    h = (times[-1] - times[0]) / (len(times) - 1)

    def at(function, x, t):
        found = jnp.asarray(function(x, t, condition))
        if found.shape not in ((), x.shape):
            raise ValueError(
                f"transport: the velocity or score has the shape {found.shape} for a sample of shape {x.shape}"
            )
        return found.astype(x.dtype)

    def one(x, key):
        def step(x, row):
            t, after, number = row
            slope = at(velocity, x, t)
            if score is not None:
                drift = h * slope + jnp.abs(h) * diffusion * at(score, x, t)
                z = jax.random.normal(jax.random.fold_in(key, number), x.shape, x.dtype)
                return x + drift + jnp.sqrt(2 * diffusion * jnp.abs(h)) * z, None
            if len(times) == 2:
                return x + h * slope, None
            return x + h / 2 * (slope + at(velocity, x + h * slope, after)), None

        rows = times[:-1], times[1:], jnp.arange(len(times) - 1)
        return lax.scan(jax.checkpoint(step), x, rows)[0].astype(x.dtype)

    return jax.vmap(one, in_axes=(0, None if keys is None else 0))(x, keys)
