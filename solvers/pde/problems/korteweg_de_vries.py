"""The Korteweg-de Vries equation: u_t + η u u_x + μ² u_xxx = 0."""

import functools

import jax.numpy as jnp
from jaxtyping import Array

from ....core.domains import Box, Grid
from ...kernels.exponential import Symbol
from ...kernels.periodic_modes import PeriodicModes
from ...random import Distribution, GaussianField
from ..declaration import Fields, Problem
from ..periodic_evolution import Nonlinear, PeriodicEvolution, Waves, self_advection
from ..pointwise_derivatives import Jet, Jets
from ..registry import register_problem
from ..representative_draws import largest


@register_problem("korteweg_de_vries")
def korteweg_de_vries(
    eta: Distribution | float = 1.0,
    mu: Distribution | float = 0.022,
    u0: Distribution | None = None,
    *,
    box: Box | None = None,
    dt: float | None = None,
    duration: float = 1.0,
) -> Problem:
    """u_t + η u u_x + μ² u_xxx = 0 in a periodic interval, (−1, 1) by default (Zabusky and Kruskal, 1965).

    Waves steepen and break up into solitons, u = 3(c/η) sech²(½√c (x − ct)/μ). ∫u is conserved to rounding, ∫u² and the energy
    ∫ η u³/6 − μ² u_x²/2 to the order of the steps. Fourier-Galerkin with 2/3 dealiasing, `etdrk4` with complex coefficients,
    which keep the order of four where L = iμ²k³ is stiff. Differentiable with respect to η, μ and u0.

    **Arguments:**

    - `eta`, `mu`: numbers, or distributions of numbers. A random μ turns the phases of mode k in float32 by μ²k³t·6e-8.
    - `u0`: the law of the initial field, by default `GaussianField(4, 4, 1.5, "periodic")`; cos πx is the classical choice.
    - `dt`: the largest time step, by default a fifth of the time in which the largest speed ηU, with U from draws of u0,
      crosses a spacing. `rtol` of the solve acts as in `burgers`.
    - `duration`: end of the time interval (0, duration), for training without data; `solve` goes on beyond it.
    """
    box = Box(x=(-1, 1, "periodic")) if box is None else box
    u0 = GaussianField(4.0, 4.0, 1.5, "periodic") if u0 is None else u0
    inputs, step = {"eta": eta, "mu": mu, "u0": u0}, functools.partial(_default_step, box)
    starts = {"u": "u0"}
    method = PeriodicEvolution("korteweg_de_vries", box, starts, inputs, _symbol, _steepening, step, dt, ndim=(1,))
    return method.problem(functools.partial(_residual, box.names[0]), duration)


def _residual(x: str, u: Jet, inputs: Jets) -> Array:
    return u.t + inputs.eta * u * u.partial(x) + inputs.mu**2 * u.partial(x, x, x)


def _symbol(k: Waves, inputs: Fields) -> Symbol:
    return inputs["mu"] ** 2 * (1j * k[0] ** 3)


def _steepening(modes: PeriodicModes, inputs: Fields) -> Nonlinear:
    act = self_advection(modes, inputs)
    return lambda v, t: jnp.asarray(inputs["eta"], v.real.dtype) * act(v, t)


def _default_step(box: Box, inputs: Fields, grid: Grid) -> float:
    return 0.2 * grid.spacing[0] / max(largest(inputs["eta"], box) * largest(inputs["u0"], box), 1e-12)
