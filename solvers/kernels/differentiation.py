"""Differentiation of samples along one axis, as a dense matrix: finite differences of any order, and Fourier series."""

import numpy as np
from jaxtyping import Float


def finite_difference_matrix(
    nodes: Float[np.ndarray, " n"], targets: Float[np.ndarray, " m"], order: int, accuracy: int = 6
) -> Float[np.ndarray, "m n"]:
    """The derivative of the given order at `targets` from values at `nodes`, exact for polynomials of degree below
    order + accuracy: each target uses the order + accuracy nodes nearest to it (Fornberg 1988).

    **Arguments:** `nodes`: increasing, not necessarily uniform; `order`: 0 interpolates, or extrapolates to a side.

    **Raises:** `ValueError` for fewer nodes than that.
    """
    width = order + accuracy
    if len(nodes) < width:
        raise ValueError(f"a derivative of order {order} to accuracy {accuracy} needs {width} points, got {len(nodes)}")
    matrix = np.zeros((len(targets), len(nodes)))
    for row, target in zip(matrix, targets, strict=True):
        first = np.clip(np.searchsorted(nodes, target) - width // 2, 0, len(nodes) - width)
        row[first : first + width] = _fornberg(nodes[first : first + width], target, order)
    return matrix


def fourier_matrix(
    nodes: Float[np.ndarray, " n"], targets: Float[np.ndarray, " m"], length: float, order: int
) -> Float[np.ndarray, "m n"]:
    """The derivative of the given order at `targets` of the trigonometric polynomial through values at n uniform `nodes` of
    a period `length`. The wave that alternates from node to node counts as a cosine.
    """
    n = len(nodes)
    modes = np.arange(n // 2 + 1)
    k = 2 * np.pi / length * modes
    shares = np.where((modes == 0) | (2 * modes == n), 1.0, 2.0) / n
    phases = np.exp(1j * k * (targets[:, None, None] - nodes[:, None]))
    return (shares * (1j * k) ** order * phases).sum(-1).real


def _fornberg(nodes: np.ndarray, target: float, order: int) -> np.ndarray:
    """Weights of the derivative at `target` (Fornberg 1988, Math. Comp. 51, 699-706)."""
    weights = np.zeros((len(nodes), order + 1))
    weights[0, 0] = 1.0
    product = 1.0
    for i in range(1, len(nodes)):
        orders = np.arange(min(i, order) + 1)
        before, product = product, np.prod(nodes[i] - nodes[:i])
        last = weights[i - 1].copy()
        for j in range(i):
            old = weights[j].copy()
            weights[j, orders] = ((nodes[i] - target) * old[orders] - orders * old[orders - 1]) / (nodes[i] - nodes[j])
        weights[i, orders] = before / product * (orders * last[orders - 1] - (nodes[i - 1] - target) * last[orders])
    return weights[:, order]
