"""Any-step flow maps: networks that jump from one time to any other, as consistency and mean-flow models do."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp

from ...core.arguments import check_fields
from .denoiser import AbstractTimed
from .schedule import AbstractSchedule


class FlowMap(AbstractTimed):
    """x_s = network(x_t, t, s, condition): the solution of the ODE at time s from that at time t, as learnt by consistency models
    (s the clean end), mean flows (x_t − (t − s) u(x_t, t, s)) and flow-map matching.

    `sample` runs it with `DDIM()` on any times: a step of DDIM from level s_t to s_s is exact for D = (y_s − (s_s/s_t) y_t)/(1 −
    s_s/s_t). One evaluation jumps from noise to data.

    **Arguments:**

    - `network`: of one sample x = α x₀ + σ ε of the schedule and two of its times.
    - `schedule`: the schedule of its training.

    **Example:**

        >>> model = sx.diffusion.FlowMap(lambda x, t, s, condition: x, sx.diffusion.FlowMatching())
        >>> isinstance(model, sx.diffusion.AbstractDenoiser)
        True
    """

    network: Callable
    schedule: AbstractSchedule = eqx.field(static=True)

    def __check_init__(self):
        check_fields(self)

    def at(self, v, level, condition):
        target = level.target
        if target is None:
            raise ValueError(
                "FlowMap: it jumps to a next level, which `sample` with DDIM() gives; another use has none"
            )
        x = (v * jnp.hypot(level.alpha, level.std)).astype(v.dtype)
        moved = self.network(x, level.time, target.time, condition).astype(v.dtype) / target.alpha
        # s_s/s_t y_t = s_s v/share, which also exists at infinite noise.
        return (moved - target.sigma * v / level.share) / (1 - target.sigma / level.sigma)

    def __call__(self, x, sigma, condition=None):
        raise TypeError("a FlowMap is no function of one noise level; use it in sample(…, DDIM())")
