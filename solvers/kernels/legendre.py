"""Orthonormal polynomials on an interval (Legendre's) and their derivatives, at any points."""

from types import ModuleType

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def polynomials(
    number: int, t: Float[Array | np.ndarray, "*points"], length: float, order: int = 0
) -> Float[Array | np.ndarray, "*points n"]:
    """The derivative of the given `order` of √((2j + 1)/L) P_j(2t/L − 1), j < `number`, at points t of (0, L), `(*points,
    number)`. NumPy points give NumPy values.

    (j + 1) P_{j+1} = (2j + 1) x P_j − j P_{j−1}; derivatives are sums of polynomials of lower degree.
    """
    xp: ModuleType = np if isinstance(t, np.ndarray) else jnp
    x = 2 * t / length - 1
    values = [xp.ones_like(x), x]
    for j in range(1, number - 1):
        values.append(((2 * j + 1) * x * values[j] - j * values[j - 1]) / (j + 1))
    found, norms = xp.stack(values[:number], -1), np.sqrt((2 * np.arange(number) + 1) / length)
    if not order:
        return found * norms.astype(found.dtype)
    # Column j holds the derivative of P_j as a sum of the others.
    derivative = np.zeros((number, number))
    for j in range(1, number):
        below = np.polynomial.legendre.legder(np.eye(j + 1)[j], order)
        derivative[: len(below), j] = below
    return found @ (derivative * norms * (2 / length) ** order).astype(found.dtype)


def gauss_points(number: int, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of Gauss's rule on (0, L), exact for polynomials of degree 2 · `number` − 1."""
    x, w = np.polynomial.legendre.leggauss(number)
    return (x + 1) * length / 2, w * length / 2
