"""Multistep samplers in the data prediction D: exponential Adams of any order, DDIM, DPM-Solver++; as ODE and SDE."""

import abc
import itertools
import math
from dataclasses import dataclass

import numpy as np

from ...core.arguments import check_fields, number
from .exponential_adams import adams_weights
from .solver import AbstractMultistep, log_snr, ramped_order
from .table import Row, Table, Update, assemble, whole_orders


class AbstractDataMultistep(AbstractMultistep):
    """y_t = (s_t/s_s) e^(−ηh) y_s + Σ_j c_j D_j + s_t √(1 − e^(−2ηh)) z, with the weights that a subclass gives."""

    order: int
    eta: float
    lower_final: bool

    @abc.abstractmethod
    def weights(self, log_snrs: np.ndarray, stop: float) -> np.ndarray:
        """c_j for the step from λ = `log_snrs[0]` to `stop`; the nodes are the newest first."""

    def table(self, levels, split, schedule) -> Table:
        values, rows = log_snr(levels), []
        for i in range(len(split)):
            order = ramped_order(self.order, i, len(split), self.lower_final, levels)
            c = self.weights(values[i::-1][:order], values[i + 1])
            damping = 2 * self.eta * (values[i + 1] - values[i]) if self.eta else 0.0
            target = levels[i + 1]
            kept = target * math.exp(-damping / 2)
            noise = target * math.sqrt(-math.expm1(-damping))
            advance = Update(kept if target else 0.0, 0.0, c[0], tuple(c[1:]), noise if target else 0.0)
            rows.append(Row(levels[i], target, advance))
        return assemble(rows, levels[0], solver=type(self).__name__)


@dataclass(frozen=True)
class ExponentialAdams(AbstractDataMultistep):
    """The exact exponential Adams-Bashforth method of any order in the log-SNR (`exponential_adams`).

    Order 1 is DDIM; with η = 1, orders 2 and 3 are SDE-DPM-Solver++ with exact weights. The first steps have lower order.
    Orders above 3 pay off only on many steps.

    **Arguments:**

    - `order`: 1 to 8.
    - `eta`: 0 for the ODE; 1 for the reverse SDE; in between, some of its noise.
    - `lower_final`: the last steps have orders …, 2, 1. This is more robust with few steps; the error of the last step is then
      of second order in its length, which a grid with short last steps (log-SNR, quadratic) does not feel.

    **Example:**

        >>> len(sx.diffusion.plan(sx.diffusion.ExponentialAdams(2), schedule=sx.diffusion.EDM(), times=6).levels)
        6
    """

    order: int = 3
    eta: float = 0.0
    lower_final: bool = True

    def __post_init__(self):
        check_fields(self)
        whole_orders(type(self).__name__, "order", self.order, 8)
        number(type(self).__name__, "eta", self.eta, least=0)

    def weights(self, log_snrs, stop):
        return adams_weights(log_snrs, log_snrs[0], stop, 1 + self.eta)


@dataclass(frozen=True)
class DPMSolverPP(AbstractDataMultistep):
    """DPM-Solver++ multistep, "2M" and "3M", and with η = 1 its SDE form (Lu et al. 2022).

    2M uses D + (D − D₁)/(2r), r = h₁/h, in place of the exact weights of order two. 3M is exact exponential Adams of order
    three: the published 3M halves the term of the second difference, which makes it a method of order two (see
    `docs/decisions.md`).

    **Arguments:**

    - `order`: 1, 2 or 3. 2 is the robust choice for 10 to 20 evaluations.
    - `eta`, `lower_final`: as in `ExponentialAdams`.

    **Example:**

        >>> x = sx.diffusion.sample(denoise, sx.diffusion.DPMSolverPP(2), schedule=sx.diffusion.EDM(), times=8,
        ...                         shape=(4,), n=8, key=key)
        >>> x.shape
        (8, 4)
    """

    order: int = 2
    eta: float = 0.0
    lower_final: bool = True

    def __post_init__(self):
        check_fields(self)
        whole_orders(type(self).__name__, "order", self.order, 3)
        number(type(self).__name__, "eta", self.eta, least=0)

    def weights(self, log_snrs, stop):
        h = stop - log_snrs[0]
        if len(log_snrs) != 2 or not np.isfinite(log_snrs).all() or not math.isfinite(h):
            return adams_weights(log_snrs, log_snrs[0], stop, 1 + self.eta)
        total = -math.expm1(-(1 + self.eta) * h)
        old = -total * h / (2 * (log_snrs[0] - log_snrs[1]))
        return np.array([total - old, old])


@dataclass(frozen=True)
class DDIM(AbstractMultistep):
    """y_t = D + √(s_t² − σ²) (y − D)/s + σ z with σ = η (s_t/s) √(s² − s_t²) (Song et al. 2021).

    η = 0 is the Euler method in the noise level and order one of all solvers here; η = 1 is ancestral sampling, as in DDPM and in
    "Euler ancestral".

    **Arguments:** `eta`: 0 to 1.

    **Example:**

        >>> x = sx.diffusion.sample(denoise, sx.diffusion.DDIM(), schedule=sx.diffusion.VPLinear(), times=8,
        ...                         shape=(4,), n=8, key=key)
        >>> x.shape
        (8, 4)
    """

    eta: float = 0.0

    def __post_init__(self):
        check_fields(self)
        if number("DDIM", "eta", self.eta, least=0) > 1:
            raise ValueError(f"DDIM(eta={self.eta:g}): expected 0 to 1")

    def table(self, levels, split, schedule) -> Table:
        rows = []
        for level, target in itertools.pairwise(levels):
            ratio = target / level
            noise = self.eta * target * math.sqrt(1 - ratio**2)
            down = math.sqrt(target**2 - noise**2)
            rows.append(Row(level, target, Update(down, 0.0, 1 - down / level, (), noise)))
        return assemble(rows, levels[0], solver="DDIM")
