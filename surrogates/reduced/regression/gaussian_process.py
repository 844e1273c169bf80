"""Exact Gaussian-process regression: Matérn-5/2 kernel, a linear trend, one Cholesky factor for all outputs.

The posterior is written with the kernel less the first terms of its Taylor series. The weights are orthogonal to the
trend, so those terms add nothing to the sum but their rounding: on smooth maps, whose lengths are many times the distance
of the samples, this makes float32 predictions a hundred times more accurate.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from ....core.minimize import minimize
from ....core.precision import in_double
from ....core.storage import register
from .restricted_likelihood import (
    correlation,
    least_squares,
    matern52_remainder,
    negative_log_likelihood,
    projector,
    squared_distances,
)

_NOISE = (1e-8, 1e2)  # noise over signal variance; the lower bound is the usual jitter
_LENGTHS = (1e-2, 1e4)  # over the root-mean-square distance of two samples


@register("GaussianProcess")
class GaussianProcess(eqx.Module):
    """c(z) ~ GP(h(z)ᵀB, Σ ⊗ (k(|(z − z')/ℓ|) + ν δ)): what `fit_gaussian_process` returns.

    h is (1, standardised z), or 1; k the Matérn-5/2 kernel with one length ℓ per input, shared by all outputs; Σ the
    covariance of the outputs. With κ(z) the `matern52_remainder` at the n centres, `gp(z)` is the mean h(z)ᵀB + κ(z)ᵀA, and
    the covariance of a new observation is `spread(z)` Σ. Works on one z, under jit, vmap and grad, and in float32.
    """

    centres: Float[Array | np.ndarray, "n d"]
    rates: Float[Array | np.ndarray, " d"]  # 1/ℓ
    shift: Float[Array | np.ndarray, " d"]
    scale: Float[Array | np.ndarray, " d"]
    weights: Float[Array | np.ndarray, "n m"]  # A
    trend: Float[Array | np.ndarray, "p m"]  # B
    whitening: Float[Array | np.ndarray, "n n"]  # F, A = FᵀF C; see `projector`
    interpolation: Float[Array | np.ndarray, "n p"]  # Gₙ, B = Gₙᵀ C
    uncertainty: Float[Array | np.ndarray, "p p"]  # G, of B
    covariance: Float[Array | np.ndarray, "m m"]
    noise: Float[Array | np.ndarray, ""]

    def __call__(self, z: Float[Array, " d"]) -> Float[Array, " m"]:
        return _dot(self._features(z), self.trend) + _dot(self._kernel(z), self.weights)

    def spread(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """Predictive variance of a new observation over that of the signal: hᵀGh − 2κᵀGₙh − |Fκ|² + ν."""
        kernel, features = self._kernel(z), self._features(z)
        white = _dot(self.whitening, kernel)
        trend = _dot(features, _dot(self.uncertainty, features)) - 2 * _dot(_dot(kernel, self.interpolation), features)
        return jnp.maximum(trend - _dot(white, white), 0) + self.noise

    def std(self, z: Float[Array, " d"]) -> Float[Array, " m"]:
        """Standard deviation of every output at z, for a new observation (noise included)."""
        return jnp.sqrt(self.spread(z) * jnp.diag(self.covariance))

    def _kernel(self, z):
        # By differences: the expansion of the square would cancel in float32.
        squared = (((z - self.centres) * self.rates) ** 2).sum(1)
        return matern52_remainder(squared, _order(self.trend))

    def _features(self, z):
        linear = (z - self.shift) / self.scale
        return jnp.concatenate([jnp.ones_like(linear[:1]), linear])[: len(self.trend)]


def _dot(a, b):
    return jnp.matmul(a, b, precision="highest")


def _order(trend) -> int:
    """Order of `matern52_remainder` for trend coefficients `(1, m)` (constant) or `(d + 1, m)` (linear)."""
    return min(len(trend), 2)


def fit_gaussian_process(
    z: Float[np.ndarray, "n d"],
    c: Float[np.ndarray, "n m"],
    *,
    trend: str = "linear",
    restarts: int = 2,
    steps: int = 15,
    subset: int = 512,
) -> GaussianProcess:
    """Lengths and noise by the restricted likelihood; trend, weights and Σ in closed form; all in float64.

    L-BFGS on the logarithms from `restarts` common lengths, on at most `subset` samples (evenly spaced); the rest with all
    of them. Inputs should be on one scale, so that all lengths can start alike. O(n³) once and O(subset³) per
    evaluation.

    **Arguments:**

    - `trend`: "linear" or "constant". A linear trend is what makes nearly linear maps accurate; with fewer than 2(d + 2)
      samples it becomes constant.

    **Returns:** a process in float64 NumPy arrays, whose centres and lengths are exact in float32.

    **Raises:** `ValueError` for values that are not finite, fewer than 3 samples and an unknown trend.
    """
    if trend not in ("linear", "constant"):
        raise ValueError(f"fit_gaussian_process: unknown trend {trend!r}; use 'linear' or 'constant'")
    if len(z) < 3 or not (np.isfinite(z).all() and np.isfinite(c).all()):
        raise ValueError(f"fit_gaussian_process needs at least 3 samples of finite numbers, got {len(z)}")
    n, d = z.shape
    z, c = np.asarray(z, np.float32).astype(np.float64), np.asarray(c, np.float64)
    shift, spread = z.mean(0), z.std(0)
    scale = np.where(spread > 0, spread, 1.0)
    features = np.ones((n, 1))
    if trend == "linear" and n >= 2 * (d + 2):
        features = np.concatenate([features, (z - shift) / scale], 1)
    distance = np.sqrt(2 * (spread**2).sum()) or 1.0
    factors = np.resize([2.0, 8.0, 0.5, 32.0], restarts)
    starts = {
        "lengths": np.log(distance * factors)[:, None].repeat(d, 1),
        "noise": np.full(restarts, np.log(1e-3)),
    }
    bounds = np.log(distance * np.asarray(_LENGTHS))
    few = np.linspace(0, n - 1, min(n, subset)).astype(int)
    best = _hyperparameters(z[few], features[few], c[few], starts, bounds, steps)
    rates = np.exp(-np.clip(best["lengths"], *bounds)).astype(np.float32).astype(np.float64)
    noise = np.exp(np.clip(best["noise"], *np.log(_NOISE)))
    return GaussianProcess(z, rates, shift, scale, *_condition(z, features, c, rates, noise))


@in_double
@partial(jax.jit, static_argnames="steps")
def _hyperparameters(z, features, c, starts, bounds, steps: int):
    def objective(p):
        noise = jnp.exp(jnp.clip(p["noise"], *np.log(_NOISE)))
        matrix = correlation(z, jnp.exp(-jnp.clip(p["lengths"], bounds[0], bounds[1])), noise)
        return negative_log_likelihood(matrix, features, c)

    # Without the limit a converged start would spend 20 evaluations per step on finding no better point.
    optimizer = optax.lbfgs(linesearch=optax.scale_by_zoom_linesearch(6, initial_guess_strategy="one"))

    # One after the other: batched Cholesky factors that run side by side wait for each other's threads on a CPU, for ever
    # where there are two; and alone, a line search evaluates no more than it needs.
    ends, values = jax.lax.map(lambda start: minimize(objective, start, optimizer, steps), starts)
    return jax.tree.map(lambda x: x[jnp.nanargmin(values[:, -1])], ends)


@in_double
@jax.jit
def _condition(z, features, c, rates, noise):
    """The fields of `GaussianProcess` from `weights` on: the inverse of [[κ + ν, H], [Hᵀ, 0]] by blocks."""
    solved = least_squares(correlation(z, rates, noise), features, c)
    noise = noise + solved.jitter
    f = projector(solved)
    kernel = matern52_remainder(squared_distances(z * rates), _order(features.T)) + noise * jnp.eye(
        len(z), dtype=z.dtype
    )
    pseudo = jnp.linalg.pinv(features)
    weights = f.T @ solved.residual
    interpolation = pseudo.T - f.T @ (f @ (kernel @ pseudo.T))
    return (
        weights,
        pseudo @ (c - kernel @ weights),
        f,
        interpolation,
        pseudo @ kernel @ interpolation,
        solved.residual.T @ solved.residual / solved.freedom,
        noise,
    )
