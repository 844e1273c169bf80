"""`Observe`: what was measured of the fields of a task, in physical units."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ...core.arguments import checked, kind, real_array
from ...core.arrays import AnyArray
from ...core.domains import Grid
from ...solvers.diffusion import AbstractObservation, JointObservation, Observation
from ...solvers.kernels.interpolate import interpolate_at


class Observe(eqx.Module):
    """Values of a field at some points, or any function of the fields, with Gaussian errors.

        Observe("u", at=xy, values=y, std=0.01)                                   # sensors
        Observe(operator=lambda fields: flux(fields["a"]), values=q, std=0.1)     # a solver, an integral, another grid
        prior.conditioned(Observe("u", at=xy, std=0.01))                          # the values of each sample of a dataset

    Between the points of a grid fields are interpolated linearly along every axis, which is an error of its own: give sensors
    between the points of a coarse grid a larger `std`.

    **Arguments:**

    - `field`: the name of a target of the task. A vector is observed in all components.
    - `at`: points `(m, d)` in physical coordinates, time first in a space-time task; None: all points of the grid.
    - `operator`: a function of the fields by name, `([frames], *space, [component])`, instead of `field` and `at`.
    - `values`: what was measured: `(m,)`, of a vector `(m, c)`, or of the shape that the operator returns. None where a
      surrogate reads them from each sample.
    - `std`, `covariance`, `mask`: of the errors, as in `diffusion.Observation`.

    **Raises:** `ValueError` for shapes that do not fit, and when a prior has no such field or points.

    **Example:**

        >>> sx.Observe("u", at=np.array([[0.25]]), values=[1.0], std=0.01).field
        'u'
    """

    field: str | None = eqx.field(static=True)
    at: Float[Array, "m d"] | None
    operator: Callable | None
    values: Float[Array, "..."] | None
    std: Any
    covariance: Any
    mask: Any

    @checked
    def __init__(
        self,
        field: str | None = None,
        *,
        at: AnyArray | Sequence | None = None,
        operator: Callable | None = None,
        values: AnyArray | Sequence | float | None = None,
        std: AnyArray | Sequence | float | None = None,
        covariance: AnyArray | Sequence | None = None,
        mask: AnyArray | Sequence | None = None,
    ):
        if (field is None) == (operator is None):
            raise ValueError("Observe: give the name of a field, or operator=…, a function of the fields; one of them")
        if operator is not None and at is not None:
            raise ValueError("Observe(at=…): an operator says itself where it looks; leave `at` out")
        if at is not None:
            at = jnp.asarray(real_array("Observe", "at", at), float)
            if at.ndim != 2 or not at.size:
                raise ValueError(f"Observe(at=…): expected points (m, d), got the shape {at.shape}")
        self.field, self.at, self.operator = field, at, operator
        self.std = None if std is None else real_array("Observe", "std", std)
        self.covariance = None if covariance is None else real_array("Observe", "covariance", covariance)
        self.mask = mask
        self.values = None if values is None else jnp.asarray(real_array("Observe", "values", values), float)
        if (std is None) == (covariance is None):
            raise ValueError("Observe: give std=…, the standard deviation of the errors, or covariance=…, one of them")
        if self.values is not None:  # the same checks, now and not when it is used
            Observation(_nothing, self.values, std=std, covariance=covariance, mask=mask)

    def seen(self, fields: Mapping[str, Array], grid: Grid) -> Array:
        """What is observed of the fields of one sample, without errors."""
        if self.operator is not None:
            return jnp.asarray(self.operator(dict(fields)))
        assert self.field is not None
        values = fields[self.field]
        if self.at is None:
            return values
        vector = values.ndim > grid.ndim
        found = interpolate_at(values if vector else values[..., None], _positions(self.at, grid), grid.periodic)
        return found if vector else found[..., 0]

    def check(self, targets: Sequence[str], grid: Grid) -> None:
        """**Raises:** `ValueError` for a field or points that the prior does not have."""
        if self.field is not None and self.field not in targets:
            raise ValueError(f"Observe({self.field!r}): the fields of this prior are {list(targets)}")
        if self.at is None:
            return
        if self.at.shape[1] != grid.ndim:
            raise ValueError(
                f"Observe(at=…): points have {self.at.shape[1]} coordinates, the fields {grid.ndim}: {grid!r}"
            )
        if not isinstance(self.at, Tracer):
            outside = grid.outside(np.asarray(self.at))
            if outside.any():
                raise ValueError(
                    f"Observe(at=…): {outside.sum()} of {outside.size} points are outside of {grid!r}, the first is "
                    f"{np.asarray(self.at)[outside][0]}"
                )

    def observation(self, fields_of: Callable, grid: Grid, values: Array | None = None) -> Observation:
        """The observation of a normalised sample x, whose fields in physical units are `fields_of(x)`.

        **Raises:** `ValueError` without values.
        """
        values = self.values if values is None else values
        if values is None:
            raise ValueError("Observe: without values=… there is nothing to condition on; prior.conditioned reads them")
        operator = Seen(self, fields_of, grid)
        return Observation(operator, values, std=self.std, covariance=self.covariance, mask=self.mask)


class Seen(eqx.Module):
    """What `Observe` sees of a normalised sample."""

    observe: Observe
    fields_of: Callable
    grid: Grid = eqx.field(static=True)

    def __call__(self, x):
        return self.observe.seen(self.fields_of(x), self.grid)


def _nothing(x):
    return x


def _positions(points: Array, grid: Grid) -> Array:
    """Physical coordinates as numbers of grid points along every axis."""
    first = jnp.asarray([c[0] for c in grid.coordinates], points.dtype)
    return (points - first) / jnp.asarray(grid.spacing, points.dtype)


def listed(call: str, observe: Any) -> tuple[Observe, ...]:
    """One `Observe` or several, as a tuple. **Raises:** `TypeError` for anything else."""
    parts = tuple(observe) if isinstance(observe, Sequence) else (observe,)
    if not parts:
        raise ValueError(f"{call}: give one observation or more")
    for part in parts:
        kind(call, "obs", part, Observe, 'pass Observe("u", at=points, values=y, std=…), or a list of them')
    return parts


def together(parts: Sequence[AbstractObservation]) -> AbstractObservation:
    return parts[0] if len(parts) == 1 else JointObservation(*parts)
