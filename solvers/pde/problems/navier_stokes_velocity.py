"""Incompressible flow on a torus in velocity and pressure."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ....core.arrays import AnyArray
from ....core.domains import Box, Grid
from ...kernels.exponential import Instants, checked_instants, etdrk4, integrate, linear_in_time
from ...random import AbstractLaw, Distribution
from ..declaration import Fields, Problem
from ..finite_volume_solver import broadcast
from ..flow_laws import Swirls
from ..marching import check_numbers, integration_stats, one_step
from ..registry import register_problem
from ..solved import Solved
from ..typical_inputs import smallest


@register_problem("navier_stokes_velocity")
def navier_stokes_velocity(
    nu: Distribution | float = 1e-3,
    velocity0: Distribution | Float[AnyArray, "..."] | None = None,
    forcing: AbstractLaw | Float[AnyArray, "..."] | float = 0.0,
    *,
    box: Box | None = None,
    dt: float | None = None,
    duration: float = 1.0,
) -> Problem:
    """v_t + v·∇v = −∇p + ν Δv + f with ∇·v = 0 on a periodic rectangle or cuboid, (0, 2π)² by default.

    Fourier-Galerkin with 2/3 dealiasing: v̂_t = −ν|k|² v̂ + P(k) (f̂ − i k·(v⊗v)^) with the projection P = 1 − k kᵀ/|k|², which
    keeps ∇·v = 0 to rounding; `etdrk4` in time, exact in the viscosity. Without viscosity and forcing the energy is conserved
    to the error of the time steps, and the mean of v always. Differentiable with respect to all inputs.

    `problem.solve(inputs, grid, times=…)` gives "velocity" `(t, *space, d)` and "pressure" `(t, *space)` with mean zero, which
    balances the part of f with divergence.
    Taylor and Green's vortices, sin x cos y and −cos x sin y, decay by exp(−2νt) to rounding, whatever the step.

    **Arguments:**

    - `nu`: ν, a number or a law of numbers.
    - `velocity0`: the initial velocity `(*space, d)` or its law, by default `pde.Swirls()`. Its part with divergence is removed.
    - `forcing`: f, 0, a field `(*space, d)`, or a law, also one that depends on time (`pde.Stirring()`): then `solve` takes an
      array `(t, *space, d)` at its instants, linear in between and constant before the first.
    - `box`: 2 or 3 periodic axes.
    - `dt`: the largest time step; by default half the time in which the fastest velocity crosses a cell. That is the one of the
      start and what the forcing may add until the last instant or within the decay time of the longest wave.
    - `duration`: end of the time interval (0, duration); `solve` goes on beyond it.
    """
    length = 2 * np.pi
    box = Box(x=(0, length, "periodic"), y=(0, length, "periodic")) if box is None else box
    if set(box.conditions) != {"periodic"} or not 2 <= len(box.axes) <= 3:
        raise ValueError(f"navier_stokes_velocity lives on 2 or 3 periodic axes, not on {box}")
    if dt is not None and not dt > 0:
        raise ValueError(f"navier_stokes_velocity: dt={dt} must be positive")
    inputs = {"nu": nu, "velocity0": Swirls() if velocity0 is None else velocity0, "forcing": forcing}
    timed = isinstance(forcing, AbstractLaw) and forcing.is_timed
    flow = PeriodicFlow(box, inputs, dt)
    return Problem(
        ("velocity", "pressure"),
        box,
        time=(0.0, duration),
        inputs=inputs,
        initial={"velocity": "velocity0"},
        solve=flow.solve,
        step=None if timed else flow.step,
        no_residual="the unknown velocity is a vector, of which jets, of scalar fields, do not exist",
    )


@dataclass(frozen=True, eq=False)
class PeriodicFlow:
    """The equations in Fourier coefficients, components first. `inputs` are those that are declared."""

    box: Box
    inputs: Fields
    dt: float | None

    def solve(self, inputs: Fields, grid: Grid, *, times: Instants | None = None) -> Solved:
        if times is None:
            raise ValueError("navier_stokes_velocity: give the instants to solve for, times=…")
        if grid != self.box.grid(grid.shape):
            raise ValueError(f"navier_stokes_velocity: {grid} does not suit {self.box}; use box.grid({grid.shape})")
        check_numbers("navier_stokes_velocity", inputs, without=("velocity0", "forcing"))
        instants, d = checked_instants(times), grid.ndim
        velocity, forcing = jnp.asarray(inputs["velocity0"], float), jnp.asarray(inputs["forcing"], float)
        if velocity.shape != (*grid.shape, d):
            raise ValueError(
                f"navier_stokes_velocity: velocity0 has shape {velocity.shape}, expected {(*grid.shape, d)}"
            )
        if forcing.ndim <= d + 1:
            forcing = broadcast(forcing, grid, d)[None]
        if forcing.shape not in [(n, *grid.shape, d) for n in (1, len(instants))]:
            raise ValueError(
                f"navier_stokes_velocity: forcing has shape {forcing.shape}, expected one field {(*grid.shape, d)} or one for "
                f"each of the {len(instants)} instants"
            )
        waves = Waves(grid)
        push = waves.forward(forcing)
        potential = waves.potential(push)
        push = waves.project(push)
        stirred = linear_in_time(push, instants[: len(push)], velocity.dtype)

        def nonlinear(v, t):
            return stirred(t) + waves.project(waves.advection(v))

        linear = -inputs["nu"] * waves.squares
        h = self.dt
        if h is None:
            crossing = functools.partial(_crossing_time, instants[-1])
            h = smallest(crossing, inputs, self.inputs, grid, instants) / 2
            h = h if 0 < h < np.inf else max(instants[-1], 1.0) / 10
        method = functools.partial(etdrk4, linear, nonlinear)
        v, steps = integrate(method, waves.project(waves.forward(velocity)), instants, h)
        pressure = waves.backward(jax.vmap(waves.pressure)(v) + potential, 0)
        velocity = waves.backward(v, 1)
        return Solved({"velocity": velocity, "pressure": pressure}, integration_stats(velocity, steps))

    def step(self, fields: Fields, inputs: Fields, grid: Grid, dt: float, *, rtol: float | None = None) -> Solved:
        return one_step(self.solve, fields, inputs, {"velocity": "velocity0"}, grid, dt)


class Waves:
    """Wavenumbers of a periodic grid and what is diagonal in them. Coefficients are those of `rfftn` over the space axes."""

    def __init__(self, grid: Grid):
        self.shape, self.axes = grid.shape, tuple(range(-grid.ndim, 0))
        numbers = [np.fft.fftfreq(n, 1 / n) for n in grid.shape[:-1]] + [np.arange(grid.shape[-1] // 2 + 1)]
        modes = np.stack(np.meshgrid(*numbers, indexing="ij"))
        sizes = np.array(grid.shape).reshape(-1, *[1] * grid.ndim)
        lengths = np.array(grid.box.extent).reshape(sizes.shape)
        true = 2 * np.pi / lengths * modes
        self.squares = (true**2).sum(0)
        # The highest wave of an even number of points has no derivative: its sine is not on the grid.
        self.k = np.where(2 * abs(modes) == sizes, 0, true)
        self.kept = np.asarray((3 * abs(modes) < sizes).all(0))
        squares = (self.k**2).sum(0)
        self.inverse = np.where(squares > 0, 1 / np.where(squares > 0, squares, 1), 0)

    def forward(self, v: Float[Array, "*t_and_space d"]) -> Complex[Array, "..."]:
        """Coefficients `(…, d, *modes)` of a field `(…, *space, d)`."""
        return jnp.fft.rfftn(jnp.moveaxis(v, -1, -1 - len(self.axes)), axes=self.axes)

    def backward(self, v: Complex[Array, "..."], components: int) -> Float[Array, "..."]:
        """Values `(…, *space, d)` of coefficients `(…, d, *modes)`; with `components` 0 of a scalar."""
        u = jnp.fft.irfftn(v, self.shape, self.axes)
        return jnp.moveaxis(u, -1 - len(self.axes), -1) if components else u

    def project(self, v: Complex[Array, "..."]) -> Complex[Array, "..."]:
        """The part without divergence, v − k (k·v)/|k|²."""
        k, inverse = self._like(v, self.k), self._like(v, self.inverse)
        axis = -1 - len(self.axes)
        return v - k * jnp.expand_dims((k * v).sum(axis) * inverse, axis)

    def potential(self, f: Complex[Array, "..."]) -> Complex[Array, "..."]:
        """φ with the gradient that `project` removes, −i k·f/|k|²."""
        k, axis = self._like(f, self.k), -1 - len(self.axes)
        return -1j * (k * f).sum(axis) * self._like(f, self.inverse)

    def advection(self, v: Complex[Array, "d *modes"]) -> Complex[Array, "d *modes"]:
        """−∇·(v⊗v), without the waves from a third of the grid's on, in both factors and in the product."""
        products, k, d = self._products(v), self._like(v, self.k), range(len(v))
        return jnp.stack([-1j * (k * jnp.stack([products[min(i, j), max(i, j)] for j in d])).sum(0) for i in d])

    def pressure(self, v: Complex[Array, "d *modes"]) -> Complex[Array, "*modes"]:
        """p̂ = −Σ_ij k_i k_j (v_i v_j)^ / |k|²."""
        k = self._like(v, self.k)
        terms = [k[i] * k[j] * product * (1 if i == j else 2) for (i, j), product in self._products(v).items()]
        return -jnp.stack(terms).sum(0) * self._like(v, self.inverse)

    def _products(self, v):
        kept = self._like(v, self.kept)
        u = jnp.fft.irfftn(v * kept, self.shape, self.axes)
        pairs = [(i, j) for i in range(len(u)) for j in range(i, len(u))]
        return {pair: kept * jnp.fft.rfftn(u[pair[0]] * u[pair[1]], axes=self.axes) for pair in pairs}

    def _like(self, v: Array, array: np.ndarray) -> Array:
        return jnp.asarray(array, v.real.dtype)


def _crossing_time(last: float, inputs: Fields, grid: Grid) -> Array:
    """The time in which the fastest velocity crosses a cell: that of the start and what the forcing may add until
    the last instant or within the decay time of the longest wave."""
    speeds = abs(jnp.asarray(inputs["velocity0"], float)).reshape(-1, grid.ndim).max(0)
    decay = inputs["nu"] * (2 * np.pi / max(grid.box.extent)) ** 2
    gained = abs(jnp.asarray(inputs["forcing"], float)).max() * jnp.minimum(last, 1 / jnp.maximum(decay, 1e-12))
    return 1 / ((speeds + gained) / jnp.asarray(grid.spacing)).max()
