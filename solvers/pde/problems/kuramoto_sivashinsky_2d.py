"""The Kuramoto-Sivashinsky equation in two dimensions: u_t + ½|∇u|² + Δu + Δ²u = 0."""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ....core.domains import Box, Grid
from ...kernels.exponential import Symbol
from ...kernels.periodic_modes import PeriodicModes, square
from ...random import Distribution, GaussianField
from ..declaration import Fields, Problem
from ..periodic_evolution import Nonlinear, PeriodicEvolution, Waves
from ..pointwise_derivatives import Jet, Jets, laplacian
from ..registry import register_problem
from ..representative_draws import draws


@register_problem("kuramoto_sivashinsky_2d")
def kuramoto_sivashinsky_2d(
    u0: Distribution | None = None, *, box: Box | None = None, dt: float | None = None, duration: float = 50.0
) -> Problem:
    """u_t + ½|∇u|² + Δu + Δ²u = 0 in a periodic rectangle, (0, 32)² by default, where it is chaotic: the height of a flame front.

    With v = u_x, u(x, y) = u(x) is the equation in one dimension. The mean of u falls by the mean of ½|∇u|²; subtract it where
    the shape alone matters. Fourier-Galerkin with 2/3 dealiasing, `etdrk4`; both components of ∇u come from one complex
    transform. Two points per unit length resolve it.

    **Arguments:**

    - `u0`: the law of the initial field, by default `GaussianField(4, 1, 1, "periodic")`. Start storing at about t = 100 for
      data on the attractor.
    - `dt`: the largest time step, by default 0.05, less where slopes of u0 exceed 5, the size of those of the solutions. `rtol`
      of the solve acts as in `burgers`.
    - `duration`: end of the time interval (0, duration), for training without data; `solve` goes on beyond it.
    """
    box = Box(x=(0, 32, "periodic"), y=(0, 32, "periodic")) if box is None else box
    step = functools.partial(_default_step, box)
    inputs = {"u0": GaussianField(4.0, 1.0, 1.0, "periodic") if u0 is None else u0}
    method = PeriodicEvolution(
        "kuramoto_sivashinsky_2d", box, {"u": "u0"}, inputs, _symbol, _slope, step, dt, ndim=(2,)
    )
    return method.problem(functools.partial(_residual, *box.names), duration)


def _residual(x: str, y: str, u: Jet, inputs: Jets) -> Array:
    biharmonic = u.partial(x, x, x, x) + 2 * u.partial(x, x, y, y) + u.partial(y, y, y, y)
    return u.t + 0.5 * (u.partial(x) ** 2 + u.partial(y) ** 2) + laplacian(u, (x, y)) + biharmonic


def _symbol(k: Waves, inputs: Fields) -> Symbol:
    return square(k) - square(k) ** 2


def _slope(modes: PeriodicModes, inputs: Fields) -> Nonlinear:
    """−½|∇u|²."""
    kx, ky = modes.wavenumbers

    def act(v, t):
        gradient = modes.pair(v * jnp.asarray(1j * kx, v.dtype), v * jnp.asarray(1j * ky, v.dtype))
        return -0.5 * modes.block(gradient.real**2 + gradient.imag**2)

    return act


def _default_step(box: Box, inputs: Fields, grid: Grid) -> float:
    u = draws(inputs["u0"], box)
    if u.ndim < 2:  # a constant
        return 0.05
    points = zip(u.shape[-2:], box.extent, (-2, -1), strict=True)
    slope = max(abs(u - np.roll(u, 1, axis)).max() * n / length for n, length, axis in points)
    return 0.25 / max(5.0, float(slope))
