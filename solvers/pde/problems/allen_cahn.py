"""The Allen-Cahn equation: u_t = ε Δu + r (u − u³)."""

import functools

from jaxtyping import Array

from ....core.domains import Box, Grid
from ...kernels.exponential import Symbol
from ...kernels.periodic_modes import PeriodicModes, square
from ...random import Distribution, GaussianField
from ..declaration import Fields, Problem
from ..periodic_evolution import Nonlinear, PeriodicEvolution, Waves
from ..pointwise_derivatives import Jet, Jets, laplacian
from ..registry import register_problem
from ..representative_draws import largest


@register_problem("allen_cahn")
def allen_cahn(
    epsilon: Distribution | float = 1e-4,
    rate: Distribution | float = 5.0,
    u0: Distribution | None = None,
    *,
    box: Box | None = None,
    dt: float | None = None,
    duration: float = 1.0,
) -> Problem:
    """u_t = ε Δu + r (u − u³) in a periodic box, (−1, 1) by default.

    The gradient flow of the energy ∫ ½ε|∇u|² + ¼r (1 − u²)², which never grows: phases ±1 with walls of width √(2ε/r) between
    them. Fourier-Galerkin with 1/2 dealiasing, which cubes need, and `etdrk4`. Differentiable with respect to ε, r and u0.

    **Arguments:**

    - `epsilon`, `rate`: numbers, or distributions of numbers. With 1e-4 and 5, and u0 = x² cos πx, it is the test of
      physics-informed networks; walls of width 0.006 need 512 points.
    - `u0`: the law of the initial field, by default `GaussianField(3, 4, 1.5, "periodic")`, of size about 1.
    - `box`: 1 to 3 periodic axes.
    - `dt`: the largest time step, by default 1/(20 r max(1, U²)) with U the largest of draws of u0. `rtol` of the solve acts
      as in `burgers`.
    - `duration`: end of the time interval (0, duration), for training without data; `solve` goes on beyond it.
    """
    box = Box(x=(-1, 1, "periodic")) if box is None else box
    u0 = GaussianField(3.0, 4.0, 1.5, "periodic") if u0 is None else u0
    inputs, step = {"epsilon": epsilon, "rate": rate, "u0": u0}, functools.partial(_default_step, box)
    method = PeriodicEvolution("allen_cahn", box, {"u": "u0"}, inputs, _symbol, _reaction, step, dt, degree=3)
    return method.problem(functools.partial(_residual, box.names), duration)


def _residual(names: tuple[str, ...], u: Jet, inputs: Jets) -> Array:
    return u.t - inputs.epsilon * laplacian(u, names) - inputs.rate * (u - u**3)


# Growth is no part of the symbol: it balances the cube, and steps that treat both alike err 5 times less.
def _symbol(k: Waves, inputs: Fields) -> Symbol:
    return -inputs["epsilon"] * square(k)


def _reaction(modes: PeriodicModes, inputs: Fields) -> Nonlinear:
    return lambda v, t: inputs["rate"] * (v - modes.block(modes.values(v) ** 3))


def _default_step(box: Box, inputs: Fields, grid: Grid) -> float:
    return 0.05 / (largest(inputs["rate"], box) * max(1.0, largest(inputs["u0"], box) ** 2))
