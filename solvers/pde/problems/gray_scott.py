"""The Gray-Scott model of two reacting species: u_t = D Δu − u v² + F (1 − u), v_t = E Δv + u v² − (F + k) v."""

import functools

import jax.numpy as jnp
from jaxtyping import Array

from ....core.domains import Box, Grid
from ...kernels.exponential import Symbol
from ...kernels.periodic_modes import PeriodicModes, square
from ...random import Bumps, Distribution
from ..declaration import Fields, Problem
from ..periodic_evolution import Nonlinear, PeriodicEvolution, Waves, components
from ..pointwise_derivatives import Jets, laplacian
from ..registry import register_problem


@register_problem("gray_scott")
def gray_scott(
    feed: Distribution | float = 0.04,
    kill: Distribution | float = 0.06,
    u0: Distribution | float = 1.0,
    v0: Distribution | None = None,
    *,
    diffusion_u: Distribution | float = 2e-5,
    diffusion_v: Distribution | float = 1e-5,
    box: Box | None = None,
    dt: float | None = None,
    duration: float = 1000.0,
) -> Problem:
    """u_t = D Δu − u v² + F (1 − u), v_t = E Δv + u v² − (F + k) v in a periodic rectangle, (−1, 1)² by default.

    Spots, worms, spirals and mazes, by F and k (Pearson, 1993); u = 1, v = 0 is a stable state. Fourier-Galerkin with 1/2
    dealiasing, which cubes need, and `etdrk4`, with everything linear treated exactly; two transforms per evaluation, a
    complex one for u and v and a real one for u v². Differentiable with respect to the numbers and the initial fields.

    **Arguments:**

    - `feed`, `kill`: F and k, numbers or distributions of numbers. The Well has (F, k) = (0.014, 0.054) gliders, (0.018,
      0.051) bubbles, (0.029, 0.057) maze, (0.058, 0.065) worms, (0.03, 0.062) spots and (0.022, 0.057) spirals on 128².
    - `u0`, `v0`: the laws of the initial fields; by default 1 and `Bumps(8, 0.1, 0.5)`.
    - `diffusion_u`, `diffusion_v`: D and E.
    - `box`: 1 to 3 periodic axes.
    - `dt`: the largest time step, by default 0.5. `rtol` of the solve acts as in `burgers`.
    - `duration`: end of the time interval (0, duration), for training without data; `solve` goes on beyond it.
    """
    box = Box(x=(-1, 1, "periodic"), y=(-1, 1, "periodic")) if box is None else box
    starts = {"u": "u0", "v": "v0"}
    method = PeriodicEvolution("gray_scott", box, starts, _symbol, _reaction, _default_step, dt, degree=3, source=_feed)
    return Problem(
        ("u", "v"),
        box,
        time=(0.0, duration),
        inputs={
            "feed": feed,
            "kill": kill,
            "diffusion_u": diffusion_u,
            "diffusion_v": diffusion_v,
            "u0": u0,
            "v0": Bumps(8, 0.1, 0.5) if v0 is None else v0,
        },
        residual=functools.partial(_residual, box.names),
        initial=starts,
        solve=method.solve,
        step=method.step,
    )


def _residual(names: tuple[str, ...], w: Jets, inputs: Jets) -> dict[str, Array]:
    u, v, reaction = w.u, w.v, w.u * w.v**2
    gain = inputs.diffusion_u * laplacian(u, names) + inputs.feed * (1 - u)
    loss = inputs.diffusion_v * laplacian(v, names) - (inputs.feed + inputs.kill) * v
    return {"u": u.t - gain + reaction, "v": v.t - loss - reaction}


def _symbol(k: Waves, inputs: Fields) -> Symbol:
    u = -inputs["diffusion_u"] * square(k) - inputs["feed"]
    return components(u, -inputs["diffusion_v"] * square(k) - (inputs["feed"] + inputs["kill"]))


def _reaction(modes: PeriodicModes, inputs: Fields) -> Nonlinear:
    def act(w, t):
        both = modes.pair(w[0], w[1])
        gained = modes.block(both.real * both.imag**2)
        return jnp.stack([-gained, gained])

    return act


def _feed(inputs: Fields, grid: Grid) -> Array:
    ones = jnp.ones(grid.shape)
    return jnp.stack([inputs["feed"] * ones, 0 * ones])


def _default_step(grid: Grid) -> float:
    return 0.5
