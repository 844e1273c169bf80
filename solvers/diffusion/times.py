"""Time grids: at which noise levels a sampler evaluates the network.

A grid says how many network evaluations are wanted and how the times lie between the start and the end of the schedule. What a
number of evaluations buys depends on the solver: `Heun` needs two per step, `DPMSolver(3)` three. The choice of the grid moves
errors by up to ten times; see `benchmarks/diffusion_samplers.py`.
"""

import abc
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.arguments import check_fields, count, number, real_array
from .schedule import EDM, AbstractSchedule, FlowMatching, VPLinear

_REFERENCE = VPLinear()


@dataclass(frozen=True)
class AbstractGrid(abc.ABC):
    """Times between the start and the end of a schedule.

    **Arguments:**

    - `evaluations`: number of network evaluations.
    - `start`, `end`: times of the schedule; None: its own.
    - `to_zero`: whether the last step goes on from `end` to no noise at all, y = D. It costs no evaluation more, for the
      times then number one less. False ends at `end`, and samples keep its noise.

    **Example:**

        >>> isinstance(sx.diffusion.LogSNR(5), sx.diffusion.AbstractGrid)
        True
    """

    evaluations: int
    start: float | None = None
    end: float | None = None
    to_zero: bool = True

    def __post_init__(self):
        check_fields(self)
        count(type(self).__name__, "evaluations", self.evaluations)

    @abc.abstractmethod
    def nodes(self, schedule: AbstractSchedule, start: float, end: float, number: int) -> np.ndarray:
        """`number` times from `start` to `end`; the first is `start`, also if it is the only one."""

    def ends_clean(self, schedule: AbstractSchedule) -> bool:
        """Whether the last level is zero: by `to_zero`, or because the schedule has no noise at `end`."""
        return self.to_zero or not self._noisy_end(schedule)

    def levels(self, schedule: AbstractSchedule, intervals: int) -> tuple[np.ndarray, np.ndarray]:
        """The `intervals` + 1 times and noise levels of that many steps."""
        start = schedule.start if self.start is None else self.start
        end = schedule.end if self.end is None else self.end
        appended = self.to_zero and self._noisy_end(schedule)
        times = self.nodes(schedule, start, end, intervals + (not appended))
        levels = schedule.level(np.asarray(times, np.float64))
        if appended:
            return np.append(times, math.nan), np.append(levels, 0.0)
        return times, levels

    def _noisy_end(self, schedule: AbstractSchedule) -> bool:
        return bool(schedule.level(np.float64(schedule.end if self.end is None else self.end)) > 0)


def _finite(grid: AbstractGrid, schedule: AbstractSchedule, *times: float) -> np.ndarray:
    """λ at some times. **Raises:** `ValueError` where it is infinite."""
    log_snr = schedule.log_snr(np.asarray(times, np.float64))
    if not np.isfinite(log_snr).all():
        raise ValueError(
            f"{type(grid).__name__}: the log-SNR of {type(schedule).__name__} at t={[f'{t:g}' for t in times]} is not finite; "
            "give the grid a start and an end in between, or use UniformTime"
        )
    return log_snr


class LogSNR(AbstractGrid):
    """Uniform in the log-SNR λ: what exponential multistep methods assume.

    **Example:**

        >>> len(sx.diffusion.plan(sx.diffusion.DDIM(), schedule=sx.diffusion.EDM(), times=sx.diffusion.LogSNR(6)).levels)
        6
    """

    def nodes(self, schedule, start, end, number):
        first, last = _finite(self, schedule, start, end)
        return _pinned(schedule.time(np.linspace(first, last, number)), start, end)


class UniformTime(AbstractGrid):
    """Uniform in the time of the schedule.

    **Example:**

        >>> table = sx.diffusion.plan(sx.diffusion.DDIM(), schedule=sx.diffusion.VPLinear(), times=sx.diffusion.UniformTime(6))
        >>> len(table.levels)
        6
    """

    def nodes(self, schedule, start, end, number):
        return np.linspace(start, end, number)


class Quadratic(AbstractGrid):
    """Uniform in √t, for schedules whose clean end is near t = 0.

    **Example:**

        >>> table = sx.diffusion.plan(sx.diffusion.DDIM(), schedule=sx.diffusion.VPLinear(), times=sx.diffusion.Quadratic(6))
        >>> len(table.levels)
        6
    """

    def nodes(self, schedule, start, end, number):
        if min(start, end) < 0:
            raise ValueError(f"Quadratic: the times {start:g} and {end:g} must not be negative")
        return np.linspace(math.sqrt(start), math.sqrt(end), number) ** 2


class VPQuadratic(AbstractGrid):
    """The noise levels of `Quadratic` times of `VPLinear`, for any schedule.

    With `IPNDM(3)` the best or near the best at 4 to 10 evaluations on mixtures with levels from 150 to 0.01 and from 80 to
    0.002; on levels from 10 to 0.01 `Rho` is better.

    **Example:**

        >>> table = sx.diffusion.plan(sx.diffusion.DDIM(), schedule=sx.diffusion.VPLinear(), times=sx.diffusion.VPQuadratic(6))
        >>> table.levels.shape
        (6,)
    """

    def nodes(self, schedule, start, end, number):
        first, last = np.sqrt(_REFERENCE.time(_finite(self, schedule, start, end)))
        times = np.linspace(first, last, number) ** 2
        return _pinned(schedule.time(_REFERENCE.log_snr(times)), start, end)


@dataclass(frozen=True)
class Rho(AbstractGrid):
    """Uniform in s^(1/ρ) of the noise level s (Karras et al. 2022, eq. 5).

    **Arguments:** `rho`: 7 in the paper; 1 is uniform in s, ∞ would be `LogSNR`.

    **Example:**

        >>> table = sx.diffusion.plan(sx.diffusion.DDIM(), schedule=sx.diffusion.EDM(), times=sx.diffusion.Rho(6, rho=7.0))
        >>> len(table.levels)
        6
    """

    rho: float = 7.0

    def __post_init__(self):
        AbstractGrid.__post_init__(self)
        number("Rho", "rho", self.rho, above=0)

    def nodes(self, schedule, start, end, number):
        first, last = np.exp(-_finite(self, schedule, start, end))
        levels = np.linspace(first ** (1 / self.rho), last ** (1 / self.rho), number) ** self.rho
        return _pinned(schedule.time(-np.log(levels)), start, end)


@dataclass(frozen=True)
class Shifted(AbstractGrid):
    """Uniform in time, then t ↦ k t/(1 + (k − 1) t): more steps at the noisy end, for flow models of large images or fields.

    The shift is part of the grid alone, so that it is applied once. Times must lie between 0 and 1.

    **Arguments:** `shift`: k, 3 in Stable Diffusion 3; 1 changes nothing.

    **Example:**

        >>> table = sx.diffusion.plan(sx.diffusion.DDIM(), schedule=sx.diffusion.FlowMatching(), times=sx.diffusion.Shifted(6))
        >>> len(table.levels)
        6
    """

    shift: float = 3.0

    def __post_init__(self):
        AbstractGrid.__post_init__(self)
        number("Shifted", "shift", self.shift, above=0)

    def nodes(self, schedule, start, end, number):
        if not 0 <= end < start <= 1:
            raise ValueError(
                f"Shifted: times must lie between 0 and 1, those of the schedule go from {start:g} to {end:g}"
            )

        def inverse(t):
            return t / (self.shift - (self.shift - 1) * t)

        t = np.linspace(inverse(start), inverse(end), number)
        return _pinned(self.shift * t / (1 + (self.shift - 1) * t), start, end)


@dataclass(frozen=True)
class GivenTimes(AbstractGrid):
    """Times of the schedule one by one, noisy first, and then no noise at all if `to_zero`: what a list of times cannot say.

    **Arguments:** `at`: the times. `evaluations` must be what the solver makes of them, one each for multistep solvers.

    **Example:**

        >>> times = sx.diffusion.GivenTimes(3, at=(80.0, 5.0, 0.5))
        >>> sx.diffusion.plan(sx.diffusion.DDIM(), schedule=sx.diffusion.EDM(), times=times).levels.shape
        (3,)
    """

    at: tuple[float, ...] = ()

    def __post_init__(self):
        AbstractGrid.__post_init__(self)
        if len(self.at) + self.to_zero < 2 or self.start is not None or self.end is not None:
            raise ValueError(f"GivenTimes(at={self.at}): expected times, the first and last of which are start and end")
        object.__setattr__(self, "start", float(self.at[0]))
        object.__setattr__(self, "end", float(self.at[-1]))

    def nodes(self, schedule, start, end, number):
        if number != len(self.at):
            raise ValueError(
                f"GivenTimes: {len(self.at)} times, but the solver makes {number} of {self.evaluations} evaluations"
            )
        return np.asarray(self.at, np.float64)


def _pinned(times: np.ndarray, start: float, end: float) -> np.ndarray:
    """With the ends as they were asked for, not as rounded by inverses."""
    times[-1] = end
    times[0] = start
    return times


def usual_grid(schedule: AbstractSchedule, evaluations: int) -> AbstractGrid:
    """The grid behind `times=10`: `Rho(7)` for `EDM`, `UniformTime` for `FlowMatching`, `LogSNR` for all others."""
    if isinstance(schedule, EDM):
        return Rho(evaluations)
    if isinstance(schedule, FlowMatching):
        return UniformTime(evaluations)
    return LogSNR(evaluations)


def given_levels(schedule: AbstractSchedule, times: Any) -> tuple[np.ndarray, np.ndarray]:
    """Times of one's own and their levels, checked.

    **Raises:** `ValueError` unless they are two or more different numbers that run from noisy to clean.
    """
    nodes = np.asarray(real_array("sample", "times", times), np.float64)
    if nodes.ndim != 1 or len(nodes) < 2 or not np.isfinite(nodes).all():
        raise ValueError(f"times={times!r}: expected a number of evaluations, a grid, or two or more finite times")
    with np.errstate(invalid="ignore"):
        return nodes, np.asarray(schedule.level(nodes), np.float64)


def check_levels(times: np.ndarray, levels: np.ndarray, schedule: AbstractSchedule) -> None:
    """**Raises:** `ValueError` unless the noise levels fall strictly; only the first may be infinite and only the last zero."""
    name = type(schedule).__name__
    wrong = np.flatnonzero(~np.isfinite(levels[1:])) + 1
    if np.isnan(levels).any() or len(wrong):
        bad = int(wrong[0]) if len(wrong) else int(np.flatnonzero(np.isnan(levels))[0])
        raise ValueError(
            f"{name} has the noise level {levels[bad]:g} at t={times[bad]:g}; only the first time may have infinite noise"
        )
    equal = np.flatnonzero(levels[1:] == levels[:-1])
    if len(equal):
        raise ValueError(
            f"times: t={times[equal[0]]:g} and t={times[equal[0] + 1]:g} have the same noise level {levels[equal[0]]:g} of {name}"
        )
    rising = np.flatnonzero(levels[1:] > levels[:-1])
    if len(rising):
        i = int(rising[0])
        raise ValueError(
            f"times: the noise level of {name} rises from {levels[i]:g} at t={times[i]:g} to {levels[i + 1]:g} at "
            f"t={times[i + 1]:g}; sampling runs from noisy to clean"
        )
