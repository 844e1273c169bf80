"""Problems in time by exponential integrators: heat, Burgers, Kuramoto-Sivashinsky.

`solve(fields, grid, rtol=None, *, times)` gives `{"u": (t, *space)}` at the instants `times`, static numbers that
increase from 0, the time of u0; and `Stats` with the number of time steps and the status converged or non_finite.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from ...core.domains import Box, Grid
from ..kernels.exponential import Instants, Symbol, checked_instants, etdrk4, integrate
from ..kernels.fast_poisson import BACKWARD, FORWARD
from ..linear.solution import Stats, Status
from ..random import Distribution, GaussianField
from .affine import interior, with_zero_boundary
from .problem import Fields, Problem, register_problem

Inputs = Mapping[str, Distribution | float]

# |k| of the orthogonal eigenfunctions of −d²/dx² with n unknowns, in the order of the transforms.
_WAVENUMBERS = {
    "dirichlet": lambda n, length: np.pi / length * np.arange(1, n + 1),
    "neumann": lambda n, length: np.pi / length * np.arange(n),
    "periodic": lambda n, length: 2 * np.pi / length * np.minimum(np.arange(n), n - np.arange(n)),
}
_RTOL = 1e-6  # nominal, of the default steps


@register_problem("heat")
def heat(nu: Distribution | float = 0.01, u0: Distribution | None = None, *, box: Box | None = None) -> Problem:
    """u_t = ν Δu in a box, by default the periodic unit interval; u = 0 on Dirichlet sides, no flux through Neumann sides.

    u(t) = Q exp(−ν|k|²t) Qᵀ u0 with the eigenfunctions Q of the box: exact for every u0 that the grid holds, at any t ≥ 0
    without steps. Differentiable with respect to ν and u0.

    **Arguments:**

    - `nu`: a number, or a distribution of numbers (then an input).
    - `u0`: the law of the initial field, by default `GaussianField(2, 5, 25·5^(−1.5))` under the box's condition. Its
      values on Dirichlet sides are ignored.
    - `box`: 1 to 3 axes with any conditions.
    """
    box = Box.unit(1, "periodic") if box is None else box
    u0 = _burgers_field(box) if u0 is None else u0
    inputs = {"nu": nu, "u0": u0}

    def solve(fields: Fields, grid: Grid, rtol: float | None = None, *, times: Instants | None = None):
        fields, times = _checked("heat", box, inputs, fields, grid, times)
        modes = jnp.asarray(interior(fields["u0"], box))
        squares = np.zeros(())
        for axis, (condition, length) in enumerate(zip(box.conditions, box.extent, strict=True)):
            squares = squares[..., None] + _WAVENUMBERS[condition](modes.shape[axis], length) ** 2
            modes = FORWARD[condition](modes, axis, norm="ortho")

        def at(t):
            u = modes * jnp.exp(-fields["nu"] * t * squares).astype(modes.dtype)
            for axis, condition in enumerate(box.conditions):
                u = BACKWARD[condition](u, axis, norm="ortho")
            return with_zero_boundary(u, box)

        u = jax.vmap(at)(jnp.asarray(checked_instants(times), modes.dtype))
        return {"u": u}, _stats(u, 0)

    return Problem("u", box, _laws(inputs), solve=solve, recipe=f"heat(nu={nu}, u0={u0}, box={box})")


@register_problem("burgers")
def burgers(
    nu: Distribution | float = 0.1,
    u0: Distribution | None = None,
    *,
    box: Box | None = None,
    dt: float | None = None,
) -> Problem:
    """u_t + (u²/2)_x = ν u_xx in a periodic interval, (0, 1) by default.

    Fourier-Galerkin with 2/3 dealiasing in space (modes from n/3 on only decay), `etdrk4` in time. The mean of u is conserved
    to rounding. Differentiable with respect to ν and u0.

    **Arguments:**

    - `nu`: a number, or a distribution of numbers (then an input), for example `random.LogUniform(1e-3, 1e-1)`. Where the
      grid does not resolve shocks, of width ν/|u|, u oscillates around them; for ν < 0 the status is non_finite.
    - `u0`: the law of the initial field; by default that of the Fourier neural operator's data,
      `GaussianField(2, 5, 25·5^(−1.5), "periodic")`. (Whether those live on (0, 1) or (0, 2π) is disputed.)
    - `dt`: the largest time step. By default ½ max(h, ν/U) / U: the time in which the fastest value U crosses a cell or
      the thinnest shock, whichever is longer; but at most L²/(800 ν). U and the range of ν are taken from 64 draws of
      their laws, so that all samples take the same steps; give `dt` where `solve` meets other fields.

    `rtol` of the solve multiplies the default step by (rtol/1e-6)^¼, at most 2. It is no bound: the worst relative error in
    time of 16 draws was 4e-8 to 2e-5 with the default step, for ν from 0.001 to 0.3 on 128 and 512 points. Steps twice
    as long are stable, four times as long are not where ν is small (status non_finite).
    """
    box = Box.unit(1, "periodic") if box is None else box
    u0 = _burgers_field(box) if u0 is None else u0

    def step(grid: Grid) -> float:
        speed, viscosity = abs(_draws(u0, box)).max(), _draws(nu, box)
        (h,), (length,) = grid.spacing, box.extent
        return 0.5 / max(speed**2 / max(speed * h, viscosity.min()), 400 * viscosity.max() / length**2)

    def symbol(k: np.ndarray, fields: Fields) -> Symbol:
        return -fields["nu"] * k**2

    recipe = f"burgers(nu={nu}, u0={u0}, box={box}, dt={dt})"
    return _advection(recipe, box, {"nu": nu, "u0": u0}, symbol, step, dt)


@register_problem("kuramoto_sivashinsky")
def kuramoto_sivashinsky(u0: Distribution | None = None, *, box: Box | None = None, dt: float | None = None) -> Problem:
    """u_t + u u_x + u_xx + u_xxxx = 0 in a periodic interval, (0, 22) by default, where it is chaotic.

    Method as for `burgers`. Three points per unit length resolve it (error of 1e-8 after 5 units of time), two give 6e-5.

    **Arguments:**

    - `u0`: the law of the initial field, by default `GaussianField(4, 1, 2.5, "periodic")`: smooth, and of the amplitude
      of the attractor, about 1. Rough fields (α ≤ 2) cost the integrator half its order. Start storing at t = 100 for data
      on the attractor.
    - `box`: (0, 22) and (0, 32π) are common lengths; below 2π everything decays.
    - `dt`: the largest time step, by default 0.05: relative errors of 3e-6 at t = 10, growing with the chaos to 5e-5
      (L = 22) and 1.5e-4 (L = 32π) at t = 50. `rtol` of the solve acts as in `burgers`.
    """
    box = Box(x=(0, 22, "periodic")) if box is None else box
    u0 = GaussianField(4, 1, 2.5, "periodic") if u0 is None else u0
    recipe = f"kuramoto_sivashinsky(u0={u0}, box={box}, dt={dt})"
    return _advection(recipe, box, {"u0": u0}, lambda k, fields: k**2 - k**4, lambda grid: 0.05, dt)


def _advection(
    recipe: str,
    box: Box,
    inputs: Inputs,
    symbol: Callable[[np.ndarray, Fields], Symbol],
    default_step: Callable[[Grid], float],
    dt: float | None,
) -> Problem:
    """u_t + (u²/2)_x = L u in a periodic interval, L by its symbol at wavenumbers k."""
    name = recipe.split("(")[0]
    if box.conditions != ("periodic",):
        raise ValueError(f"{name} lives in a periodic interval, for example Box(x=(0, 1, 'periodic')); got {box}")

    def solve(fields: Fields, grid: Grid, rtol: float | None = None, *, times: Instants | None = None):
        fields, times = _checked(name, box, inputs, fields, grid, times)
        (n,) = grid.shape
        modes = np.arange(n // 2 + 1)
        k, kept = 2 * np.pi / box.extent[0] * modes, 3 * modes < n

        def advection(v: Inexact[Array, " modes"], t) -> Inexact[Array, " modes"]:
            u = jnp.fft.irfft(v * kept, n)
            return jnp.fft.rfft(u * u) * (-0.5j * k * kept).astype(v.dtype)

        step = default_step(grid) * min(((rtol or _RTOL) / _RTOL) ** 0.25, 2.0) if dt is None else dt
        linear = symbol(k, fields)
        v, steps = integrate(lambda h: etdrk4(linear, advection, h), jnp.fft.rfft(fields["u0"]), times, step)
        u = jnp.fft.irfft(v, n)
        return {"u": u}, _stats(u, steps)

    return Problem("u", box, _laws(inputs), solve=solve, recipe=recipe)


def _burgers_field(box: Box) -> GaussianField:
    return GaussianField(2, 5, 25 * 5**-1.5, box.conditions[0])


def _laws(inputs: Inputs) -> dict[str, Distribution]:
    return {name: value for name, value in inputs.items() if isinstance(value, Distribution)}


def _draws(value: Distribution | float, box: Box) -> np.ndarray:
    """64 draws of a law on 64 points per axis, the same in every trace; or the number itself."""
    if not isinstance(value, Distribution):
        return np.asarray(value, np.float64)
    with jax.ensure_compile_time_eval():
        keys = jax.random.split(jax.random.key(0), 64)
        return np.asarray(jax.vmap(lambda key: value.sample(key, box.grid(64)))(keys), np.float64)


def _checked(
    name: str, box: Box, inputs: Inputs, fields: Fields, grid: Grid, times: Instants | None
) -> tuple[dict[str, Any], Instants]:
    """The fields with the constants of the declaration, and the instants; or what is missing."""
    fields = {k: v for k, v in inputs.items() if not isinstance(v, Distribution)} | dict(fields)
    if times is None:
        raise ValueError(f"{name}: give the instants to solve for, for example times=np.linspace(0, 1, 11)")
    if grid != box.grid(grid.shape):
        raise ValueError(f"{name}: {grid} does not suit {box}; use box.grid({grid.shape})")
    if missing := inputs.keys() - fields.keys():
        raise ValueError(f"{name}: the inputs {sorted(missing)} are random and not among the fields {sorted(fields)}")
    fields["u0"] = jnp.asarray(fields["u0"])
    if fields["u0"].shape != grid.shape:
        raise ValueError(f"{name}: u0 has shape {fields['u0'].shape}, expected that of the grid {grid.shape}")
    return fields, times


def _stats(u: Array, steps: int) -> Stats:
    status = jnp.where(jnp.isfinite(u).all(), Status.converged, Status.non_finite)
    return Stats(status, jnp.asarray(steps), jnp.zeros((), u.dtype))
