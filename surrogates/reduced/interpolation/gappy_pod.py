"""Gappy POD: a whole field from few of its entries."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Int, Num

from ....core.arguments import checked
from ....core.storage import register
from .eim import AnyArray, checked_modes, current, q_deim


@register("GappyPOD")
class GappyPOD(eqx.Module):
    """u ≈ Φ c with c = argmin ‖P Φ c − u(points)‖₂: a field in the span of modes from some of its entries.

    Works under jit, vmap and grad. **Fields:** `modes` `(points, r)`, `points` `(m,)` with m ≥ r, `inverse` `(r, m)` the
    pseudo-inverse of P Φ, `amplification` its norm: for orthonormal modes, errors of the entries are multiplied by at
    most that, and the error is at most `amplification` times that of the projection.

    **Example:**

        >>> modes = sx.reduced.pod(np.exp(-np.linspace(1, 5, 20)[:, None] * np.linspace(0, 1, 50)), rank=3).modes
        >>> gappy = sx.reduced.gappy_pod(modes, points=[0, 10, 20, 30, 40])
        >>> gappy.inverse.shape
        (3, 5)
    """

    modes: Inexact[AnyArray, "points r"]
    points: Int[AnyArray, " m"]
    inverse: Inexact[AnyArray, "r m"]
    amplification: float

    def __call__(self, values: Inexact[AnyArray, " m"]) -> Inexact[Array, " points"]:
        """The whole field from its entries at `points`."""
        return jnp.matmul(current(self.modes), self.coefficients(values), precision="highest")

    def coefficients(self, values: Inexact[AnyArray, " m"]) -> Inexact[Array, " r"]:
        """Coefficients c in the modes."""
        return jnp.matmul(current(self.inverse), current(values), precision="highest")


@checked
def gappy_pod(
    modes: Num[AnyArray, "points r"],
    points: Num[AnyArray, " m"] | Sequence[int] | None = None,
    *,
    count: int | None = None,
) -> GappyPOD:
    """Gappy POD at given `points`, or at `count` ≥ r points chosen here: those of `q_deim`, then one after the other the
    point that raises the smallest singular value of P Φ most, by the lower bound of its eigenvalue update (2 r are good).

    **Raises:** `ValueError` for NaN, if the points do not determine the coefficients, or unless one of `points`, `count` is
    given.

    Source: Everson and Sirovich (1995); choice of points: Peherstorfer, Drmač, Gugercin (2020), Stability of discrete
    empirical interpolation and gappy proper orthogonal decomposition with randomized and deterministic sampling points.

    **Example:**

        >>> basis = sx.reduced.pod(np.exp(-np.linspace(1, 5, 20)[:, None] * np.linspace(0, 1, 50)), rank=3)
        >>> gappy = sx.reduced.gappy_pod(basis.modes, count=6)
        >>> gappy.points.shape, gappy.amplification < 10
        ((6,), True)
    """
    modes, _ = checked_modes(modes, "gappy_pod")
    if points is None and count is not None:
        points = _oversampled(modes, count)
    elif points is None or count is not None:
        raise ValueError("gappy_pod: give either points or count")
    points = np.asarray(points)
    if (
        points.ndim != 1
        or points.dtype.kind not in "iu"
        or not points.size
        or points.min() < 0
        or points.max() >= len(modes)
    ):
        raise ValueError(f"gappy_pod: points {points}; expected indices from 0 to {len(modes) - 1}")
    u, sigma, vh = np.linalg.svd(modes[points], full_matrices=False)
    if len(points) < modes.shape[1] or not sigma[-1] > 1e-13 * sigma[0]:
        raise ValueError(
            f"gappy_pod: {len(points)} points do not determine {modes.shape[1]} coefficients; take more or other points"
        )
    return GappyPOD(modes, points, (vh.conj().T / sigma) @ u.conj().T, float(1 / sigma[-1]))


def _oversampled(modes, count: int) -> Int[np.ndarray, " m"]:
    if not modes.shape[1] <= count <= len(modes):
        raise ValueError(
            f"gappy_pod: count must be between {modes.shape[1]} modes and {len(modes)} points, got {count}"
        )
    points = list(q_deim(modes).points)
    while len(points) < count:
        _, sigma, vh = np.linalg.svd(modes[points], full_matrices=False)
        along = np.abs(modes @ vh.conj().T) ** 2
        # Smaller root of the secular equation with all other singular values moved to the second smallest one.
        gap = (sigma[-2] ** 2 if len(sigma) > 1 else 1e100) - sigma[-1] ** 2
        total = gap + along.sum(1)
        raised = 2 * gap * along[:, -1] / (total + np.sqrt(total**2 - 4 * gap * along[:, -1]) + 1e-300)
        raised[points] = -1
        points.append(int(np.argmax(raised)))
    return np.array(points)
