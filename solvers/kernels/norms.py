"""Weighted norms of fields: the one definition that losses, metrics and solvers share.

Fields are `(*space, c)`; `weights` are quadrature weights that broadcast against `(*space)` and vanish on masked points.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def squared_l2(u: Float[Array, "*space c"], weights: Float[Array, "*space"]) -> Float[Array, " c"]:
    """Σ_x w(x) u(x)², per channel: `(c,)`. Points of weight zero are ignored, also by the gradient, even where u is NaN."""
    w = weights[..., None]
    terms = w * jnp.where(w > 0, u, 0) ** 2
    return terms.reshape(-1, u.shape[-1]).sum(0)


def relative_l2(u: Float[Array, "*space c"], reference: Float[Array, "*space c"], weights) -> Float[Array, ""]:
    """‖u − v‖ / ‖v‖ with ‖v‖² = Σ_c Σ_x w v²: all channels of one sample together.

    The derivative at u = v, where the square root has none, is defined as zero.
    """
    return safe_sqrt(squared_l2(u - reference, weights).sum()) / jnp.sqrt(squared_l2(reference, weights).sum())


def relative_l2_per_channel(u, reference, weights) -> Float[Array, " c"]:
    """‖u_c − v_c‖ / ‖v_c‖, one value per channel."""
    return safe_sqrt(squared_l2(u - reference, weights)) / jnp.sqrt(squared_l2(reference, weights))


def gradient(u: Float[Array, "*space c"], spacing, periodic) -> tuple[Float[Array, "*space c"], ...]:
    """∂u/∂x_i by second-order central differences, one-sided of first order at the ends of non-periodic axes."""
    derivatives = []
    for axis, (h, wrap) in enumerate(zip(spacing, periodic, strict=True)):
        if wrap:
            d = (jnp.roll(u, -1, axis) - jnp.roll(u, 1, axis)) / (2 * h)
        else:
            step = jnp.diff(u, axis=axis) / h
            first, last = (jnp.take(step, jnp.array([i]), axis=axis) for i in (0, -1))
            inner = (
                jnp.take(step, jnp.arange(1, step.shape[axis]), axis=axis)
                + jnp.take(step, jnp.arange(step.shape[axis] - 1), axis=axis)
            ) / 2
            d = jnp.concatenate([first, inner, last], axis)
        derivatives.append(d)
    return tuple(derivatives)


def relative_h1(u: Float[Array, "*space c"], reference, weights, spacing, periodic) -> Float[Array, ""]:
    """√(‖e‖² + ‖∇e‖²) / √(‖v‖² + ‖∇v‖²), e = u − v, with the differences of `gradient`."""

    def squared(v):
        return squared_l2(v, weights).sum() + sum(squared_l2(d, weights).sum() for d in gradient(v, spacing, periodic))

    return safe_sqrt(squared(u - reference)) / jnp.sqrt(squared(reference))


def safe_sqrt(x):
    """√x with the derivative 0 at x = 0; 0 below. NaN stays NaN."""
    positive = ~(x <= 0)
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)
