"""How far the paths of a flow are from straight lines."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import checked
from .sampling import Trajectory


@checked
def curvature(trajectory: Trajectory) -> Float[Array, " n"]:
    """∫ |(x₁ − x₀) − ẋ_t|² dt of every sample, per entry, in the time of straight paths, x_t = (1 − t) x₀ + t ε with t =
    s/(1 + s) (Lee et al. 2023, Minimizing trajectory curvature of ODE-based generative models).

    Zero for straight paths, which one Euler step solves exactly. The velocity is ẋ = ε − D at the evaluations; the integral is
    the trapezoidal rule, so that fifty evaluations give two digits.

    **Arguments:** `trajectory`: of `sample(…, trajectory=True)` with an ODE solver, from a finite level.

    **Raises:** `ValueError` for fewer than three evaluations or an infinite level.

    **Example:**

        >>> levels, noise = np.array([3.0, 1.0, 0.5]), jnp.array([1.0, -1.0])
        >>> points = 1 + jnp.asarray(levels, float)[None, :, None] * noise                        # straight, from x₀ = 1
        >>> straight = sx.diffusion.Trajectory(jnp.ones((1, 2)), levels, points, jnp.ones((1, 3, 2)))
        >>> bool(sx.diffusion.curvature(straight)[0] < 1e-6)
        True
    """
    levels = trajectory.levels
    if len(levels) < 3 or not np.isfinite(levels).all():
        raise ValueError("curvature: expected three or more evaluations at finite noise levels")
    if (np.diff(levels) >= 0).any():
        raise ValueError("curvature: the levels do not fall, as those of single-step solvers; use a multistep solver")
    t = levels / (1 + levels)
    axes = tuple(range(2, trajectory.points.ndim))
    column = (-1, *(1,) * len(axes))
    s, times = jnp.asarray(levels.reshape(column)), jnp.asarray(t.reshape(column))
    velocity = (trajectory.points - trajectory.denoised) / s - trajectory.denoised
    states = (1 - times) * trajectory.points
    chord = (states[:, :1] - states[:, -1:]) / (t[0] - t[-1])
    square = ((velocity - chord) ** 2).mean(axes)
    return -jnp.trapezoid(square, jnp.asarray(t), axis=1) / (t[0] - t[-1])
