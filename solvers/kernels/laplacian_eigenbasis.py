"""Orthonormal eigenfunctions of −d²/dx² on an interval, and their derivatives, at any points."""

from types import ModuleType

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.domains import Boundary


def eigenfunctions(
    n_modes: int, x: Float[Array | np.ndarray, "*points"], length: float, boundary: Boundary, order: int = 0
) -> Float[Array | np.ndarray, "*points m"]:
    """The derivative of the given `order` of the first eigenfunctions on (0, length), `(*points, n_modes)`, at the points `x`,
    which are counted from the start of the interval. NumPy points give NumPy values.

    Order of the functions: neumann cos(kπx/L), k = 0, 1, …; dirichlet sin(kπx/L), k = 1, 2, …; periodic 1, cos, sin, cos, sin, …
    of growing frequency.
    """
    xp: ModuleType = np if isinstance(x, np.ndarray) else jnp
    j = np.arange(n_modes)
    if boundary == "neumann":
        frequency, is_cosine = np.pi * j, np.ones(n_modes, bool)
    elif boundary == "dirichlet":
        frequency, is_cosine = np.pi * (j + 1), np.zeros(n_modes, bool)
    else:
        frequency, is_cosine = 2 * np.pi * ((j + 1) // 2), j % 2 == 1
        is_cosine[:1] = True
    scale = np.where(frequency == 0, 1.0, np.sqrt(2))
    angles = frequency * (x[..., None] / length)
    # d/dx turns a cosine into −sine, a sine into a cosine.
    quarter = order + np.where(is_cosine, 0, 3)
    values = xp.where(quarter % 2 == 0, xp.cos(angles), xp.sin(angles))
    sign = np.where(quarter % 4 < 2, 1.0, -1.0) * np.where(quarter % 2 == 1, -1.0, 1.0)
    found = values * (sign * scale) / np.sqrt(length)
    return found * (frequency / length) ** order if order else found


def eigenvalues(n_modes: int, length: float, boundary: Boundary) -> Float[np.ndarray, " m"]:
    """(frequency)² of the functions of `eigenfunctions`, `(n_modes,)`."""
    j = np.arange(n_modes)
    frequency = {"neumann": np.pi * j, "dirichlet": np.pi * (j + 1), "periodic": 2 * np.pi * ((j + 1) // 2)}[boundary]
    return (frequency / length) ** 2


def known_modes(n_points: int, boundary: Boundary) -> int:
    """How many of the functions the natural grid of `n_points` (with both ends for Dirichlet) tells apart."""
    return {"neumann": n_points, "dirichlet": n_points - 2, "periodic": n_points - (n_points % 2 == 0)}[boundary]
