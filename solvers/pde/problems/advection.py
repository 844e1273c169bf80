"""Advection at a constant velocity: u_t + c·∇u = 0."""

import functools
from collections.abc import Sequence

from jaxtyping import Array

from ....core.domains import Box
from ...kernels.exponential import Symbol
from ...random import Distribution, GaussianField
from ..declaration import Fields, Problem
from ..periodic_evolution import PeriodicEvolution, Waves
from ..pointwise_derivatives import Jet, Jets
from ..registry import register_problem


@register_problem("advection")
def advection(
    speed: Distribution | float = 1.0,
    u0: Distribution | None = None,
    *,
    direction: Sequence[float] | None = None,
    box: Box | None = None,
    duration: float = 1.0,
) -> Problem:
    """u_t + c d·∇u = 0 in a periodic box, the unit interval by default.

    Every Fourier mode is turned by its phase c d·k t: exact for every u0 that the grid holds, at any t without steps, whatever
    `rtol`; only the waves that alternate from point to point stay where they are. Of initial states with jumps that is the
    trigonometric polynomial through their values, which is the shifted state where c d t is a multiple of the spacing and
    overshoots by about 9 % beside the jumps elsewhere (Gibbs). In float32 a phase of p turns is wrong by p·6e-8 turns if c
    is random, and by rounding alone if it is a number. Differentiable with respect to c and u0.

    **Arguments:**

    - `speed`: c, a number or a distribution of numbers. PDEBench has 0.1, 0.2, 0.4, 0.7, 1, 2, 4 and 7.
    - `u0`: the law of the initial field, by default `GaussianField(2, 5, 25·5^(−1.5), "periodic")`; `random.SumOfWaves()` is
      that of PDEBench, `random.SquareWave()` has two jumps.
    - `direction`: d, one number per axis; by default 1 along the first and 0 along the others.
    - `box`: 1 to 3 periodic axes.
    - `duration`: end of the time interval (0, duration), for training without data; `solve` goes on beyond it.
    """
    box = Box.unit(1, "periodic") if box is None else box
    ndim = len(box.axes)
    along = (1.0,) + (0.0,) * (ndim - 1) if direction is None else tuple(float(d) for d in direction)
    if len(along) != ndim:
        raise ValueError(f"advection: direction={along} has {len(along)} entries; the box has {ndim} axes")
    u0 = GaussianField(2, 5, 25 * 5**-1.5, "periodic") if u0 is None else u0
    inputs = {"speed": speed, "u0": u0}
    method = PeriodicEvolution("advection", box, {"u": "u0"}, inputs, functools.partial(_symbol, along))
    smooth = not isinstance(u0, Distribution) or u0.smooth
    residual = functools.partial(_residual, box.names, along) if smooth else None
    return method.problem(
        residual, duration, "" if smooth else "u0 jumps, so that u_t + c·∇u = 0 holds in the weak sense only"
    )


def _residual(names: tuple[str, ...], along: tuple[float, ...], u: Jet, inputs: Jets) -> Array:
    slope = sum((d * u.partial(x) for x, d in zip(names[1:], along[1:], strict=True)), along[0] * u.partial(names[0]))
    return u.t + inputs.speed * slope


def _symbol(along: tuple[float, ...], k: Waves, inputs: Fields) -> Symbol:
    total = sum((d * k_i for k_i, d in zip(k[1:], along[1:], strict=True)), along[0] * k[0])
    return inputs["speed"] * (-1j * total)
