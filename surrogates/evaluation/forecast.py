"""Forecasts, the predictions that metrics are given: a value, with a standard deviation, an interval, or samples."""

import abc
from typing import NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jax.scipy.stats import norm
from jaxtyping import Array, Float

Values = Float[Array | np.ndarray, "..."]


class AbstractForecast(eqx.Module):
    """A prediction of one frame in physical units, with its uncertainty.

    **Fields:** `value` `(*space, c)`: the point estimate.
    """

    value: eqx.AbstractVar[Values]

    @abc.abstractmethod
    def shifted(self, by) -> "AbstractForecast":
        """The forecast with `by` `(c,)` added to all values, as float64 NumPy arrays."""

    @abc.abstractmethod
    def crps(self, reference: Float[Array, "*space c"]) -> Float[Array, "*space c"]:
        """Continuous ranked probability score at every point, E|X − y| − ½ E|X − X'|, in the units of the field.

        X and X' are independent draws of the forecast, y is the `reference`. Lower is better.
        """

    @abc.abstractmethod
    def interval(self, level: float) -> tuple[Float[Array, "*space c"], Float[Array, "*space c"]]:
        """Lower and upper end of the central interval that contains the truth with probability `level`, at every point."""

    @abc.abstractmethod
    def spread(self) -> Float[Array, "*space c"]:
        """Standard deviation of the forecast at every point."""

    @abc.abstractmethod
    def deviation(self, reference: Float[Array, "*space c"], weights: Float[Array, "*space"]) -> Float[Array, " c"]:
        """The share of draws whose largest deviation from the mean, in standard deviations, is below that of the truth, per
        channel: the level of the narrowest simultaneous band that contains it, uniform in [0, 1] for a calibrated forecast.
        NaN for normal distributions, whose points are not known to belong together."""


class PointForecast(AbstractForecast):
    """A value without uncertainty: `crps`, `interval` and `spread` raise `TypeError`."""

    value: Values

    def shifted(self, by) -> "PointForecast":
        return PointForecast(np.asarray(self.value) + by)

    def crps(self, reference) -> NoReturn:
        _no_uncertainty()

    def interval(self, level: float) -> NoReturn:
        _no_uncertainty()

    def spread(self) -> NoReturn:
        _no_uncertainty()

    def deviation(self, reference, weights) -> NoReturn:
        _no_uncertainty()


class GaussianForecast(AbstractForecast):
    """A normal distribution at every point, with mean `value` and standard deviation `std`, both `(*space, c)`."""

    value: Values
    std: Values

    def shifted(self, by) -> "GaussianForecast":
        return GaussianForecast(np.asarray(self.value) + by, np.asarray(self.std, np.float64))

    def crps(self, reference):
        # Gneiting & Raftery 2007, eq. 21. Where the standard deviation is zero, the score is the absolute error.
        std = jnp.where(self.std > 0, self.std, 1)
        z = (reference - self.value) / std
        score = std * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / jnp.sqrt(jnp.pi))
        return jnp.where(self.std > 0, score, jnp.abs(reference - self.value))

    def interval(self, level: float):
        half = ndtri(0.5 + level / 2) * self.std
        return self.value - half, self.value + half

    def spread(self):
        return self.std

    def deviation(self, reference, weights):
        return jnp.full(reference.shape[-1:], jnp.nan, reference.dtype)


class IntervalForecast(AbstractForecast):
    """A value and the ends of its calibrated interval at one `level`, all `(*space, c)`: `crps`, `spread` and intervals at other
    levels raise `TypeError`."""

    value: Values
    low: Values
    high: Values
    level: float = eqx.field(static=True)

    def shifted(self, by) -> "IntervalForecast":
        low, high = (np.asarray(end) + by for end in (self.low, self.high))
        return IntervalForecast(np.asarray(self.value) + by, low, high, self.level)

    def crps(self, reference) -> NoReturn:
        _no_uncertainty()

    def interval(self, level: float):
        if level != self.level:
            raise TypeError(f"the interval of this forecast is that at level {self.level:g}, asked for {level:g}")
        return self.low, self.high

    def spread(self) -> NoReturn:
        _no_uncertainty()

    def deviation(self, reference, weights) -> NoReturn:
        _no_uncertainty()


class SampleForecast(AbstractForecast):
    """`samples` `(n, *space, c)`, draws of a distribution, and `value` `(*space, c)`, the surrogate's own point estimate; of one
    that is conditioned on observations, `misfit`, the mean square of the residuals of its draws."""

    value: Values
    samples: Values
    misfit: Values | None = None

    def shifted(self, by) -> "SampleForecast":
        return SampleForecast(np.asarray(self.value) + by, np.asarray(self.samples) + by, self.misfit)

    def crps(self, reference):
        """The unbiased estimate (Ferro 2014): (1/n) Σ|x_i − y| − 1/(2n(n−1)) Σ_ij |x_i − x_j|, by sorting."""
        n = len(self.samples)
        ranked = jnp.sort(self.samples, 0)
        factors = (2 * jnp.arange(1, n + 1) - n - 1).reshape(-1, *(1,) * (ranked.ndim - 1))
        pairs = (factors * ranked).sum(0) / (n * max(n - 1, 1))
        return jnp.abs(self.samples - reference).mean(0) - pairs

    def interval(self, level: float):
        """The interval between the order statistics at p (n + 1), p = (1 ± level)/2, interpolated.

        If the truth is one more draw of the same distribution, the interval contains it with probability `level`, provided that
        n ≥ (1 + level)/(1 − level): 19 draws for 90 %. The interval of fewer draws is their range.
        """
        n, ranked = len(self.samples), jnp.sort(self.samples, 0)

        def quantile(p: float):
            place = min(max(p * (n + 1) - 1, 0), n - 1)
            below = min(int(place), max(n - 2, 0))
            above = min(below + 1, n - 1)
            return ranked[below] + (place - below) * (ranked[above] - ranked[below])

        return quantile(0.5 - level / 2), quantile(0.5 + level / 2)

    def spread(self):
        return self.samples.std(0, ddof=1)

    def deviation(self, reference, weights):
        return deviation_share(jnp.asarray(self.samples), reference, weights)


def deviation_share(
    samples: Float[Array, "n *space c"], reference: Float[Array, "*space c"], weights: Float[Array, "*space"]
) -> Float[Array, " c"]:
    """See `AbstractForecast.deviation`. Points of weight zero do not count.

    Truth and draws are treated alike, n + 1 of them: mean and standard deviation for each are those of the n others. So the share
    is exactly uniform if the truth is one more draw of the same distribution, however few the draws are.
    """
    n = len(samples)
    together = jnp.concatenate([samples, reference[None]])
    total, square = together.sum(0), (together**2).sum(0)

    def largest(one):
        mean = (total - one) / n
        variance = jnp.maximum((square - one**2) / n - mean**2, 0)
        std = jnp.sqrt(variance)
        deviation = jnp.abs(one - mean) / jnp.where(std > 0, std, 1)
        deviation = jnp.where((std > 0) & (weights > 0)[..., None], deviation, 0)
        return deviation.reshape(-1, deviation.shape[-1]).max(0)

    found = jax.lax.map(largest, together)
    return (jnp.sum(found[:-1] < found[-1], 0) + 0.5) / (n + 1)


def _no_uncertainty() -> NoReturn:
    raise TypeError("this metric needs a surrogate with `std` or `samples`; see its `capabilities`")
