"""`Tuned`: a time grid that was optimised for few evaluations on mixtures."""

import math

import numpy as np

from .times import AbstractGrid, _finite, _pinned

_KNOTS = np.linspace(-6.0, 7.0, 27)
_BEYOND = 10.0  # how far the density goes on as a constant
# The logarithm of the density of nodes at the knots in λ, by numbers of evaluations.
_LOG_DENSITY: dict[int, tuple[float, ...]] = {
    5: (
        -5.00,
        -3.82,
        -2.48,
        -0.80,
        1.04,
        1.44,
        1.65,
        1.65,
        1.68,
        1.73,
        2.57,
        2.19,
        2.68,
        2.06,
        1.70,
        2.86,
        1.57,
        1.59,
        1.56,
        1.27,
        0.87,
        -0.44,
        -1.78,
        -2.80,
        -3.60,
        -4.34,
        -5.07,
    ),
    7: (
        -4.72,
        -3.58,
        -2.37,
        -1.00,
        0.15,
        0.81,
        1.13,
        1.15,
        1.18,
        1.34,
        2.25,
        1.67,
        2.14,
        2.43,
        1.77,
        2.07,
        0.68,
        1.03,
        0.99,
        0.67,
        0.36,
        -0.33,
        -1.00,
        -1.52,
        -1.99,
        -2.43,
        -2.88,
    ),
    10: (
        -2.03,
        -2.42,
        -2.47,
        -1.59,
        0.15,
        0.95,
        1.32,
        1.30,
        1.28,
        1.14,
        2.10,
        1.56,
        2.78,
        2.15,
        1.71,
        2.53,
        0.81,
        1.02,
        0.96,
        0.63,
        0.34,
        -0.59,
        -1.78,
        -2.31,
        -2.74,
        -3.18,
        -3.60,
    ),
    14: (
        -4.39,
        -4.30,
        -3.89,
        -2.79,
        -0.45,
        1.26,
        1.81,
        1.88,
        1.35,
        1.38,
        2.74,
        2.19,
        3.33,
        2.81,
        1.96,
        3.27,
        1.53,
        1.30,
        1.58,
        1.35,
        1.06,
        -0.17,
        -1.79,
        -2.61,
        -3.07,
        -3.47,
        -3.87,
    ),
    20: (
        -4.52,
        -4.05,
        -3.34,
        -2.08,
        0.00,
        1.12,
        1.46,
        1.73,
        1.11,
        1.18,
        2.66,
        1.71,
        3.02,
        2.18,
        1.73,
        2.69,
        1.24,
        1.48,
        1.33,
        1.15,
        0.95,
        -0.08,
        -1.50,
        -2.16,
        -2.59,
        -3.01,
        -3.42,
    ),
}


class Tuned(AbstractGrid):
    """Steps of equal integrals of a density over the log-SNR, which was optimised for `IPNDM(3)` (`solver="auto"`)."""

    def nodes(self, schedule, start, end, number):
        first, last = _finite(self, schedule, start, end)
        steps, total = cumulative(self.evaluations)
        shares = np.interp([first, last], steps, total)
        log_snrs = np.interp(np.linspace(*shares, number), total, steps)
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
