"""Mixtures of Gaussian fields with their exact denoiser: beds of fields whose flow is not linear."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from common.mixtures import Mixture


class FieldMixture(eqx.Module):
    """Means and variances `(k, *points)` of the entries in an orthonormal basis, in which the fields of a component are
    independent, and weights `(k,)`. White noise is white there too, and errors are the same."""

    means: np.ndarray
    variances: np.ndarray
    weights: np.ndarray

    @classmethod
    def random(cls, seed: int) -> "FieldMixture":
        """Periodic fields on a line (even seeds; 32 to 128 points) or in a plane (8² to 16²), of 1 to 6 components, each with a
        spectrum of its own, (|2πk|² + τ²)^−α; between a fifth and nine tenths of the variance lie between the components."""
        rng = np.random.default_rng(seed)
        dim = 1 + seed % 2
        n = int(rng.choice([32, 64, 128] if dim == 1 else [8, 12, 16]))
        count = int(rng.integers(1, 7))
        k = 2 * np.pi * np.fft.fftfreq(n, 1 / n)
        squares = k**2 if dim == 1 else k[:, None] ** 2 + k**2
        spectra = []
        for _ in range(count):
            alpha, tau = rng.uniform(dim / 2 + 0.4, dim / 2 + 1.6), rng.uniform(2, 8)
            spectrum = (squares + tau**2) ** -alpha
            spectra.append(spectrum / spectrum.mean())
        spectra = np.stack(spectra)
        between, means = rng.uniform(0.2, 0.9), 0 * spectra
        if count > 1:
            means = np.sqrt(between * spectra) * rng.standard_normal(spectra.shape)
        else:
            between = 0.0
        size = rng.uniform(0.7, 1.3)
        means, variances = size * means[..., None], size**2 * (1 - between) * spectra[..., None]
        return cls(means, variances, rng.dirichlet(np.full(count, 3.0)))

    def denoise(self, x, sigma, condition=None):
        """E[x₀ | x₀ + sigma ε = x] of one field `(*points, 1)`."""
        means, variances, weights = (jnp.asarray(a, x.dtype) for a in (self.means, self.variances, self.weights))
        total, offsets = variances + sigma**2, x - means
        exponents = (offsets**2 / total + jnp.log(total)).reshape(len(weights), -1).sum(-1)
        shares = jax.nn.softmax(jnp.log(weights) - 0.5 * exponents)
        return jnp.tensordot(shares, means + variances / total * offsets, 1)

    flow = Mixture.flow
