"""What the solvers in time share: checks of the arguments, statistics, and one step as a short solve."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ScalarLike

from ...core.domains import Box, Grid
from ..kernels.exponential import Instants, checked_instants
from ..linear.solution import Stats, Status
from .boundary_nodes import on_grid
from .declaration import Fields
from .solved import Solved


def initial_field(name: str, box: Box, inputs: Fields, grid: Grid, times: Instants | None) -> tuple[Array, Instants]:
    """The field u0 and the instants of a solve, or a `ValueError` that says what does not suit."""
    u0, times = initial_fields(name, box, inputs, {"u": "u0"}, grid, times)
    return u0[0], times


def initial_fields(
    name: str, box: Box, inputs: Fields, starts: Mapping[str, str], grid: Grid, times: Instants | None
) -> tuple[Array, Instants]:
    """The initial fields `(unknown, *space)`, from the input that `starts` names for each unknown, and the instants. A
    number stands for a constant field."""
    if times is None:
        raise ValueError(f"{name}: give the instants to solve for, for example times=np.linspace(0, 1, 11)")
    if grid != box.grid(grid.shape):
        raise ValueError(f"{name}: {grid} does not suit {box}; use box.grid({grid.shape})")
    fields = []
    for start in starts.values():
        field = jnp.asarray(inputs[start])
        if field.shape not in (grid.shape, ()):
            raise ValueError(f"{name}: {start} has shape {field.shape}, expected that of the grid {grid.shape}")
        fields.append(on_grid(field, grid))
    return jnp.stack(fields), times


def integration_stats(u: Array, steps: Any) -> Stats:
    """The number of time steps, and converged or non_finite."""
    status = jnp.where(jnp.isfinite(u).all(), Status.converged, Status.non_finite)
    return Stats(status, jnp.asarray(steps), jnp.zeros((), u.dtype))


def one_step(
    solve: Callable[..., Solved],
    fields: Fields,
    inputs: Fields,
    starts: Mapping[str, str],
    grid: Grid,
    dt: float,
    rtol: float | None,
) -> Solved:
    """The unknowns a time `dt` after `fields`, by a solve that takes them as its initial values at time 0: `starts` is the
    input of that meaning by unknown."""
    solved = solve({**inputs, **{start: fields[name] for name, start in starts.items()}}, grid, times=[dt], rtol=rtol)
    return Solved({name: solved[name][0] for name in starts}, solved.stats)


def frame_schedule(
    name: str, steps: int | None, times: Instants | None, dt: ScalarLike
) -> tuple[Array | np.ndarray, int, bool]:
    """Times between frames, steps per frame, and whether the start is a frame, of a solve for `steps` or `times`."""
    if (steps is None) == (times is None) or (steps is not None and steps < 1):
        raise ValueError(f"{name}: give steps (at least 1) or times, got steps={steps}, times={times}")
    if times is None:
        return jnp.broadcast_to(jnp.asarray(dt, float), (steps,)), 1, False
    lengths = np.diff(checked_instants(times), prepend=0.0)
    with_start = bool(lengths[0] == 0)
    lengths = lengths[with_start:]
    if not len(lengths) or not np.asarray(dt) > 0:
        raise ValueError(f"{name}: needs an instant after 0 and a positive dt, got times={times}, dt={dt}")
    return lengths, math.ceil(lengths.max() / dt * (1 - 1e-9)), with_start
