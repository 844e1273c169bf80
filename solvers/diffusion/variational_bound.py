"""The bound of the log-density that denoisers are trained by."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import checked, count, random_key, real_array
from ...core.arrays import AnyArray
from .schedule import AbstractSchedule


@checked
def likelihood_bound(
    denoise: Any, x: AnyArray, *, schedule: AbstractSchedule, key: Any, draws: int = 1, condition: Any = None
) -> Float[Array, " n"]:
    """An estimate without bias of a lower bound of E log p(x₀ + s ε) in nats for every x₀, s the level at the end of the
    schedule. Its negative is the loss of maximum likelihood (Kingma et al. 2021, Variational diffusion models; Zheng et al. 2023,
    i-DODE):

        −E log p ≤ ∫ e^(2λ) E|x₀ − D(x₀ + e^(−λ) ε)|² dλ + E|x₀ − D_T|²/(2 s_T²) + d (½ log 2πe − λ_end),

    λ from the start to the end of the schedule, D_T the denoiser at the start, where p is N(D_T, s_T²). With the exact
    denoiser the mean over data is that of log p. λ is stratified over the draws.

    **Arguments:** `denoise`, `schedule`, `condition` as in `log_likelihood`; `x`: data x₀ `(n, *shape)`, without noise;
    `draws`: of λ and ε per sample.

    **Example:**

        >>> x = 2 * jax.random.normal(key, (3, 4))
        >>> sx.diffusion.likelihood_bound(denoise, x, schedule=sx.diffusion.EDM(), key=key, draws=8).shape
        (3,)
    """
    x = jnp.asarray(real_array("likelihood_bound", "x", x), float)
    if x.ndim < 1 or not len(x):
        raise ValueError(f"likelihood_bound(x=…): expected samples (n, *shape), got the shape {x.shape}")
    first, last = schedule.log_snr(np.array([schedule.start, schedule.end]))
    if not (np.isfinite(first) and np.isfinite(last)):
        raise ValueError(f"likelihood_bound: {type(schedule).__name__} has infinite log-SNR at an end; move it")
    draws, key = count("likelihood_bound", "draws", draws), random_key("likelihood_bound", key)
    return _bound(denoise, x, key, float(first), float(last), draws, condition)


@eqx.filter_jit
def _bound(denoise, x, key, first, last, draws: int, condition):
    def one(x, i):
        shift, normal = jax.random.split(jax.random.fold_in(key, i))
        u = (jnp.arange(draws) + jax.random.uniform(shift, (draws,), x.dtype)) / draws
        noise = jax.random.normal(normal, (draws, *x.shape), x.dtype)

        def term(u, z):
            log_snr = first + (last - first) * u
            s = jnp.exp(-log_snr)
            return (last - first) * jnp.sum(((x - denoise(x + s * z, s, condition)) / s) ** 2)

        s = jnp.exp(-jnp.asarray(first, x.dtype))
        prior = jnp.sum((x - denoise(x + s * noise[0], s, condition)) ** 2) / (2 * s**2)
        return -jax.vmap(term)(u, noise).mean() - prior - x.size * (0.5 * jnp.log(2 * jnp.pi * jnp.e) - last)

    return jax.vmap(one)(x, jnp.arange(len(x)))
