"""Multistep samplers in the noise prediction ε = (y − D)/s: DEIS and iPNDM."""

import abc
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...core.arguments import check_fields
from .exponential_adams import noise_weights, polynomial_weights
from .schedule import AbstractSchedule
from .solver import AbstractMultistep, log_snr, ramped_order
from .table import Row, Table, Update, assemble, noise_record, whole_orders


class AbstractNoiseMultistep(AbstractMultistep):
    """y_t = y_s + Σ_j w_j ε_j, with the weights that a subclass gives; Σ_j w_j = s_t − s_s."""

    order: int
    lower_final: bool

    @abc.abstractmethod
    def weights(self, levels: np.ndarray, target: float, schedule: AbstractSchedule) -> np.ndarray:
        """w_j for the step from the level `levels[0]` to `target`; two or more levels, finite, the newest first."""

    def table(self, levels, split, schedule) -> Table:
        rows = []
        for i in range(len(split)):
            order = ramped_order(self.order, i, len(split), self.lower_final, levels)
            nodes, target = levels[i::-1][:order], levels[i + 1]
            nodes = nodes[np.isfinite(nodes)]
            older = self.weights(nodes, target, schedule)[1:] if len(nodes) > 1 else np.zeros(0)
            # The newest ε is (u − D)/s, and x = u.
            extra = -older.sum()
            advance = Update(target + extra, 0.0, 1 - (target + extra) / levels[i], tuple(older))
            rows.append(Row(levels[i], target, advance))
        return assemble(rows, levels[0], solver=type(self).__name__, record=noise_record(levels[:-1]))


@dataclass(frozen=True)
class DEIS(AbstractNoiseMultistep):
    """y_t = y_s + Σ_j ε_j ∫ l_j ds: the polynomial through earlier ε, integrated exactly (Zhang and Chen 2023).

    **Arguments:**

    - `order`: 1 to 4, the number of evaluations used. tAB3 of the paper is `DEIS(4)`.
    - `variable`: in what ε is a polynomial. "time", the time of the schedule: tAB-DEIS. "log_snr": diffusers' DEIS, and
      DPM-Solver multistep in the noise prediction.
    - `lower_final`: the last steps have orders …, 2, 1.

    **Example:**

        >>> len(sx.diffusion.plan(sx.diffusion.DEIS(3), schedule=sx.diffusion.VPLinear(), times=6).levels)
        6
    """

    order: int = 4
    variable: Literal["time", "log_snr"] = "time"
    lower_final: bool = False

    def __post_init__(self):
        check_fields(self)
        whole_orders("DEIS", "order", self.order, 4)

    def weights(self, levels, target, schedule):
        nodes, stop = log_snr(levels), -math.log(target)
        if self.variable == "log_snr":
            return noise_weights(nodes, nodes[0], stop)
        points, quadrature = np.polynomial.legendre.leggauss(40)
        along = nodes[0] + (stop - nodes[0]) * (points + 1) / 2
        slope = -np.exp(-along) * quadrature * (stop - nodes[0]) / 2  # ds
        times, at = schedule.time(nodes), schedule.time(along)
        width = times[0] - schedule.time(np.float64(stop))
        powers = ((at - times[0]) / width) ** np.arange(len(nodes))[:, None]
        return polynomial_weights((times - times[0]) / width, powers @ slope)


@dataclass(frozen=True)
class IPNDM(AbstractNoiseMultistep):
    """DDIM with Adams-Bashforth combinations of ε, whose weights are those of equal steps on any grid (Liu et al. 2022; Zhang and
    Chen 2023).

    Formally of order one to two on other grids, and yet among the best solvers for 5 to 10 evaluations, on images as on
    mixtures.

    **Arguments:** `order`: 1 to 4, the number of evaluations used.

    **Example:**

        >>> len(sx.diffusion.plan(sx.diffusion.IPNDM(3), schedule=sx.diffusion.EDM(), times=6).levels)
        6
    """

    order: int = 4
    lower_final: bool = False

    def __post_init__(self):
        check_fields(self)
        whole_orders("IPNDM", "order", self.order, 4)

    def weights(self, levels, target, schedule):
        bashforth = {2: (3, -1), 3: (23, -16, 5), 4: (55, -59, 37, -9)}[len(levels)]
        return (target - levels[0]) * np.array(bashforth) / sum(bashforth)
