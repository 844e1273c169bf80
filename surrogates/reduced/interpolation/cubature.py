"""Empirical cubature: sums over all elements replaced by weighted sums over few."""

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import solve_triangular

from ....core.arguments import checked
from ....core.storage import register
from .eim import AnyArray


@register("Cubature")
class Cubature(eqx.Module):
    """Σ_e g_e ≈ Σ_k w_k g_{e_k} with positive weights on few elements.

    **Fields:** `elements` `(k,)` in increasing order, `weights` `(k,)`, `error` ‖G w − b‖ / ‖b‖ on the training data,
    `iterations`.

    **Example:**

        >>> rule = sx.reduced.empirical_cubature(np.stack([np.linspace(0, 1, 40) ** k for k in range(4)]), rtol=1e-6)
        >>> rule.elements.shape == rule.weights.shape
        True
    """

    elements: Int[AnyArray, " k"]
    weights: Float[AnyArray, " k"]
    error: float
    iterations: int


@checked
def empirical_cubature(
    integrands: Float[AnyArray, "rows elements"],
    total: Float[AnyArray, " rows"] | None = None,
    *,
    rtol: float = 1e-3,
    volumes: Float[AnyArray, " elements"] | None = None,
    max_elements: int | None = None,
) -> Cubature:
    """Sparse w ≥ 0 with ‖G w − b‖ ≤ rtol ‖b‖: energy-conserving sampling and weighting (ECSW), empirical cubature (ECM).

    Row j of G holds the contribution of every element to one integral, such as φ_iᵀ r_e(u_s) for all modes i and
    training solutions s; b = G 1 are the full sums. Non-negative least squares by the active-set method of Lawson and
    Hanson, ended as soon as the tolerance is met: the earlier, the fewer elements. In float64 NumPy, as the set changes
    from step to step. Positive weights keep symmetry, definiteness and the sign of energies of the full sum.

    **Arguments:**

    - `integrands`: G. More rows than elements are first compressed by QR, which changes nothing.
    - `total`: b, by default the row sums of G.
    - `rtol`: 1e-2 to 1e-6; at most as many elements as independent rows are kept.
    - `volumes`: |e|; adds the equation Σ w_e |e| = Σ |e| (the integral of 1) with the weight of all others together, so that
      it holds to `rtol`, too. `error` is without it.
    - `max_elements`: stop at that many, with the `error` reached.

    **Raises:** `ValueError` for NaN, a zero b, or a tolerance that no w ≥ 0 meets, naming the error that is reached.

    Source: Farhat, Chapman, Avery (2015), Structure-preserving, stability, and accuracy properties of the energy-conserving
    sampling and weighting method; Hernández, Caicedo, Ferrer (2017), Dimensional hyper-reduction by empirical cubature.

    **Example:**

        >>> integrands = np.stack([np.linspace(0, 1, 40) ** k for k in range(4)])              # rows, elements
        >>> rule = sx.reduced.empirical_cubature(integrands, rtol=1e-6)
        >>> len(rule.elements) <= 8, bool((rule.weights > 0).all())
        (True, True)
    """
    rows = g = np.asarray(integrands, np.float64)
    sums = b = g.sum(1) if total is None else np.asarray(total, np.float64)
    if not (np.isfinite(g).all() and np.isfinite(b).all()):
        raise ValueError("empirical_cubature: the integrands hold NaN or infinity")
    size = float(np.linalg.norm(b))
    if size == 0:
        raise ValueError("empirical_cubature: all sums are zero; a residual at a solution is, give its parts instead")
    if volumes is not None:
        g = np.vstack([g, size * np.asarray(volumes) / np.sum(volumes)])
        b = np.append(b, size)
    if g.shape[0] > g.shape[1]:
        triangle = np.linalg.qr(np.column_stack([g, b]))[1]
        g, b = triangle[:, :-1], triangle[:, -1]
    limit = min(g.shape) if max_elements is None else max_elements
    weights, iterations = _nnls(g, b, rtol * size, limit)
    (elements,) = np.nonzero(weights)
    reached = np.linalg.norm(g @ weights - b) / size
    if reached > rtol and (max_elements is None or len(elements) < max_elements):
        raise ValueError(
            f"empirical_cubature: no non-negative weights reach rtol={rtol:.1e}, the best error is {reached:.1e}; "
            "use a larger rtol"
        )
    error = float(np.linalg.norm(rows @ weights - sums) / size)
    return Cubature(elements, weights[elements], error, iterations)


def _nnls(g, b, tolerance: float, limit: int) -> tuple[np.ndarray, int]:
    """Lawson and Hanson on columns of unit norm, with the thin QR factors of the chosen ones, to ‖g w − b‖ ≤ tolerance."""
    scale = np.linalg.norm(g, axis=0)
    w, chosen, iterations = np.zeros(g.shape[1]), [], 0
    q, r = np.zeros((len(g), 0)), np.zeros((0, 0))
    residual, refused = b, scale == 0
    # Every column is chosen about once; ten times as many steps mean a cycle caused by rounding.
    while np.linalg.norm(residual) > tolerance and len(chosen) < limit and iterations < 10 * len(w):
        gain = np.where(refused, 0.0, residual @ g / np.where(scale > 0, scale, 1))
        gain[chosen] = 0.0
        new = int(np.argmax(gain))
        if gain[new] <= 1e-14 * np.linalg.norm(b):
            break
        iterations += 1
        coordinates, rest = _orthogonal(q, g[:, new])
        height = np.linalg.norm(rest)
        # The column depends on the chosen ones, or its gain is positive by rounding alone: it lowers nothing.
        if height <= 1e-12 * scale[new] or rest @ residual <= 0:
            refused[new] = True
            continue
        chosen.append(new)
        q = np.column_stack([q, rest / height])
        r = np.block([[r, coordinates[:, None]], [np.zeros((1, len(r))), height]])
        while (trial := solve_triangular(r, q.T @ b)).min() <= 0:
            w, chosen, q, r = _step_to_bound(w, trial, chosen, q, r)
        w = np.zeros_like(w)
        w[chosen] = trial
        residual, refused = b - g @ w, scale == 0
    return w, iterations


def _step_to_bound(w, trial, chosen, q, r):
    """Move from w towards the trial as far as all weights stay non-negative; columns whose weight becomes zero leave the set."""
    old = w[chosen]
    falling = trial <= 0
    ratios = np.where(falling, old / np.where(falling, np.maximum(old - trial, np.finfo(float).tiny), 1), np.inf)
    values = old + ratios.min() * (trial - old)
    stay = (values > 0) & (ratios > ratios.min())
    w = np.zeros_like(w)
    chosen = [c for c, kept in zip(chosen, stay, strict=True) if kept]
    w[chosen] = values[stay]
    rotation, r = np.linalg.qr(r[:, stay])
    return w, chosen, q @ rotation, r


def _orthogonal(q, column):
    """Coordinates in orthonormal q and the rest, by Gram-Schmidt twice."""
    first = q.T @ column
    rest = column - q @ first
    second = q.T @ rest
    return first + second, rest - q @ second
