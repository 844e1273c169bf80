"""Observations of a solution at points, for inverse problems: the residual of a problem says the rest."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import kind, number
from ...datasets.dataset import Dataset
from ...solvers.pde.declaration import Problem


class Observations(eqx.Module):
    """Values of some unknowns at points, from one sample of a dataset.

    **Fields:** `points` `(n, d)` in the order of `Problem.coordinates` (time last); `values` `(n, c)` of the unknowns `names`, 0
    where nothing was observed; `known` `(n, c)`, 1 where a value was observed and 0 elsewhere; `number` of observed values.
    """

    points: Float[np.ndarray | Array, "n d"]
    values: Float[np.ndarray | Array, "n c"]
    known: Float[np.ndarray | Array, "n c"]
    names: tuple[str, ...] = eqx.field(static=True)
    number: int = eqx.field(static=True)

    @classmethod
    def of(cls, dataset: Any, problem: Problem) -> "Observations":
        """All values of the unknowns of a problem in a dataset of one sample. NaN stands for what was not observed.

        **Raises:** `TypeError` for anything but a dataset; `ValueError` for several samples, for a dataset without a field that
        is called like an unknown, without values, with infinite ones, without times for a problem in time (or the other way
        round), and for points outside the problem's box.
        """
        kind("fit", "observations", dataset, Dataset, "pass a dataset, from_arrays(…, points=…) of your measurements")
        names = tuple(name for name in problem.unknowns if name in dataset.fields)
        if not names:
            raise ValueError(
                f"fit(observations=…): none of the unknowns {problem.unknowns} is a field of the dataset, which has "
                f"{sorted(dataset.fields)}"
            )
        if len(dataset) != 1:
            raise ValueError(f"fit(observations=…): one solution is learned, the dataset has {len(dataset)} samples")
        timed = dataset.times is not None
        if timed != (problem.time is not None):
            raise ValueError(
                f"fit(observations=…): the dataset has {'' if timed else 'no '}times, and the problem is "
                f"{'steady' if timed else 'one in time'}"
            )
        sample = dataset[0]
        sites = dataset.domain.sites(sample)
        points = np.asarray(sites.points, np.float64)
        points = points.reshape(-1, points.shape[-1])
        there = np.ones(len(points), bool) if sites.mask is None else np.asarray(sites.mask, bool).reshape(-1)
        if timed:
            times = np.repeat(np.asarray(dataset.times, np.float64), len(points))
            points = np.concatenate([np.tile(points, (len(dataset.times), 1)), times[:, None]], 1)
            there = np.tile(there, len(dataset.times))
        columns = [np.asarray(sample[name], np.float64) for name in names]
        if wrong := [name for name, values in zip(names, columns, strict=True) if values.size != len(points)]:
            raise ValueError(
                f"fit(observations=…): {wrong[0]!r} has the shape {columns[names.index(wrong[0])].shape}, expected one number at "
                f"each of the {len(points)} points{' of space and time' if timed else ''}"
            )
        values = np.stack([values.reshape(-1) for values in columns], 1)[there]
        points = points[there]
        known = ~np.isnan(values)
        if np.isinf(values).any() or not known.any():
            raise ValueError("fit(observations=…): values are infinite, or none is known")
        box = problem.space_time
        lower, upper = np.asarray(box.lower), np.asarray(box.lower) + np.asarray(box.extent)
        slack = 1e-6 * (upper - lower)  # the rounding of coordinates in float32
        if (outside := ((points < lower - slack) | (points > upper + slack)).any(1)).any():
            raise ValueError(
                f"fit(observations=…): {int(outside.sum())} of {len(points)} points lie outside {box}, in space or time"
            )
        return cls(points, np.where(known, values, 0.0), known.astype(np.float64), names, int(known.sum()))

    def rows(self) -> tuple[Array, Array, Array]:
        """Points, values and marks as arrays of the present precision."""
        points, values, known = (jnp.asarray(x, jnp.result_type(float)) for x in (self.points, self.values, self.known))
        return points, values, known


def started(problem: Problem, learn: Any) -> dict[str, float]:
    """Constants of a problem that are to be learned, and their start values.

    **Raises:** `ValueError` for names that are no constant numbers of the problem.
    """
    found = {} if learn is None else dict(learn)
    numbers = {name for name, value in problem.constants.items() if np.ndim(value) == 0}
    if unknown := set(found) - numbers:
        raise ValueError(f"learn: {sorted(unknown)} are no constants of {problem!r}; these are {sorted(numbers)}")
    return {name: number("learn", name, value) for name, value in found.items()}


def learned_arrays(start: dict[str, float]) -> dict[str, Float[Array, ""]]:
    """The start values as trained arrays."""
    return jax.tree.map(jnp.asarray, start)
