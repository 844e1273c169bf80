"""Metrics of one predicted frame in physical units.

A metric is a function `metric(forecast, reference, weights, domain)` that returns one value per channel, `(c,)`.

- `forecast`: the prediction, an `AbstractForecast`; `forecast.value` is `(*space, c)`.
- `reference` `(*space, c)`: the truth.
- `weights` `(*space)`: quadrature weights, zero at padded points.
- `domain`: the domain of the points.

In the formulas below u is `forecast.value` and v the `reference`. Tables average metrics over samples.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import checked
from ...core.domains import AbstractDomain
from ...solvers.kernels.norms import relative_h1, relative_l2_per_channel, squared_l2
from .forecast import AbstractForecast

Function = Callable[[AbstractForecast, Array, Array, AbstractDomain], Float[Array, " c"]]


class Metric(NamedTuple):
    """A registered metric.

    **Fields:** `function`, the metric itself; `probabilistic`, whether it needs the uncertainty of the forecast; `interval`,
    whether the central interval at 90 % is all that it needs of it, which conformal bands have too; `observing`, whether it
    needs draws of a surrogate that is conditioned on observations.

    **Example:**

        >>> sx.metrics.find_metric("rel_l2").probabilistic
        False
    """

    function: Function
    probabilistic: bool = False
    interval: bool = False
    observing: bool = False


_METRICS: dict[str, Metric] = {}


@checked
def register_metric(
    name: str, *, probabilistic: bool = False, interval: bool = False, observing: bool = False
) -> Callable[[Function], Function]:
    """Decorator that makes a function available as `evaluate(…, metrics=(name,))`.

    **Arguments:** `name`: the name of the metric. `probabilistic`: True if the metric calls `forecast.crps`, `forecast.interval`
    or `forecast.spread`; it is then left out for surrogates without `std` or `samples`, which the table notes. `interval`:
    True if it calls `forecast.interval(0.9)` alone; it then serves surrogates with calibrated intervals (`conformal`) as well.
    `observing`: True if it reads the `misfit` of a `SampleForecast`.

    A function that is defined again, as in a notebook cell that is run again, replaces its former self.

    **Raises:** `ValueError` for a name that is taken by another function.

    **Example:**

        >>> @sx.metrics.register_metric("docs_bias")
        ... def bias(forecast, reference, weights, domain):
        ...     return (weights[..., None] * (forecast.value - reference)).reshape(-1, reference.shape[-1]).sum(0)
        >>> table = sx.evaluate({"mean": sx.MeanField(task)}, ds, metrics="docs_bias", timing=False)
        >>> abs(table.value("mean", metric="docs_bias")) < 1e-3
        True
    """

    def decorate(function: Function) -> Function:
        known = _METRICS.get(name)
        if known is not None and _place(known.function) != _place(function):
            raise ValueError(f"the metric {name!r} exists already; choose another name")
        _METRICS[name] = Metric(function, probabilistic or interval or observing, interval, observing)
        return function

    return decorate


def _place(function: Function) -> tuple[str, str]:
    return function.__module__, function.__qualname__


def find_metric(name: str) -> Metric:
    """The metric with this name. **Raises:** `ValueError` for an unknown name.

    **Example:**

        >>> sx.metrics.find_metric("crps").probabilistic
        True
    """
    if name not in _METRICS:
        raise ValueError(f"unknown metric {name!r}; known: {known_metrics()}")
    return _METRICS[name]


def known_metrics() -> list[str]:
    """Names of all registered metrics, sorted.

    **Example:**

        >>> sorted(sx.metrics.known_metrics())[:4]
        ['band_90', 'blow_up', 'correlation', 'coverage_90']
    """
    return sorted(_METRICS)


@register_metric("rel_l2")
def rel_l2(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """‖u − v‖ / ‖v‖ in L2, with quadrature weights.

    **Example:**

        >>> bool(sx.evaluate({"mean": sx.MeanField(task)}, ds, metrics="rel_l2", timing=False).value("mean") < 0.5)
        True
    """
    return relative_l2_per_channel(forecast.value, reference, weights)


@register_metric("rel_l2_unweighted")
def rel_l2_unweighted(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """√Σ(u − v)² / √Σv² with equal weights at all real points, as neuraloperator and PDEBench compute it.

    **Example:**

        >>> table = sx.evaluate({"mean": sx.MeanField(task)}, ds, metrics="rel_l2_unweighted", timing=False)
        >>> bool(table.value("mean", metric="rel_l2_unweighted") < 1)
        True
    """
    u = forecast.value
    return relative_l2_per_channel(u, reference, (weights > 0).astype(u.dtype))


@register_metric("rel_h1")
def rel_h1(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """‖u − v‖_{H¹} / ‖v‖_{H¹}, with gradients by second-order differences. It needs a grid.

    **Example:**

        >>> table = sx.evaluate({"mean": sx.MeanField(task)}, ds, metrics=["rel_l2", "rel_h1"], timing=False)
        >>> bool(table.value("mean", metric="rel_h1") > table.value("mean", metric="rel_l2"))   # derivatives are worse
        True
    """
    grid, u = domain.as_grid("rel_h1"), forecast.value
    periodic = tuple(layout == "periodic" for layout in grid.layouts)
    return jnp.stack(
        [
            relative_h1(u[..., c : c + 1], reference[..., c : c + 1], weights, grid.spacing, periodic)
            for c in range(u.shape[-1])
        ]
    )


@register_metric("rmse")
def rmse(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """√(∫ (u − v)² / volume), in the units of the field.

    **Example:**

        >>> float(sx.evaluate({"mean": sx.MeanField(task)}, ds, metrics="rmse", timing=False).value("mean", metric="rmse")) < 1
        True
    """
    return jnp.sqrt(squared_l2(forecast.value - reference, weights) / weights.sum())


@register_metric("max_error")
def max_error(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """max |u − v| / max |v|.

    **Example:**

        >>> table = sx.evaluate({"mean": sx.MeanField(task)}, ds, metrics=["rmse", "max_error"], timing=False)
        >>> bool(table.value("mean", metric="max_error") > table.value("mean", metric="rmse"))
        False
    """
    u, real = forecast.value, (weights > 0)[..., None]
    peak = lambda x: jnp.where(real, jnp.abs(x), 0).reshape(-1, x.shape[-1]).max(0)  # noqa: E731
    return peak(u - reference) / peak(reference)


@register_metric("vrmse")
def vrmse(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """√(mean (u − v)² / (var v + 1e-7)), with Bessel's correction in the variance: The Well's VRMSE.

    **Example:**

        >>> table = sx.evaluate({"mean": sx.MeanField(task)}, ds, metrics="vrmse", timing=False)
        >>> bool(0.5 < table.value("mean", metric="vrmse") < 1.5)                         # 1: as bad as the mean of the field
        True
    """
    u, real = forecast.value, (weights > 0)[..., None]
    n = real.sum()
    mean = jnp.where(real, reference, 0).reshape(-1, u.shape[-1]).sum(0) / n
    spread = jnp.where(real, (reference - mean) ** 2, 0).reshape(-1, u.shape[-1]).sum(0) / (n - 1)
    error = jnp.where(real, (u - reference) ** 2, 0).reshape(-1, u.shape[-1]).sum(0) / n
    return jnp.sqrt(error / (spread + 1e-7))


@register_metric("correlation")
def correlation(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """∫ (u − ū)(v − v̄) / √(∫ (u − ū)² ∫ (v − v̄)²), with means ū and v̄ over the points; 0 where a field is constant or not
    finite. See `Table.correlation_time`.

    **Example:**

        >>> table = sx.evaluate({"mean": sx.MeanField(task)}, ds, metrics="correlation", timing=False)
        >>> bool(table.value("mean", metric="correlation") < 1)
        True
    """
    u, v = (x - _mean(x, weights) for x in (forecast.value, reference))
    size = jnp.sqrt(_mean(u**2, weights) * _mean(v**2, weights))
    found = _mean(u * v, weights) / jnp.where(size > 0, size, 1)
    return jnp.where(jnp.isfinite(found), found, 0)


@register_metric("blow_up")
def blow_up(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """1 if the prediction has a value that is not finite, or more than 100 times the largest of the truth; else 0. Its mean over
    samples is the share of rollouts that have blown up.

    **Example:**

        >>> table = sx.evaluate({"mean": sx.MeanField(task)}, ds, metrics="blow_up", timing=False)
        >>> table.value("mean", metric="blow_up")
        0.0
    """
    real = (weights > 0)[..., None]
    size = jnp.where(real, jnp.abs(forecast.value), 0).reshape(-1, reference.shape[-1]).max(0)
    largest = jnp.where(real, jnp.abs(reference), 0).reshape(-1, reference.shape[-1]).max(0)
    return jnp.where(jnp.isfinite(size) & (size <= 100 * largest), 0.0, 1.0).astype(reference.dtype)


@register_metric("crps", probabilistic=True)
def crps(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """∫ CRPS / volume, in the units of the field. For a forecast without spread it is the mean absolute error.

    **Example:**

        >>> members = sx.Ensemble(tuple(sx.FNO(task, width=4, modes=4, depth=1, key=k) for k in jax.random.split(key, 2)))
        >>> bool(sx.evaluate({"ensemble": members}, ds, metrics="crps", timing=False).value("ensemble", metric="crps") > 0)
        True
    """
    return _mean(forecast.crps(reference), weights)


@register_metric("coverage_90", interval=True)
def coverage_90(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """Fraction of the volume in which the truth is inside the central 90 % interval; 0.9 for a calibrated forecast.

    **Example:**

        >>> members = sx.Ensemble(tuple(sx.FNO(task, width=4, modes=4, depth=1, key=k) for k in jax.random.split(key, 2)))
        >>> table = sx.evaluate({"ensemble": members}, ds, metrics="coverage_90", timing=False)
        >>> bool(0 <= table.value("ensemble", metric="coverage_90") <= 1)
        True
    """
    low, high = forecast.interval(0.9)
    return _mean(((low <= reference) & (reference <= high)).astype(reference.dtype), weights)


@register_metric("simultaneous_90", interval=True)
def simultaneous_90(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """1 if the truth is inside the 90 % interval at every point, else 0: the mean over samples of a simultaneous band is 0.9.

    **Example:**

        >>> band = sx.conformal(sx.MeanField(task), ds, level=0.9)
        >>> table = sx.evaluate({"band": band}, ds, metrics="simultaneous_90", timing=False)
        >>> bool(table.value("band", metric="simultaneous_90") >= 0.9)
        True
    """
    low, high = forecast.interval(0.9)
    inside = ((low <= reference) & (reference <= high)) | (weights == 0)[..., None]
    return inside.reshape(-1, reference.shape[-1]).all(0).astype(reference.dtype)


@register_metric("width_90", interval=True)
def width_90(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """∫ (width of the 90 % interval) / volume, in the units of the field. Of two that cover alike the narrower one is better.

    **Example:**

        >>> members = sx.Ensemble(tuple(sx.FNO(task, width=4, modes=4, depth=1, key=k) for k in jax.random.split(key, 2)))
        >>> bool(sx.evaluate({"both": members}, ds, metrics="width_90", timing=False).value("both", metric="width_90") > 0)
        True
    """
    low, high = forecast.interval(0.9)
    return _mean(high - low, weights)


@register_metric("spread", probabilistic=True)
def spread(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """√(∫ std² / volume), in the units of the field. For a calibrated forecast it equals the `rmse`.

    **Example:**

        >>> members = sx.Ensemble(tuple(sx.FNO(task, width=4, modes=4, depth=1, key=k) for k in jax.random.split(key, 2)))
        >>> table = sx.evaluate({"ensemble": members}, ds, metrics="spread", timing=False)
        >>> bool(table.value("ensemble", metric="spread") > 0)
        True
    """
    return jnp.sqrt(_mean(forecast.spread() ** 2, weights))


@register_metric("band_90", probabilistic=True)
def band_90(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """1 if the truth is inside the simultaneous 90 % band at every point, else 0; 0.9 on average for a calibrated forecast.

    The band is that of `forecast.deviation`: as wide, in standard deviations, as the largest deviation of 90 % of the draws, of
    which it needs ten or more. A forecast by mean and standard deviation alone has no such band, and gives NaN."""
    level = forecast.deviation(reference, weights)
    return jnp.where(jnp.isnan(level), jnp.nan, (level <= 0.9).astype(reference.dtype))


@register_metric("data_misfit", observing=True)
def data_misfit(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """The mean square of the residuals of the draws, in units of the errors of the observations, the same for all channels. The
    truth has 1; draws of the right posterior at most 2, less their freedom."""
    return jnp.broadcast_to(forecast.misfit, reference.shape[-1:])


def _mean(values: Float[Array, "*space c"], weights: Float[Array, "*space"]) -> Float[Array, " c"]:
    """Weighted mean over the points. Points of weight zero are ignored, even if their values are not finite."""
    w = weights[..., None]
    return (w * jnp.where(w > 0, values, 0)).reshape(-1, values.shape[-1]).sum(0) / weights.sum()
