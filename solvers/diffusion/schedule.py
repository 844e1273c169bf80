"""Noise schedules: how fast a sample x₀ is covered by noise, x_t = α(t) x₀ + σ(t) ε.

All solvers work with the normalised state y = x/α = x₀ + s ε at the noise level s = σ/α = e^(−λ), λ the log-SNR (half of the
logarithm of the signal-to-noise ratio, as in the DPM-Solver papers). In it every schedule has the same ODE dy/dλ = D(y, s) −
y with the denoiser D, so that a schedule is only the maps t ↔ λ and α(t), and the times at which sampling starts and ends.
"""

import abc
import math
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...core.arguments import check_fields, number, real_array
from ...core.storage import register


def library(x: Any):
    """NumPy for numbers and NumPy arrays, which then stay in float64; `jax.numpy` for traced values."""
    return np if isinstance(x, np.ndarray | np.generic | float | int) else jnp


class AbstractSchedule(abc.ABC):
    """x_t = α(t) x₀ + σ(t) ε. Derive from it as a frozen dataclass with `start` and `end`, the times with the most and the least
    noise at which sampling starts and ends, and write `log_snr`, its inverse `time`, and `alpha`.

    The methods take numbers, NumPy arrays (in float64) and JAX arrays.

    **Example:**

        >>> isinstance(sx.diffusion.EDM(), sx.diffusion.AbstractSchedule)
        True
    """

    start: float
    end: float

    @abc.abstractmethod
    def log_snr(self, t: Any) -> Any:
        """λ(t) = log(α/σ), falling from the clean to the noisy end; +∞ where there is no noise, −∞ where there is nothing
        else."""

    @abc.abstractmethod
    def time(self, log_snr: Any) -> Any:
        """The time t at which log(α/σ) has this value."""

    @abc.abstractmethod
    def alpha(self, t: Any) -> Any:
        """α(t)."""

    def level(self, t: Any) -> Any:
        """The noise level s = σ/α of the normalised state at time t."""
        return library(t).exp(-self.log_snr(t))


def _range(schedule: AbstractSchedule, first: float, last: float) -> None:
    """Check that `start` and `end` are times of the schedule, `start` the noisy one."""
    name = type(schedule).__name__
    for argument in ("start", "end"):
        value = number(name, argument, vars(schedule)[argument])
        if not first <= value <= last:
            raise ValueError(f"{name}({argument}={value:g}): expected a time from {first:g} to {last:g}")
    if not schedule.end < schedule.start:
        raise ValueError(
            f"{name}(start={schedule.start:g}, end={schedule.end:g}): sampling runs from the noisy time `start` down to `end`"
        )


@register("VPLinear")
@dataclass(frozen=True)
class VPLinear(AbstractSchedule):
    """Variance preserving, α² + σ² = 1, with β linear in time: log α = −(β₁ − β₀) t²/4 − β₀ t/2 (Song et al. 2021).

    **Arguments:**

    - `beta_min`, `beta_max`: β₀ and β₁, 0.1 and 20 in the paper.
    - `start`, `end`: 1 and 1e-3; 1e-4 is better from about 15 evaluations on.

    **Example:**

        >>> len(sx.diffusion.plan("auto", schedule=sx.diffusion.VPLinear(), times=6).levels)
        6
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    start: float = 1.0
    end: float = 1e-3

    def __post_init__(self):
        check_fields(self)
        number("VPLinear", "beta_min", self.beta_min, above=0)
        number("VPLinear", "beta_max", self.beta_max, above=self.beta_min)
        _range(self, 0.0, 1.0)

    def _log_alpha(self, t):
        return -(self.beta_max - self.beta_min) * t**2 / 4 - self.beta_min * t / 2

    def log_snr(self, t):
        return _vp_log_snr(self._log_alpha(t))

    def time(self, log_snr):
        double = 2 * (self.beta_max - self.beta_min) * library(log_snr).logaddexp(-2 * log_snr, 0.0)
        root = library(log_snr).sqrt(self.beta_min**2 + double)
        return double / ((root + self.beta_min) * (self.beta_max - self.beta_min))

    def alpha(self, t):
        return library(t).exp(self._log_alpha(t))


@register("VPCosine")
@dataclass(frozen=True)
class VPCosine(AbstractSchedule):
    """Variance preserving with α = cos((t + o)/(1 + o) π/2) / cos(o/(1 + o) π/2) (Nichol and Dhariwal 2021).

    **Arguments:**

    - `offset`: o, 0.008 in the paper; 0 for α = cos(πt/2), σ = sin(πt/2).
    - `start`: at most 0.9946 (DPM-Solver paper): at t = 1 nothing but noise is left.
    - `end`: 1e-3.

    **Example:**

        >>> len(sx.diffusion.plan("auto", schedule=sx.diffusion.VPCosine(), times=6).levels)
        6
    """

    offset: float = 0.008
    start: float = 0.9946
    end: float = 1e-3

    def __post_init__(self):
        check_fields(self)
        number("VPCosine", "offset", self.offset, least=0)
        _range(self, 0.0, 1.0)

    def _log_alpha(self, t):
        angle = math.pi / 2 / (1 + self.offset)
        return library(t).log(library(t).cos((t + self.offset) * angle)) - math.log(math.cos(self.offset * angle))

    def log_snr(self, t):
        return _vp_log_snr(self._log_alpha(t))

    def time(self, log_snr):
        angle = math.pi / 2 / (1 + self.offset)
        cosine = library(log_snr).exp(_vp_log_alpha(log_snr)) * math.cos(self.offset * angle)
        return library(log_snr).arccos(cosine) / angle - self.offset

    def alpha(self, t):
        return library(t).exp(self._log_alpha(t))


@register("VPDiscrete")
@dataclass(frozen=True)
class VPDiscrete(AbstractSchedule):
    """Variance preserving, known at the steps t = 0, …, N − 1 of a network that was trained on them; log α is linear in between.

    Times are real numbers: a network that was trained on whole steps is then asked between them, which embeddings of time allow.

    **Arguments:**

    - `alphas_cumprod`: ᾱ = α² at every step, falling, inside (0, 1). `VPDiscrete.from_betas` computes them.
    - `start`, `end`: the last step and the first one by default.

    **Example:**

        >>> alphas = tuple(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
        >>> sx.diffusion.plan("auto", schedule=sx.diffusion.VPDiscrete(alphas), times=6).levels.shape
        (6,)
    """

    alphas_cumprod: tuple[float, ...] = field(repr=False)
    start: float = -1.0
    end: float = 0.0

    def __post_init__(self):
        values = np.asarray(real_array("VPDiscrete", "alphas_cumprod", self.alphas_cumprod), np.float64)
        usable = values.ndim == 1 and len(values) > 1 and ((values > 0) & (values < 1)).all()
        if not usable or (np.diff(values) >= 0).any():
            raise ValueError(
                "VPDiscrete(alphas_cumprod=…): expected two or more numbers between 0 and 1 that fall from step to step; a last "
                "one of 0 (no signal at all) has no log-SNR, so leave that step out"
            )
        object.__setattr__(self, "alphas_cumprod", tuple(values.tolist()))
        if self.start == -1:
            object.__setattr__(self, "start", float(len(values) - 1))
        check_fields(self)
        _range(self, 0.0, len(values) - 1.0)

    @classmethod
    def from_betas(cls, betas: Any) -> "VPDiscrete":
        """From β of every step: ᾱ = Π (1 − β). DDPM has `np.linspace(1e-4, 0.02, 1000)`."""
        betas = np.asarray(real_array("VPDiscrete.from_betas", "betas", betas), np.float64)
        return cls(tuple(np.cumprod(1 - betas)))

    def _log_alphas(self):
        return 0.5 * np.log(np.asarray(self.alphas_cumprod))

    def _log_alpha(self, t):
        return library(t).interp(t, np.arange(len(self.alphas_cumprod), dtype=np.float64), self._log_alphas())

    def log_snr(self, t):
        return _vp_log_snr(self._log_alpha(t))

    def time(self, log_snr):
        steps = np.arange(len(self.alphas_cumprod), dtype=np.float64)
        return library(log_snr).interp(_vp_log_alpha(log_snr), self._log_alphas()[::-1], steps[::-1])

    def alpha(self, t):
        return library(t).exp(self._log_alpha(t))


@register("EDM")
@dataclass(frozen=True)
class EDM(AbstractSchedule):
    """Variance exploding with the noise level itself as time: α = 1, σ = t (Karras et al. 2022, Elucidating the design space).

    **Arguments:** `sigma_min`, `sigma_max`: 0.002 and 80 for data with a standard deviation of about 0.5. Samples of data
      whose deviation is not well between the two are wrong: divide the data by theirs.

    **Example:**

        >>> sx.diffusion.EDM(sigma_max=20.0).sigma_max
        20.0
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self):
        check_fields(self)
        number("EDM", "sigma_min", self.sigma_min, above=0)
        number("EDM", "sigma_max", self.sigma_max, above=self.sigma_min)

    @property
    def start(self) -> float:
        return self.sigma_max

    @property
    def end(self) -> float:
        return self.sigma_min

    def log_snr(self, t):
        with np.errstate(divide="ignore"):
            return -library(t).log(t)

    def time(self, log_snr):
        return library(log_snr).exp(-log_snr)

    def alpha(self, t):
        return library(t).ones_like(t)


@register("VE")
@dataclass(frozen=True)
class VE(AbstractSchedule):
    """Variance exploding with a geometric noise level: α = 1, σ = σ_min (σ_max/σ_min)^t, t from 1 to 0 (Song et al. 2021).

    **Arguments:** `sigma_min`, `sigma_max`: 0.01 and about the largest distance between two samples.

    **Example:**

        >>> len(sx.diffusion.plan("auto", schedule=sx.diffusion.VE(), times=6).levels)
        6
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    start: float = 1.0
    end: float = 0.0

    def __post_init__(self):
        check_fields(self)
        number("VE", "sigma_min", self.sigma_min, above=0)
        number("VE", "sigma_max", self.sigma_max, above=self.sigma_min)
        _range(self, 0.0, 1.0)

    def log_snr(self, t):
        return -(math.log(self.sigma_min) + t * math.log(self.sigma_max / self.sigma_min))

    def time(self, log_snr):
        return (-log_snr - math.log(self.sigma_min)) / math.log(self.sigma_max / self.sigma_min)

    def alpha(self, t):
        return library(t).ones_like(t)


@register("FlowMatching")
@dataclass(frozen=True)
class FlowMatching(AbstractSchedule):
    """Straight paths from data to noise: x_t = (1 − t) x₀ + t ε, t from 1 to 0 (Lipman et al. 2023; Liu et al. 2023).

    At t = 1 there is nothing but noise. Grids in the log-SNR cannot start there; give them a start below 1.

    **Arguments:** `start`, `end`: 1 and 0.

    **Example:**

        >>> len(sx.diffusion.plan("auto", schedule=sx.diffusion.FlowMatching(), times=6).levels)
        6
    """

    start: float = 1.0
    end: float = 0.0

    def __post_init__(self):
        check_fields(self)
        _range(self, 0.0, 1.0)

    def log_snr(self, t):
        with np.errstate(divide="ignore"):
            return library(t).log1p(-t) - library(t).log(t)

    def time(self, log_snr):
        return library(log_snr).exp(-library(log_snr).logaddexp(log_snr, 0.0))

    def alpha(self, t):
        return 1 - t


def _vp_log_snr(log_alpha):
    """λ from log α where α² + σ² = 1."""
    xp = library(log_alpha)
    with np.errstate(divide="ignore"):
        return log_alpha - 0.5 * xp.log(-xp.expm1(2 * log_alpha))


def _vp_log_alpha(log_snr):
    """log α from λ where α² + σ² = 1."""
    return -0.5 * library(log_snr).logaddexp(-2 * log_snr, 0.0)
