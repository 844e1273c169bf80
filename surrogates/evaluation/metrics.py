"""Metrics of one prediction in physical units. Every definition stands here once; losses share the norms beneath.

Each is `metric(u, reference, weights, grid) -> (c,)` on `(*space, c)`, one value per channel; `weights` are quadrature
weights (zero at padded points), `grid` None for point clouds. Tables average them over samples.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.domains import Grid
from ...solvers.kernels.norms import relative_h1, relative_l2_per_channel, squared_l2


def rel_l2(u, reference, weights, grid: Grid | None = None) -> Float[Array, " c"]:
    """‖u − v‖ / ‖v‖ with quadrature weights, per sample and channel."""
    return relative_l2_per_channel(u, reference, weights)


def rel_l2_unweighted(u, reference, weights, grid: Grid | None = None) -> Float[Array, " c"]:
    """√Σ(u − v)² / √Σv² with every real point counted alike: the value that neuraloperator and PDEBench print."""
    return relative_l2_per_channel(u, reference, (weights > 0).astype(u.dtype))


def rel_h1(u, reference, weights, grid: Grid | None = None) -> Float[Array, " c"]:
    """‖u − v‖_{H¹} / ‖v‖_{H¹} with second-order differences; grids only."""
    if grid is None:
        raise ValueError("rel_h1 needs a grid")
    periodic = tuple(layout == "periodic" for layout in grid.layouts)
    return jnp.stack(
        [
            relative_h1(u[..., c : c + 1], reference[..., c : c + 1], weights, grid.spacing, periodic)
            for c in range(u.shape[-1])
        ]
    )


def rmse(u, reference, weights, grid: Grid | None = None) -> Float[Array, " c"]:
    """√(∫(u − v)² / volume)."""
    return jnp.sqrt(squared_l2(u - reference, weights) / weights.sum())


def max_error(u, reference, weights, grid: Grid | None = None) -> Float[Array, " c"]:
    """max |u − v| / max |v|."""
    real = (weights > 0)[..., None]
    peak = lambda x: jnp.where(real, jnp.abs(x), 0).reshape(-1, x.shape[-1]).max(0)  # noqa: E731
    return peak(u - reference) / peak(reference)


def vrmse(u, reference, weights, grid: Grid | None = None) -> Float[Array, " c"]:
    """√(mean (u − v)² / (var v + 1e-7)), variance with Bessel's correction: The Well's VRMSE."""
    real = (weights > 0)[..., None]
    n = real.sum()
    mean = jnp.where(real, reference, 0).reshape(-1, u.shape[-1]).sum(0) / n
    spread = jnp.where(real, (reference - mean) ** 2, 0).reshape(-1, u.shape[-1]).sum(0) / (n - 1)
    error = jnp.where(real, (u - reference) ** 2, 0).reshape(-1, u.shape[-1]).sum(0) / n
    return jnp.sqrt(error / (spread + 1e-7))


METRICS: Mapping[str, Callable] = {f.__name__: f for f in (rel_l2, rel_l2_unweighted, rel_h1, rmse, max_error, vrmse)}
