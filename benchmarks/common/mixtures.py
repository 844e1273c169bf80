"""Gaussian mixtures with their exact denoisers: beds on which the error of a sampler is known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


class Mixture(eqx.Module):
    """Means `(k, d)`, standard deviations and weights `(k,)` of isotropic components."""

    means: np.ndarray
    stds: np.ndarray
    weights: np.ndarray

    @classmethod
    def random(cls, seed: int, spread: tuple[float, float], dim: int = 8, components: int = 6) -> "Mixture":
        """Means N(0, 0.8²), standard deviations uniform in `spread`, Dirichlet(3) weights."""
        rng = np.random.default_rng(seed)
        means = 0.8 * rng.standard_normal((components, dim))
        return cls(means, rng.uniform(*spread, components), rng.dirichlet(np.full(components, 3.0)))

    def denoise(self, x, sigma, condition=None):
        """E[x₀ | x₀ + sigma ε = x] of one point `(d,)`."""
        means, stds, weights = (jnp.asarray(a, x.dtype) for a in (self.means, self.stds, self.weights))
        variances = stds**2
        total = variances + sigma**2
        offsets = x - means
        scores = jnp.log(weights) - 0.5 * jnp.sum(offsets**2, -1) / total - 0.5 * len(x) * jnp.log(total)
        posterior = means + (variances / total)[:, None] * offsets
        return jax.nn.softmax(scores) @ posterior

    def log_density(self, x: np.ndarray, sigma: float) -> np.ndarray:
        """log p of x₀ + sigma ε at points `(n, d)`."""
        total = self.stds**2 + sigma**2
        squares = ((x[:, None] - self.means) ** 2).sum(-1)
        terms = np.log(self.weights) - 0.5 * squares / total - 0.5 * x.shape[1] * np.log(2 * np.pi * total)
        return np.logaddexp.reduce(terms, 1)

    def flow(self, states, start: float, end: float, steps: int = 2500):
        """y at the log-SNR `end` from the normalised states `(n, d)` at `start`: classical Runge-Kutta steps in λ."""
        h = (end - start) / steps
        slope = jax.vmap(lambda y, log_snr: self.denoise(y, jnp.exp(-log_snr)) - y, in_axes=(0, None))

        def step(y, log_snr):
            a = slope(y, log_snr)
            b = slope(y + h / 2 * a, log_snr + h / 2)
            c = slope(y + h / 2 * b, log_snr + h / 2)
            d = slope(y + h * c, log_snr + h)
            return y + h / 6 * (a + 2 * b + 2 * c + d), None

        return jax.lax.scan(step, states, start + h * jnp.arange(steps))[0]


SMOOTH, SHARP = (0.45, 0.75), (0.1, 0.4)
