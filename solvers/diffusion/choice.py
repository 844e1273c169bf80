"""`choose`: the best classical solver and time grid for one denoiser, by trying them on a few samples."""

from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...core.arguments import checked, count, random_key
from .automatic import automatic_ends
from .denoiser import AbstractDenoiser, as_denoiser
from .multistep import DPMSolverPP, ExponentialAdams
from .noise_multistep import DEIS, IPNDM
from .planning import plan
from .sampling import Trajectory, sample
from .schedule import AbstractSchedule
from .solver import AbstractFixedSolver, AbstractSolver
from .table import Table
from .times import AbstractGrid, LogSNR, Rho, UniformTime, VPQuadratic
from .triangular_form import unrolled, walk
from .tuned_times import Tuned
from .unipc import UniPC

SOLVERS = (
    IPNDM(2), IPNDM(3), IPNDM(4), DEIS(3, "log_snr"), DEIS(4, "log_snr"), DEIS(4), DPMSolverPP(2), DPMSolverPP(3),
    ExponentialAdams(4), UniPC(2), UniPC(3),
)  # fmt: skip
GRIDS = (LogSNR, VPQuadratic, Rho, UniformTime, Tuned)
SCALES = 4.0, 16.0  # of the data, for `Tuned`: smooth fields have modes that are larger than their points
_KEPT = 8


@dataclass(frozen=True, eq=False)
class Chosen(AbstractFixedSolver):
    """What `choose` found: a solver that `sample` takes, with the time grid that belongs to it.

    **Fields:** `solver`, `grid`; `schedule`, whose times the grid gives; `error`, its median error on the samples of the choice;
    `evaluations`, the network evaluations of single samples that the choice cost.
    """

    solver: AbstractSolver
    grid: AbstractGrid
    schedule: AbstractSchedule
    error: float
    evaluations: int
    ranking: tuple[tuple[AbstractSolver, AbstractGrid, float], ...] = field(repr=False)

    def fixed_table(self) -> Table:
        return plan(self.solver, schedule=self.schedule, times=self.grid)


@checked
def choose(
    denoiser: Any,
    *,
    schedule: AbstractSchedule,
    times: int,
    shape: tuple[int, ...],
    key: Any,
    samples: int = 64,
    fine: int | None = None,
    to_zero: bool = True,
    condition: Any = None,
) -> Chosen:
    """Try 11 multistep solvers on 7 time grids and keep the one with the smallest median error at the end.

    The reference is UniPC-3 with `fine` evaluations from the same noise. An eighth of the samples sorts all pairs, all samples
    the best 8: at 10 evaluations per sample that costs about 15,000 evaluations of single samples. It is worth it where more
    samples than a thousand are drawn, or where the network stays. `solver="auto"` costs nothing.

    **Arguments:**

    - `denoiser`, `schedule`, `shape`, `condition`, `key`: as in `sample`.
    - `times`: the number of network evaluations of a sample.
    - `samples`: 32 to 256. The choice is made on so many, and does better on them than on others.
    - `fine`: at least three times `times`; by default 60, or six times `times` if that is more.
    - `to_zero`: as in time grids.

    **Returns:** a solver for `sample(…, times=times)`.

    **Example:**

        >>> chosen = sx.diffusion.choose(denoise, schedule=sx.diffusion.EDM(), times=4, shape=(2,), key=key, samples=8, fine=16)
        >>> chosen.error < 0.5
        True
    """
    times, samples = count("choose", "times", times), count("choose", "samples", samples, 8)
    fine = max(60, 6 * times) if fine is None else count("choose", "fine", fine)
    if fine < 3 * times:
        raise ValueError(
            f"choose(fine={fine}): the reference needs {3 * times} evaluations or more, three times those of `times`"
        )
    key = random_key("choose", key)
    shape = tuple(count("choose", "shape", side) for side in shape)
    denoiser, ends = as_denoiser(denoiser), automatic_ends(schedule)
    grids = [kind(times, *ends, to_zero) for kind in GRIDS]
    grids += [Tuned(times, *ends, to_zero, data_std=scale) for scale in SCALES]
    pairs = [(solver, grid) for solver in SOLVERS for grid in grids]
    tables = [plan(solver, schedule=schedule, times=grid) for solver, grid in pairs]
    reference = sample(
        denoiser, UniPC(3), schedule=schedule, times=LogSNR(fine, *ends, to_zero), shape=shape, n=samples, key=key,
        condition=condition, trajectory=True,
    )  # fmt: skip
    assert isinstance(reference, Trajectory)
    starts = reference.points[:, 0] / np.sqrt(1 + reference.levels[0] ** 2)
    size = 1.0 if tables[0].end == 0 else float(np.sqrt(1 + tables[0].end ** 2) * schedule.alpha(np.float64(ends[1])))
    exact = reference.samples / size

    def errors(which, rows):
        points = jnp.asarray(np.stack([unrolled(tables[i]) for i in which]), starts.dtype)
        network = jnp.asarray(np.stack([tables[i].levels for i in which]), starts.dtype)
        found = _errors(denoiser, starts[:rows], exact[:rows], points, network, schedule, condition)
        found = np.median(np.asarray(found), 1)
        return np.where(np.isfinite(found), found, np.inf)

    every, few = np.arange(len(pairs)), max(samples // 8, 4)
    best = every[np.argsort(errors(every, few))[:_KEPT]]
    scores = errors(best, samples)
    order = np.argsort(scores)
    ranking = tuple((*pairs[best[i]], float(size * scores[i])) for i in order)
    spent = samples * fine + times * (few * len(pairs) + samples * _KEPT)
    return Chosen(*ranking[0][:2], schedule, ranking[0][2], spent, ranking)


@eqx.filter_jit
def _errors(denoiser: AbstractDenoiser, starts, exact, points, network, schedule, condition):
    """Root mean squares `(tables, n)` in v."""

    def one(row):
        weights, levels = row
        ends = jax.vmap(lambda v: walk(denoiser, v, weights, levels, schedule, condition)[0][-1])(starts)
        return jnp.sqrt(jnp.mean((ends - exact).reshape(len(ends), -1) ** 2, 1))

    return jax.lax.map(one, (points, network))
