"""The log-density of samples under a denoiser, by the probability-flow ODE."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ...core.arguments import checked, count, random_key, real_array
from ...core.arrays import AnyArray
from .schedule import AbstractSchedule


class _State(NamedTuple):
    y: Array
    divergence: Array


@checked
def log_likelihood(
    denoise: Any,
    x: AnyArray,
    *,
    schedule: AbstractSchedule,
    steps: int = 50,
    probes: int | None = None,
    key: Any = None,
    condition: Any = None,
) -> Float[Array, " n"]:
    """log p(x) in nats of every sample, for the density at the end of the schedule, where a little noise is left.

    Along the ODE dy/dλ = D(y, s) − y the density obeys d log p/dλ = d − tr ∂D/∂y (Song et al. 2021), d the number of entries.
    The ODE is integrated from the end to the start of the schedule by `steps` classical Runge-Kutta steps in λ, four
    evaluations each. There p is N(D, s²): D is then the mean of the data, and an error of about d var/s² remains, var the
    variance of the data.

    **Arguments:**

    - `denoise`: `denoise(x, sigma, condition)` of one sample.
    - `x`: samples `(n, *shape)`, as x₀ + s ε with the level s of the end of the schedule.
    - `steps`: 50 gives about three digits for mixtures; the error falls with the fourth power.
    - `probes`: None computes the trace exactly, by d Jacobian products; a number estimates it by that many random sign
      vectors (Hutchinson), without bias, and needs `key`.

    **Raises:** `ValueError` for infinite log-SNR at an end, for `probes` without `key`.

    **Example:**

        >>> x = 2 * jax.random.normal(key, (3, 4))
        >>> found = sx.diffusion.log_likelihood(denoise, x, schedule=sx.diffusion.EDM(), steps=100)
        >>> exact = jax.scipy.stats.norm.logpdf(x, scale=2.0).sum(1)
        >>> bool(jnp.abs(found - exact).max() < 0.1)
        True
    """
    x = jnp.asarray(real_array("log_likelihood", "x", x), float)
    if x.ndim < 1 or not len(x):
        raise ValueError(f"log_likelihood(x=…): expected samples (n, *shape), got the shape {x.shape}")
    first, last = schedule.log_snr(np.array([schedule.start, schedule.end]))
    if not (math.isfinite(first) and math.isfinite(last)):
        raise ValueError(
            f"log_likelihood: {type(schedule).__name__} has infinite log-SNR at an end; move its start and end"
        )
    steps = count("log_likelihood", "steps", steps)
    if probes is None:
        keys = None
    elif key is None:
        raise ValueError("log_likelihood(probes=…) draws random vectors: give key=…")
    else:
        probes, key = count("log_likelihood", "probes", probes), random_key("log_likelihood", key)
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(x)))
    nodes = jnp.asarray(np.linspace(last, first, steps + 1), x.dtype)
    return _integrate(denoise, x, keys, nodes, condition, probes)


@eqx.filter_jit
def _integrate(denoise, x, keys, nodes, condition, probes: int | None):
    h = (nodes[-1] - nodes[0]) / (len(nodes) - 1)

    def one(y, key):
        size, shape = y.size, y.shape
        if probes is None:
            vectors = jnp.eye(size, dtype=y.dtype).reshape(size, *shape)
        else:
            vectors = jax.random.rademacher(key, (probes, *shape), y.dtype)

        def slope(y, log_snr):
            def denoised(y):
                return denoise(y, jnp.exp(-log_snr), condition).astype(y.dtype)

            value, product = jax.linearize(denoised, y)
            quadratic = jax.vmap(lambda v: jnp.sum(v * product(v)))(vectors)
            trace = quadratic.sum() if probes is None else quadratic.mean()
            return _State(value - y, trace - size)

        def step(state, log_snr):
            def moved(by, slope):
                return jax.tree.map(lambda a, b: a + by * b, state, slope)

            a = slope(state.y, log_snr)
            b = slope(moved(h / 2, a).y, log_snr + h / 2)
            c = slope(moved(h / 2, b).y, log_snr + h / 2)
            d = slope(moved(h, c).y, log_snr + h)
            total = jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, a, b, c, d)
            return moved(h, total), None

        end, _ = lax.scan(jax.checkpoint(step), _State(y, jnp.zeros((), y.dtype)), nodes[:-1])
        # log N(y; D, s²) with log s = −λ; h < 0, so that the sum is minus the integral of the divergence.
        log_noise = -nodes[-1]
        noise = (end.y - denoise(end.y, jnp.exp(log_noise), condition)) * jnp.exp(-log_noise)
        normal = -0.5 * jnp.sum(noise**2) - size * (log_noise + 0.5 * math.log(2 * math.pi))
        return normal + end.divergence

    return jax.vmap(one, in_axes=(0, None if keys is None else 0))(x, keys)
