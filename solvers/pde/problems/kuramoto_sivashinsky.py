"""The Kuramoto-Sivashinsky equation: u_t + u u_x + u_xx + u_xxxx = 0."""

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
from ..representative_draws import largest


@register_problem("kuramoto_sivashinsky")
def kuramoto_sivashinsky(
    u0: Distribution | None = None, *, box: Box | None = None, dt: float | None = None, duration: float = 50.0
) -> Problem:
    """u_t + u u_x + u_xx + u_xxxx = 0 in a periodic interval, (0, 22) by default, where it is chaotic.

    Method as for `burgers`. Three points per unit length resolve it (error of 1e-8 after 5 units of time), two give 6e-5.

    **Arguments:**

    - `u0`: the law of the initial field, by default `GaussianField(4, 1, 2.5, "periodic")`: smooth, and of the amplitude
      of the attractor, about 1. Rough fields (α ≤ 2) cost the integrator half its order. Start storing at t = 100 for data
      on the attractor.
    - `box`: (0, 22) and (0, 32π) are common lengths; below 2π everything decays.
    - `dt`: the largest time step, by default 0.05: relative errors of 3e-6 at t = 10, growing with the chaos to 5e-5
      (L = 22) and 1.5e-4 (L = 32π) at t = 50; less where u0 exceeds 5, the size of the solutions. `rtol` of the solve acts
      as in `burgers`.
    - `duration`: end of the time interval (0, duration), for training without data; `solve` goes on beyond it.
    """
    box = Box(x=(0, 22, "periodic")) if box is None else box
    step = functools.partial(_default_step, box)
    inputs = {"u0": GaussianField(4, 1, 2.5, "periodic") if u0 is None else u0}
    method = PeriodicEvolution(
        "kuramoto_sivashinsky", box, {"u": "u0"}, inputs, _symbol, self_advection, step, dt, ndim=(1,)
    )
    return method.problem(functools.partial(_residual, box.names[0]), duration)


def _residual(x: str, u: Jet, inputs: Jets) -> Array:
    return u.t + u * u.partial(x) + u.partial(x, x) + u.partial(x, x, x, x)


def _symbol(k: Waves, inputs: Fields) -> Symbol:
    return square(k) - square(k) ** 2


def _default_step(box: Box, inputs: Fields, grid: Grid) -> float:
    return 0.25 / max(5.0, largest(inputs["u0"], box))
