"""Equations on which training without data is measured, each stated in full, with a reference solution.

- helmholtz: u_xx + u_yy + u = q on [−1, 1]², periodic, with u = sin πx sin 4πy. The reference is this closed form. The problem on
  periodic sides is the one of the published records, whose networks are periodic by construction.
- helmholtz_dirichlet: the same equation with u = 0 on all sides.
- burgers: u_t + u u_x = (.01/π) u_xx on [−1, 1] × [0, 1], u = −sin πx at t = 0 and 0 on both sides. The reference is the
  Cole-Hopf integral by Gauss-Hermite quadrature of 200 points; 100 points and the trapezoidal rule agree with it to 1e-15.
- convection: u_t + 50 u_x = 0 on [0, 2π] × [0, 1], periodic, u = sin x at t = 0. The reference is sin(x − 50 t).
- allen_cahn: u_t = 1e-4 u_xx + 5 u − 5 u³ on [−1, 1] × [0, 1], periodic, u = x² cos πx at t = 0. The reference is a Fourier
  series of 4096 modes with ETDRK4 steps of 1/4000; its change, against 2048 modes and steps of 1/2000, is printed.
- kdv: u_t + u u_x + .022² u_xxx = 0 on [−1, 1] × [0, 1], periodic, u = cos πx at t = 0. The reference is a Fourier series of 512
  modes with ETDRK4 steps of 1/20000; its change against half of both is printed.
- cavity: u·∇u + ∇p = ∇²u / 100, ∇·u = 0 on the unit square, u = (4 x (1 − x), 0) on the lid y = 1 and 0 on the other sides. The
  reference are central differences of the stream function, extrapolated from 100 and 200 intervals; the error is that of the two
  velocities together.
- flow_mixing: u_t + a u_x + b u_y = 0 on [−4, 4]² × [0, 4], a = −v y / r, b = v x / r, v = sech² r tanh r / .385,
  u = −tanh(y cos ωt / 2 − x sin ωt / 2) with ω = v / r, which gives initial values and sides.
- klein_gordon: u_tt − u_xx − u_yy + u² = q on [−1, 1]² × [0, 10] with u = (x + y) cos 2t + x y sin 2t, which gives initial values
  and sides; as a system of u and v = u_t, for which both initial values are known. The published runs leave u_t at the start out.
- diffusion: u_t = .05 (|∇u|² + u Δu) on [−1, 1]² × [0, 1], from three bumps, u = 0 on the sides (where the bumps are up to .01).
  The reference are central differences of u², extrapolated from 100 and 200 intervals.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import surrogax as sx
from surrogax.core.precision import in_double
from surrogax.solvers.pde import Free, Sides

from .equation_references import cavity_reference, cole_hopf, fourier_reference, porous_reference


@dataclass(frozen=True)
class Waves:
    """u_t = L u + N(u), periodic on [−1, 1]: the symbol of L, N of the modes, and the initial value, as `etdrk4` takes them."""

    symbol: Callable
    nonlinear: Callable
    start: Callable

    @property
    def law(self) -> tuple[Callable, Callable, Callable]:
        return self.symbol, self.nonlinear, self.start


def advected(v, k, n):
    """The modes of −u u_x."""
    return -0.5j * k * np.fft.rfft(np.fft.irfft(v, n) ** 2)


@dataclass(frozen=True)
class Equation:
    """A problem, and its solution `(n,)` or `(n, c)` at points `(n, d)` with time last, for its first c unknowns.

    **Fields:** `solution`: the closed form as a function of the coordinates, if there is one. `nodes`: number of points per axis
    on which errors are measured. `waves`: the equation in Fourier modes, where it has them.
    """

    problem: sx.Problem
    exact: Callable[[np.ndarray], np.ndarray]
    nodes: int = 101
    solution: Callable | None = None
    waves: Waves | None = None


def closed(problem: sx.Problem, solution: Callable, nodes: int = 101) -> Equation:
    def exact(z):
        return np.asarray(in_double(lambda z: solution(*z.T))(z))

    return Equation(problem, exact, nodes, solution)


def helmholtz(boundary: str) -> Equation:
    def residual(u, p):
        q = (1 - 17 * jnp.pi**2) * jnp.sin(jnp.pi * u.at["x"]) * jnp.sin(4 * jnp.pi * u.at["y"])
        return u.xx + u.yy + u.value - q

    problem = sx.Problem("u", sx.Box(x=(-1, 1, boundary), y=(-1, 1, boundary)), residual=residual)
    return closed(problem, lambda x, y: jnp.sin(jnp.pi * x) * jnp.sin(4 * jnp.pi * y))


def burgers() -> Equation:
    nu = 0.01 / np.pi
    problem = sx.Problem(
        "u", sx.Box(x=(-1, 1)), time=(0, 1), residual=lambda u, p: u.t + u * u.x - nu * u.xx,
        initial=lambda x: -jnp.sin(jnp.pi * x),
    )  # fmt: skip
    # Odd about both sides, and so periodic.
    waves = Waves(lambda k: -nu * k**2, advected, lambda x: -np.sin(np.pi * x))
    return Equation(problem, lambda z: cole_hopf(z, nu, 200), waves=waves)


def convection() -> Equation:
    problem = sx.Problem(
        "u", sx.Box(x=(0, 2 * np.pi, "periodic")), time=(0, 1), residual=lambda u, p: u.t + 50 * u.x,
        initial=lambda x: jnp.sin(x),
    )  # fmt: skip
    return closed(problem, lambda x, t: jnp.sin(x - 50 * t))


def allen_cahn() -> Equation:
    problem = sx.Problem(
        "u", sx.Box(x=(-1, 1, "periodic")), time=(0, 1), residual=lambda u, p: u.t - 1e-4 * u.xx + 5 * u**3 - 5 * u,
        initial=lambda x: x**2 * jnp.cos(jnp.pi * x),
    )  # fmt: skip
    waves = Waves(
        lambda k: 5 - 1e-4 * k**2,
        lambda v, k, n: -5 * np.fft.rfft(np.fft.irfft(v, n) ** 3),
        lambda x: x**2 * np.cos(np.pi * x),
    )
    return Equation(problem, fourier_reference(*waves.law, 4096, 4000), waves=waves)


def kdv() -> Equation:
    problem = sx.Problem(
        "u", sx.Box(x=(-1, 1, "periodic")), time=(0, 1), residual=lambda u, p: u.t + u * u.x + 0.022**2 * u.xxx,
        initial=lambda x: jnp.cos(jnp.pi * x),
    )  # fmt: skip
    waves = Waves(lambda k: 1j * 0.022**2 * k**3, advected, lambda x: np.cos(np.pi * x))
    return Equation(problem, fourier_reference(*waves.law, 512, 20000), waves=waves)


def cavity() -> Equation:
    def residual(w, p):
        u, v = w.u, w.v
        return {
            "x": u * u.x + v * u.y + w.p.x - (u.xx + u.yy) / 100,
            "y": u * v.x + v * v.y + w.p.y - (v.xx + v.yy) / 100,
            "mass": u.x + v.y,
        }

    problem = sx.Problem(
        ("u", "v", "p"), sx.Box(x=(0, 1), y=(0, 1)), residual=residual,
        boundary={"u": Sides(y=(0.0, lambda x, y: 4 * x * (1 - x))), "v": 0.0, "p": Free()},
    )  # fmt: skip
    return Equation(problem, cavity_reference(100, 100))


def flow_mixing() -> Equation:
    def speed(x, y):
        """ω = v / r, with its limit where r vanishes."""
        square = jnp.maximum(x**2 + y**2, 1e-12)
        r = jnp.sqrt(square)
        return jnp.tanh(r) / jnp.cosh(r) ** 2 / r / 0.385

    def solution(x, y, t):
        angle = speed(x, y) * t
        return -jnp.tanh(y / 2 * jnp.cos(angle) - x / 2 * jnp.sin(angle))

    def residual(u, p):
        x, y = u.at["x"], u.at["y"]
        turn = speed(x, y)
        return u.t - turn * y * u.x + turn * x * u.y

    problem = sx.Problem(
        "u", sx.Box(x=(-4, 4), y=(-4, 4)), time=(0, 4), residual=residual, boundary=solution,
        initial=lambda x, y: -jnp.tanh(y / 2),
    )  # fmt: skip
    return closed(problem, solution, 51)


def klein_gordon() -> Equation:
    def solution(x, y, t):
        return (x + y) * jnp.cos(2 * t) + x * y * jnp.sin(2 * t)

    def residual(w, p):
        x, y, t = (w.u.at[name] for name in "xyt")
        exact = solution(x, y, t)
        return {"speed": w.u.t - w.v.value, "wave": w.v.t - w.u.xx - w.u.yy + w.u**2 - (exact**2 - 4 * exact)}

    problem = sx.Problem(
        ("u", "v"), sx.Box(x=(-1, 1), y=(-1, 1)), time=(0, 10), residual=residual,
        boundary={"u": solution, "v": Free()}, initial={"u": lambda x, y: x + y, "v": lambda x, y: 2 * x * y},
    )  # fmt: skip
    return closed(problem, solution, 51)


def bumps(x, y, exp=np.exp):
    return (
        0.25 * exp(-((x - 0.3) ** 2 + (y - 0.2) ** 2) / 0.1)
        + 0.4 * exp(-((x + 0.5) ** 2 + (y + 0.1) ** 2) * 15)
        + 0.3 * exp(-(x**2 + (y + 0.5) ** 2) * 20)
    )


def diffusion() -> Equation:
    problem = sx.Problem(
        "u", sx.Box(x=(-1, 1), y=(-1, 1)), time=(0, 1), initial=lambda x, y: bumps(x, y, jnp.exp),
        residual=lambda u, p: u.t - 0.05 * (u.x**2 + u.y**2 + u * (u.xx + u.yy)),
    )  # fmt: skip
    return Equation(problem, porous_reference(bumps, 100), 51)


EQUATIONS: dict[str, Callable[[], Equation]] = {
    "helmholtz": lambda: helmholtz("periodic"),
    "helmholtz_dirichlet": lambda: helmholtz("dirichlet"),
    "burgers": burgers,
    "convection": convection,
    "allen_cahn": allen_cahn,
    "kdv": kdv,
    "cavity": cavity,
    "flow_mixing": flow_mixing,
    "klein_gordon": klein_gordon,
    "diffusion": diffusion,
}


class Errors:
    """Relative L2 errors of models against the solution of an equation, at `nodes` points per axis of space and time."""

    def __init__(self, equation: Equation, nodes: int | None = None):
        axes = equation.problem.space_time.axes
        lines = [np.linspace(axis.start, axis.stop, nodes or equation.nodes) for axis in axes]
        points = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, len(axes))
        self.exact = equation.exact(points).reshape(len(points), -1)
        timed = equation.problem.time is not None
        self.asked = np.roll(points, 1, axis=1) if timed else points  # a surrogate has time first

    def __call__(self, model) -> float:
        values = in_double(jax.jit(lambda m, p: m.at_points({}, p)))(model, self.asked)[:, : self.exact.shape[1]]
        return float(np.linalg.norm(values - self.exact) / np.linalg.norm(self.exact))
