"""Exact Gaussian-process regression: a kernel chosen by likelihood, a linear trend, one Cholesky factor for all outputs.

Fits and predictions are computed in float64 (`core.precision.wide`): the weights of smooth maps are up to 1e8 times as large as
their sum with the kernel, and variances are differences of numbers near one.
"""

import warnings
from functools import partial
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from ....core.arguments import checked
from ....core.minimize import minimize
from ....core.precision import Double, in_double, wide
from ....core.storage import register
from .covariance_kernels import KERNELS, KernelName
from .input_scaling import InputScaling, Log
from .per_point import checked_pairs, per_point
from .restricted_likelihood import DEPENDENT, correlation, least_squares, negative_log_likelihood, projector

_NOISE = (1e-12, 1e2)  # noise over signal variance; the lower bound keeps 1000 samples positive definite
_LENGTHS = (1e-3, 1e4)  # over the root-mean-square distance of two samples
_START_LENGTHS = np.geomspace(1 / 64, 32, 12)
_START_NOISES = (1e-6, 1e-2)
_APART = 3.0  # ratio of the lengths of two starts


@register("GaussianProcess")
class GaussianProcess(eqx.Module):
    """c(z) ~ GP(h(x)ᵀB, Σ ⊗ (k(|(x − x')/ℓ|) + ν δ)) of scaled inputs x = `scaling(z)`: what `fit_gaussian_process` returns.

    h is (1, x), or 1; k the `kernel` with one length ℓ per input, shared by all outputs; Σ the covariance of the outputs. With
    κ(z) the kernel at the n centres, `gp(z)` is the mean h(x)ᵀB + κ(z)ᵀA, and the covariance of a new observation is
    `spread(z)` Σ. Works on one z `(d,)` or on many `(n, d)`, under jit, vmap and grad, always in float64; derivatives are by z
    alone.

    **Example:**

        >>> z = np.linspace(0, 1, 12)[:, None]
        >>> sx.reduced.fit_gaussian_process(z, z**2).lengths.shape
        (1,)
    """

    scaling: InputScaling
    centres: Double  # (n, d), scaled
    rates: Double  # 1/ℓ, (d,)
    weights: Double  # A, (n, m), over `size`
    trend: Double  # B, (p, m), over `size`
    whitening: Double  # F, (n, n), A = FᵀF C; see `projector`
    interpolation: Double  # Gₙ, (n, p), B = Gₙᵀ C
    uncertainty: Double  # G, (p, p), of B
    relative_covariance: Double  # Σ, (m, m), over `size` squared
    noise: Double
    mean: Double  # of the outputs, (m,)
    size: Double  # root mean square of the outputs about their mean
    kernel: KernelName = eqx.field(static=True)

    def __call__(self, z) -> Float[Array, "*n m"]:
        return per_point(_predicted, z, self, self.rates.shape[0])

    def spread(self, z) -> Float[Array, "*n"]:
        """Predictive variance of a new observation over that of the signal:
        1 + ν − |Fκ|² + hᵀGh − 2κᵀGₙh."""
        return per_point(_spread, z, self, self.rates.shape[0])

    def std(self, z) -> Float[Array, "*n m"]:
        """Standard deviation of every output at z, for a new observation (noise included) and of the rounding of the mean to
        the precision of the program, √(σ² + (ε mean)²/12)."""
        rounding = float(jnp.finfo(jnp.result_type(float)).eps) / 12**0.5
        return per_point(_std, z, (self, rounding), self.rates.shape[0])

    @property
    def lengths(self) -> Float[np.ndarray, " d"]:
        """ℓ of the scaled inputs."""
        return 1 / np.asarray(self.rates)

    @property
    def covariance(self) -> Float[np.ndarray, "m m"]:
        """Σ."""
        return np.asarray(self.relative_covariance) * np.asarray(self.size) ** 2

    @property
    def left_out(self) -> Float[np.ndarray, "n m"]:
        """c_i − c_{−i}(z_i): by how much the process without sample i, with the same hyperparameters, misses it (Rasmussen
        and Williams 2006, eq. 5.12; with a trend Dubrule 1983)."""
        precision = (np.asarray(self.whitening) ** 2).sum(0)
        return np.asarray(self.weights) / precision[:, None] * np.asarray(self.size)


def _kernel(z, gp: GaussianProcess):
    """κ(z) and h(x)."""
    x = gp.scaling(z)
    # By differences: the expansion of the square would cancel.
    squared = (((x - gp.centres.wide()) * gp.rates.wide()) ** 2).sum(1)
    return KERNELS[gp.kernel](squared), jnp.concatenate([jnp.ones(1), x])[: gp.trend.shape[0]]


@wide
def _predicted(z, gp: GaussianProcess):
    return _mean(z, gp)


def _mean(z, gp: GaussianProcess):
    kernel, features = _kernel(z, gp)
    return gp.mean.wide() + gp.size.wide() * (features @ gp.trend.wide() + kernel @ gp.weights.wide())


def _relative_variance(z, gp: GaussianProcess):
    kernel, features = _kernel(z, gp)
    white = gp.whitening.wide() @ kernel
    trend = features @ gp.uncertainty.wide() @ features - 2 * (kernel @ gp.interpolation.wide()) @ features
    return jnp.maximum(1 + trend - white @ white, 0) + gp.noise.wide()


@wide
def _spread(z, gp: GaussianProcess):
    return _relative_variance(z, gp)


@wide
def _std(z, parameters: tuple[GaussianProcess, Any]):
    gp, rounding = parameters
    variance = gp.size.wide() ** 2 * _relative_variance(z, gp) * jnp.diag(gp.relative_covariance.wide())
    return jnp.sqrt(variance + (rounding * _mean(z, gp)) ** 2)


@checked
def fit_gaussian_process(
    z: Float[np.ndarray, "n d"],
    c: Float[np.ndarray, "n m"],
    *,
    trend: str = "linear",
    log: Log = "auto",
    common_scale: bool = False,
    kernel: KernelName | Literal["auto"] = "auto",
    restarts: int = 2,
    steps: int = 15,
    subset: int = 512,
) -> GaussianProcess:
    """Kernel, lengths and noise by the restricted likelihood; trend and weights in closed form, Σ from leave-one-out errors.

    All in float64. L-BFGS on the logarithms of lengths and noise from `restarts` starts, on at most `subset` samples (evenly
    spaced); the rest with all of them. The starts are those of a grid of common lengths that have the largest likelihood. O(n³)
    once and O(subset³) per evaluation. Inputs may have any units (`InputScaling`).

    **Arguments:**

    - `trend`: "linear" or "constant". A linear trend is what makes nearly linear maps accurate; with fewer than 2(d + 2)
      samples it becomes constant.
    - `log`: the inputs that enter by their logarithm: "auto", or the numbers of their columns, `()` for none.
    - `common_scale`: one unit for all inputs: True for POD coefficients, whose sizes tell which of them matter.
    - `kernel`: "matern52" for maps with two derivatives; "squared_exponential" for smooth ones, whose errors
      were then 2 to 1000 times smaller; "auto" takes the one of larger likelihood and as long as for both.

    **Raises:** `ValueError` for values that are not finite, fewer than 3 samples and an unknown trend; `TypeError` for complex
    numbers.

    **Warns** if the process, fitted without a sample, predicts that sample no better than the mean of the others.

    **Example:**

        >>> z = np.linspace(0, 1, 20)[:, None]
        >>> gp = sx.reduced.fit_gaussian_process(z, np.sin(3 * z))
        >>> bool(abs(gp(np.array([0.4]))[0] - np.sin(1.2)) < 1e-3), bool(gp.std(np.array([0.4]))[0] < 1e-2)
        (True, True)
    """
    z, c = checked_pairs("fit_gaussian_process", z, c, least=3)
    if trend not in ("linear", "constant"):
        raise ValueError(f"fit_gaussian_process: unknown trend {trend!r}; use 'linear' or 'constant'")
    scaling = InputScaling.fit(z, log, common=common_scale)
    gp = fit_scaled_process(z, c, scaling, trend=trend, kernel=kernel, restarts=restarts, steps=steps, subset=subset)
    n = len(z)
    missed, spread = np.linalg.norm(gp.left_out), np.linalg.norm(c - c.mean(0)) * n / (n - 1)
    if spread > 0 and missed > 0.95 * spread:
        warnings.warn(
            f"fit_gaussian_process: the {n} samples explain nothing of each other (leave-one-out error {missed / spread:.2f} of "
            "the spread of the outputs): too few samples for so many oscillations, or outputs that do not depend on these inputs",
            stacklevel=2,
        )
    return gp


def fit_scaled_process(
    z,
    c,
    scaling: InputScaling,
    *,
    trend: str = "linear",
    kernel: KernelName | Literal["auto"] = "auto",
    restarts: int = 2,
    steps: int = 15,
    subset: int = 512,
) -> GaussianProcess:
    """`fit_gaussian_process` of checked float64 arrays, with a given scaling of the inputs."""
    x = scaling(z)
    n, d = x.shape
    mean = c.mean(0)
    size = np.sqrt(((c - mean) ** 2).mean()) or 1.0
    c = (c - mean) / size
    spread = (x - x.mean(0)).std(0)
    features = np.ones((n, 1))
    if trend == "linear" and n >= 2 * (d + 2):
        features = np.concatenate([features, x], 1)
    distance = np.sqrt(2 * (spread**2).sum()) or 1.0
    few = np.linspace(0, n - 1, min(n, subset)).astype(int)
    bounds = np.log(distance * np.asarray(_LENGTHS))
    names = tuple(KERNELS) if kernel == "auto" else (kernel,)
    best, chosen = _hyperparameters(x[few], features[few], c[few], np.asarray(distance), bounds, names, restarts, steps)
    name = names[int(chosen)]
    rates = np.exp(-np.clip(best["lengths"], *bounds))
    noise = np.exp(np.clip(best["noise"], *np.log(_NOISE)))
    fields = _condition(x, features, c, rates, noise, name)
    return GaussianProcess(scaling, *map(Double.of, (x, rates, *fields, mean, size)), kernel=name)


@in_double
@partial(jax.jit, static_argnames=("names", "restarts", "steps"))
def _hyperparameters(x, features, c, distance, bounds, names: tuple[KernelName, ...], restarts: int, steps: int):
    """Lengths and noise of the largest likelihood, and the number of their kernel among the `names`."""

    def objective(p, kernel):
        noise = jnp.exp(jnp.clip(p["noise"], *np.log(_NOISE)))
        rates = jnp.exp(-jnp.clip(p["lengths"], bounds[0], bounds[1]))
        among = partial(jax.lax.switch, kernel, [KERNELS[name] for name in names])
        return negative_log_likelihood(correlation(among, x, rates, noise), features, c)

    def on_grid(length, noise):
        return {"lengths": jnp.full(x.shape[1], length), "noise": noise}

    def best_of_starts(kernel):
        values = jax.lax.map(lambda p: objective(on_grid(*p), kernel), (lengths, noises))
        values = jnp.where(jnp.isfinite(values), values, jnp.inf)
        starts = []
        for _ in range(restarts):
            i = jnp.argmin(values)
            starts.append(on_grid(lengths[i], noises[i]))
            values = jnp.where(jnp.abs(lengths - lengths[i]) < np.log(_APART), jnp.inf, values)
        stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *starts)
        ends, values = jax.lax.map(
            lambda start: minimize(partial(objective, kernel=kernel), start, optimizer, steps), stacked
        )
        best = jnp.nanargmin(values[:, -1])
        return jax.tree.map(lambda p: p[best], ends), values[best, -1]

    lengths, noises = (
        g.ravel() for g in jnp.meshgrid(jnp.log(distance * _START_LENGTHS), jnp.log(jnp.array(_START_NOISES)))
    )
    # Without the limit a converged start would spend 20 evaluations per step on finding no better point.
    optimizer = optax.lbfgs(linesearch=optax.scale_by_zoom_linesearch(6, initial_guess_strategy="one"))
    # One after the other, here and above: batched Cholesky factors that run side by side wait for each other's threads on a CPU,
    # for ever where there are two; and alone, a line search evaluates no more than it needs.
    ends, values = jax.lax.map(best_of_starts, jnp.arange(len(names)))
    chosen = jnp.nanargmin(values)
    return jax.tree.map(lambda p: p[chosen], ends), chosen


@in_double
@partial(jax.jit, static_argnames="name")
def _condition(x, features, c, rates, noise, name: KernelName):
    """The fields of `GaussianProcess` from `weights` to `noise`: the inverse of [[K + ν, H], [Hᵀ, 0]] by blocks.

    Σ is the mean square of the left-out errors over their variances (Bachoc 2013), not the estimate of the likelihood: the truth
    is often smoother than the kernel, and intervals of the latter are then up to 20 times too wide."""
    solved = least_squares(correlation(KERNELS[name], x, rates, noise), features, c)
    noise = noise + solved.jitter
    f = projector(solved)
    kernel = correlation(KERNELS[name], x, rates, noise)
    pseudo = jnp.linalg.pinv(features, rtol=DEPENDENT)
    weights = f.T @ solved.residual
    interpolation = pseudo.T - f.T @ (f @ (kernel @ pseudo.T))
    return (
        weights,
        pseudo @ (c - kernel @ weights),
        f,
        interpolation,
        pseudo @ kernel @ interpolation,
        weights.T @ (weights / (f**2).sum(0)[:, None]) / len(x),
        noise,
    )
