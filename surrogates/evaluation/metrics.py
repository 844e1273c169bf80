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

    **Fields:** `function`, the metric itself; `probabilistic`, whether it needs the uncertainty of the forecast.
    """

    function: Function
    probabilistic: bool = False


_METRICS: dict[str, Metric] = {}


@checked
def register_metric(name: str, *, probabilistic: bool = False) -> Callable[[Function], Function]:
    """Decorator that makes a function available as `evaluate(…, metrics=(name,))`.

    **Arguments:** `name`: the name of the metric. `probabilistic`: True if the metric calls `forecast.crps`, `forecast.interval`
    or `forecast.spread`; it is then left out for surrogates without `std` or `samples`, which the table notes.

    A function that is defined again, as in a notebook cell that is run again, replaces its former self.

    **Raises:** `ValueError` for a name that is taken by another function.
    """

    def decorate(function: Function) -> Function:
        known = _METRICS.get(name)
        if known is not None and _place(known.function) != _place(function):
            raise ValueError(f"the metric {name!r} exists already; choose another name")
        _METRICS[name] = Metric(function, probabilistic)
        return function

    return decorate


def _place(function: Function) -> tuple[str, str]:
    return function.__module__, function.__qualname__


def find_metric(name: str) -> Metric:
    """The metric with this name. **Raises:** `ValueError` for an unknown name."""
    if name not in _METRICS:
        raise ValueError(f"unknown metric {name!r}; known: {known_metrics()}")
    return _METRICS[name]


def known_metrics() -> list[str]:
    """Names of all registered metrics, sorted."""
    return sorted(_METRICS)


@register_metric("rel_l2")
def rel_l2(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """‖u − v‖ / ‖v‖ in L2, with quadrature weights."""
    return relative_l2_per_channel(forecast.value, reference, weights)


@register_metric("rel_l2_unweighted")
def rel_l2_unweighted(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """√Σ(u − v)² / √Σv² with equal weights at all real points, as neuraloperator and PDEBench compute it."""
    u = forecast.value
    return relative_l2_per_channel(u, reference, (weights > 0).astype(u.dtype))


@register_metric("rel_h1")
def rel_h1(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """‖u − v‖_{H¹} / ‖v‖_{H¹}, with gradients by second-order differences. It needs a grid."""
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
    """√(∫ (u − v)² / volume), in the units of the field."""
    return jnp.sqrt(squared_l2(forecast.value - reference, weights) / weights.sum())


@register_metric("max_error")
def max_error(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """max |u − v| / max |v|."""
    u, real = forecast.value, (weights > 0)[..., None]
    peak = lambda x: jnp.where(real, jnp.abs(x), 0).reshape(-1, x.shape[-1]).max(0)  # noqa: E731
    return peak(u - reference) / peak(reference)


@register_metric("vrmse")
def vrmse(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """√(mean (u − v)² / (var v + 1e-7)), with Bessel's correction in the variance: The Well's VRMSE."""
    u, real = forecast.value, (weights > 0)[..., None]
    n = real.sum()
    mean = jnp.where(real, reference, 0).reshape(-1, u.shape[-1]).sum(0) / n
    spread = jnp.where(real, (reference - mean) ** 2, 0).reshape(-1, u.shape[-1]).sum(0) / (n - 1)
    error = jnp.where(real, (u - reference) ** 2, 0).reshape(-1, u.shape[-1]).sum(0) / n
    return jnp.sqrt(error / (spread + 1e-7))


@register_metric("crps", probabilistic=True)
def crps(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """∫ CRPS / volume, in the units of the field. For a forecast without spread it is the mean absolute error."""
    return _mean(forecast.crps(reference), weights)


@register_metric("coverage_90", probabilistic=True)
def coverage_90(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """Fraction of the volume in which the truth is inside the central 90 % interval; 0.9 for a calibrated forecast."""
    low, high = forecast.interval(0.9)
    return _mean(((low <= reference) & (reference <= high)).astype(reference.dtype), weights)


@register_metric("spread", probabilistic=True)
def spread(forecast, reference, weights, domain) -> Float[Array, " c"]:
    """√(∫ std² / volume), in the units of the field. For a calibrated forecast it equals the `rmse`."""
    return jnp.sqrt(_mean(forecast.spread() ** 2, weights))


def _mean(values: Float[Array, "*space c"], weights: Float[Array, "*space"]) -> Float[Array, " c"]:
    """Weighted mean over the points. Points of weight zero are ignored, even if their values are not finite."""
    w = weights[..., None]
    return (w * jnp.where(w > 0, values, 0)).reshape(-1, values.shape[-1]).sum(0) / weights.sum()
