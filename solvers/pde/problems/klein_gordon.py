"""The Klein-Gordon equation with a cubic term: u_tt = c² Δu − m² u − g u³."""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ....core.domains import Box, Grid
from ...kernels.exponential import Symbol
from ...kernels.periodic_modes import PeriodicModes, square
from ...random import Distribution, GaussianField
from ..declaration import Fields, Problem
from ..periodic_evolution import Nonlinear, PeriodicEvolution, Waves, components
from ..pointwise_derivatives import Jets, laplacian
from ..registry import register_problem
from ..representative_draws import draws, largest


@register_problem("klein_gordon")
def klein_gordon(
    speed: Distribution | float = 1.0,
    mass: Distribution | float = 1.0,
    coupling: Distribution | float = 1.0,
    u0: Distribution | None = None,
    v0: Distribution | float = 0.0,
    *,
    box: Box | None = None,
    dt: float | None = None,
    duration: float = 10.0,
) -> Problem:
    """u_t = v, v_t = c² Δu − m² u − g u³ in a periodic box, (−1, 1) by default.

    With Ω = √(m² − c²Δ) the fields v ± iΩu turn with ±iΩ, so that `etdrk4` treats the linear waves exactly (g = 0 has no
    error in time) and the cube to fourth order, as it does the energy ½∫ v² + c²|∇u|² + m²u² + ½g u⁴. Fourier-Galerkin with
    1/2 dealiasing. Differentiable with respect to the numbers and the initial fields.

    **Arguments:**

    - `speed`, `mass`, `coupling`: c, m > 0 and g, numbers or distributions of numbers. For g < 0 large waves end in finite time
      (status non_finite). m = 0 is `wave` with g = 0; with a cube it has no bounded Ω⁻¹ and is refused.
    - `u0`, `v0`: laws of the initial field, by default `GaussianField(4, 4, 1.5, "periodic")`, and of its velocity.
    - `box`: 1 to 3 periodic axes.
    - `dt`: the largest time step, by default 1/(20 √(m² + 3|g|U²)) with U from draws of u0. `rtol` of the solve acts as in
      `burgers`.
    - `duration`: end of the time interval (0, duration), for training without data; `solve` goes on beyond it.
    """
    box = Box(x=(-1, 1, "periodic")) if box is None else box
    u0 = GaussianField(4.0, 4.0, 1.5, "periodic") if u0 is None else u0
    if not draws(mass, box).min() > 0:
        raise ValueError(f"klein_gordon: mass={mass!r} is not positive; take problem('wave') for waves without mass")
    method = PeriodicEvolution(
        "klein_gordon",
        box,
        {"u": "u0", "v": "v0"},
        {"speed": speed, "mass": mass, "coupling": coupling, "u0": u0, "v0": v0},
        _symbol,
        _cube,
        functools.partial(_default_step, box),
        dt,
        degree=3,
        variables=_variables,
    )
    return method.problem(functools.partial(_residual, box.names), duration)


def _residual(names: tuple[str, ...], w: Jets, inputs: Jets) -> dict[str, Array]:
    u, v = w.u, w.v
    force = inputs.speed**2 * laplacian(u, names) - inputs.mass**2 * u - inputs.coupling * u**3
    return {"u": u.t - v, "v": v.t - force}


def _frequency(k: Waves, inputs: Fields) -> Symbol:
    squares = inputs["mass"] ** 2 + inputs["speed"] ** 2 * square(k)
    return np.sqrt(squares) if isinstance(squares, np.ndarray) else jnp.sqrt(squares)


def _symbol(k: Waves, inputs: Fields) -> Symbol:
    omega = _frequency(k, inputs)
    return components(1j * omega, -1j * omega)


def _variables(k: Waves, inputs: Fields):
    def forward(fields):
        turned = 1j * jnp.asarray(_frequency(k, inputs), fields.real.dtype) * fields[0]
        return jnp.stack([fields[1] + turned, fields[1] - turned])

    def backward(states):
        up, down = states[..., 0, *[slice(None)] * len(k)], states[..., 1, *[slice(None)] * len(k)]
        twice = 2j * jnp.asarray(_frequency(k, inputs), states.real.dtype)
        return jnp.stack([(up - down) / twice, (up + down) / 2], -1 - len(k))

    return forward, backward


def _cube(modes: PeriodicModes, inputs: Fields) -> Nonlinear:
    omega = _frequency(modes.wavenumbers, inputs)

    def act(v, t):
        u = modes.values((v[0] - v[1]) / (2j * jnp.asarray(omega, v.real.dtype)))
        force = -inputs["coupling"] * modes.block(u**3)
        return jnp.stack([force, force])

    return act


def _default_step(box: Box, inputs: Fields, grid: Grid) -> float:
    mass, coupling, u = (largest(inputs[name], box) for name in ("mass", "coupling", "u0"))
    stiffness = mass**2 + 3 * coupling * u**2
    return 0.05 / stiffness**0.5
