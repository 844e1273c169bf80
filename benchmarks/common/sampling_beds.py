"""Beds on which the error of a sampler of diffusion models is known: denoisers with exact or fine solutions of their ODE."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from common.field_mixtures import FieldMixture
from common.mixtures import Mixture
from surrogax.solvers import diffusion as sd
from surrogax.solvers.diffusion import as_denoiser
from surrogax.solvers.diffusion.triangular_form import walk

_ANY = sd.EDM()  # functions of noise levels see no schedule


class PointCloud(eqx.Module):
    """Points y_i `(k, d)` under the Student-t noise of PFGM++ with parameter D: the exact denoiser is the mean of the points with
    the weights (|x − y_i|² + s² D)^(−(d + D)/2). As D grows it becomes the one of Gaussian noise."""

    points: np.ndarray
    parameter: float = eqx.field(static=True)

    def denoise(self, x, sigma, condition=None):
        points = jnp.asarray(self.points, x.dtype)
        squares = jnp.sum((x - points) ** 2, -1)
        scores = -(len(x) + self.parameter) / 2 * jnp.log1p(squares / (sigma**2 * self.parameter))
        return jax.nn.softmax(scores) @ points

    def noise(self, rng, samples: int) -> np.ndarray:
        """z √(D/χ²_D), of unit scale."""
        chi = rng.chisquare(self.parameter, (samples, 1))
        return rng.standard_normal((samples, self.points.shape[1])) * np.sqrt(self.parameter / chi)


class GaussianField(eqx.Module):
    """A periodic Gaussian field on n² points with variances ∝ ((2π|k|)² + τ²)^(−α) of its Fourier modes, unit in all."""

    variances: np.ndarray

    @classmethod
    def of(cls, n: int = 32, tau: float = 3.0, alpha: float = 2.0) -> "GaussianField":
        k = 2 * np.pi * np.fft.fftfreq(n, 1 / n)
        variances = (k[:, None] ** 2 + k**2 + tau**2) ** -alpha
        return cls(variances / variances.mean())

    def denoise(self, x, sigma, condition=None):
        c = jnp.asarray(self.variances, x.dtype)
        return jnp.fft.ifft2(c / (c + sigma**2) * jnp.fft.fft2(x)).real

    def flow(self, states, start: float, end: float):
        """y at the noise level `end` from `start`: every mode is multiplied by √((c + t²)/(c + s²))."""
        factor = np.sqrt((self.variances + end**2) / (self.variances + start**2))
        return np.fft.ifft2(factor * np.fft.fft2(states)).real


class Shifted(eqx.Module):
    """A denoiser of data that are shifted by `offset`, the mean to which a mean-reverting diffusion returns."""

    inner: Any
    offset: np.ndarray

    def denoise(self, x, sigma, condition=None):
        offset = jnp.asarray(self.offset, x.dtype)
        return offset + self.inner.denoise(x - offset, sigma)


class Bed(NamedTuple):
    """A denoiser with states at the noisy end and their exact images at the clean one, `(n, *shape)` in the frame x₀ + s ε."""

    data: Any
    schedule: sd.AbstractSchedule
    start: np.ndarray
    exact: np.ndarray

    @property
    def levels(self) -> tuple[float, float]:
        first, last = self.schedule.level(np.array([self.schedule.start, self.schedule.end]))
        return float(first), float(last)

    @property
    def of_fields(self) -> bool:
        """Whether samples have axes of space, as `sample` sees it."""
        return self.start.ndim > 2

    @classmethod
    def of_mixture(
        cls, mixture: Mixture | FieldMixture, schedule: sd.AbstractSchedule, samples: int, seed: int = 1
    ) -> "Bed":
        first, last = schedule.log_snr(np.array([schedule.start, schedule.end]))
        start = np.exp(-first) * np.random.default_rng(seed).standard_normal((samples, *mixture.means.shape[1:]))
        return cls(mixture, schedule, start, exact_flow(mixture, start, first, last))

    @classmethod
    def of_field(cls, field: GaussianField, schedule: sd.AbstractSchedule, samples: int, seed: int = 2) -> "Bed":
        first, last = schedule.level(np.array([schedule.start, schedule.end]))
        start = first * np.random.default_rng(seed).standard_normal((samples, *field.variances.shape))
        return cls(field, schedule, start, field.flow(start, first, last))

    @classmethod
    def of_denoiser(cls, data: Any, schedule, start: np.ndarray, evaluations: int = 600) -> "Bed":
        """With fine solutions of exponential Adams of order 4 in place of exact ones."""
        initial = jnp.asarray(start * schedule.alpha(np.float64(schedule.start)))
        grid = sd.LogSNR(evaluations, to_zero=False)
        exact = sd.sample(data.denoise, sd.ExponentialAdams(4), schedule=schedule, times=grid, initial=initial)
        return cls(data, schedule, start, np.asarray(exact) / schedule.alpha(np.float64(schedule.end)))

    def error(self, solver, times, **others) -> float:
        """The median error of `sample` with a solver."""
        initial = self.start * self.schedule.alpha(np.float64(self.schedule.start))
        x = sd.sample(self.data.denoise, solver, schedule=self.schedule, times=times, initial=initial, **others)
        return median_error(np.asarray(x) / self.schedule.alpha(np.float64(self.schedule.end)), self.exact)

    def errors(self, tables: dict[Any, sd.Table]) -> dict[Any, float]:
        """The median errors of many deterministic tables from the start to the end of the schedule, by their matrices
        (`diffusion.unrolled`): all those with the same number of evaluations in one program."""
        first, last = self.levels
        v = jnp.asarray(self.start / np.sqrt(1 + first**2))
        found = {}
        for count in sorted({t.evaluations for t in tables.values()}):
            names = [name for name, t in tables.items() if t.evaluations == count]
            points = jnp.asarray(np.stack([sd.unrolled(tables[name]) for name in names]))
            network = jnp.asarray(np.stack([tables[name].levels for name in names]))
            ends = np.asarray(_walked(self.data, v, points, network)) * np.sqrt(1 + last**2)
            found |= {name: median_error(y, self.exact) for name, y in zip(names, ends, strict=True)}
        return found


@eqx.filter_jit
def _walked(data, v, points, network):
    """The last states `(tables, n, *shape)` in the frame y/√(1 + s²)."""
    denoiser = as_denoiser(data.denoise)

    def one(row):
        weights, levels = row
        return jax.vmap(lambda v: walk(denoiser, v, weights, levels, _ANY)[0][-1])(v)

    return jax.lax.map(one, (points, network))


def exact_flow(mixture: Mixture | FieldMixture, start, first: float, last: float):
    flow = eqx.filter_jit(lambda mixture, y: mixture.flow(y, first, last))
    return np.asarray(flow(mixture, jnp.asarray(start)))


def median_error(y, exact) -> float:
    return float(np.median(np.sqrt(np.mean((y - exact).reshape(len(y), -1) ** 2, -1))))
