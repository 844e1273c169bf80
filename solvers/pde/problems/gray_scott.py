"""The Gray-Scott model of two reacting species: u_t = D Δu − u v² + F (1 − u), v_t = E Δv + u v² − (F + k) v."""

import functools
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array

from ....core.arguments import checked
from ....core.domains import Box, Grid
from ...kernels.exponential import Symbol
from ...kernels.periodic_modes import PeriodicModes, square
from ...random import Bumps, Clusters, Distribution, InterpolatedNoise, UnitRange
from ..declaration import Fields, Problem
from ..periodic_evolution import Nonlinear, PeriodicEvolution, Waves, components
from ..pointwise_derivatives import Jets, laplacian
from ..registry import register_problem
from ..representative_draws import largest


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
    dealiasing, which cubes need, and `etdrk4`, with diffusion treated exactly; two transforms per evaluation, a
    complex one for u and v and a real one for u v². Differentiable with respect to the numbers and the initial fields.

    **Arguments:**

    - `feed`, `kill`: F and k, numbers or distributions of numbers. `**pde.gray_scott_pattern("maze")` are those of The Well,
      with its initial states.
    - `u0`, `v0`: the laws of the initial fields; by default 1 and `Bumps(8, 0.1, 0.5)`.
    - `diffusion_u`, `diffusion_v`: D and E.
    - `box`: 1 to 3 periodic axes.
    - `dt`: the largest time step, by default 0.5, or 3/(V² + 2UV + 2(F + k)) if that is less, with U and V the largest u0 and v0.
      `rtol` of the solve acts as in `burgers`.
    - `duration`: end of the time interval (0, duration), for training without data; `solve` goes on beyond it.
    """
    box = Box(x=(-1, 1, "periodic"), y=(-1, 1, "periodic")) if box is None else box
    inputs = {
        "feed": feed,
        "kill": kill,
        "diffusion_u": diffusion_u,
        "diffusion_v": diffusion_v,
        "u0": u0,
        "v0": Bumps(8, 0.1, 0.5) if v0 is None else v0,
    }
    method = PeriodicEvolution(
        "gray_scott",
        box,
        {"u": "u0", "v": "v0"},
        inputs,
        _symbol,
        _reaction,
        functools.partial(_default_step, box),
        dt,
        degree=3,
        source=_feed,
    )
    return method.problem(functools.partial(_residual, box.names), duration)


Pattern = Literal["gliders", "bubbles", "maze", "worms", "spirals", "spots"]

_PATTERNS = {  # F and k
    "gliders": (0.014, 0.054),
    "bubbles": (0.098, 0.057),
    "maze": (0.029, 0.057),
    "worms": (0.058, 0.065),
    "spirals": (0.018, 0.051),
    "spots": (0.03, 0.062),
}


@checked
def gray_scott_pattern(pattern: Pattern, start: Literal["clusters", "noise"] = "clusters") -> dict[str, Any]:
    """Feed, kill and initial laws of one of The Well's six patterns, as arguments: `problem("gray_scott",
    **gray_scott_pattern("maze"))`. Those data are solved on 128² with steps of 1 and stored at t = 0, 10, …, 10000:
    `generate(declared, 100, 128, key, times=np.linspace(0, 1e4, 1001))`.

    **Arguments:**

    - `pattern`: (F, k) = (0.014, 0.054) gliders, (0.098, 0.057) bubbles, (0.029, 0.057) maze, (0.058, 0.065) worms,
      (0.018, 0.051) spirals, (0.03, 0.062) spots.
    - `start`: half of their trajectories start from "clusters" of Gaussian bells, scaled to [0, 1] and for u subtracted from 1;
      the others from "noise", `random.InterpolatedNoise` of 32² points round u = 1, v = 0, or, where √F > 2(F + k), round the
      third steady state, u = (A − √(A² − 4))/(2A) and v = √F (A + √(A² − 4))/2 with A = √F/(F + k).

    Source: the code by which those data were made, github.com/danfortunato/spectral-gray-scott.

    **Example:**

        >>> sorted(sx.pde.gray_scott_pattern("spots"))
        ['feed', 'kill', 'u0', 'v0']
    """
    feed, kill = _PATTERNS[pattern]
    numbers = {"feed": feed, "kill": kill}
    if start == "clusters":
        return {**numbers, "u0": UnitRange(Clusters(), 1.0, 0.0), "v0": UnitRange(Clusters())}
    u, v, range_u, range_v = 1.0, 0.0, 1.0, 1.0
    ratio = feed**0.5 / (feed + kill)
    if ratio > 2:
        root = (ratio**2 - 4) ** 0.5
        u, v = (ratio - root) / (2 * ratio), feed**0.5 * (ratio + root) / 2
        range_u, range_v = 0.9 * min(u, 1 - u), 0.9 * min(v, 1 - v)
    return {**numbers, "u0": InterpolatedNoise(32, u, range_u / 2), "v0": InterpolatedNoise(32, v, range_v / 2)}


def _residual(names: tuple[str, ...], w: Jets, inputs: Jets) -> dict[str, Array]:
    u, v, reaction = w.u, w.v, w.u * w.v**2
    gain = inputs.diffusion_u * laplacian(u, names) + inputs.feed * (1 - u)
    loss = inputs.diffusion_v * laplacian(v, names) - (inputs.feed + inputs.kill) * v
    return {"u": u.t - gain + reaction, "v": v.t - loss - reaction}


# The decay is no part of the symbol: where it balances feed and reaction, steps that treat them alike err 40 times less.
def _symbol(k: Waves, inputs: Fields) -> Symbol:
    return components(-inputs["diffusion_u"] * square(k), -inputs["diffusion_v"] * square(k))


def _reaction(modes: PeriodicModes, inputs: Fields) -> Nonlinear:
    feed, decay = inputs["feed"], inputs["feed"] + inputs["kill"]

    def act(w, t):
        both = modes.pair(w[0], w[1])
        gained = modes.block(both.real * both.imag**2)
        return jnp.stack([-gained - feed * w[0], gained - decay * w[1]])

    return act


def _feed(inputs: Fields, grid: Grid) -> Array:
    ones = jnp.ones(grid.shape)
    return jnp.stack([inputs["feed"] * ones, 0 * ones])


def _default_step(box: Box, inputs: Fields, grid: Grid) -> float:
    u, v = (largest(inputs[name], box) for name in ("u0", "v0"))
    decay = largest(inputs["feed"], box) + max(0.0, largest(inputs["kill"], box))
    return 3 / max(6.0, v**2 + 2 * u * v + 2 * decay)
