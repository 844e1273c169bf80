"""Burgers' equation: u_t + (u²/2)_x = ν u_xx."""

import functools

from jaxtyping import Array

from ....core.domains import Box, Grid
from ...kernels.exponential import Symbol
from ...kernels.periodic_modes import square
from ...random import Distribution, GaussianField
from ..declaration import Fields, Problem
from ..periodic_evolution import PeriodicEvolution, Waves, self_advection
from ..pointwise_derivatives import Jet, Jets
from ..registry import register_problem
from ..representative_draws import draws, largest


@register_problem("burgers")
def burgers(
    nu: Distribution | float = 0.1,
    u0: Distribution | None = None,
    *,
    box: Box | None = None,
    dt: float | None = None,
    duration: float = 1.0,
) -> Problem:
    """u_t + (u²/2)_x = ν u_xx in a periodic interval, (0, 1) by default.

    Fourier-Galerkin with 2/3 dealiasing in space (modes from n/3 on only decay), `etdrk4` in time. The mean of u is conserved
    to rounding. Differentiable with respect to ν and u0.

    **Arguments:**

    - `nu`: a number, or a distribution of numbers (then a random input), for example `random.LogUniform(1e-3, 1e-1)`. Where
      the grid does not resolve shocks, of width ν/|u|, u oscillates around them; for ν < 0 the status is non_finite.
    - `u0`: the law of the initial field; by default that of the Fourier neural operator's data,
      `GaussianField(2, 5, 25·5^(−1.5), "periodic")`. (Whether those live on (0, 1) or (0, 2π) is disputed.)
    - `dt`: the largest time step. By default ½ max(h, ν/U) / U: the time in which the fastest value U crosses a cell or
      the thinnest shock, whichever is longer; but at most L²/(800 ν). U and the range of ν are taken from 64 draws of
      their laws, so that all samples take the same steps; give `dt` where `solve` meets other fields.
    - `duration`: end of the time interval (0, duration), for training without data; `solve` goes on beyond it.

    `rtol` of the solve multiplies the default step by (rtol/1e-6)^¼, at most 2. It is no bound: the worst relative error in
    time of 16 draws was 4e-8 to 2e-5 with the default step, for ν from 0.001 to 0.3 on 128 and 512 points. Steps twice
    as long are stable, four times as long are not where ν is small (status non_finite).
    """
    box = Box.unit(1, "periodic") if box is None else box
    u0 = GaussianField(2, 5, 25 * 5**-1.5, box.conditions[0]) if u0 is None else u0
    method = PeriodicEvolution(
        "burgers",
        box,
        {"u": "u0"},
        {"nu": nu, "u0": u0},
        _symbol,
        self_advection,
        functools.partial(_default_step, box),
        dt,
        ndim=(1,),
    )
    return method.problem(functools.partial(_residual, box.names[0]), duration)


def _residual(x: str, u: Jet, inputs: Jets) -> Array:
    return u.t + u * u.partial(x) - inputs.nu * u.partial(x, x)


def _symbol(k: Waves, inputs: Fields) -> Symbol:
    return -inputs["nu"] * square(k)


def _default_step(box: Box, inputs: Fields, grid: Grid) -> float:
    speed, viscosity = largest(inputs["u0"], box), draws(inputs["nu"], box)
    (h,), (length,) = grid.spacing, box.extent
    return 0.5 / max(speed**2 / max(speed * h, viscosity.min()), 400 * viscosity.max() / length**2)
