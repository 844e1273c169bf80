"""Fields with and without the nodes on Dirichlet sides, whose values are prescribed."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Shaped

from ...core.domains import Box, Grid


def interior(field: Shaped[Array | np.ndarray, "..."], box: Box) -> Shaped[Array | np.ndarray, "..."]:
    """The unknowns among the values of a field: without the boundary nodes of Dirichlet axes."""
    return field[_inner(box)]


def with_zero_boundary(unknowns: Shaped[Array, "..."], box: Box) -> Shaped[Array, "..."]:
    """The field with these unknowns that is zero on Dirichlet sides."""
    return jnp.pad(unknowns, [(1, 1) if b == "dirichlet" else (0, 0) for b in box.conditions])


def with_boundary(unknowns: Shaped[Array, "..."], values: Shaped[Array, "..."], box: Box) -> Shaped[Array, "..."]:
    """The field with these unknowns that has the values of the field `values` on Dirichlet sides."""
    return values.astype(unknowns.dtype).at[_inner(box)].set(unknowns)


def on_grid(value: ArrayLike, grid: Grid, what: str) -> Shaped[Array, "..."]:
    """A field as it is, a number as a constant field of the default float type.

    **Arguments:** `what`: problem and input, for the message.

    **Raises:** `ValueError` for another shape than that of the grid, which NumPy might repeat along an axis.
    """
    value = jnp.asarray(value)
    if value.shape not in (grid.shape, ()):
        raise ValueError(f"{what} has shape {value.shape}, expected that of the grid {grid.shape}")
    value = value if jnp.issubdtype(value.dtype, jnp.inexact) else value.astype(float)
    return jnp.broadcast_to(value, grid.shape)


def _inner(box: Box) -> tuple[slice, ...]:
    return tuple(slice(1, -1) if b == "dirichlet" else slice(None) for b in box.conditions)
