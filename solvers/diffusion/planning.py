"""`plan`: the coefficient table of a solver, a schedule and times, kept where equal ones may be asked for again."""

import dataclasses
import functools
from typing import Any, Literal, cast

import numpy as np

from ...core.arguments import checked, count
from ...core.arrays import AnyArray
from .automatic import automatic_grid, automatic_solver
from .model_statistics import ModelStatistics
from .schedule import AbstractSchedule
from .solver import AbstractFixedSolver, AbstractSolver
from .table import Table
from .times import AbstractGrid, check_levels, given_levels, usual_grid

SLACK = 1e-5  # relative, of noise levels at the ends of a schedule


@checked
def plan(
    solver: AbstractSolver | AbstractFixedSolver | Literal["auto"],
    *,
    schedule: AbstractSchedule,
    times: int | AbstractGrid | AnyArray | list | tuple,
    field: bool = False,
) -> Table:
    """The coefficient table that `sample` runs: its number of evaluations, its noise levels and weights.

    **Arguments:**

    - `solver`: a solver, or "auto": up to 28 evaluations `IPNDM(3)`, with `times=10` on the grid `Tuned`; beyond
      `ExponentialAdams(4)` on `LogSNR`. For fields up to 6 evaluations `IPNDM(3)`, up to 17 `DEIS(3, "log_snr")`, on `Rho`;
      beyond `UniPC(3)` on `LogSNR`.
    - `times`: how many network evaluations (on `Rho(7)` for EDM, uniform times for flow matching, `LogSNR` otherwise), a time
      grid, or the times of the schedule themselves, noisy first.
    - `field`: whether "auto" is for fields under white noise, as `sample` takes samples of two axes or more to be.

    **Raises:** `ValueError` for a number of evaluations that the solver cannot make; for times that are doubled, not ordered,
    or without a noise level.

    **Example:**

        >>> table = sx.diffusion.plan(sx.diffusion.UniPC(3), schedule=sx.diffusion.EDM(), times=10)
        >>> len(table.levels)
        10
    """
    if isinstance(times, int):
        count("sample", "times", times)
    if field and solver != "auto":
        raise ValueError("plan(field=True): only the choice of solver='auto' depends on it; leave it out")
    parts: Any = solver, schedule, times, field
    return _kept_plan(*parts) if all(_is_frozen(part) for part in parts) else _plan(*parts)


def _is_frozen(part: Any) -> bool:
    """Whether equal objects of this kind have equal tables for ever: numbers, words, statistics, tuples of them, and frozen
    dataclasses that hold nothing but these, in their fields alone."""
    if part is None or isinstance(part, int | float | str | ModelStatistics):
        return True
    if isinstance(part, tuple):
        return {type(each) for each in part} <= {float, int} or all(map(_is_frozen, part))
    if not dataclasses.is_dataclass(part):
        return False
    settings = cast(Any, type(part)).__dataclass_params__  # its own, or those of the first base that is a dataclass
    if not (settings.frozen and settings.eq):
        return False
    # A class derived without the decorator may hold more than its comparison looks at.
    compared = {field.name for field in dataclasses.fields(part) if field.compare}
    return vars(part).keys() <= compared and all(map(_is_frozen, vars(part).values()))


def _plan(solver, schedule, times, field) -> Table:
    if isinstance(solver, AbstractFixedSolver):
        return _fixed(solver, schedule, times)
    given = times
    if isinstance(times, int):
        times = automatic_grid(schedule, times, field) if solver == "auto" else usual_grid(schedule, times)
    if isinstance(solver, str):
        solver = automatic_solver(times.evaluations if isinstance(times, AbstractGrid) else np.size(times) - 1, field)
    if isinstance(times, AbstractGrid):
        split = solver.split(times.evaluations, times.ends_clean(schedule))
        nodes, levels = times.levels(schedule, len(split))
    else:
        nodes, levels = given_levels(schedule, given)
        split = solver.whole(len(levels) - 1, bool(levels[-1] == 0))
    check_levels(nodes, levels, schedule)
    return solver.table(levels, split, schedule)


@functools.lru_cache(maxsize=256)
def _kept_plan(solver, schedule, times, field) -> Table:
    """Computing a table takes milliseconds, many times a call of a small network. Its arrays are read-only."""
    table = _plan(solver, schedule, times, field)
    for array in vars(table).values():
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return table


def _fixed(solver: AbstractFixedSolver, schedule: AbstractSchedule, times: Any) -> Table:
    """**Raises:** `ValueError` unless `times` is the solver's number of evaluations and the schedule has its noise levels."""
    table, name = solver.fixed_table(), type(solver).__name__
    if not isinstance(times, int) or times != table.evaluations:
        raise ValueError(
            f"sample(times={times!r}): {name} has times of its own, those of {table.evaluations} evaluations; pass "
            f"times={table.evaluations}"
        )
    most, least = (float(schedule.level(np.float64(t))) for t in (schedule.start, schedule.end))
    wrong = [s for s in (table.start, *table.levels) if not (1 - SLACK) * least <= s <= (1 + SLACK) * most]
    if wrong:
        raise ValueError(
            f"sample: {name} evaluates at the noise level {wrong[0]:.4g}; {type(schedule).__name__} has {least:.4g} to {most:.4g}"
        )
    return table
