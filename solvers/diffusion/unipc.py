"""UniPC: a multistep predictor whose points are corrected by the evaluation that the next step needs anyway."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...core.arguments import check_fields
from .exponential_adams import adams_weights
from .solver import AbstractMultistep, log_snr, ramped_order
from .table import Row, Table, Update, assemble, whole_orders


@dataclass(frozen=True)
class UniPC(AbstractMultistep):
    """UniPC of order p (Zhao et al. 2023, Unified Predictor-Corrector), in the data prediction.

    Predictor and corrector are exponential Adams methods with p and p + 1 nodes, the corrector's with the new one. The
    corrector reuses the evaluation at the predicted point, so that N steps cost N evaluations; the last point is not
    corrected. "bh1" and "bh2" replace the exact weights of the order-two predictor and of the order-one corrector by ½ B (D₁
    − D)/r₁, with B = h or 1 − e^(−h); from order three on the three variants differ in the first and last steps alone.

    **Arguments:**

    - `order`: 1, 2 or 3. 3 without guidance, 2 with strong guidance.
    - `variant`: "bh2" (the usual one), "bh1", or "vary" for exact weights everywhere.
    - `lower_final`: the last steps have orders …, 2, 1.

    **Example:**

        >>> x = sx.diffusion.sample(denoise, sx.diffusion.UniPC(3), schedule=sx.diffusion.EDM(), times=8,
        ...                         shape=(4,), n=8, key=key)
        >>> x.shape
        (8, 4)
    """

    order: int = 3
    variant: Literal["bh1", "bh2", "vary"] = "bh2"
    lower_final: bool = True

    def __post_init__(self):
        check_fields(self)
        whole_orders("UniPC", "order", self.order, 3)

    def table(self, levels, split, schedule) -> Table:
        values, rows, accept = log_snr(levels), [], None
        for i in range(len(split)):
            order = ramped_order(self.order, i, len(split), self.lower_final, levels)
            nodes, stop, target = values[i::-1][:order], values[i + 1], levels[i + 1]
            c = self._predictor(nodes, stop)
            rows.append(Row(levels[i], target, Update(target, 0.0, c[0], tuple(c[1:])), accept))
            if target:  # what the evaluation at the new point makes of this step
                d = self._corrector(nodes, stop)
                accept = Update(target, 0.0, d[0], tuple(d[1:]))
        return assemble(rows, levels[0], solver="UniPC")

    def _predictor(self, nodes, stop):
        """Weights of D, H₁, …"""
        if self.variant == "vary" or len(nodes) != 2 or not np.isfinite([*nodes, stop]).all():
            return adams_weights(nodes, nodes[0], stop)
        h = stop - nodes[0]
        old = -self._scale(h) * h / (2 * (nodes[0] - nodes[1]))
        return np.array([-math.expm1(-h) - old, old])

    def _corrector(self, nodes, stop):
        """Weights of the new D and of the older ones, of the same step."""
        h = stop - nodes[0]
        if self.variant == "vary" or len(nodes) != 1 or not math.isfinite(h):
            return adams_weights([stop, *nodes], nodes[0], stop)
        new = self._scale(h) / 2
        return np.array([new, -math.expm1(-h) - new])

    def _scale(self, h: float) -> float:
        return h if self.variant == "bh1" else -math.expm1(-h)
