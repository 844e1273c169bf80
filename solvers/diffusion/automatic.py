"""`solver="auto"`: a solver and a grid that did well on mixtures whose flow is known.

Chosen on six mixtures (8 to 128 dimensions, four schedules) that the grid was not optimised on: the error was 1.0 to 1.1 times
that of the best of 15 solvers on 5 grids at 5, 10 and 20 evaluations, 1.2 times at 8, up to 2.3 times at 40. Data are taken to
be of unit size and to have a width: for others, for smooth fields, whose modes are larger than their points, and for data on a
few points, which the noise prediction extrapolates badly, `choose` tries all pairs.
"""

import math

import numpy as np

from .multistep import ExponentialAdams
from .noise_multistep import IPNDM
from .schedule import AbstractSchedule
from .solver import AbstractSolver
from .times import AbstractGrid, LogSNR
from .tuned_times import Tuned

_FEW = 28
_LARGEST, _SMALLEST = 150.0, 0.01


def automatic_solver(evaluations: int) -> AbstractSolver:
    """`IPNDM(3)` up to 28 evaluations, `ExponentialAdams(4)` beyond."""
    return IPNDM(3) if evaluations <= _FEW else ExponentialAdams(4)


def automatic_ends(schedule: AbstractSchedule) -> tuple[float, float]:
    """The times at which to start and end: those of the schedule; from noise level 150 and to 0.01 where its own are infinite
    and zero."""
    first, last = schedule.level(np.array([schedule.start, schedule.end]))
    start = schedule.start if math.isfinite(first) else float(schedule.time(-math.log(_LARGEST)))
    return start, schedule.end if last > 0 else float(schedule.time(-math.log(_SMALLEST)))


def automatic_grid(schedule: AbstractSchedule, evaluations: int) -> AbstractGrid:
    """`Tuned` up to 28 evaluations, `LogSNR` beyond."""
    return (Tuned if evaluations <= _FEW else LogSNR)(evaluations, *automatic_ends(schedule))
