"""The coefficient table: the one form in which every sampler runs.

A sampler is a list of rows. Row k evaluates the denoiser D at the point u and the level s_k and moves on by two linear
combinations,

    accept   x ← a x + b u + c D + Σ_j d_j H_j         (the solution so far; most solvers have x ← u)
    advance  u ← a x + b u + c D + Σ_j d_j H_j + n z   (where the network is evaluated next; z is fresh noise)

and then pushes D, or another combination of u and D such as the noise ε = (u − D)/s, onto the history H₁, H₂, … of earlier
evaluations. Solvers compute rows on the
host in float64; one `lax.scan` runs them (`sample`). So no solver has control flow that depends on data, and a step costs the
same whatever the solver.

Two frames. Solvers think in y = x₀ + s ε. The scan carries v = y/√(1 + s²), whose variance stays near that of data and noise
and which is finite for infinite noise (flow models start there). Only w·s has a limit there for a weight w of a state y at
level s, so rows hold this product, `weight · level`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...core.arguments import count

Weight = float | np.ndarray


class Update(NamedTuple):
    """Weights of a linear combination in the frame of y: numbers, or arrays that broadcast against a sample.

    **Fields:** `state`, `point`: weights of x and u, each times the noise level of that state; `denoised`: of D; `history`: of
    H₁, H₂, …; `noise`: of z (a number); `constant`: a term of its own.

    **Example:**

        >>> half = sx.diffusion.Update(denoised=1.0, noise=0.5)                               # D + z/2
        >>> half.denoised, half.state
        (1.0, 0.0)
    """

    state: Weight = 0.0
    point: Weight = 0.0
    denoised: Weight = 0.0
    history: tuple[Weight, ...] = ()
    noise: float = 0.0
    constant: Weight = 0.0


class Row(NamedTuple):
    """One evaluation of the network.

    **Fields:**

    - `level`: noise level s of the point u where the network is evaluated.
    - `target`: noise level of the next point.
    - `advance`: the next point.
    - `accept`: the new solution; None for x ← u.
    - `accepted`: noise level of the new solution; None for `level`.

    **Example:**

        >>> last = sx.diffusion.Row(1.0, 0.0, sx.diffusion.Update(denoised=1.0))                # from s = 1 to D
        >>> last.level, last.target
        (1.0, 0.0)
    """

    level: float
    target: float
    advance: Update
    accept: Update | None = None
    accepted: float | None = None


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of a sampler as arrays over evaluations, in the frame of v. `plan` makes them.

    **Fields:**

    - `levels`: noise levels at which the network is evaluated, `(evaluations,)`.
    - `start`, `end`: noise levels of the state that it starts from and of the one that it returns.
    - `entry`: weights of the first state and of noise in the first point (churn adds noise before the first evaluation).
    - `accept`, `advance`: weights of x, u, D, 1, H₁, H₂, …, `(evaluations, 4 + memory)`; with one weight per entry of a sample
      `(evaluations, 4 + memory, *shape)`.
    - `noise`: weights of z, `(evaluations,)`.
    - `record`: weights of u and D in the H that is kept, `(evaluations, 2)` or with `*shape`; None keeps D.
    - `corrects`: whether x is anything else than u.

    **Example:**

        >>> table = sx.diffusion.plan(sx.diffusion.DDIM(), schedule=sx.diffusion.EDM(), times=5)
        >>> bool((np.diff(table.levels) < 0).all()), table.start > table.end
        (True, True)
    """

    levels: np.ndarray
    start: float
    end: float
    entry: tuple[float, float]
    accept: np.ndarray
    advance: np.ndarray
    noise: np.ndarray
    record: np.ndarray | None
    corrects: bool

    @property
    def evaluations(self) -> int:
        """Number of evaluations of the network, exactly."""
        return len(self.levels)

    @property
    def stochastic(self) -> bool:
        return bool(self.noise.any()) or self.entry[1] != 0

    @property
    def memory(self) -> int:
        """How many earlier evaluations are kept."""
        return self.advance.shape[1] - 4


def unit_scale(level):
    """v = y · scale, 1/√(1 + s²)."""
    return 1 / np.sqrt(1 + np.square(level))


def noise_share(level):
    """The part of noise in v, s/√(1 + s²): 1 where noise is all."""
    return np.where(np.isinf(level), 1.0, np.where(np.isinf(level), 0.0, level) * unit_scale(level))


def assemble(
    rows: list[Row], start: float, *, solver: str, record: list[Update] | None = None, entry: Update | None = None
) -> Table:
    """The table of some rows.

    **Arguments:**

    - `start`: the noise level of the state that the rows begin with.
    - `record`: what every row keeps for later ones, by its weights of u and D; None: D.
    - `entry`: the first point; None: the state itself.

    **Raises:** `ValueError` if a weight is not finite, which happens where a solver cannot leave infinite noise.

    **Example:**

        >>> Row, Update = sx.diffusion.Row, sx.diffusion.Update
        >>> rows = [Row(2.0, 1.0, Update(denoised=1.0, noise=1.0)), Row(1.0, 0.0, Update(denoised=1.0))]
        >>> table = sx.diffusion.assemble(rows, 2.0, solver="mine")
        >>> table.evaluations, table.stochastic, table.end
        (2, True, 0.0)
    """
    memory = max(len(u.history) for row in rows for u in (row.advance, row.accept) if u is not None)
    first, at = rows[0].level, start
    accept, advance = [], []
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        entered = (1.0, 0.0)
        if entry is not None:
            entered = float(_scaled(entry.state, start, first)), float(unit_scale(first) * entry.noise)
        for row in rows:
            accepted = row.level if row.accepted is None else row.accepted
            kept = [0.0, 1.0, 0.0, 0.0, *[0.0] * memory]
            accept.append(kept if row.accept is None else _weights(row.accept, at, row.level, accepted, memory))
            advance.append(_weights(row.advance, accepted, row.level, row.target, memory))
            at = accepted
        kept = None
        if record is not None:
            levels = [row.level for row in rows]
            kept = _stacked([[u.point / noise_share(s), u.denoised] for u, s in zip(record, levels, strict=True)])
    table = Table(
        levels=np.array([row.level for row in rows], np.float64),
        start=float(start),
        end=float(rows[-1].target),
        entry=entered,
        accept=_stacked(accept),
        advance=_stacked(advance),
        noise=np.array([unit_scale(row.target) * row.advance.noise for row in rows], np.float64),
        record=kept,
        corrects=any(row.accept is not None for row in rows),
    )
    arrays = (table.accept, table.advance, table.noise, table.entry, 0.0 if kept is None else kept)
    if not all(np.isfinite(a).all() for a in arrays):
        raise ValueError(
            f"{solver} cannot start at the noise level {start:g}: start at a finite one, for example with a grid of start=0.999"
        )
    return table


def _weights(update: Update, state_level, point_level, target, memory: int) -> list[Weight]:
    """Weights of x, u, D, 1 and H in the frame of v."""
    scale = unit_scale(target)
    history = [scale * w for w in update.history] + [0.0] * (memory - len(update.history))
    state, point = _scaled(update.state, state_level, target), _scaled(update.point, point_level, target)
    return [state, point, scale * update.denoised, scale * update.constant, *history]


def _scaled(weight: Weight, level: float, target: float) -> Weight:
    """A weight of y(level), times this level, as a weight of v(level) in v(target)."""
    return weight if np.all(weight == 0) else unit_scale(target) * weight / noise_share(level)


def _stacked(rows: list[list[Weight]]) -> np.ndarray:
    """`(rows, weights, *shape)`."""
    shape = np.broadcast_shapes(*(np.shape(w) for row in rows for w in row))
    return np.array([[np.broadcast_to(w, shape) for w in row] for row in rows], np.float64)


def noise_record(levels: np.ndarray) -> list[Update]:
    """What `assemble` records to keep ε = (u − D)/s.

    **Example:**

        >>> [update] = sx.diffusion.noise_record(np.array([2.0]))
        >>> update.point, float(update.denoised)
        (1.0, -0.5)
    """
    return [Update(point=1.0, denoised=-1 / s) for s in levels]


def whole_orders(call: str, name: str, order: int, largest: int) -> None:
    """**Raises:** `ValueError` for an order outside 1 to `largest`."""
    if count(call, name, order) > largest:
        raise ValueError(f"{call}({name}={order}): expected 1 to {largest}")
