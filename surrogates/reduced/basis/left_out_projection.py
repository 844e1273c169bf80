"""What a POD basis leaves of snapshots that it was not made of, by cross-validation."""

import numpy as np
from jaxtyping import Float


def left_out_rest(
    rows: Float[np.ndarray, "n points"], weights: Float[np.ndarray, " points"], rank: int, folds: int
) -> Float[np.ndarray, "n points"]:
    """u_i − ū − Φ Φᵀ M (u_i − ū) of every row u_i, with the mean ū and the POD basis Φ, of at most `rank` modes, of the rows
    in the
    other folds (every `folds`-th row is a fold). From Gram matrices: modes whose singular value is rounding there, about 1e-7
    of the first, do not count.

    With fewer than 2 rows nothing can be left out, and the rest is zero.
    """
    n = len(rows)
    rest = np.zeros_like(rows)
    if n < 2:
        return rest
    gram = (rows * weights) @ rows.T
    for fold in range(min(folds, n)):
        held = np.arange(n) % min(folds, n) == fold
        own, cross = gram[np.ix_(~held, ~held)], gram[np.ix_(held, ~held)]
        middle = own.mean(0)
        values, vectors = np.linalg.eigh(own - middle - middle[:, None] + own.mean())
        values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
        kept = values > max(values[0], 0) * 10 * n * np.finfo(np.float64).eps
        # Combinations of the rows that are the modes; they sum to zero, so that the mean drops out.
        modes = vectors[:, kept] / np.sqrt(values[kept])
        coefficients = (cross - middle) @ modes
        rest[held] = rows[held] - rows[~held].mean(0) - coefficients @ (modes.T @ rows[~held])
    return rest
