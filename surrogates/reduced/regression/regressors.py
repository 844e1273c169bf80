"""Regression of reduced coefficients: one protocol, four methods."""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from ....core.minimize import minimize
from ....core.storage import register
from ...networks.layers import PointwiseMLP
from .gaussian_process import fit_gaussian_process
from .tanh_network import tanh_network

KINDS = ("gp", "rbf", "linear", "network")
_RIDGES = 10.0 ** np.arange(-14, 1, 2)  # over the largest eigenvalue
_SMOOTHING = 10.0 ** np.arange(-10, 1, 2)  # over the root-mean-square kernel value
_WIDTH, _STEPS = 64, 1500


@runtime_checkable
class Regressor(Protocol):
    """z → c for one sample: an `equinox.Module` that is registered, so that it can be saved; jit, vmap and grad work.

    One that knows its uncertainty has `spread(z)` and `covariance`, as `GaussianProcess`.
    """

    def __call__(self, z: Float[Array, " d"]) -> Float[Array, " m"]: ...


def fit_regressor(
    kind: str, z: Float[np.ndarray, "n d"], c: Float[np.ndarray, "n m"], key: Array | None = None
) -> Regressor:
    """A regressor of `c` on `z`. Its own choices (ridge, smoothing, lengths) use these samples only.

    - "gp": `fit_gaussian_process`; the most accurate, O(n³), with variance.
    - "rbf": cubic radial functions with a linear tail; few inputs, no noise.
    - "linear": ridge regression.
    - "network": two layers of 64 on top of the ridge regression; many samples.

    **Arguments:** `key` of the network's initial weights.

    **Raises:** `ValueError` for an unknown kind, values that are not finite, too few samples.
    """
    check_kind(kind)
    if not (np.isfinite(z).all() and np.isfinite(c).all()):
        raise ValueError("fit_regressor needs finite numbers")
    z, c = np.asarray(z, np.float64), np.asarray(c, np.float64)
    if kind == "gp":
        return fit_gaussian_process(z, c)
    if kind == "rbf":
        return _fit_rbf(z, c)
    return _fit_linear(z, c) if kind == "linear" else _fit_network(z, c, key)


def check_kind(kind: str) -> None:
    """**Raises:** `ValueError` unless `kind` is one of `KINDS`."""
    if kind not in KINDS:
        raise ValueError(f"unknown regressor {kind!r}; use one of {KINDS}")


@register("LinearRegressor")
class LinearRegressor(eqx.Module):
    """c = offset + (z − centre)ᵀ matrix."""

    matrix: Float[Array | np.ndarray, "d m"]
    offset: Float[Array | np.ndarray, " m"]
    centre: Float[Array | np.ndarray, " d"]

    def __call__(self, z: Float[Array, " d"]) -> Float[Array, " m"]:
        return jnp.matmul(z - self.centre, self.matrix, precision="highest") + self.offset


def _fit_linear(z, c) -> LinearRegressor:
    """The ridge is the one with the smallest leave-one-out error: residual / (1 − leverage), the mean being fitted too."""
    centre, offset = z.mean(0), c.mean(0)
    u, s, v = np.linalg.svd(z - centre, full_matrices=False)
    projected = u.T @ (c - offset)
    best = (np.inf, np.zeros_like(s))
    for ridge in _RIDGES * max(s[0] ** 2, 1e-300):
        filtered = s**2 / (s**2 + ridge)
        leverage = (u**2) @ filtered + 1 / len(z)
        residual = (c - offset) - u @ (filtered[:, None] * projected)
        error = ((residual / np.maximum(1 - leverage, 1e-12)[:, None]) ** 2).sum()
        if error < best[0]:
            best = (error, s / (s**2 + ridge))
    return LinearRegressor(v.T @ (best[1][:, None] * projected), offset, centre)


@register("RadialBasis")
class RadialBasis(eqx.Module):
    """c = Σ_i weights_i |(z − centres_i)/scale|³ + linear(z), with weights orthogonal to linear functions."""

    centres: Float[Array | np.ndarray, "n d"]
    scale: Float[Array | np.ndarray, ""]
    weights: Float[Array | np.ndarray, "n m"]
    tail: LinearRegressor

    def __call__(self, z: Float[Array, " d"]) -> Float[Array, " m"]:
        squared = (((z - self.centres) / self.scale) ** 2).sum(1)
        return self.tail(z) + jnp.matmul(_cubic(squared, jnp), self.weights, precision="highest")


def _cubic(squared, xp):
    """r³ of r², with a finite derivative at 0."""
    return squared * xp.sqrt(xp.maximum(squared, 1e-30))


def _fit_rbf(z, c) -> RadialBasis:
    """[[K + λ, P], [Pᵀ, 0]] (w, tail) = (c, 0) with the λ of smallest leave-one-out error, w_i / (inverse)_ii (Rippa 1999)."""
    z = np.asarray(z, np.float32).astype(np.float64)
    n = len(z)
    centre = z.mean(0)
    u, s, v = np.linalg.svd(z - centre, full_matrices=False)
    kept = s > 1e-6 * max(s[0], 1e-300)
    if n < kept.sum() + 2:
        raise ValueError(f"regressor 'rbf' needs at least {kept.sum() + 2} samples for {kept.sum()} inputs, got {n}")
    tail = np.concatenate([np.full((n, 1), n**-0.5), u[:, kept]], 1)
    scale = np.float64(np.float32(np.sqrt(2 * (s**2).sum() / n) or 1.0))
    squared = ((z[:, None] - z[None]) ** 2).sum(2) / scale**2
    kernel = _cubic(squared, np)
    best = (np.inf, np.zeros((n, c.shape[1])), 0.0)
    for smoothing in _SMOOTHING * max(np.sqrt((kernel**2).mean()), 1e-300):
        zero = np.zeros((tail.shape[1],) * 2)
        inverse = np.linalg.inv(np.block([[kernel + smoothing * np.eye(n), tail], [tail.T, zero]]))[:n, :n]
        weights = inverse @ c
        error = ((weights / np.diag(inverse)[:, None]) ** 2).sum()
        if error < best[0]:
            best = (error, weights, smoothing)
    _, weights, smoothing = best
    weights = weights - tail @ (tail.T @ weights)
    rest = tail.T @ (c - kernel @ weights - smoothing * weights)
    linear = LinearRegressor(v[kept].T @ (rest[1:] / s[kept, None]), rest[0] * n**-0.5, centre)
    return RadialBasis(z, np.asarray(scale), weights, linear)


@register("NetworkRegressor")
class NetworkRegressor(eqx.Module):
    """c = linear(z) + scale · network(x) with x = (z − centre)/spread."""

    linear: LinearRegressor
    network: PointwiseMLP
    spread: Float[Array | np.ndarray, ""]
    scale: Float[Array | np.ndarray, ""]

    def __call__(self, z: Float[Array, " d"]) -> Float[Array, " m"]:
        return self.linear(z) + self.scale * self.network((z - self.linear.centre) / self.spread)


def _fit_network(z, c, key: Array | None) -> NetworkRegressor:
    """The residual of the linear fit by Adam on all samples at once, from an output of zero."""
    linear = _fit_linear(z, c)
    rest = c - (linear.offset + (z - linear.centre) @ linear.matrix)
    scale = np.sqrt((rest**2).sum(1).mean()) or 1.0
    spread = z.std(0).max() or 1.0
    x, y = (jnp.asarray(v, jnp.float32) for v in ((z - linear.centre) / spread, rest / scale))
    sizes = (x.shape[1], _WIDTH, _WIDTH, y.shape[1])
    energy = max(float((x**2).sum(1).mean()), 1e-12)
    start = tanh_network(*sizes, energy=energy, key=jax.random.key(0) if key is None else key)
    start = eqx.tree_at(lambda n: n.layers[-1].weight, start, replace_fn=jnp.zeros_like)
    return NetworkRegressor(linear, _trained(start, x, y), np.asarray(spread), np.asarray(scale))


@jax.jit
def _trained(start: PointwiseMLP, x, y) -> PointwiseMLP:
    optimizer = optax.adamw(optax.cosine_decay_schedule(1e-2, _STEPS), weight_decay=1e-2)
    return minimize(lambda network: ((network(x) - y) ** 2).sum(1).mean(), start, optimizer, _STEPS)[0]
