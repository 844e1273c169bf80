"""Denoisers D(y, s) = E[x₀ | y = x₀ + s ε], and networks that predict something else as denoisers.

Whatever a network predicts, samplers see one form: `denoise(x, sigma, condition)` for one sample x = y at the noise level
sigma = s, any function. The classes here make it from networks that were trained to predict the noise, the data, a velocity
or the score in the variables of a schedule.
"""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import check_fields, number
from .schedule import AbstractSchedule, FlowMatching, library
from .table import noise_share, unit_scale


class Level(NamedTuple):
    """What is known of a noise level: s, the scale 1/√(1 + s²) of v = y · scale, the share s/√(1 + s²) of noise in v, and the
    time t, α and σ of a schedule (not numbers where that does not matter); `target`, the level of the next point, for networks
    that jump there; `key`, a random key of this evaluation of this sample, for guidance that draws (None without one).

    **Example:**

        >>> level = sx.diffusion.Level.of(2.0, sx.diffusion.EDM())
        >>> round(float(level.share), 4)                                                    # 2/√5
        0.8944
    """

    sigma: Any
    scale: Any
    share: Any
    time: Any
    alpha: Any
    std: Any
    target: "Level | None" = None
    key: Any = None

    @classmethod
    def of(cls, sigma: Any, schedule: AbstractSchedule) -> "Level":
        """Every entry from s and the schedule, in float64 for NumPy arrays, which may hold ∞."""
        xp: Any = library(sigma)
        if xp is jnp:
            scale = 1 / jnp.sqrt(1 + sigma**2)
            share = sigma * scale
        else:
            sigma = np.asarray(sigma, np.float64)
            scale, share = unit_scale(sigma), noise_share(sigma)
        log_snr = -xp.log(sigma)
        time = schedule.time(log_snr)
        # α from s and the share, so that they fit each other to the last digit; from the schedule where the scale is zero.
        alpha = schedule.alpha(time)
        std = xp.where(scale > 0, alpha * xp.where(xp.isinf(sigma), 0.0, sigma), 1.0)
        return cls(sigma, scale, share, time, alpha, std)


class AbstractDenoiser(eqx.Module):
    """A denoiser that also knows the state of infinite noise: write `at`.

    **Example:**

        >>> isinstance(sx.diffusion.as_denoiser(denoise), sx.diffusion.AbstractDenoiser)
        True
    """

    @abc.abstractmethod
    def at(self, v: Float[Array, "*shape"], level: Level, condition: Any) -> Float[Array, "*shape"]:
        """D from v = y/√(1 + s²)."""

    @abc.abstractmethod
    def __call__(self, x: Float[Array, "*shape"], sigma: Any, condition: Any = None) -> Float[Array, "*shape"]:
        """D(x, sigma) from the normalised state x = x₀ + sigma ε."""


class AbstractTimed(AbstractDenoiser):
    """A denoiser whose network knows the times of `schedule`: `at` wants the time, α and σ of that schedule in its level."""

    schedule: eqx.AbstractVar[AbstractSchedule]


class FunctionDenoiser(AbstractDenoiser):
    """Any function `denoise(x, sigma, condition)`. `sample` makes it of what it is given."""

    denoise: Callable

    def at(self, v, level, condition):
        return self.denoise(v / level.scale, level.sigma, condition)

    def __call__(self, x, sigma, condition=None):
        return self.denoise(x, sigma, condition)


def as_denoiser(denoiser: Any) -> AbstractDenoiser:
    """**Raises:** `TypeError` for what is neither a denoiser nor a function.

    **Example:**

        >>> type(sx.diffusion.as_denoiser(denoise)).__name__
        'FunctionDenoiser'
    """
    if isinstance(denoiser, AbstractDenoiser):
        return denoiser
    if isinstance(denoiser, type) or not callable(denoiser):
        raise TypeError(f"sample(denoiser=…) is {denoiser!r}; pass a function denoise(x, sigma, condition)")
    return FunctionDenoiser(denoiser)


class AbstractPrediction(AbstractTimed):
    """A network that predicts another quantity in the variables of a schedule, as a denoiser.

    **Arguments:**

    - `network`: `network(x, t, condition)` of one sample x = α x₀ + σ ε of the schedule and its time t, a real number.
    - `schedule`: the schedule of its training. Samples may be drawn with another one, at noise levels that this one has.

    **Example:**

        >>> issubclass(sx.diffusion.NoisePrediction, sx.diffusion.AbstractPrediction)
        True
    """

    network: Callable
    schedule: AbstractSchedule = eqx.field(static=True)

    def __check_init__(self):
        check_fields(self)

    @abc.abstractmethod
    def denoised(self, x: Any, predicted: Any, level: Level) -> Any:
        """x₀ from the prediction."""

    @abc.abstractmethod
    def predicted(self, x: Any, denoised: Any, level: Level) -> Any:
        """The prediction from x₀, the inverse of `denoised`."""

    def at(self, v, level, condition):
        x = (v * jnp.hypot(level.alpha, level.std)).astype(v.dtype)
        out = self.network(x, level.time, condition)
        return self.denoised(x, out.astype(v.dtype), level)

    def __call__(self, x, sigma, condition=None):
        level = Level.of(jnp.asarray(sigma, x.dtype), self.schedule)
        return self.at(x * level.scale, level, condition)


class NoisePrediction(AbstractPrediction):
    """The network predicts ε: x₀ = (x − σ ε)/α. It says nothing at infinite noise (α = 0).

    **Example:**

        >>> network = lambda x, t, condition: x / jnp.sqrt(1 + t**2)                     # any network that predicts the noise
        >>> model = sx.diffusion.NoisePrediction(network, sx.diffusion.VPLinear())
        >>> sx.diffusion.sample(model, "auto", schedule=sx.diffusion.VPLinear(), times=6, shape=(4,), n=2, key=key).shape
        (2, 4)
    """

    def denoised(self, x, predicted, level):
        return (x - level.std * predicted) / level.alpha

    def predicted(self, x, denoised, level):
        return (x - level.alpha * denoised) / level.std


class DataPrediction(AbstractPrediction):
    """The network predicts x₀ itself.

    **Example:**

        >>> model = sx.diffusion.DataPrediction(lambda x, t, condition: 0 * x, sx.diffusion.VPLinear())
        >>> x = sx.diffusion.sample(model, "auto", schedule=sx.diffusion.VPLinear(), times=6, shape=(4,), n=2, key=key)
        >>> bool(jnp.abs(x).max() < 0.5)
        True
    """

    def denoised(self, x, predicted, level):
        return predicted

    def predicted(self, x, denoised, level):
        return denoised


class VelocityPrediction(AbstractPrediction):
    """The network predicts v = α ε − σ x₀ (Salimans and Ho 2022): x₀ = (α x − σ v)/(α² + σ²).

    **Example:**

        >>> model = sx.diffusion.VelocityPrediction(lambda x, t, condition: 0 * x, sx.diffusion.VPLinear())
        >>> isinstance(model, sx.diffusion.AbstractPrediction)
        True
    """

    def denoised(self, x, predicted, level):
        return (level.alpha * x - level.std * predicted) / (level.alpha**2 + level.std**2)

    def predicted(self, x, denoised, level):
        return (level.alpha * x - (level.alpha**2 + level.std**2) * denoised) / level.std


class ScorePrediction(AbstractPrediction):
    """The network predicts the score ∇ₓ log p_t(x) = −ε/σ: x₀ = (x + σ² score)/α.

    **Example:**

        >>> model = sx.diffusion.ScorePrediction(lambda x, t, condition: -x, sx.diffusion.VPLinear())
        >>> isinstance(model, sx.diffusion.AbstractPrediction)
        True
    """

    def denoised(self, x, predicted, level):
        return (x + level.std**2 * predicted) / level.alpha

    def predicted(self, x, denoised, level):
        return (level.alpha * denoised - x) / level.std**2


class FlowPrediction(AbstractPrediction):
    """The network predicts the velocity u = ε − x₀ of straight paths: x₀ = x − t u. Its schedule is `FlowMatching`.

    **Example:**

        >>> model = sx.diffusion.FlowPrediction(lambda x, t, condition: x, sx.diffusion.FlowMatching())
        >>> isinstance(model, sx.diffusion.AbstractPrediction)
        True
    """

    def __check_init__(self):
        if not isinstance(self.schedule, FlowMatching):
            raise TypeError(
                f"FlowPrediction(schedule=…) is {type(self.schedule).__name__}: velocities of straight paths belong to "
                "FlowMatching; use VelocityPrediction for v = α ε − σ x₀"
            )

    def denoised(self, x, predicted, level):
        return x - level.std * predicted

    def predicted(self, x, denoised, level):
        return (x - denoised) / level.std


class Preconditioned(AbstractDenoiser):
    """D = c_skip y + c_out F(c_in y, ¼ log s), the network F of Karras et al. (2022, table 1) with unit variances in and out:
    c_skip = d²/(s² + d²), c_out = s d/√(s² + d²), c_in = 1/√(s² + d²).

    **Arguments:**

    - `network`: F, `network(x, c_noise, condition)` of one sample.
    - `data_std`: d, the standard deviation of the data.

    **Example:**

        >>> model = sx.diffusion.Preconditioned(lambda x, noise, condition: x, data_std=0.5)
        >>> isinstance(model, sx.diffusion.AbstractDenoiser)
        True
    """

    network: Callable
    data_std: float = eqx.field(static=True, default=0.5)

    def __check_init__(self):
        check_fields(self)
        number("Preconditioned", "data_std", self.data_std, above=0)

    def at(self, v, level, condition):
        return self(v / level.scale, level.sigma, condition)

    def __call__(self, x, sigma, condition=None):
        skip, size_out, size_in, c_noise = preconditioning(sigma, self.data_std)
        out = self.network((x * size_in).astype(x.dtype), c_noise, condition).astype(x.dtype)
        return skip * x + size_out * out


def preconditioning(sigma: Any, data_std: float) -> tuple[Any, Any, Any, Any]:
    """c_skip, c_out, c_in and c_noise of `Preconditioned`."""
    norm = jnp.sqrt(sigma**2 + data_std**2)
    return (data_std / norm) ** 2, sigma * data_std / norm, 1 / norm, jnp.log(sigma) / 4


def timed_by(denoiser: AbstractDenoiser, schedule: AbstractSchedule) -> AbstractSchedule:
    """The schedule whose times the networks inside a denoiser know, `schedule` if they know none.

    **Raises:** `ValueError` for networks of different schedules in one denoiser.
    """
    if isinstance(denoiser, AbstractTimed):
        return denoiser.schedule
    if isinstance(denoiser, FunctionDenoiser | Preconditioned):
        return schedule
    parts = jax.tree.leaves(denoiser, is_leaf=lambda part: isinstance(part, AbstractTimed))
    own = [part.schedule for part in parts if isinstance(part, AbstractTimed)]
    if any(other != own[0] for other in own):
        raise ValueError(
            f"sample: the denoiser has networks of different schedules, {own[0]!r} and others; join functions instead"
        )
    return own[0] if own else schedule
