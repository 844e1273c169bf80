"""`solver="auto"`: a solver and a grid that did well on mixtures whose flow is known."""

import math

import numpy as np

from .noise_multistep import IPNDM
from .schedule import AbstractSchedule
from .solver import AbstractSolver
from .times import AbstractGrid, VPQuadratic
from .unipc import UniPC

_FEW = 12
_LARGEST, _SMALLEST = 150.0, 0.01


def automatic_solver(evaluations: int) -> AbstractSolver:
    """`IPNDM(3)` up to 12 evaluations, `UniPC(3)` beyond: a fixed rule, up to twice the error of the best choice."""
    return IPNDM(3) if evaluations <= _FEW else UniPC(3)


def automatic_ends(schedule: AbstractSchedule) -> tuple[float, float]:
    """The times at which to start and end: those of the schedule; from noise level 150 and to 0.01 where its own are infinite
    and zero."""
    first, last = schedule.level(np.array([schedule.start, schedule.end]))
    start = schedule.start if math.isfinite(first) else float(schedule.time(-math.log(_LARGEST)))
    return start, schedule.end if last > 0 else float(schedule.time(-math.log(_SMALLEST)))


def automatic_grid(schedule: AbstractSchedule, evaluations: int) -> AbstractGrid:
    """`VPQuadratic`."""
    return VPQuadratic(evaluations, *automatic_ends(schedule))
