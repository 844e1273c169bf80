"""What a sampler is: it divides a number of network evaluations into steps and writes their rows."""

import abc

import numpy as np

from .schedule import AbstractSchedule
from .table import Table


class AbstractSolver(abc.ABC):
    """A sampler of the diffusion ODE or SDE. Derive from it as a frozen dataclass.

    **Example:**

        >>> isinstance(sx.diffusion.UniPC(3), sx.diffusion.AbstractSolver)
        True
    """

    @abc.abstractmethod
    def split(self, evaluations: int, ends_clean: bool) -> tuple[int, ...]:
        """The evaluations of every step if the network is called `evaluations` times in all.

        **Raises:** `ValueError` if no number of steps has that many.
        """

    @abc.abstractmethod
    def whole(self, intervals: int, ends_clean: bool) -> tuple[int, ...]:
        """The evaluations of every step if the times are given, `intervals` of them."""

    @abc.abstractmethod
    def table(self, levels: np.ndarray, split: tuple[int, ...], schedule: AbstractSchedule) -> Table:
        """The table of the steps between the noise levels `(steps + 1,)`, which fall; the first may be ∞, the last 0."""


class AbstractFixedSolver(abc.ABC):
    """A sampler with noise levels of its own, such as a learned one. `sample(times=…)` then only repeats its evaluations.

    **Example:**

        >>> issubclass(sx.LearnedSolver, sx.diffusion.AbstractFixedSolver)
        True
    """

    @abc.abstractmethod
    def fixed_table(self) -> Table:
        """The table, whatever the schedule."""


class AbstractMultistep(AbstractSolver):
    """A solver with one evaluation per step.

    **Example:**

        >>> isinstance(sx.diffusion.DPMSolverPP(2), sx.diffusion.AbstractMultistep)
        True
    """

    def split(self, evaluations, ends_clean):
        return (1,) * evaluations

    def whole(self, intervals, ends_clean):
        return (1,) * intervals


def log_snr(levels: np.ndarray) -> np.ndarray:
    """λ = −log s; −∞ and ∞ at the levels ∞ and 0."""
    with np.errstate(divide="ignore"):
        return -np.log(levels)


def ramped_order(order: int, step: int, steps: int, lower_final: bool, levels: np.ndarray) -> int:
    """The order of a multistep method in one step: as many evaluations as there are, fewer in the last steps if `lower_final`,
    one in a step to no noise."""
    if levels[step + 1] == 0:
        return 1
    return min(order, step + 1, steps - step if lower_final else order)
