"""What the solvers in time share: checks of the arguments, statistics, and one step as a short solve."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, ScalarLike

from ...core.arrays import AnyArray
from ...core.domains import Axis, Box, Grid
from ..kernels.exponential import Instants, checked_instants
from ..linear.solution import Stats, Status
from .boundary_nodes import on_grid
from .declaration import Fields
from .solved import Solved

State = Any  # a pytree of arrays


def initial_field(name: str, box: Box, inputs: Fields, grid: Grid, times: Instants | None) -> tuple[Array, Instants]:
    """The field u0 and the instants of a solve, or a `ValueError` that says what does not suit."""
    u0, times = initial_fields(name, box, inputs, {"u": "u0"}, grid, times)
    check_numbers(name, inputs, without=("u0",))
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
    fields = [on_grid(inputs[start], grid, f"{name}: {start}") for start in starts.values()]
    return jnp.stack(fields), times


def check_numbers(name: str, inputs: Fields, without: Collection[str] = ()) -> None:
    """Check that all inputs but some are numbers. A field would be multiplied by Fourier coefficients, mode by mode.

    **Raises:** `ValueError`.
    """
    for given, value in inputs.items():
        if given not in without and np.ndim(value):
            raise ValueError(
                f"{name}: {given} has shape {np.shape(value)}, expected a number that is the same everywhere"
            )


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
    **options,
) -> Solved:
    """The unknowns a time `dt` after `fields`, by a solve that takes them as its initial values at time 0: `starts` is the
    input of that meaning by unknown. `options` are further ones of `solve`."""
    solved = solve({**inputs, **{start: fields[name] for name, start in starts.items()}}, grid, times=[dt], **options)
    return Solved({name: values[0] for name, values in solved.fields.items()}, solved.stats)


def cells_for_obstacles(
    name: str, grid: tuple[int, ...] | Grid, solid: Bool[AnyArray, "*space"] | None, across: int
) -> Grid:
    """The grid of a flow round solid cells: `grid`, or cubes between walls, so many per axis, in a box of width 1 along the
    axis `across`.

    **Raises:** `ValueError` for another number of axes than 2 or 3, another layout than "cells" and "periodic", and a mask of
    another shape.
    """
    if not isinstance(grid, Grid):
        if not 2 <= len(grid) <= 3:
            raise ValueError(f"{name} has 2 or 3 axes, got grid={grid}; give 2 or 3 numbers of cells, such as (64, 96)")
        sides = zip("xyz", grid, strict=False)
        grid = Box(tuple(Axis(x, 0.0, n / grid[across], "neumann") for x, n in sides)).grid(grid)
    if set(grid.layouts) - {"cells", "periodic"} or grid.ndim < 2:
        raise ValueError(f"{name} needs 2 or 3 axes of layout 'cells' or 'periodic': {grid}")
    if solid is not None and solid.shape != grid.shape:
        raise ValueError(f"{name}: solid has shape {solid.shape}, the grid {grid.shape}")
    return grid


def frames(
    step: Callable[[State, Array], tuple[State, Any]],
    frame: Callable[[State], Fields],
    start: State,
    lengths: Float[Array, " t"],
    per_frame: int,
    with_start: bool,
) -> tuple[State, Fields, Any]:
    """The last state, the frames `(t, …)`, and `(steps, …)` what `step(state, dt)` reports; arguments as `frame_schedule` has
    them."""

    def to_next_frame(state, length):
        state, found = lax.scan(step, state, jnp.full(per_frame, length / per_frame))
        return state, (frame(state), found)

    last, (shown, found) = lax.scan(to_next_frame, start, lengths)
    if with_start:
        shown = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), frame(start), shown)
    return last, shown, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found)


def frame_schedule(
    name: str, steps: int | None, times: Instants | None, dt: ScalarLike
) -> tuple[Array | np.ndarray, int, bool]:
    """Times between frames, steps per frame, and whether the start is a frame, of a solve for `steps` or `times`."""
    if (steps is None) == (times is None) or (steps is not None and steps < 1):
        raise ValueError(f"{name}: give steps (at least 1) or times, got steps={steps}, times={times}")
    if not isinstance(dt, Tracer) and not np.asarray(dt) > 0:
        raise ValueError(f"{name}: dt={dt}; the time step must be positive")
    if times is None:
        return jnp.broadcast_to(jnp.asarray(dt, float), (steps,)), 1, False
    lengths = np.diff(checked_instants(times), prepend=0.0)
    with_start = bool(lengths[0] == 0)
    lengths = lengths[with_start:]
    if not len(lengths):
        raise ValueError(f"{name}: needs an instant after 0, got times={times}")
    return lengths, math.ceil(lengths.max() / dt * (1 - 1e-9)), with_start
