"""The Fisher-KPP equation: u_t = ν Δu + ρ u (1 − u)."""

import functools

from jaxtyping import Array

from ....core.domains import Box, Grid
from ...kernels.exponential import Symbol
from ...kernels.periodic_modes import PeriodicModes, square
from ...random import Distribution, PeriodicGP, UnitRange
from ..declaration import Fields, Problem
from ..periodic_evolution import Nonlinear, PeriodicEvolution, Waves
from ..pointwise_derivatives import Jet, Jets, laplacian
from ..registry import register_problem
from ..representative_draws import largest


@register_problem("fisher_kpp")
def fisher_kpp(
    nu: Distribution | float = 5e-3,
    rho: Distribution | float = 5.0,
    u0: Distribution | None = None,
    *,
    box: Box | None = None,
    dt: float | None = None,
    duration: float = 1.0,
) -> Problem:
    """u_t = ν Δu + ρ u (1 − u) in a periodic box, the unit interval by default: a population that spreads and saturates at 1.

    A front advances at the speed 2√(νρ) or faster. The defaults are the reaction-diffusion of the neural spectral methods (ν
    = 0.005, 0.01, 0.05 or 0.1, ρ = 5, t ≤ 1). For u0 in [0, 1] the solution stays there; below 0 it ends in finite time (status
    non_finite). Fourier-Galerkin with 2/3 dealiasing, `etdrk4`. Differentiable with respect to ν, ρ and u0.

    **Arguments:**

    - `nu`, `rho`: numbers, or distributions of numbers.
    - `u0`: the law of the initial field, by default `UnitRange(PeriodicGP(0.2))`, a Gaussian process with values from 0 to 1.
    - `box`: 1 to 3 periodic axes.
    - `dt`: the largest time step, by default 1/(20 ρ max(1, U)) with U from draws of u0, at most L²/(400 ν). `rtol` of the
      solve acts as in `burgers`.
    - `duration`: end of the time interval (0, duration), for training without data; `solve` goes on beyond it.
    """
    box = Box.unit(1, "periodic") if box is None else box
    u0 = UnitRange(PeriodicGP(0.2)) if u0 is None else u0
    inputs, step = {"nu": nu, "rho": rho, "u0": u0}, functools.partial(_default_step, box)
    method = PeriodicEvolution("fisher_kpp", box, {"u": "u0"}, inputs, _symbol, _reaction, step, dt)
    return method.problem(functools.partial(_residual, box.names), duration)


def _residual(names: tuple[str, ...], u: Jet, inputs: Jets) -> Array:
    return u.t - inputs.nu * laplacian(u, names) - inputs.rho * (u - u**2)


# Growth is no part of the symbol: it balances competition, and steps that treat both alike err 10 times less.
def _symbol(k: Waves, inputs: Fields) -> Symbol:
    return -inputs["nu"] * square(k)


def _reaction(modes: PeriodicModes, inputs: Fields) -> Nonlinear:
    return lambda v, t: inputs["rho"] * (v - modes.block(modes.values(v) ** 2))


def _default_step(box: Box, inputs: Fields, grid: Grid) -> float:
    growth = 20 * largest(inputs["rho"], box) * max(1.0, largest(inputs["u0"], box))
    return 1 / max(growth, 400 * largest(inputs["nu"], box) / min(box.extent) ** 2)
