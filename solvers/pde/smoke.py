"""Buoyant smoke round obstacles: incompressible flow with a pressure solve in every step."""

import hashlib
import math
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, ScalarLike

from ...core.arrays import AnyArray
from ...core.domains import Axis, Box, Grid
from ..kernels.exponential import Instants, checked_instants
from ..kernels.staggered import Faces
from ..linear.method import AbstractMethod
from ..linear.method_choice import choose
from ..linear.solution import Stats
from ..random import Distribution
from .incompressible import SCHEMES, Flow, connected_parts
from .problem import Fields, Problem, register_problem


class Trajectory(eqx.Module):
    """What `solve` of the smoke problem returns: `trajectory["density"]`, and `fields, stats = trajectory`.

    **Fields:**

    - `fields`: "density" and "pressure" `(t, *space)`, "velocity" `(t, *space, d)`, all at the cell centres.
    - `stats`: of the pressure solve of every step, `(steps,)` each.
    - `faces`: the normal velocities on the faces at the end, from which `velocity0=` goes on.
    """

    fields: dict[str, Float[Array, "..."]]
    stats: Stats
    faces: Faces

    def __getitem__(self, name: str) -> Float[Array, "..."]:
        return self.fields[name]

    def __iter__(self):
        s = self.stats
        fallbacks = None if s.fallbacks is None else s.fallbacks.sum()
        yield self.fields
        yield Stats(self.status, s.iterations.sum(), s.residual.max(), fallbacks=fallbacks)

    @property
    def status(self) -> Int[Array, ""]:
        """The worst of all steps."""
        return self.stats.status.max()


@register_problem("smoke")
def smoke(
    grid: tuple[int, ...] | Grid,
    solid: Bool[AnyArray, "*space"] | None = None,
    *,
    buoyancy: Distribution | ScalarLike = 1.0,
    source: Distribution | Float[AnyArray, "*space"] | float | None = None,
    density0: Distribution | Float[AnyArray, "*space"] | float = 0.0,
    open_top: bool = False,
    scheme: Literal["maccormack", "semi_lagrangian"] = "maccormack",
) -> Problem:
    """ρ_t + v·∇ρ = s and v_t + v·∇v = −∇p + b ρ e_up with ∇·v = 0: warm smoke of density ρ in air without viscosity that
    rises along the last axis. Nothing flows through the sides of the box and of solid cells; the fluid slips along them.

    Splitting of Stam (1999) on the staggered grid: source, advection, buoyancy, and the projection v − Δt ∇p with the
    pressure equation −∇·∇p = −∇·v/Δt. Stable for every Δt, first order in time, in space the order of `scheme`.

    `problem.solve(fields=None, grid=None, rtol=None, *, steps | times, dt, pressure_solver, **inputs)` gives a `Trajectory`:

    - `steps`: number of steps of length `dt`; one frame after each of them, none of the start.
    - `times`: or the instants of the frames (0 is the start), reached by equal steps of at most `dt`.
    - `dt`: by default the time in which speed 1 crosses a cell. Accurate while |v| dt is at most a few cells and no more than
      the thickness of the walls, which particles would jump over otherwise.
    - `pressure_solver`: a method of `linear.solve`, by default what that picks, with relative tolerance `rtol`. It starts from
      the pressure of the step before. The divergence left is that tolerance times the divergence before the projection.
    - inputs: those below and `velocity0`, components on the faces without divergence as in `Trajectory.faces` (default:
      at rest), by name or in `fields`; derivatives with respect to all of them, one checkpoint per step.

    The advection does not conserve density exactly: smoke that rises past a disc on 48×72 cells for 2.5 units of time ends
    with 7 % more than was supplied.

    **Arguments:**

    - `grid`: cells per axis (cubes in a box of width 1), or a `Grid` with layouts "cells" and "periodic".
    - `solid`: True in solid cells. A concrete mask may cut the fluid into several parts; one that is traced may not.
    - `buoyancy`: b, a number.
    - `source`: s, density per time; by default 4 in a ball of radius 1/8 above the middle of the floor.
    - `density0`: the density at the start.
    - `open_top`: p = 0 beyond the upper end of the last axis, where smoke leaves.
    - `scheme`: advection, see `kernels.advection`.

    Each of `buoyancy`, `source` and `density0` may be a distribution: then `generate` samples it and `solve` asks for it.
    Example: `sol = problem("smoke", grid=(64, 96), solid=mask).solve(steps=100)`, then `sol["density"][-1]`, `sol.status`.
    """
    if not isinstance(grid, Grid):
        axes = tuple(Axis(name, 0.0, n / grid[0], "neumann") for name, n in zip("xyz", grid, strict=False))
        grid = Box(axes).grid(grid)
    own = grid
    if set(own.layouts) - {"cells", "periodic"} or own.ndim < 2 or (open_top and own.layouts[-1] != "cells"):
        raise ValueError(
            f"smoke needs 2 or 3 axes of layout 'cells' or 'periodic' (the last 'cells' to open it): {own}"
        )
    if scheme not in SCHEMES:
        raise ValueError(f"smoke: unknown scheme {scheme!r}; use one of {list(SCHEMES)}")
    if solid is not None and solid.shape != own.shape:
        raise ValueError(f"smoke: solid has shape {solid.shape}, the grid {own.shape}")
    inputs = {
        "buoyancy": buoyancy,
        "source": _ball(own) if source is None else source,
        "density0": density0,
        "velocity0": (0.0,) * own.ndim,
    }
    parts, n_parts = connected_parts(own, solid, open_top)

    def solve_one(
        fields: Fields | None = None,
        grid: Grid | None = None,
        rtol: ScalarLike | None = None,
        *,
        steps: int | None = None,
        times: Instants | None = None,
        dt: ScalarLike | None = None,
        pressure_solver: AbstractMethod | None = None,
        **given,
    ) -> Trajectory:
        if grid not in (None, own):
            raise ValueError(f"smoke: this problem lives on {own}, not on {grid}")
        values = inputs | dict(fields or {}) | given
        if unknown := values.keys() - inputs.keys():
            raise ValueError(f"smoke: unknown inputs {sorted(unknown)}; known: {sorted(inputs)}")
        if missing := [name for name, value in values.items() if isinstance(value, Distribution)]:
            raise ValueError(f"smoke: the inputs {missing} are random and were not given")
        lengths, per_frame, start = _schedule(steps, times, min(own.spacing) if dt is None else dt)
        values, lengths = jax.tree.map(lambda v: jnp.asarray(v, float), (values, lengths))
        flow = Flow(own, solid, parts, n_parts, open_top, scheme)
        method = pressure_solver
        if method is None:
            method = choose(flow.operator) if rtol is None else choose(flow.operator, rtol=rtol)
        return _run(flow, values, lengths, per_frame, start, method)

    digests = ", ".join(f"{name}={_digest(value)}" for name, value in {**inputs, "solid": solid}.items())
    return Problem(
        ("density", "velocity", "pressure"),
        own.box,
        {name: value for name, value in inputs.items() if isinstance(value, Distribution)},
        solve=solve_one,
        recipe=f"smoke({own}, {digests}, open_top={open_top}, scheme={scheme})",
    )


@eqx.filter_jit
def _run(flow: Flow, values, lengths, per_frame: int, with_start: bool, method: AbstractMethod) -> Trajectory:
    method = method.bind(jax.lax.stop_gradient(flow.operator))

    def step(state, dt):
        return flow.step(state, values, dt, method)

    def to_next_frame(state, length):
        state, stats = jax.lax.scan(step, state, jnp.full(per_frame, length / per_frame))
        return state, (flow.frame(state), stats)

    start = flow.start(values)
    (_, faces, _), (frames, stats) = jax.lax.scan(to_next_frame, start, lengths)
    if with_start:
        frames = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), flow.frame(start), frames)
    return Trajectory(frames, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), stats), faces)


def _schedule(steps: int | None, times: Instants | None, dt: ScalarLike) -> tuple[Array | np.ndarray, int, bool]:
    """Times between frames, steps per frame, and whether the start is a frame."""
    if (steps is None) == (times is None) or (steps is not None and steps < 1):
        raise ValueError(f"smoke: give steps (at least 1) or times, got steps={steps}, times={times}")
    if times is None:
        return jnp.broadcast_to(jnp.asarray(dt, float), (steps,)), 1, False
    lengths = np.diff(checked_instants(times), prepend=0.0)
    with_start = bool(lengths[0] == 0)
    lengths = lengths[with_start:]
    if not len(lengths) or not np.asarray(dt) > 0:
        raise ValueError(f"smoke: needs an instant after 0 and a positive dt, got times={times}, dt={dt}")
    return lengths, math.ceil(lengths.max() / dt * (1 - 1e-9)), with_start


def _ball(grid: Grid) -> Float[np.ndarray, "*space"]:
    width, height = np.asarray(grid.box.extent), np.asarray(grid.box.lower)
    centre = np.append(height[:-1] + width[:-1] / 2, height[-1] + 0.2)
    return np.where(((grid.points - centre) ** 2).sum(-1) < 1 / 64, 4.0, 0.0)


def _digest(value) -> str:
    """Text that identifies an input in a recipe."""
    if isinstance(value, Distribution) or value is None or np.ndim(value) == 0:
        return str(value)
    return hashlib.sha256(np.asarray(value).tobytes()).hexdigest()[:16]
