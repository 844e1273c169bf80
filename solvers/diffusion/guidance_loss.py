"""Training-free guidance by any loss of the clean sample."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from ...core.arguments import check_fields, count, number
from .guidance import AbstractGuidance, isotropic
from .observation import AbstractEvidence, LogLikelihood


class TrainingFree(AbstractGuidance):
    """Guidance by f = log p(y | x₀), a `LogLikelihood`, in the two forms of Ye et al. (2024):

        D' = D + ρ s² K ∇ₓ log mean_i exp f(D + r ε_i),      then `inner` times   D' ← D' + μ r² K ∇f(D'),

    with r² = s² d²/(s² + d²). The mean over draws is the likelihood of x₀ ~ N(D, r² K) (Song et al. 2023); without draws it is
    f(D), as in DPS. The inner steps need no derivative of the network.

    The result is the posterior only as far as p(x₀ | x) is N(D, r² K). Where f is that of Gaussian observations, an `Observation`
    with `MomentMatched` has the right spread.

    **Arguments:**

    - `strength`: ρ, 1 by Bayes' rule; 0 leaves the gradient through the network out.
    - `inner_strength`: μ, up to about 1; 0 leaves the inner steps out, whose number is `inner`.
    - `draws`: 0 to 16, 4 in the paper; they need `sample(…, key=…)`.
    - `data_std`: d, the standard deviation of the data.

    **Example:**

        >>> small = sx.diffusion.LogLikelihood(lambda x: -(x**2).sum())
        >>> isinstance(sx.diffusion.TrainingFree()(denoise, small), sx.diffusion.AbstractDenoiser)
        True
    """

    uses: ClassVar[tuple[type[AbstractEvidence], ...]] = (LogLikelihood,)
    strength: float = eqx.field(static=True, default=1.0)
    inner_strength: float = eqx.field(static=True, default=0.0)
    inner: int = eqx.field(static=True, default=1)
    draws: int = eqx.field(static=True, default=4)
    data_std: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        check_fields(self)
        for name in ("strength", "inner_strength"):
            number("TrainingFree", name, vars(self)[name], least=0)
        number("TrainingFree", "data_std", self.data_std, above=0)
        count("TrainingFree", "inner", self.inner)
        count("TrainingFree", "draws", self.draws, least=0)
        if not self.strength and not self.inner_strength:
            raise ValueError("TrainingFree: strength and inner_strength are both 0, which is no guidance")

    def denoised(self, here, evidence):
        variance = isotropic(here.sigma, self.data_std)
        mean = here.plain(here.x)
        if self.strength:
            offsets = jnp.stack([jnp.zeros_like(here.x), *(here.drawn(i) for i in range(self.draws))])
            offsets = jnp.sqrt(variance) * (offsets[1:] if self.draws else offsets)

            def log_likelihood(x):
                return logsumexp(jax.vmap(evidence.probe)(here.plain(x) + offsets))

            mean = mean + self.strength * here.sigma**2 * here.colour(jax.grad(log_likelihood)(here.x))
        if self.inner_strength:

            def step(_, x):
                return x + self.inner_strength * variance * here.colour(jax.grad(evidence.probe)(x))

            mean = jax.lax.fori_loop(0, self.inner, step, mean)
        return mean
