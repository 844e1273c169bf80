"""How large a solution is, and how well points resolve its waves."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.domains import Box
from ...solvers.pde.pointwise_derivatives import Jets
from .collocation import Collocation
from .trial_functions import Multiple
from .trial_surrogate import TrialSurrogate


def trial_size(residuals: Callable[[TrialSurrogate], Array], model: TrialSurrogate) -> float:
    """About how large the trial function N must be: its size when it changes the residual by as much as the residual is at N = 0.

    Waves that N does not have at first make this too large, by a factor of their number to the order of the equation. 0 if the
    residual vanishes there, infinite if N does not change it.
    """

    def residual(factor):
        return residuals(eqx.tree_at(lambda m: m.function, model, Multiple(model.function, factor)))

    start, slope = jax.jit(lambda: jax.jvp(residual, (jnp.zeros(()),), (jnp.ones(()),)))()
    at_zero, along = (float(np.linalg.norm(np.asarray(x, np.float64))) for x in (start, slope))
    return at_zero / along if along else float("inf")


def points_per_wave(jets: Callable[[Collocation], Jets], rows: Collocation, number: int, box: Box) -> Float[Array, ""]:
    """Of `number` uniform points in a box of d axes those along one wave of the unknown whose waves are shortest:
    (number ∏ 2π / (k L))^(1/d), with k² = mean u_x² / var u along an axis of length L, or one wave where k L is less than 2π.

    **Arguments:** `jets`: the unknowns at a point; `rows`: uniform points for the means.
    """
    names = tuple(axis.name for axis in box.axes)

    def one(row):
        return jnp.stack([jnp.stack([u.value, *(u.partial(name) for name in names)]) for u in jets(row).values()])

    found = jax.vmap(one)(rows)
    tiny = jnp.finfo(found.dtype).tiny
    waves = jnp.sqrt((found[..., 1:] ** 2).mean(0) / jnp.maximum(found[..., 0].var(0), tiny)[:, None])
    lengths = jnp.asarray([axis.length for axis in box.axes], found.dtype)
    share = jnp.prod(2 * jnp.pi / jnp.maximum(waves * lengths, 2 * jnp.pi), axis=-1)
    return (number * share.min()) ** (1 / len(names))
