"""The wave equation: u_tt = c² Δu."""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ....core.domains import Box, Grid
from ...kernels.exponential import Instants, checked_instants
from ...kernels.periodic_modes import PeriodicModes, square
from ...random import Distribution, GaussianField
from ..declaration import Fields, Problem
from ..marching import check_numbers, initial_fields, integration_stats, one_step
from ..periodic_evolution import check_periodic
from ..pointwise_derivatives import Jets, laplacian
from ..registry import register_problem
from ..solved import Solved

_STARTS = {"u": "u0", "v": "v0"}


@register_problem("wave")
def wave(
    speed: Distribution | float = 1.0,
    u0: Distribution | None = None,
    v0: Distribution | float = 0.0,
    *,
    box: Box | None = None,
    duration: float = 1.0,
) -> Problem:
    """u_t = v, v_t = c² Δu in a periodic box, the unit square by default.

    Every Fourier mode swings with its frequency c|k|: exact for all fields that the grid holds, at any t ≥ 0 without steps,
    whatever `rtol`; the energy ∫ v² + c²|∇u|² is conserved to rounding. Differentiable with respect to c, u0 and v0.

    **Arguments:**

    - `speed`: c, a number or a distribution of numbers (in float32 the phases c|k|t are then off by a part of 6e-8).
    - `u0`, `v0`: laws of the initial displacement, by default `GaussianField(4, 5, 8, "periodic")`, and of its velocity.
    - `box`: 1 to 3 periodic axes.
    - `duration`: end of the time interval (0, duration), for training without data; `solve` goes on beyond it.
    """
    box = Box.unit(2, "periodic") if box is None else box
    check_periodic("wave", box, (1, 2, 3))
    solve = functools.partial(_solve, box)
    return Problem(
        ("u", "v"),
        box,
        time=(0.0, duration),
        inputs={"speed": speed, "u0": GaussianField(4.0, 5.0, 8.0, "periodic") if u0 is None else u0, "v0": v0},
        residual=functools.partial(_residual, box.names),
        initial=_STARTS,
        solve=solve,
        step=functools.partial(_step, solve),
    )


def _residual(names: tuple[str, ...], w: Jets, inputs: Jets) -> dict[str, Array]:
    return {"u": w.u.t - w.v, "v": w.v.t - inputs.speed**2 * laplacian(w.u, names)}


def _solve(box: Box, inputs: Fields, grid: Grid, *, times: Instants | None = None, rtol: float | None = None) -> Solved:
    fields, times = initial_fields("wave", box, inputs, _STARTS, grid, times)
    check_numbers("wave", inputs, without=_STARTS.values())
    modes = PeriodicModes(grid.shape, box.extent)
    u, v = modes.whole(fields)
    instants = checked_instants(times).reshape(-1, *[1] * grid.ndim)
    frequency = inputs["speed"] * np.sqrt(square(modes.all_wavenumbers))
    xp = np if isinstance(frequency, np.ndarray) else jnp
    phase = frequency * instants
    cosine, sine = xp.cos(phase), xp.sin(phase)
    mean = phase == 0
    integral = instants * xp.where(mean, 1.0, sine / xp.where(mean, 1.0, phase))
    cosine, integral, slope = (jnp.asarray(x, fields.dtype) for x in (cosine, integral, -frequency * sine))
    found = {"u": modes.fields(cosine * u + integral * v), "v": modes.fields(slope * u + cosine * v)}
    return Solved(found, integration_stats(found["u"], 0))


def _step(solve, fields: Fields, inputs: Fields, grid: Grid, dt: float, *, rtol: float | None = None) -> Solved:
    return one_step(solve, fields, inputs, _STARTS, grid, dt, rtol=rtol)
