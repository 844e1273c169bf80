"""`solver="auto"`: a solver and a grid that did well on data whose flow is known.

Vectors, samples of one axis: chosen on six mixtures (8 to 128 dimensions, four schedules) that the grid was not optimised on, the
error was 1.0 to 1.1 times that of the best of 15 solvers on 5 grids at 5, 10 and 20 evaluations, 1.2 times at 8, up to 2.3 times
at 40. Data are taken to be of unit size and to have a width.

Fields, samples of two axes or more under white noise: their smooth modes are larger than their points and so come out of the
noise earlier, which needs more steps there. Chosen on twelve mixtures of fields (line and plane, 32 to 256 points, spectra from
k^−1.8 to k^−5.2, four schedules): 1.1 to 1.4 times the error of the best of 13 solvers on 14 grids in the geometric mean, at most
3.3 times; the choice for vectors has 2.8 to 10 times there. Coloured noise reaches all modes at once, as in vectors.

For others, and for data on a few points, which the noise prediction extrapolates badly, `choose` tries all pairs.
"""

import math

import numpy as np

from .multistep import ExponentialAdams
from .noise_multistep import DEIS, IPNDM
from .schedule import AbstractSchedule
from .solver import AbstractSolver
from .times import AbstractGrid, LogSNR, Rho
from .tuned_times import Tuned
from .unipc import UniPC

_FEW = 28
_LARGEST, _SMALLEST = 150.0, 0.01


def automatic_solver(evaluations: int, field: bool = False) -> AbstractSolver:
    """`IPNDM(3)` up to 28 evaluations, `ExponentialAdams(4)` beyond; for fields `IPNDM(3)` up to 6, `DEIS(3, "log_snr")` up to
    17, `UniPC(3)` beyond."""
    if not field:
        return IPNDM(3) if evaluations <= _FEW else ExponentialAdams(4)
    if evaluations <= 6:
        return IPNDM(3)
    return DEIS(3, "log_snr") if evaluations <= 17 else UniPC(3)


def automatic_ends(schedule: AbstractSchedule) -> tuple[float, float]:
    """The times at which to start and end: those of the schedule; from noise level 150 and to 0.01 where its own are infinite
    and zero."""
    first, last = schedule.level(np.array([schedule.start, schedule.end]))
    start = schedule.start if math.isfinite(first) else float(schedule.time(-math.log(_LARGEST)))
    return start, schedule.end if last > 0 else float(schedule.time(-math.log(_SMALLEST)))


def automatic_grid(schedule: AbstractSchedule, evaluations: int, field: bool = False) -> AbstractGrid:
    """`Tuned` up to 28 evaluations, `LogSNR` beyond; for fields `Rho(7)` up to 12, `Rho(10)` up to 17, `LogSNR` beyond."""
    ends = automatic_ends(schedule)
    if not field:
        return (Tuned if evaluations <= _FEW else LogSNR)(evaluations, *ends)
    if evaluations > 17:
        return LogSNR(evaluations, *ends)
    return Rho(evaluations, *ends, rho=7.0 if evaluations <= 12 else 10.0)
