"""Heavy-tailed noise, the prior of PFGM++."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import count


class StudentNoise(eqx.Module):
    """Multivariate Student-t noise z √(D/χ²_D), one χ² per sample: PFGM++ with D extra dimensions (Xu et al. 2023).

        x = sx.diffusion.sample(denoise, sx.diffusion.UniPC(3), schedule=sx.diffusion.EDM(), times=18, noise=StudentNoise(128), …)

    With r = s √D their perturbation kernel (|x − x₀|² + r²)^(−(N+D)/2) is x₀ + s times this noise; their ODE, grid and solvers
    are those of a denoiser D(x, s) = E[x₀ | x] under this kernel. Train it with this noise; D = ∞ is Gaussian. A sampler that
    adds noise on the way is none of this process.

    **Arguments:** `extra`: D; 128 and 2048 in the paper. The variance of an entry is D/(D − 2), infinite for D ≤ 2.

    **Example:**

        >>> sx.diffusion.StudentNoise(128).extra
        128
    """

    extra: int = eqx.field(static=True)

    def __init__(self, extra: int):
        self.extra = count("StudentNoise", "extra", extra)

    def __call__(self, key: Array, shape: tuple[int, ...]) -> Float[Array, "*shape"]:
        """One sample of the noise."""
        normal, squares = jax.random.split(key)
        drawn = jax.random.normal(normal, shape)
        return drawn * jnp.sqrt(self.extra / jax.random.chisquare(squares, self.extra))
