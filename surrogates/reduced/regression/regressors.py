"""Regression of reduced coefficients: one protocol, four methods."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from ....core.arguments import checked
from ....core.minimize import minimize
from ....core.precision import Double, wide
from ....core.storage import register
from ...networks.layers import PointwiseMLP
from .gaussian_process import fit_gaussian_process, fit_scaled_process
from .input_scaling import InputScaling, Log
from .per_point import checked_pairs, per_point
from .tanh_network import tanh_network

KINDS = ("gp", "rbf", "linear", "network")
_RIDGES = 10.0 ** np.arange(-14, 1, 2)  # over the largest eigenvalue
_SMOOTHING = 10.0 ** np.arange(-10, 1, 2)  # over the root-mean-square kernel value
_WIDTH, _STEPS = 64, 1500


@runtime_checkable
class Regressor(Protocol):
    """z → c for one input `(d,)` or many `(n, d)`: an `equinox.Module` that is registered, so that it can be saved; jit, vmap and
    grad work. It computes in float64 whatever the x64 flag is, and returns the precision of z.

    One that knows its uncertainty has `spread(z)` and `covariance`, as `GaussianProcess`.
    """

    def __call__(self, z) -> Float[Array, "*n m"]: ...


@checked
def fit_regressor(
    kind: str,
    z: Float[np.ndarray, "n d"],
    c: Float[np.ndarray, "n m"],
    key: Array | None = None,
    *,
    log: Log = "auto",
    common_scale: bool = False,
) -> Regressor:
    """A regressor of `c` on `z`, in any units: inputs are scaled (`InputScaling`). Its own choices (ridge, smoothing, lengths)
    use these samples only.

    - "gp": `fit_gaussian_process`; the most accurate, O(n³), with variance.
    - "rbf": cubic radial functions with a linear tail; few inputs, no noise.
    - "linear": ridge regression.
    - "network": two layers of 64 on top of the ridge regression; many samples.

    **Arguments:** `key` of the network's initial weights; `log`, the inputs that enter by their logarithm: "auto" (those that
    spread over decades), or the numbers of their columns; `common_scale`, one unit for all inputs: True for POD coefficients,
    whose sizes tell which of them matter.

    **Raises:** `ValueError` for an unknown kind, values that are not finite, too few samples; `TypeError` for complex numbers.

    **Example:**

        >>> z = np.linspace(0, 1, 20)[:, None]
        >>> regressor = sx.reduced.fit_regressor("rbf", z, np.sin(3 * z))
        >>> bool(abs(regressor(np.array([0.4]))[0] - np.sin(1.2)) < 1e-3)
        True
    """
    check_kind(kind)
    if kind == "gp":
        return fit_gaussian_process(z, c, log=log, common_scale=common_scale)
    z, c = checked_pairs("fit_regressor", z, c)
    return fit_with_left_out(kind, z, c, InputScaling.fit(z, log, common=common_scale), key)[0]


def fit_with_left_out(
    kind: str, z: Float[np.ndarray, "n d"], c: Float[np.ndarray, "n m"], scaling: InputScaling, key: Array | None = None
) -> tuple[Regressor, Float[np.ndarray, "n m"] | None]:
    """A regressor with a given scaling of its inputs, and by how much it misses each sample if fitted without it, with the same
    hyperparameters; None for the network, which has no closed form of that."""
    if kind == "gp":
        found = fit_scaled_process(z, c, scaling)
        return found, found.left_out
    x, mean = scaling(z), c.mean(0)
    fitted, left_out = _METHODS[kind](x, c - mean, key)
    return ScaledRegressor(scaling, fitted, Double.of(mean)), left_out


def check_kind(kind: str) -> None:
    """**Raises:** `ValueError` unless `kind` is one of `KINDS`."""
    if kind not in KINDS:
        raise ValueError(f"unknown regressor {kind!r}; use one of {KINDS}")


@register("ScaledRegressor")
class ScaledRegressor(eqx.Module):
    """c = mean + rule(x) of scaled inputs x = `scaling(z)`, with a rule of this file."""

    scaling: InputScaling
    rule: "LinearRule | RadialBasis | NetworkRule"
    mean: Double

    def __call__(self, z) -> Float[Array, "*n m"]:
        return per_point(_evaluated, z, self, self.scaling.shift.shape[0])


@wide
def _evaluated(z, regressor: ScaledRegressor):
    return regressor.mean.wide() + regressor.rule(jnp.asarray(regressor.scaling(z)))


# The three rules see scaled inputs in float64 and are called inside `wide` functions only.


@register("LinearRule")
class LinearRule(eqx.Module):
    """offset + (x − centre)ᵀ matrix."""

    matrix: Double
    offset: Double
    centre: Double

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " m"]:
        return (x - self.centre.wide()) @ self.matrix.wide() + self.offset.wide()


def _fit_linear(x, c, key: Array | None = None) -> tuple[LinearRule, Float[np.ndarray, "n m"]]:
    """The ridge is the one with the smallest leave-one-out error: residual / (1 − leverage), the mean being fitted too."""
    centre, offset = x.mean(0), c.mean(0)
    u, s, v = np.linalg.svd(x - centre, full_matrices=False)
    projected = u.T @ (c - offset)
    best = (np.inf, np.zeros_like(s), c)
    for ridge in _RIDGES * max(s[0] ** 2, 1e-300):
        filtered = s**2 / (s**2 + ridge)
        leverage = (u**2) @ filtered + 1 / len(x)
        residual = (c - offset) - u @ (filtered[:, None] * projected)
        left_out = residual / np.maximum(1 - leverage, 1e-12)[:, None]
        error = (left_out**2).sum()
        if error < best[0]:
            best = (error, s / (s**2 + ridge), left_out)
    return LinearRule(*map(Double.of, (v.T @ (best[1][:, None] * projected), offset, centre))), best[2]


@register("RadialBasis")
class RadialBasis(eqx.Module):
    """Σ_i weights_i |(x − centres_i)/scale|³ + linear(x), with weights orthogonal to linear functions."""

    centres: Double
    scale: Double
    weights: Double
    tail: LinearRule

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " m"]:
        squared = (((x - self.centres.wide()) / self.scale.wide()) ** 2).sum(1)
        return self.tail(x) + _cubic(squared, jnp) @ self.weights.wide()


def _cubic(squared, xp):
    """r³ of r², with a finite derivative at 0."""
    return squared * xp.sqrt(xp.maximum(squared, 1e-30))


def _fit_rbf(x, c, key: Array | None) -> tuple[RadialBasis, Float[np.ndarray, "n m"]]:
    """[[K + λ, P], [Pᵀ, 0]] (w, tail) = (c, 0) with the λ of smallest leave-one-out error, w_i / (inverse)_ii (Rippa 1999)."""
    n = len(x)
    centre = x.mean(0)
    u, s, v = np.linalg.svd(x - centre, full_matrices=False)
    kept = s > 1e-6 * max(s[0], 1e-300)
    if n < kept.sum() + 2:
        raise ValueError(f"regressor 'rbf' needs at least {kept.sum() + 2} samples for {kept.sum()} inputs, got {n}")
    tail = np.concatenate([np.full((n, 1), n**-0.5), u[:, kept]], 1)
    scale = np.sqrt(2 * (s**2).sum() / n) or 1.0
    squared = ((x[:, None] - x[None]) ** 2).sum(2) / scale**2
    kernel = _cubic(squared, np)
    best = (np.inf, np.zeros((n, c.shape[1])), 0.0, c)
    for smoothing in _SMOOTHING * max(np.sqrt((kernel**2).mean()), 1e-300):
        zero = np.zeros((tail.shape[1],) * 2)
        inverse = np.linalg.inv(np.block([[kernel + smoothing * np.eye(n), tail], [tail.T, zero]]))[:n, :n]
        weights = inverse @ c
        left_out = weights / np.diag(inverse)[:, None]
        error = (left_out**2).sum()
        if error < best[0]:
            best = (error, weights, smoothing, left_out)
    _, weights, smoothing, left_out = best
    weights = weights - tail @ (tail.T @ weights)
    rest = tail.T @ (c - kernel @ weights - smoothing * weights)
    linear = LinearRule(*map(Double.of, (v[kept].T @ (rest[1:] / s[kept, None]), rest[0] * n**-0.5, centre)))
    return RadialBasis(Double.of(x), Double.of(scale), Double.of(weights), linear), left_out


@register("NetworkRule")
class NetworkRule(eqx.Module):
    """linear(x) + scale · network(y) with y = (x − centre)/spread."""

    linear: LinearRule
    network: PointwiseMLP
    spread: Double
    scale: Double

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " m"]:
        y = (x - self.linear.centre.wide()) / self.spread.wide()
        return self.linear(x) + self.scale.wide() * self.network(y)


def _fit_network(x, c, key: Array | None) -> tuple[NetworkRule, None]:
    """The residual of the linear fit by Adam on all samples at once, from an output of zero."""
    linear, _ = _fit_linear(x, c)
    centre = np.asarray(linear.centre)
    rest = c - (np.asarray(linear.offset) + (x - centre) @ np.asarray(linear.matrix))
    scale = np.sqrt((rest**2).sum(1).mean()) or 1.0
    spread = x.std(0).max() or 1.0
    inputs, outputs = (jnp.asarray(v, jnp.float32) for v in ((x - centre) / spread, rest / scale))
    sizes = (inputs.shape[1], _WIDTH, _WIDTH, outputs.shape[1])
    energy = max(float((inputs**2).sum(1).mean()), 1e-12)
    start = tanh_network(*sizes, energy=energy, key=jax.random.key(0) if key is None else key)
    start = eqx.tree_at(lambda n: n.layers[-1].weight, start, replace_fn=jnp.zeros_like)
    return NetworkRule(linear, _trained(start, inputs, outputs), Double.of(spread), Double.of(scale)), None


@jax.jit
def _trained(start: PointwiseMLP, x, y) -> PointwiseMLP:
    optimizer = optax.adamw(optax.cosine_decay_schedule(1e-2, _STEPS), weight_decay=1e-2)
    return minimize(lambda network: ((network(x) - y) ** 2).sum(1).mean(), start, optimizer, _STEPS)[0]


_METHODS: dict[str, Callable] = {"rbf": _fit_rbf, "linear": _fit_linear, "network": _fit_network}
