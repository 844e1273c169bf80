"""Single-step samplers: several evaluations within a step, none kept from earlier ones. Heun and DPM-Solver."""

import abc
import math
from dataclasses import dataclass

import numpy as np

from ...core.arguments import check_fields, number
from .schedule import AbstractSchedule
from .solver import AbstractSolver
from .table import Row, Table, Update, assemble, noise_record, whole_orders


class AbstractSingleStep(AbstractSolver):
    """A solver with up to `stages` evaluations per step; a step to no noise has one."""

    @property
    @abc.abstractmethod
    def stages(self) -> int: ...

    def whole(self, intervals, ends_clean):
        return (self.stages,) * (intervals - ends_clean) + (1,) * ends_clean


def _euler(level: float, target: float) -> Row:
    return Row(level, target, Update(target, 0.0, 1 - target / level))


@dataclass(frozen=True)
class Heun(AbstractSingleStep):
    """Heun's method in the noise level s, with churn (Karras et al. 2022, algorithm 2).

    Every step evaluates at s and at the Euler point, y_t = y + (s_t − s)(ε + ε′)/2; the step to no noise is an Euler step, so
    that N steps cost 2N − 1 evaluations, 2N if they end at some noise. With churn a step begins by raising the level to ŝ =
    (1 + γ) s with fresh noise, γ = min(churn/N, √2 − 1) where s lies in the range. Multistep solvers are better below 15
    evaluations.

    **Arguments:**

    - `churn`: 0 for the ODE; 5 to 80 for stochastic sampling of images.
    - `churn_min`, `churn_max`: the range of levels with churn.
    - `churn_noise`: factor on the noise that churn adds, 1 to 1.007.

    **Example:**

        >>> len(sx.diffusion.plan(sx.diffusion.Heun(), schedule=sx.diffusion.EDM(), times=7).levels)
        7
    """

    churn: float = 0.0
    churn_min: float = 0.0
    churn_max: float = math.inf
    churn_noise: float = 1.0

    def __post_init__(self):
        check_fields(self)
        for name in ("churn", "churn_min", "churn_noise"):
            number("Heun", name, vars(self)[name], least=0)
        if not self.churn_min < self.churn_max:
            raise ValueError(f"Heun(churn_min={self.churn_min:g}, churn_max={self.churn_max:g}): expected a range")

    @property
    def stages(self):
        return 2

    def split(self, evaluations, ends_clean):
        if evaluations % 2 != ends_clean:
            law = "2N − 1 evaluations in N steps to no noise" if ends_clean else "2N evaluations in N steps"
            raise ValueError(f"Heun makes {law}; {evaluations} is not possible, {evaluations + 1} is")
        return (2,) * (evaluations // 2) + (1,) * ends_clean

    def table(self, levels, split, schedule) -> Table:
        most = min(self.churn / len(split), math.sqrt(2) - 1)
        gains = [1 + most if self.churn_min <= s <= self.churn_max else 1.0 for s in levels[:-1]]
        raised = [*(g * s for g, s in zip(gains, levels[:-1], strict=True)), levels[-1]]

        def entry(i: int) -> Update:
            """From the level of step i to its raised level."""
            return Update(levels[i], noise=self.churn_noise * math.sqrt(max(raised[i] ** 2 - levels[i] ** 2, 0.0)))

        rows = []
        with np.errstate(invalid="ignore"):
            first = None if raised[0] == levels[0] else entry(0)
            for i, stages in enumerate(split):
                s, t = raised[i], levels[i + 1]
                follow = entry(i + 1) if i + 1 < len(split) else Update(levels[-1])
                if stages == 1:
                    rows.append(_euler(s, t))
                    continue
                rows.append(_euler(s, t))
                h = t - s
                corrected = Update(state=t, denoised=-h / (2 * t), history=(h / 2 * (1 / t - 2 / s),))
                rows.append(Row(t, raised[i + 1], follow, corrected))
        return assemble(rows, levels[0], solver="Heun", entry=first)


@dataclass(frozen=True)
class DPMSolver(AbstractSingleStep):
    """DPM-Solver of order 2 or 3, "2S" and "3S": single steps in the noise prediction (Lu et al. 2022).

    Order 2 evaluates at the middle of the step in λ, order 3 at one and two thirds. A number of evaluations that the order
    does not divide ends in steps of lower order, as in the paper.

    **Arguments:** `order`: 2 or 3.

    **Example:**

        >>> len(sx.diffusion.plan(sx.diffusion.DPMSolver(2), schedule=sx.diffusion.VPLinear(), times=6).levels)
        6
    """

    order: int = 3

    def __post_init__(self):
        check_fields(self)
        whole_orders("DPMSolver", "order", self.order, 3)
        if self.order == 1:
            raise ValueError("DPMSolver(order=1) is DDIM()")

    @property
    def stages(self):
        return self.order

    def split(self, evaluations, ends_clean):
        free = evaluations - ends_clean
        full, rest = divmod(free, self.order)
        steps = (self.order,) * full
        if self.order == 3 and rest == 0 and full and not ends_clean:
            steps = (3,) * (full - 1) + (2, 1)
        elif rest:
            steps += (rest,)
        return steps + (1,) * ends_clean

    def table(self, levels, split, schedule: AbstractSchedule) -> Table:
        rows = []
        for i, stages in enumerate(split):
            s, t = float(levels[i]), float(levels[i + 1])
            rows += {1: lambda s, t: [_euler(s, t)], 2: _midpoint, 3: _thirds}[stages](s, t)
        return assemble(rows, levels[0], solver="DPMSolver", record=noise_record(np.array([row.level for row in rows])))


def _point(level: float, weight: float) -> tuple[float, float]:
    """Weights of u (times its level) and of D in weight · ε, ε = (u − D)/s."""
    return weight, -weight / level


def _midpoint(s: float, t: float) -> list[Row]:
    """y_t = y − s_t (e^h − 1) ε(u), u by DDIM at the middle."""
    middle = math.sqrt(s) * math.sqrt(t)
    point, denoised = _point(middle, t - s)
    return [_euler(s, middle), Row(middle, t, Update(t), Update(s, point, denoised), t)]


def _thirds(s: float, t: float) -> list[Row]:
    """u₂ = y − s₂ (e^(2h/3) − 1) ε − 2 s₂ ((e^(2h/3) − 1)/(2h/3) − 1)(ε₁ − ε), y_t = y − s_t (e^h − 1) ε − (3/2) s_t ((e^h −
    1)/h − 1) (ε₂ − ε)."""
    h = math.log(s / t) if math.isfinite(s) else math.inf
    one, two = (s * math.exp(-h * k / 3) for k in (1, 2))
    slope = -2 * ((s - two) / (2 * h / 3) - two)
    point, denoised = _point(one, slope)
    second = Row(one, two, Update(s, point, denoised, (two - s - slope,)), Update(state=s), s)
    bend = -1.5 * ((s - t) / h - t)
    point, denoised = _point(two, bend)
    third = Row(two, t, Update(t), Update(s, point, denoised, (0.0, t - s - bend)), t)
    return [_euler(s, one), second, third]
