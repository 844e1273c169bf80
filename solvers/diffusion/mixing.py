"""Steps that put fresh or the first noise on the denoised value: the steps of ECI and PCFM."""

from dataclasses import dataclass

from .solver import AbstractSolver
from .table import Row, Update, assemble


@dataclass(frozen=True)
class Mixing(AbstractSolver):
    """y_t = D + t ε, where ε is not that of the present state but the noise that sampling started with, or fresh one.

    Every level is visited `mix` times before the next one, and after `renew` evaluations the noise is drawn anew (None: never).
    `Constraint(mix=…)` runs it: with D constrained these are the steps of ECI (Cheng et al. 2024), with mix = 1 those of PCFM
    (Utkarsh et al. 2025). The marginals are not those of the diffusion, whose steps keep the noise of their own state.
    """

    mix: int
    renew: int | None

    def split(self, evaluations, ends_clean):
        if evaluations % self.mix:
            wanted = -(-evaluations // self.mix) * self.mix
            raise ValueError(
                f"Constraint(mix={self.mix}) evaluates every level {self.mix} times; {evaluations} evaluations are not possible, "
                f"{wanted} are"
            )
        return (self.mix,) * (evaluations // self.mix)

    def whole(self, intervals, ends_clean):
        return (self.mix,) * intervals

    def table(self, levels, split, schedule):
        # x holds the noise ε, as a state of level 1 without data.
        rows, noise, fresh = [], Update(state=1.0), False
        for i, stages in enumerate(split):
            for stage in range(stages):
                level, target = float(levels[i]), float(levels[i + (stage == stages - 1)])
                # After a draw the noise is read off the point, u = D + s ε.
                kept = Update(point=1.0, history=(-1 / level,)) if fresh else noise
                fresh = self.renew is not None and (len(rows) + 1) % self.renew == 0 and target > 0
                moved = Update(denoised=1.0, noise=target) if fresh else Update(state=target, denoised=1.0)
                rows.append(Row(level, target, moved, kept, accepted=1.0))
        return assemble(rows, levels[0], solver="Constraint(mix=…)")
