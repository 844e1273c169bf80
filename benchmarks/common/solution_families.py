"""Solutions of PDE families as a Gaussian mixture, with its exact denoiser and its exact conditional under linear equations."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft


def heat(n: int, count: int, rng) -> np.ndarray:
    """sin(x + φ) e^(−νt) at n points of [0, 2π) and n times in [0, 1], ν in [1, 5], φ in [0, π]: `(count, n, n)`."""
    x, t = 2 * np.pi * np.arange(n) / n, np.linspace(0, 1, n)
    nu, phi = rng.uniform(1, 5, (count, 1, 1)), rng.uniform(0, np.pi, (count, 1, 1))
    return np.sin(x[:, None] + phi) * np.exp(-nu * t)


def stokes(n: int, count: int, rng) -> np.ndarray:
    """Stokes' second problem, 2 e^(−ky) cos(ky − ωt) at n heights y and n times in [0, 1], k in [2, 20], ω in [2, 8]."""
    y, t = np.linspace(0, 1, n), np.linspace(0, 1, n)
    k, omega = rng.uniform(2, 20, (count, 1, 1)), rng.uniform(2, 8, (count, 1, 1))
    return 2 * np.exp(-k * y[:, None]) * np.cos(k * y[:, None] - omega * t)


class Family(NamedTuple):
    """Σ_j N(u_j, ε² C)/J of `means` u_j `(J, n, n)`. C has unit variance on average and the variances ε² c of cosine modes
    along both axes, `(n, n)`."""

    means: np.ndarray
    variances: np.ndarray

    @classmethod
    def of(cls, solutions, n: int, count: int, spread: float, seed: int = 0) -> "Family":
        k = np.arange(n)
        c = (1 + (k[:, None] / 6) ** 2 + (k / 6) ** 2) ** -2.0
        return cls(solutions(n, count, np.random.default_rng(seed)), spread**2 * c / c.mean())

    def denoiser(self):
        """D(x, s) = Σ_j w_j(x) (u_j + C (C + s²)⁻¹ (x − u_j))."""
        modes = scipy.fft.dct(np.eye(self.means.shape[1]), axis=0, norm="ortho")
        into = jnp.asarray(modes, jnp.float32)
        centres = np.einsum("pa,qb,jab->jpq", modes, modes, self.means)
        means, c = jnp.asarray(centres, jnp.float32), jnp.asarray(self.variances, jnp.float32)

        def denoise(x, sigma, condition=None):
            z = into @ x @ into.T
            inverse = 1 / (c + sigma**2)
            scores = jnp.tensordot(means, inverse * z, 2) - 0.5 * jnp.tensordot(means**2, inverse, 2)
            mean = jnp.tensordot(jax.nn.softmax(scores), means, 1)
            return into.T @ (mean + c * inverse * (z - mean)) @ into

        return denoise

    def draws(self, rng, count: int) -> np.ndarray:
        """Samples `(count, n, n)`."""
        noise = np.sqrt(self.variances) * rng.standard_normal((count, *self.variances.shape))
        return self.means[rng.integers(len(self.means), size=count)] + scipy.fft.idctn(noise, axes=(1, 2), norm="ortho")

    def conditional(self, rows: np.ndarray, values: np.ndarray) -> "Conditional":
        """The law given `rows` `(m, n, n)` · x = `values` `(m,)`."""
        coloured = scipy.fft.idctn(
            self.variances * scipy.fft.dctn(rows, axes=(1, 2), norm="ortho"), axes=(1, 2), norm="ortho"
        ).reshape(len(rows), -1)
        flat, means = rows.reshape(len(rows), -1), self.means.reshape(len(self.means), -1)
        inside = coloured @ flat.T
        gain = np.linalg.solve(inside, coloured).T
        missing = values - means @ flat.T
        scores = -0.5 * np.sum(missing * np.linalg.solve(inside, missing.T).T, 1)
        weights = np.exp(scores - scores.max())
        return Conditional(self, weights / weights.sum(), means + missing @ gain.T, gain, flat)


class Conditional(NamedTuple):
    """Σ_j w_j N(m_j, Γ), Γ = ε² (C − G A C), G the gain."""

    family: Family
    weights: np.ndarray
    means: np.ndarray
    gain: np.ndarray
    rows: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.weights @ self.means

    @property
    def std(self) -> np.ndarray:
        modes = scipy.fft.dct(np.eye(len(self.family.variances)), axis=0, norm="ortho")
        prior = np.einsum("pa,qb,pq->ab", modes**2, modes**2, self.family.variances).ravel()
        coloured = scipy.fft.idctn(
            self.family.variances
            * scipy.fft.dctn(self.rows.reshape(-1, *self.family.variances.shape), axes=(1, 2), norm="ortho"),
            axes=(1, 2), norm="ortho",
        ).reshape(len(self.rows), -1)  # fmt: skip
        inner = prior - np.sum(self.gain.T * coloured, 0)
        return np.sqrt(np.maximum(inner + self.weights @ (self.means - self.mean) ** 2, 0))

    def draws(self, rng, count: int) -> np.ndarray:
        """Samples `(count, n n)`: those of the prior's noise, corrected by the gain."""
        shape = self.family.variances.shape
        noise = scipy.fft.idctn(
            np.sqrt(self.family.variances) * rng.standard_normal((count, *shape)), axes=(1, 2), norm="ortho"
        ).reshape(count, -1)
        picked = self.means[rng.choice(len(self.weights), count, p=self.weights)]
        return picked + noise - (noise @ self.rows.T) @ self.gain.T

    @property
    def components(self) -> float:
        """How many components have weight, 1/Σ w²."""
        return float(1 / np.sum(self.weights**2))
