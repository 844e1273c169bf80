"""`Tuned`: a time grid that was optimised for few evaluations on mixtures (`benchmarks/tools/tune_times.py`)."""

import math
from dataclasses import dataclass

import numpy as np

from ...core.arguments import number
from .times import AbstractGrid, _finite, _pinned

_KNOTS = np.linspace(-6.0, 7.0, 27)
_BEYOND = 10.0  # how far the density goes on as a constant
# The logarithm of the density of nodes at the knots in λ, by numbers of evaluations.
_LOG_DENSITY: dict[int, tuple[float, ...]] = {
    5: (
        -3.085, -2.473, -1.881, -1.318, -0.389, 0.480, 0.803, 0.876, 1.073, 1.293, 1.638, 1.312, 1.535, 1.695,
        1.342, 1.377, 0.510, 0.676, 0.577, 0.315, 0.026, 0.501, -0.025, -0.737, -1.387, -2.028, -2.704,
    ),
    7: (
        -3.607, -2.158, -1.016, -0.889, -0.691, 0.382, 0.842, 0.955, 1.160, 1.093, 1.628, 1.296, 1.658, 1.784,
        1.681, 2.045, 0.230, 0.511, 0.711, 0.402, 0.083, -0.221, -0.642, -1.116, -1.585, -2.041, -2.497,
    ),
    10: (
        -3.631, -3.236, -2.591, -1.430, 0.238, 1.181, 1.518, 1.497, 1.600, 1.616, 2.391, 1.292, 2.864, 1.730,
        1.443, 2.632, -0.002, 0.502, 1.102, 0.790, 0.485, -0.383, -1.369, -1.918, -2.351, -2.777, -3.193,
    ),
    14: (
        -5.830, -4.511, -3.125, -1.612, 0.048, 1.669, 1.949, 1.700, 1.896, 2.176, 2.613, 2.027, 3.460, 2.691,
        1.975, 3.378, 1.608, 1.293, 1.651, 1.446, 1.136, -0.166, -1.646, -2.749, -3.599, -4.363, -5.113,
    ),
    20: (
        -5.861, -4.405, -2.898, -1.281, 0.511, 1.422, 0.971, 1.193, 1.764, 2.123, 2.258, 2.154, 2.886, 2.034,
        1.782, 2.730, 1.183, 1.413, 1.388, 1.204, 1.119, 0.025, -1.452, -2.354, -2.876, -3.306, -3.725,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Tuned(AbstractGrid):
    """Steps of equal integrals of a density over the log-SNR that was optimised for `IPNDM(3)` with 5 to 20 evaluations.

    The density, piecewise constant between 27 knots, minimised the error at the end on 32 Gaussian mixtures of 8, 32 and 128
    dimensions, with 3 to 40 components and standard deviations of 0.7 to 1.6 in all, over the noise levels 152 to 0.01, 80 to
    0.002 and 50 to 0.01 (a soft maximum over the mixtures of the geometric mean over samples). On unseen mixtures the error is
    0.2 to 0.9 times that on `VPQuadratic`. Most steps lie where noise is about as large as the data.

    **Arguments:** `data_std`: the standard deviation of the data, about 1 in the optimisation. The grid moves with it.

    **Example:**

        >>> sx.diffusion.plan(sx.diffusion.UniPC(3), schedule=sx.diffusion.EDM(), times=sx.diffusion.Tuned(6)).levels.shape
        (6,)
    """

    data_std: float = 1.0

    def __post_init__(self):
        AbstractGrid.__post_init__(self)
        number("Tuned", "data_std", self.data_std, above=0)

    def nodes(self, schedule, start, end, number):
        moved = math.log(self.data_std)
        first, last = _finite(self, schedule, start, end) + moved
        steps, total = cumulative(self.evaluations)
        low, high = np.interp([first, last], steps, total)
        log_snrs = np.interp(np.linspace(low, high, number), total, steps) - moved
        return _pinned(np.asarray(schedule.time(log_snrs)), start, end)


def cumulative(evaluations: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-SNRs and the integral of the density up to each, linear in between. Logarithms of densities are interpolated between
    the numbers of evaluations that were optimised, in their logarithm."""
    known = np.array(sorted(_LOG_DENSITY))
    table = np.array([_LOG_DENSITY[n] for n in known])
    density = np.exp([np.interp(math.log(evaluations), np.log(known), column) for column in table.T])
    knots = np.concatenate([[_KNOTS[0] - _BEYOND], _KNOTS, [_KNOTS[-1] + _BEYOND]])
    density = np.concatenate([density[:1], density, density[-1:]])
    areas = np.diff(knots) * (density[1:] + density[:-1]) / 2
    return knots, np.concatenate([[0.0], np.cumsum(areas)])
