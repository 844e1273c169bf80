"""Beds on which a posterior is known: periodic Gaussian fields, observed at some points with errors."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from surrogax.solvers import diffusion as sd


class Spectral(eqx.Module):
    """The denoiser of a periodic Gaussian field with these variances of its Fourier modes."""

    variances: np.ndarray

    def __call__(self, x, sigma, condition=None):
        c = jnp.asarray(self.variances, x.dtype)
        return jnp.fft.ifftn(c / (c + sigma**2) * jnp.fft.fftn(x)).real.astype(x.dtype)


class AtRows(eqx.Module):
    """The values of a field at some of its points."""

    rows: np.ndarray

    def __call__(self, x):
        return jnp.ravel(x)[self.rows]


class PosteriorBed(NamedTuple):
    """A field with variances ∝ ((2π|k|)² + 9)^−2, unit variance at a point, seen at `rows` with errors of `std`; and the exact
    posterior by dense algebra in float64."""

    variances: np.ndarray
    rows: np.ndarray
    values: np.ndarray
    std: float
    exact_mean: np.ndarray
    exact_std: np.ndarray

    @classmethod
    def of(cls, shape: tuple[int, ...], rows: np.ndarray, std: float = 0.05, seed: int = 0) -> "PosteriorBed":
        waves = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")
        variances = (sum(k**2 for k in waves) + 9.0) ** -2
        variances /= variances.mean()
        rng, size = np.random.default_rng(seed), int(np.prod(shape))
        truth = np.fft.ifftn(np.sqrt(variances) * np.fft.fftn(rng.standard_normal(shape))).real
        values = truth.ravel()[rows] + std * rng.standard_normal(len(rows))
        # The covariance of two points is that of their difference.
        row = np.fft.ifftn(variances).real
        place = np.stack(np.unravel_index(np.arange(size), shape), -1)
        apart = (place[:, None] - place[rows]) % shape
        cross = row[tuple(np.moveaxis(apart, -1, 0))]
        gain = np.linalg.solve(cross[rows] + std**2 * np.eye(len(rows)), cross.T).T
        variance = row.ravel()[0] - np.sum(gain * cross, 1)
        return cls(variances, rows, values, std, (gain @ values).reshape(shape), np.sqrt(variance).reshape(shape))

    @property
    def denoiser(self) -> Spectral:
        return Spectral(self.variances)

    @property
    def observation(self) -> sd.Observation:
        return sd.Observation(AtRows(self.rows), self.values, std=self.std)

    def scores(self, samples: Any) -> dict[str, float]:
        """The relative error of the mean, the ratio of standard deviations (roots of their mean squares), and how much of the
        exact posterior lies between the 5 % and 95 % quantiles of the samples, averaged over the points."""
        x = np.sort(np.asarray(samples, np.float64), 0)
        n = len(x)

        def quantile(share):
            place = min(max(share * (n + 1) - 1, 0), n - 1)
            below = min(int(place), n - 2)
            return x[below] + (place - below) * (x[below + 1] - x[below])

        def below(values):
            return norm.cdf((values - self.exact_mean) / self.exact_std)

        return {
            "mean_error": float(np.linalg.norm(x.mean(0) - self.exact_mean) / np.linalg.norm(self.exact_mean)),
            "std_ratio": float(np.sqrt(np.mean(x.var(0, ddof=1)) / np.mean(self.exact_std**2))),
            "coverage_90": float(np.mean(below(quantile(0.95)) - below(quantile(0.05)))),
        }
