"""Metrics of one prediction in physical units. Every definition is written once, here; losses share the norms beneath.

A metric is `metric(forecast, reference, weights, domain) -> (c,)`, one value per channel: `forecast.value` and `reference` are
`(*space, c)`, `weights` quadrature weights `(*space)` that vanish at padded points, `domain` where the points are. Tables
average metrics over samples.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.domains import AbstractDomain
from ...solvers.kernels.norms import relative_h1, relative_l2_per_channel, squared_l2
from .forecast import AbstractForecast

Function = Callable[[AbstractForecast, Array, Array, AbstractDomain], Float[Array, " c"]]


class Metric(NamedTuple):
    """**Fields:** `function`; `probabilistic`, whether it asks for the forecast's uncertainty."""

    function: Function
    probabilistic: bool = False


_METRICS: dict[str, Metric] = {}


def register_metric(name: str, *, probabilistic: bool = False) -> Callable[[Function], Function]:
    """Decorator: make a function available as `evaluate(…, metrics=(name,))`.

    **Arguments:** `probabilistic`: the metric reads `forecast.crps`, `forecast.interval` or `forecast.spread`. It is left out,
    and the table says so, for surrogates without `std` or `samples`.

    **Raises:** `ValueError` for a name that is taken.
    """

    def decorate(function: Function) -> Function:
        if name in _METRICS:
            raise ValueError(f"the metric {name!r} exists already; choose another name")
        _METRICS[name] = Metric(function, probabilistic)
        return function

    return decorate


def find_metric(name: str) -> Metric:
    """The registered metric. **Raises:** `ValueError` for an unknown name."""
    if name not in _METRICS:
        raise ValueError(f"unknown metric {name!r}; known: {known_metrics()}")
    return _METRICS[name]


def known_metrics() -> list[str]:
    """Names of all metrics."""
    return sorted(_METRICS)


@register_metric("rel_l2")
def rel_l2(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """‖u − v‖ / ‖v‖ with quadrature weights, per sample and channel."""
    return relative_l2_per_channel(forecast.value, reference, weights)


@register_metric("rel_l2_unweighted")
def rel_l2_unweighted(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """√Σ(u − v)² / √Σv² with every real point counted alike: the value that neuraloperator and PDEBench print."""
    u = forecast.value
    return relative_l2_per_channel(u, reference, (weights > 0).astype(u.dtype))


@register_metric("rel_h1")
def rel_h1(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """‖u − v‖_{H¹} / ‖v‖_{H¹} with second-order differences; grids only."""
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
    """√(∫(u − v)² / volume)."""
    return jnp.sqrt(squared_l2(forecast.value - reference, weights) / weights.sum())


@register_metric("max_error")
def max_error(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """max |u − v| / max |v|."""
    u, real = forecast.value, (weights > 0)[..., None]
    peak = lambda x: jnp.where(real, jnp.abs(x), 0).reshape(-1, x.shape[-1]).max(0)  # noqa: E731
    return peak(u - reference) / peak(reference)


@register_metric("vrmse")
def vrmse(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """√(mean (u − v)² / (var v + 1e-7)), variance with Bessel's correction: The Well's VRMSE."""
    u, real = forecast.value, (weights > 0)[..., None]
    n = real.sum()
    mean = jnp.where(real, reference, 0).reshape(-1, u.shape[-1]).sum(0) / n
    spread = jnp.where(real, (reference - mean) ** 2, 0).reshape(-1, u.shape[-1]).sum(0) / (n - 1)
    error = jnp.where(real, (u - reference) ** 2, 0).reshape(-1, u.shape[-1]).sum(0) / n
    return jnp.sqrt(error / (spread + 1e-7))


@register_metric("crps", probabilistic=True)
def crps(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """∫ CRPS / volume, in the field's units: the mean absolute error for a distribution without spread."""
    return _mean(forecast.crps(reference), weights)


@register_metric("coverage_90", probabilistic=True)
def coverage_90(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """Share of the volume where the truth is inside the central 90 % interval; 0.9 if the forecast is calibrated."""
    low, high = forecast.interval(0.9)
    return _mean(((low <= reference) & (reference <= high)).astype(reference.dtype), weights)


@register_metric("spread", probabilistic=True)
def spread(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """√(∫ std² / volume): equals the `rmse` if the forecast is calibrated."""
    return jnp.sqrt(_mean(forecast.spread() ** 2, weights))


def _mean(values: Float[Array, "*space c"], weights: Float[Array, "*space"]) -> Float[Array, " c"]:
    """Weighted mean over the points; those of weight zero are ignored even where they are not finite."""
    w = weights[..., None]
    return (w * jnp.where(w > 0, values, 0)).reshape(-1, values.shape[-1]).sum(0) / weights.sum()
