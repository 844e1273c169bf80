"""A stepper of the library exponax as a problem."""

import importlib
import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...core.arguments import kind
from ...core.domains import Axis, Box, Grid
from ..kernels.exponential import Instants, checked_instants, integrate
from ..random import Distribution, GaussianField
from .declaration import Fields, Problem
from .marching import initial_fields, integration_stats, one_step
from .solved import Solved


def from_exponax(
    stepper: Any,
    start: Distribution | dict[str, Distribution | float] | None = None,
    *,
    unknowns: tuple[str, ...] | None = None,
) -> Problem:
    """The `Problem` that a stepper of exponax (0.2 or newer; `pip install exponax`) solves, so that it can be generated from
    and compared.

    Example: `from_exponax(exponax.stepper.Burgers(1, 1.0, 128, 0.01), sx.random.GaussianField(boundary="periodic"))`. It
    lives on the periodic box (0, L)^d and on the stepper's own grid alone, and its instants are multiples of the stepper's
    Δt. Steps run in Fourier space, in the precision in which the stepper was made; under `generate`, which computes in
    float64, make it with x64 on.

    **Arguments:**

    - `stepper`: a stepper or a `RepeatedStepper`. One that needs a forcing at every step is refused.
    - `start`: the law of all initial fields, by default `GaussianField(4, 4, 1.5, "periodic")`, or a dict by input: "u0",
      "v0", ….
    - `unknowns`: a name for every channel of the stepper; by default "u", "v" and "w". The input "u0" is the initial value
      of "u".

    There is no residual: a stepper does not say its equation. The problem is not registered, so that `generate` does not
    cache; return it from a function under `register_problem` for that.

    **Raises:** `ImportError` without exponax; `TypeError` for anything but a stepper; `ValueError` for names that do not fit.
    """
    if importlib.util.find_spec("exponax") is None:
        raise ImportError("from_exponax needs the library exponax: pip install 'exponax>=0.2'")
    exponax: Any = importlib.import_module("exponax")
    expected = (exponax.BaseStepper, exponax.RepeatedStepper)
    kind(
        "from_exponax",
        "stepper",
        stepper,
        expected,
        "pass a stepper, such as exponax.stepper.Burgers(1, 1.0, 128, 0.01)",
    )
    ndim, channels = int(stepper.num_spatial_dims), int(stepper.num_channels)
    names = ("u", "v", "w")[:channels] if unknowns is None else tuple(unknowns)
    if len(names) != channels or len(set(names)) != channels:
        raise ValueError(
            f"from_exponax: the stepper has {channels} channels, got the unknowns {names}; name each of them"
        )
    box = Box(tuple(Axis(x, 0.0, float(stepper.domain_extent), "periodic") for x in "xyz"[:ndim]))
    starts = {name: f"{name}0" for name in names}
    law = GaussianField(4.0, 4.0, 1.5, "periodic") if start is None else start
    laws = law if isinstance(law, dict) else dict.fromkeys(starts.values(), law)
    if set(laws) != set(starts.values()):
        raise ValueError(f"from_exponax: start has {sorted(laws)}, expected {sorted(starts.values())}")
    grid = box.grid(int(stepper.num_points))
    dt, axes = float(stepper.dt), tuple(range(1, ndim + 1))

    def solve(inputs: Fields, grid: Grid, *, times: Instants | None = None) -> Solved:
        fields, times = initial_fields("from_exponax", box, inputs, starts, grid, times)
        counts = checked_instants(times) / dt
        rounding = np.finfo(np.float32).eps * counts  # of instants that were float32 once
        if (abs(counts - np.round(counts)) > np.clip(rounding, 1e-4, 0.1)).any():
            raise ValueError(f"from_exponax: the instants must be multiples of the stepper's dt={dt}, got {times}")
        v = jnp.fft.rfftn(fields, axes=axes)
        v = v.astype(jax.eval_shape(stepper.step_fourier, v).dtype)
        states, steps = integrate(lambda h: lambda v, t: stepper.step_fourier(v), v, np.round(counts), 1.0)
        u = jnp.fft.irfftn(states, grid.shape, axes=tuple(range(-ndim, 0)))
        return Solved({name: u[:, i] for i, name in enumerate(names)}, integration_stats(u, steps))

    def step(fields: Fields, inputs: Fields, grid: Grid, dt: float, *, rtol: float | None = None) -> Solved:
        return one_step(solve, fields, inputs, starts, grid, dt)

    return Problem(
        names,
        box,
        time=(0.0, 100 * dt),
        inputs=laws,
        initial=starts,
        solve=solve,
        step=step,
        grid=grid,
        no_residual="a stepper does not say its equation",
    )
