"""The ODE that a learned solver follows: a denoiser with its schedule, and fine solutions of it as a teacher."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from ...solvers.diffusion import AbstractSchedule, LogSNR, Trajectory, UniPC, sample
from ...solvers.diffusion.denoiser import Level
from ...solvers.diffusion.table import unit_scale
from ...solvers.diffusion.triangular_form import walk
from ..trainable import Buffer


class Paths(eqx.Module):
    """Fine solutions from random starts, in the frame v = y/√(1 + s²).

    **Fields:** `log_snrs` `(nodes,)`, rising; `points` and `denoised` `(n, nodes, *shape)`; `ends` `(n, *shape)`.
    """

    log_snrs: Float[Array, " nodes"]
    points: Float[Array, "n nodes *shape"]
    denoised: Float[Array, "n nodes *shape"]
    ends: Float[Array, "n *shape"]

    def __getitem__(self, rows: Any) -> "Paths":
        return Paths(self.log_snrs, self.points[rows], self.denoised[rows], self.ends[rows])

    @property
    def starts(self) -> Float[Array, "n *shape"]:
        return self.points[:, 0]

    def at(self, log_snr: Shaped[Array, ""]) -> Float[Array, "n *shape"]:
        """v at a log-SNR by cubic Hermite interpolation, with the slopes dv/dλ = k D − k² v, k = 1/√(1 + s²)."""
        nodes = self.log_snrs
        i = jnp.clip(jnp.searchsorted(nodes, log_snr) - 1, 0, len(nodes) - 2)
        h = nodes[i + 1] - nodes[i]
        r = (log_snr - nodes[i]) / h
        k = 1 / jnp.sqrt(1 + jnp.exp(-2 * nodes))

        def ends(i):
            v = self.points[:, i]
            return v, h * k[i] * (self.denoised[:, i] - k[i] * v)

        (a, da), (b, db) = ends(i), ends(i + 1)
        return (1 + 2 * r) * (1 - r) ** 2 * a + r * (1 - r) ** 2 * da + r**2 * (3 - 2 * r) * b - r**2 * (1 - r) * db


class ProbabilityFlow(eqx.Module):
    """dy/dλ = D(y, s) − y between two noise levels.

    **Fields:** `given`, the denoiser and its condition; `schedule`; `shape` of one sample; `levels`, the first,
    the last with noise, and the last, which may be 0 (then the last step of the teacher is y = D).
    """

    given: Buffer
    schedule: AbstractSchedule = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    levels: tuple[float, float, float] = eqx.field(static=True)

    def paths(self, key: Array, n: int, evaluations: int) -> Paths:
        """`n` solutions from random starts by UniPC-3 on uniform log-SNRs, with `evaluations` evaluations each."""
        start, last, end = self.levels
        first, final = (float(self.schedule.time(-np.log(s))) for s in (start, last))
        grid = LogSNR(evaluations, first, final, to_zero=end == 0)
        denoiser, condition = self.given.value
        found = sample(
            denoiser, UniPC(3), schedule=self.schedule, times=grid, shape=self.shape, n=n, key=key,
            condition=condition, trajectory=True,
        )  # fmt: skip
        assert isinstance(found, Trajectory)
        dtype, axes = found.samples.dtype, (1,) * (found.points.ndim - 2)
        points = found.points * jnp.asarray(unit_scale(found.levels), dtype).reshape(-1, *axes)
        size = float(unit_scale(end) / self.schedule.alpha(self.schedule.time(-np.log(end)))) if end else 1.0
        return Paths(jnp.asarray(-np.log(found.levels), dtype), points, found.denoised, found.samples * size)

    def evaluated(self, v: Float[Array, "*shape"], level: Level) -> Float[Array, "*shape"]:
        """D at one point."""
        denoiser, condition = self.given.value
        return jnp.asarray(denoiser.at(v, level, condition)).astype(v.dtype)

    def walk(self, v: Float[Array, "*shape"], points: Array, network_levels: Array) -> tuple[Array, Array]:
        """The points of a sampler from its first state, and the evaluations; see `diffusion.unrolled`."""
        denoiser, condition = self.given.value
        return walk(denoiser, v, points, network_levels, self.schedule, condition)
