"""Diffusions that revert to a mean: restoration from a degraded state μ instead of generation from nothing."""

import math
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import check_fields, number
from .denoiser import AbstractDenoiser, AbstractPrediction, DataPrediction, NoisePrediction, ScorePrediction
from .schedule import AbstractSchedule, library


@dataclass(frozen=True)
class MeanReverting(AbstractSchedule):
    """x_t = μ + α (x₀ − μ) + σ ε from dx = θ(t) (μ − x) dt + g dW, with α = e^(−∫θ) and σ² = s∞² (1 − α²) (Luo et al. 2023, Image
    restoration with mean-reverting SDEs; samplers: Li et al. 2025).

    x − μ is an ordinary diffusion, so that every solver runs on it: give μ to `sample(centre=μ)`, which starts at μ + s∞ ε and
    takes the same denoisers E[x₀ | x₀ + s ε] as without a centre.

    **Arguments:**

    - `rate_start`, `rate_end`: θ at t = 0 and t = 1, linear in between. ∫θ = (θ₀ + θ₁)/2 of about 5 leaves e⁻⁵ of x₀ − μ.
    - `std`: s∞, the deviation of the noisy end; small where μ is close to the data.
    - `start`, `end`: 1 and 1e-3.

    **Example:**

        >>> sx.diffusion.MeanReverting(std=0.5).std
        0.5
    """

    rate_start: float = 0.1
    rate_end: float = 10.0
    std: float = 1.0
    start: float = 1.0
    end: float = 1e-3

    def __post_init__(self):
        check_fields(self)
        for name in ("rate_start", "rate_end", "std"):
            number("MeanReverting", name, vars(self)[name], above=0)
        if not 0 < self.end < self.start <= 1:
            raise ValueError(f"MeanReverting(start={self.start:g}, end={self.end:g}): expected 0 < end < start ≤ 1")

    def _log_alpha(self, t):
        return -(self.rate_start * t + (self.rate_end - self.rate_start) * t**2 / 2)

    def log_snr(self, t):
        log_alpha = self._log_alpha(t)
        return log_alpha - 0.5 * library(t).log(-library(t).expm1(2 * log_alpha)) - math.log(self.std)

    def time(self, log_snr):
        # s²/s∞² = α⁻² − 1; then the root of the quadratic log α(t), in the form without cancellation.
        decay = 0.5 * library(log_snr).logaddexp(-2 * (log_snr + math.log(self.std)), 0.0)
        slope = self.rate_end - self.rate_start
        return 2 * decay / (self.rate_start + library(log_snr).sqrt(self.rate_start**2 + 2 * slope * decay))

    def alpha(self, t):
        return library(t).exp(self._log_alpha(t))


class Centred(AbstractDenoiser):
    """The denoiser of x₀ − μ from that of x₀: D(y + μ, s) − μ. `sample(centre=μ)` makes it.

    A network that predicts noise, score or data sees x_t itself, with μ in it.
    """

    denoiser: AbstractDenoiser
    centre: Float[Array, "..."]

    def __check_init__(self):
        if isinstance(self.denoiser, AbstractPrediction) and not isinstance(
            self.denoiser, NoisePrediction | ScorePrediction | DataPrediction
        ):
            raise TypeError(
                f"sample(centre=…): a {type(self.denoiser).__name__} mixes x₀ and μ; "
                "give a network of noise, score or data, or a function"
            )

    def at(self, v, level, condition):
        inner, centre = self.denoiser, self.centre.astype(v.dtype)
        if not isinstance(inner, AbstractPrediction):
            return inner(v / level.scale + centre, level.sigma, condition) - centre
        x = (v * jnp.hypot(level.alpha, level.std)).astype(v.dtype)
        out = inner.network(x + centre, level.time, condition).astype(v.dtype)
        return inner.denoised(x, out, level) - (centre if isinstance(inner, DataPrediction) else 0)

    def __call__(self, x, sigma, condition: Any = None):
        raise NotImplementedError("Centred denoisers are made by sample, which calls `at`")
