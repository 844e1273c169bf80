"""Nonlinear advection with a linear part on a periodic interval, by Fourier series and exponential integrators."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from ...core.domains import Box, Grid
from ..kernels.exponential import Instants, Symbol, etdrk4, integrate
from .declaration import Fields
from .marching import initial_field, integration_stats, one_step
from .solved import Solved

_RTOL = 1e-6  # nominal, of the default steps


@dataclass(frozen=True, eq=False)
class PeriodicAdvection:
    """u_t + (u²/2)_x = L u. Fourier-Galerkin with 2/3 dealiasing in space (modes from n/3 on feel L alone), `etdrk4` in time.

    **Arguments:**

    - `name`: of the problem, for messages.
    - `box`: a periodic interval.
    - `symbol`: `(k, inputs) -> L` at the wavenumbers k.
    - `default_step`: `grid -> step` for rtol 1e-6; another rtol multiplies it by (rtol/1e-6)^¼, at most 2.
    - `dt`: the largest step instead, if given.
    """

    name: str
    box: Box
    symbol: Callable[[np.ndarray, Fields], Symbol]
    default_step: Callable[[Grid], float]
    dt: float | None

    def __post_init__(self):
        if self.box.conditions != ("periodic",):
            raise ValueError(
                f"{self.name} lives in a periodic interval, for example Box(x=(0, 1, 'periodic')); got {self.box}"
            )

    def solve(self, inputs: Fields, grid: Grid, *, times: Instants | None = None, rtol: float | None = None) -> Solved:
        u0, times = initial_field(self.name, self.box, inputs, grid, times)
        (n,) = grid.shape
        modes = np.arange(n // 2 + 1)
        k, kept = 2 * np.pi / self.box.extent[0] * modes, 3 * modes < n

        def advection(v: Inexact[Array, " modes"], t) -> Inexact[Array, " modes"]:
            u = jnp.fft.irfft(v * kept, n)
            return jnp.fft.rfft(u * u) * (-0.5j * k * kept).astype(v.dtype)

        linear = self.symbol(k, inputs)
        v, steps = integrate(lambda h: etdrk4(linear, advection, h), jnp.fft.rfft(u0), times, self._step(grid, rtol))
        u = jnp.fft.irfft(v, n)
        return Solved({"u": u}, integration_stats(u, steps))

    def step(self, fields: Fields, inputs: Fields, grid: Grid, dt: float, *, rtol: float | None = None) -> Solved:
        return one_step(self.solve, fields, inputs, grid, dt, rtol)

    def _step(self, grid: Grid, rtol: float | None) -> float:
        if self.dt is not None:
            return self.dt
        return self.default_step(grid) * min(((rtol or _RTOL) / _RTOL) ** 0.25, 2.0)
