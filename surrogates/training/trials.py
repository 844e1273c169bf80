"""Several trial moves of which the one with the lowest loss is taken, if it is lower than before."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


def lowest(
    trial: Callable[[Array], tuple[Float[Array, " d"], Float[Array, ""]]], settings: Array, loss: Float[Array, ""]
) -> tuple[Float[Array, " d"], Int[Array, ""], Bool[Array, ""]]:
    """Try all `settings`, each of which `trial` turns into parameters and their loss. A loss that is not finite is infinite.

    **Returns:** the parameters with the lowest loss, the number of their setting, and whether it is lower than `loss`.
    """
    # One trial after the other: batched factorisations on a CPU are slower, and their matrices would all be in memory.
    moved, losses = jax.lax.map(trial, settings)
    losses = jnp.where(jnp.isfinite(losses), losses, jnp.inf)
    best = jnp.argmin(losses)
    return moved[best], best, losses[best] < loss


def dampings_around(memory: Float[Array, ""], trials: int, smallest: float | np.floating) -> Float[Array, " trials"]:
    """Dampings of which each is ten times the one before; the last but one, of two the last, is that of `memory`."""
    return jnp.maximum(memory * 10.0 ** (jnp.arange(trials) - (trials - 2 if trials > 2 else trials - 1)), smallest)


def next_damping(
    memory: Float[Array, ""], tried: Float[Array, ""], accepted: Bool[Array, ""], trials: int
) -> Float[Array, ""]:
    """The damping to remember: that of an accepted step, a tenth of it where none below was tried; else one beyond all that
    were tried, at most 1e6."""
    after = tried / 10 if trials == 1 else tried
    return jnp.where(accepted, after, jnp.minimum(memory * 10.0 ** (max(trials - 1, 1)), 1e6)).astype(memory.dtype)


def on_new_points(memory: Float[Array, ""]) -> Float[Array, ""]:
    """The damping with which new points begin, at most 1: it may have grown far beyond on points that were solved."""
    return jnp.minimum(memory, 1)
