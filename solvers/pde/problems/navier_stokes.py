"""The vorticity equation of an incompressible flow in two dimensions: w_t + v·∇w = ν Δw − λ w + f."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from ....core.domains import Box, Grid
from ...kernels.exponential import Instants, Symbol
from ...kernels.periodic_modes import PeriodicModes, square
from ...random import AbstractLaw, Distribution, GaussianField
from ..boundary_nodes import on_grid
from ..declaration import Fields, Problem
from ..periodic_evolution import Nonlinear, PeriodicEvolution, Waves
from ..pointwise_derivatives import Jets, laplacian
from ..registry import register_problem
from ..representative_draws import draws, smallest
from ..solved import Solved


@dataclass(frozen=True)
class DiagonalForcing:
    """f = a (sin k(x + y) + cos k(x + y)): that of the Fourier neural operator's data with a = 0.1, k = 2π."""

    amplitude: float = 0.1
    wavenumber: float = 2 * np.pi

    def __call__(self, x, y):
        return self.amplitude * (jnp.sin(self.wavenumber * (x + y)) + jnp.cos(self.wavenumber * (x + y)))


@dataclass(frozen=True)
class KolmogorovForcing:
    """f = −a k cos k y, the curl of the force (a sin k y, 0)."""

    amplitude: float = 1.0
    wavenumber: float = 4.0

    def __call__(self, x, y):
        return -self.amplitude * self.wavenumber * jnp.cos(self.wavenumber * y) + 0 * x


@register_problem("navier_stokes")
def navier_stokes(
    nu: Distribution | float = 1e-3,
    w0: Distribution | None = None,
    f: AbstractLaw | float | Callable[..., Any] = DiagonalForcing(),
    *,
    drag: Distribution | float = 0.0,
    stream_function: bool = False,
    box: Box | None = None,
    dt: float | None = None,
    duration: float = 50.0,
) -> Problem:
    """w_t + v·∇w = ν Δw − λ w + f on a periodic rectangle, the unit square by default, with the velocity v = (ψ_y, −ψ_x),
    −Δψ = w.

    The data of the Fourier neural operator (Li et al., 2021) have ν = 1e-3 until t = 50, 1e-4 until 30 and 1e-5 until 20,
    stored at t = 1, 2, …; solved on 256², they keep every fourth point: `generate(problem, 1200, 64, key, refine=4,
    times=np.arange(21))`.

    Fourier-Galerkin with 2/3 dealiasing in space, `etdrk4` in time. The products are the square of the complex field u + iv:
    v·∇w = ½ Im (∂_x − i∂_y)² (u + iv)², one complex transform each way, where the usual form takes five real ones and that of
    Basdevant (1983) four. Means of w and v stay as they are; the mean velocity is 0. Differentiable with respect to ν, λ, f, w0.

    **Arguments:**

    - `nu`, `drag`: ν and λ, numbers or distributions of numbers, for example `random.LogUniform(1e-5, 1e-3)`.
    - `w0`: the law of the initial vorticity; by default that of the published data, `GaussianField(2.5, 7, √2, "periodic")`. (The
      paper's text has N(0, 7^1.5 (−Δ + 49)^−2.5), which is 6.1 times smaller.)
    - `f`: the forcing. A function of x and y, such as `DiagonalForcing()`, the paper's, is part of the equation; a law of fields
      or a number is an input. 0 leaves the flow to decay. Of a law of fields that depend on time, such as
      `pde.Stirring(random.GaussianField(4, 7, 0.1, "periodic"))`, `solve` takes an array `(t, *space)` at its instants, linear in
      between and constant before the first.
    - `stream_function`: solve for ψ too, as the unknown "psi". The problem then has a pointwise `residual`, which with w alone it
      has not: the velocity at a point depends on w everywhere.
    - `dt`: the largest time step. By default the time in which the speed U crosses half a spacing of the grid, at most 0.1. U is
      taken from draws of w0, and from what f gives to a flow at rest within `duration` or the decay time of the longest
      wave. It is no bound: where the status is non_finite, give `dt`.
    - `duration`: end of the time interval (0, duration), for training without data; `solve` goes on beyond it.

    `rtol` of the solve acts as in `burgers`.
    """
    box = Box.unit(2, "periodic") if box is None else box
    w0 = GaussianField(2.5, 7.0, 2**0.5, "periodic") if w0 is None else w0
    fixed = callable(f)
    inputs = {"nu": nu, "drag": drag, **({} if fixed else {"f": f}), "w0": w0}
    method = PeriodicEvolution(
        "navier_stokes",
        box,
        {"w": "w0"},
        inputs,
        _symbol,
        _advection,
        functools.partial(_default_step, f if fixed else None, box, duration),
        dt,
        source=functools.partial(_forcing, f if fixed else None),
        fields=("f",),
        ndim=(2,),
    )
    if fixed:
        _check_forcing(f, box)
    equation = NavierStokes(method, f if fixed else None, stream_function)
    return Problem(
        ("w", "psi") if stream_function else "w",
        box,
        time=(0.0, duration),
        inputs=inputs,
        residual=equation.residual if stream_function else None,
        no_residual="" if stream_function else "the velocity depends on w everywhere; take stream_function=True",
        initial={"w": "w0"},
        solve=equation.solve,
        step=None if isinstance(f, AbstractLaw) and f.is_timed else equation.step,
    )


@register_problem("kolmogorov_flow")
def kolmogorov_flow(
    nu: Distribution | float = 1e-2,
    w0: Distribution | None = None,
    *,
    amplitude: float = 1.0,
    wavenumber: float = 4.0,
    drag: Distribution | float = 0.1,
    stream_function: bool = False,
    box: Box | None = None,
    dt: float | None = None,
    duration: float = 20.0,
) -> Problem:
    """`navier_stokes` on (0, 2π)² under the force (a sin k y, 0) with a drag, as in Kochkov et al. (2021), who have ν = 1e-3.

    The shear flow w = −a k/(λ + νk²) cos k y solves it, and is unstable for small ν. Arguments as there, and

    - `amplitude`, `wavenumber`: a and k.
    - `w0`: by default `GaussianField(4, 3, 4, "periodic")`, of about the size of the flow.
    """
    box = Box(x=(0, 2 * np.pi, "periodic"), y=(0, 2 * np.pi, "periodic")) if box is None else box
    w0 = GaussianField(4.0, 3.0, 4.0, "periodic") if w0 is None else w0
    forcing = KolmogorovForcing(amplitude, wavenumber)
    return navier_stokes(nu, w0, forcing, drag=drag, stream_function=stream_function, box=box, dt=dt, duration=duration)


@dataclass(frozen=True, eq=False)
class NavierStokes:
    """The equation: its solver, the forcing if that is a function, and whether ψ is an unknown."""

    method: PeriodicEvolution
    forcing: Callable | None
    stream_function: bool

    def residual(self, u: Jets, inputs: Jets) -> dict[str, Array]:
        x, y = self.method.box.names
        w, psi = u.w, u.psi
        f = inputs.f if self.forcing is None else self.forcing(w.at[x], w.at[y])
        transport = psi.partial(y) * w.partial(x) - psi.partial(x) * w.partial(y)
        friction = inputs.nu * laplacian(w, (x, y)) - inputs.drag * w
        return {"transport": w.t + transport - friction - f, "stream": laplacian(psi, (x, y)) + w}

    def solve(self, inputs: Fields, grid: Grid, *, times: Instants | None = None, rtol: float | None = None) -> Solved:
        return self._with_stream(self.method.solve(inputs, grid, times=times, rtol=rtol), grid)

    def step(self, fields: Fields, inputs: Fields, grid: Grid, dt: float, *, rtol: float | None = None) -> Solved:
        return self._with_stream(self.method.step(fields, inputs, grid, dt, rtol=rtol), grid)

    def _with_stream(self, solved: Solved, grid: Grid) -> Solved:
        if not self.stream_function:
            return solved
        modes = PeriodicModes(grid.shape, self.method.box.extent)
        w = modes.whole(solved["w"])
        psi = modes.fields(w * jnp.asarray(_inverse_laplacian(modes.all_wavenumbers), w.dtype))
        return Solved({"w": solved["w"], "psi": psi}, solved.stats)


def _symbol(k: Waves, inputs: Fields) -> Symbol:
    return -inputs["nu"] * square(k) - inputs["drag"]


def _advection(modes: PeriodicModes, inputs: Fields) -> Nonlinear:
    """−v·∇w on the block of `modes`, from the complex field q = u + iv.

    In float64 by its square, −v·∇w = −½ Im (∂_x − i∂_y)² q²: one complex transform each way. Rounding in q² is multiplied by |k|²
    there, so that float32 takes −∇·(v w) = −Re (∂_x − i∂_y)(q w) with a real transform more.

    The block of q is put at the frequencies 0 … 2m, which multiplies q by exp(imx): the modes −m … m of q w are then those at
    0 … 2m and those of q² at m … 3m, below n, so that both ends are slices.
    """
    (n_x, n_y), (m_x, m_y) = modes.shape, modes.kept
    kx, ky = modes.wavenumbers[0], np.concatenate([-modes.wavenumbers[1][:, :0:-1], modes.wavenumbers[1]], 1)
    velocity, slope = (kx + 1j * ky) * _inverse_laplacian((kx, ky)), 1j * kx + ky

    def complex_velocity(v):
        below, above = (jnp.asarray(part, v.dtype) for part in (velocity[:, :m_y], velocity[:, m_y:]))
        q = jnp.zeros((n_x, n_y), v.dtype)
        q = lax.dynamic_update_slice(q, jnp.conj(v[::-1, :0:-1]) * below, (0, 0))
        return jnp.fft.ifft2(lax.dynamic_update_slice(q, v * above, (0, m_y)))

    def real_part(products, symbol):
        """2 Re of the field with the coefficients `products` times the symbol, on the block."""
        above, below = (jnp.asarray(part, products.dtype) for part in (symbol[:, m_y:], symbol.conj()[::-1, m_y::-1]))
        return products[:, m_y:] * above + jnp.conj(products[::-1, m_y::-1]) * below

    def by_square(v, t):
        q = complex_velocity(v[0])
        products = jnp.fft.fft2(q * q)[m_x : 3 * m_x + 1, m_y : 3 * m_y + 1]
        return real_part(products, 0.25j * slope**2)[None]

    def by_flux(v, t):
        flux = complex_velocity(v[0]) * modes.values(v[0])
        return real_part(jnp.fft.fft2(flux)[: 2 * m_x + 1, : 2 * m_y + 1], -0.5 * slope)[None]

    return lambda v, t: (by_square if v.dtype == jnp.complex128 else by_flux)(v, t)


def _inverse_laplacian(k: Waves) -> np.ndarray:
    """1/|k|², 0 for the mean."""
    squares = square(k)
    return np.where(squares == 0, 0.0, 1 / np.where(squares == 0, 1.0, squares))


def _forcing(fixed: Callable | None, inputs: Fields, grid: Grid) -> Array:
    if fixed is None and np.ndim(inputs["f"]) == 3:  # one field per instant
        return jax.vmap(lambda f: on_grid(f, grid, "navier_stokes: f of an instant")[None])(jnp.asarray(inputs["f"]))
    if fixed is None:
        return on_grid(inputs["f"], grid, "navier_stokes: f")[None]
    points = np.moveaxis(grid.points, -1, 0)
    return on_grid(fixed(*points), grid, "navier_stokes: f")[None]


def _check_forcing(f: Callable, box: Box) -> None:
    """Raise `ValueError` for a forcing that is not periodic on the box, such as the paper's on a box of another size."""
    along = [np.linspace(axis.start, axis.stop, 8) for axis in box.axes]
    with jax.ensure_compile_time_eval():
        values = np.broadcast_to(np.asarray(f(*np.meshgrid(*along, indexing="ij"))), (8, 8))
    jump = max(abs(values[0] - values[-1]).max(), abs(values[:, 0] - values[:, -1]).max())
    if not jump <= 1e-4 * abs(values).max():
        raise ValueError(f"navier_stokes: the forcing {f!r} is not periodic on {box}: it jumps by {jump:.2g} at a side")


def _default_step(forcing: Callable | None, box: Box, duration: float, inputs: Fields, grid: Grid) -> float:
    with jax.ensure_compile_time_eval():
        if forcing is None:
            pushed = draws(inputs["f"], box, np.linspace(0, duration, 8))
        else:
            pushed = np.asarray(_forcing(forcing, {}, box.grid(32)))
    longest = (2 * np.pi / max(box.extent)) ** 2
    time = min(duration, 1 / max(smallest(inputs["nu"], box) * longest, 1e-12))
    speed = _largest_speed(draws(inputs["w0"], box), box) + time * _largest_speed(pushed, box)
    return min(0.5 * min(grid.spacing) / max(speed, 1e-12), 0.1)


def _largest_speed(w: np.ndarray, box: Box) -> float:
    """The largest speed of the flows with the vorticities w `(…, x, y)`; 0 where w is a number, since a flow has no mean of w."""
    if w.ndim < 2:
        return 0.0
    shape = w.shape[-2:]
    kx, ky = PeriodicModes(shape, box.extent).all_wavenumbers
    psi = np.fft.rfft2(w) * _inverse_laplacian((kx, ky))
    u, v = np.fft.irfft2(1j * ky * psi, shape), np.fft.irfft2(1j * kx * psi, shape)
    return float(np.sqrt(u**2 + v**2).max())
