"""`GaussianDenoiser`: the denoiser of the Gaussian law with the moments of samples; `GaussianPreconditioned`: a network beside
it."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float

from ...core.arguments import check_fields, checked, kind, real_array
from ...core.arrays import AnyArray
from ...core.storage import register
from .coloured_noise import AbstractColouredNoise
from .denoiser import AbstractDenoiser

_MISSED = 1e-6  # of the variance of the samples, which rounding alone does not miss
_LEAST = 1e-7  # of the largest eigenvalue, below which a direction has no noise, or no data


@register("GaussianDenoiser")
class GaussianDenoiser(AbstractDenoiser):
    """The denoiser of N(m, C) with the mean and covariance of given samples, the Wiener filter

        D = m + C (C + s² K)⁻¹ (x − m) = m + Σ_i λ_i/(λ_i + s²) ⟨w_i, x − m⟩ φ_i,

    K the covariance of the noise, C φ-modes with C = Σ λ_i φ_i φ_iᵀ and K = Σ φ_i φ_iᵀ on the directions in which samples
    differ. It is exact for Gaussian data, and for other data the best linear one. Where noise is large, trained networks
    come to it slowly (Wang and Vastola 2024); `GaussianPreconditioned` has a network learn what is left.

    All modes are kept as arrays, so it is for samples of up to some thousand numbers.

    **Arguments:**

    - `samples`: of the data, `(n, *shape)`, in the units of the denoiser; many more than independent numbers in a sample.
    - `noise`: the noise of `sample`, None for white noise.

    **Raises:** `ValueError` for fewer than two samples, values that are not finite, samples that are all the same, and noise
    that does not reach all directions in which they differ. **Warns** if further samples would have further directions.

    **Example:**

        >>> data = 2 * np.random.default_rng(0).normal(size=(500, 2))
        >>> model = sx.diffusion.GaussianDenoiser(data)
        >>> x = sx.diffusion.sample(model, "auto", schedule=sx.diffusion.EDM(), times=10, shape=(2,), n=256, key=key)
        >>> bool(abs(x.std() - 2) < 0.2)
        True
    """

    mean: Float[Array, "*shape"]
    modes: Float[Array, "r *shape"]
    duals: Float[Array, "r *shape"]
    ratios: Float[Array, " r"]
    noise: AbstractColouredNoise | None

    @checked
    def __init__(self, samples: AnyArray, *, noise: AbstractColouredNoise | None = None):
        self.noise = noise
        self.mean, self.modes, self.duals, self.ratios = relative_modes("GaussianDenoiser", samples, noise)

    def at(self, v, level, condition=None):
        return self.filtered(v, level.scale, level.share)

    def __call__(self, x, sigma, condition=None):
        scale = 1 / jnp.sqrt(1 + jnp.asarray(sigma, x.dtype) ** 2)
        return self.filtered(x * scale, scale, sigma * scale)

    def filtered(self, v: Float[Array, "*shape"], scale: Any, share: Any) -> Float[Array, "*shape"]:
        """D from v = x · scale, with scale = 1/√(1 + s²) and share = s · scale."""
        if v.shape != self.mean.shape:
            raise ValueError(
                f"GaussianDenoiser was made of samples of shape {self.mean.shape}, here they have {v.shape}"
            )
        mean, modes, duals, ratios = (a.astype(v.dtype) for a in (self.mean, self.modes, self.duals, self.ratios))
        found = jnp.tensordot(duals, v - scale * mean, v.ndim, precision="highest")
        kept = ratios * scale / (ratios * scale**2 + share**2)
        return mean + jnp.tensordot(kept * found, modes, 1, precision="highest")

    def deviation(self, scale: Any, share: Any) -> Float[Array, " c"]:
        """The root mean square of x₀ − D over the points of every channel, the last axis."""
        axes = tuple(range(1, self.modes.ndim - 1))
        variances = jnp.mean(self.modes**2, axes) if axes else self.modes**2
        left = self.ratios * share**2 / (self.ratios * scale**2 + share**2)
        smallest = jnp.finfo(variances.dtype).eps * share**2
        return jnp.sqrt(jnp.matmul(left, variances, precision="highest") + smallest)


class GaussianPreconditioned(AbstractDenoiser):
    """D = G + c_out F([c_in y, G], ¼ log s), G the `GaussianDenoiser` of the data, c_in = 1/√(s² + 1) and c_out the root mean
    square, per channel, of what G leaves of Gaussian data. The network F sees twice as many channels as it returns.

    With the plain preconditioning of Karras et al. a network has to learn the Wiener filter of its data at every noise level
    first, whose sharp dependence on wave and level is not in its form.

    **Arguments:** `network`: F, `network(x, c_noise, condition)` of one sample `(*space, 2c)`. `gaussian`: G, of data of about
      unit variance.

    **Example:**

        >>> gaussian = sx.diffusion.GaussianDenoiser(np.random.default_rng(0).normal(size=(99, 4, 1)))
        >>> model = sx.diffusion.GaussianPreconditioned(lambda x, noise, condition: 0 * x[..., :1], gaussian)
        >>> model(jnp.ones((4, 1)), 1.0).shape
        (4, 1)
    """

    network: Callable
    gaussian: GaussianDenoiser

    def __check_init__(self):
        check_fields(self)

    def at(self, v, level, condition):
        base, size, seen = gaussian_parts(self.gaussian, v, level.scale, level.share)
        c_noise = jnp.log(jnp.asarray(level.sigma, v.dtype)) / 4
        return base + size * self.network(seen, c_noise, condition).astype(v.dtype)

    def __call__(self, x, sigma, condition=None):
        sigma = jnp.asarray(sigma, x.dtype)
        scale = 1 / jnp.sqrt(1 + sigma**2)
        base, size, seen = gaussian_parts(self.gaussian, x * scale, scale, sigma * scale)
        return base + size * self.network(seen, jnp.log(sigma) / 4, condition).astype(x.dtype)


def gaussian_parts(gaussian: GaussianDenoiser, v: Float[Array, "*space c"], scale: Any, share: Any) -> tuple:
    """G, c_out and what the network sees, of v = y/√(1 + s²)."""
    base = gaussian.filtered(v, scale, share)
    return base, gaussian.deviation(scale, share).astype(v.dtype), jnp.concatenate([v, base], -1)


def relative_modes(call: str, samples: Any, noise: AbstractColouredNoise | None) -> tuple[Array, Array, Array, Array]:
    """Of samples `(n, *shape)`: their mean; modes φ with C = Σ λ φ φᵀ, K = Σ φ φᵀ; duals w, ⟨w_i, φ_j⟩ = δ_ij; and λ, falling.

    **Raises:** and **warns** as `GaussianDenoiser`.
    """
    samples = np.asarray(real_array(call, "samples", samples), np.float64)
    if samples.ndim < 2 or len(samples) < 2:
        raise ValueError(f"{call}(samples=…): expected two or more samples (n, *shape), got the shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError(f"{call}(samples=…): not all values are finite")
    n, shape = len(samples), samples.shape[1:]
    flat = samples.reshape(n, -1)
    mean = flat.mean(0)
    flat = flat - mean
    if not flat.any():
        raise ValueError(f"{call}(samples=…): all samples are the same")
    root, inverse = _root(call, noise, shape)
    white = flat @ inverse.T
    missed = np.sum((flat - white @ root.T) ** 2) / np.sum(flat**2)
    if missed > _MISSED:
        raise ValueError(
            f"{call}: {missed:.2%} of the variance of the samples lies in directions in which the noise has none, so that it "
            "could not be drawn; use noise of full rank, such as FieldNoise(Matern(0.1), grid), or white noise"
        )
    # The eigenvectors of K^(−½) C K^(−½), from the smaller of both products.
    if n >= white.shape[1]:
        ratios, directions = np.linalg.eigh(white.T @ white / n)
    else:
        ratios, over_samples = np.linalg.eigh(white @ white.T / n)
        directions = white.T @ over_samples / np.sqrt(n * np.maximum(ratios, np.finfo(float).tiny))
    kept = np.flatnonzero(ratios > _LEAST * ratios[-1])[::-1]
    if len(kept) >= n - 1:
        warnings.warn(
            f"{call}: {n} samples have as many independent directions, so that others are taken to be known and posteriors may "
            "be too narrow; give more samples",
            stacklevel=6,  # whoever made it
        )
    modes, duals = ((matrix @ directions[:, kept]).T.reshape(-1, *shape) for matrix in (root, inverse.T))
    return (
        jnp.asarray(mean.reshape(shape), float),
        jnp.asarray(modes, float),
        jnp.asarray(duals, float),
        jnp.asarray(ratios[kept], float),
    )


def _root(call: str, noise: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A root of K and its inverse on the directions in which there is noise, `(size, r)` and `(r, size)`."""
    size = int(np.prod(shape))
    if noise is None:
        return np.eye(size), np.eye(size)
    kind(call, "noise", noise, AbstractColouredNoise, "pass noise that knows its covariance")
    columns = np.asarray(jax.vmap(lambda e: noise.covariance(e.reshape(shape)).ravel())(jnp.eye(size)), np.float64)
    covariance = (columns + columns.T) / 2
    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        lower = np.zeros((1, 1))
    if np.diag(lower).min() ** 2 > _LEAST * np.diag(covariance).max():
        return lower, scipy.linalg.solve_triangular(lower, np.eye(size), lower=True)
    values, vectors = np.linalg.eigh(covariance)
    kept = values > _LEAST * values[-1]
    scale = np.sqrt(values[kept])
    return vectors[:, kept] * scale, (vectors[:, kept] / scale).T
