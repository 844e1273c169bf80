"""Boundary and initial conditions: what is asked of the unknowns on the sides of the box and at the initial time."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from ...core.domains import Box
from .pointwise_derivatives import Jet, Jets

Value = float | str | Callable[..., Any]  # a number, the name of an input, or a function of the coordinates


@dataclass(frozen=True)
class Side:
    """One side of a box: the points with coordinate `axis` = `position`. `outward` is −1 at its start, 1 at its end."""

    axis: str
    position: float
    outward: int


class AbstractCondition(ABC):
    """What holds on a side. `residual` is an array, or several in a pytree, that vanish where the condition holds."""

    @abstractmethod
    def residual(self, u: Sequence[Jet], sides: tuple[Side, ...], inputs: Jets) -> Any:
        """**Arguments:** `u`: the unknown at points of every side of `sides`; `inputs`: at the points of the first."""

    @property
    @abstractmethod
    def prescribes(self) -> tuple[Value, ...]:
        """What the condition prescribes, if anything."""


@dataclass(frozen=True)
class Dirichlet(AbstractCondition):
    """u = value.

    **Example:**

        >>> ends = sx.pde.Sides(x=(sx.pde.Dirichlet(0.0), sx.pde.Dirichlet(1.0)))
        >>> sx.Problem("u", sx.Box(x=(0, 1)), boundary=ends, residual=lambda u, p: u.xx).unknowns
        ('u',)
    """

    value: Value = 0.0

    def residual(self, u: Sequence[Jet], sides: tuple[Side, ...], inputs: Jets) -> Array:
        return u[0].value - prescribed(self.value, u[0], inputs)

    @property
    def prescribes(self) -> tuple[Value, ...]:
        return (self.value,)


@dataclass(frozen=True)
class Neumann(AbstractCondition):
    """∂u/∂n = flux, with n pointing out of the box.

    **Example:**

        >>> sides = sx.pde.Sides(x=(sx.pde.Dirichlet(0.0), sx.pde.Neumann(1.0)))
        >>> sx.Problem("u", sx.Box(x=(0, 1)), boundary=sides, residual=lambda u, p: u.xx).unknowns
        ('u',)
    """

    flux: Value = 0.0

    def residual(self, u: Sequence[Jet], sides: tuple[Side, ...], inputs: Jets) -> Array:
        return sides[0].outward * u[0].partial(sides[0].axis) - prescribed(self.flux, u[0], inputs)

    @property
    def prescribes(self) -> tuple[Value, ...]:
        return (self.flux,)


@dataclass(frozen=True)
class Periodic(AbstractCondition):
    """u and its normal derivative are the same on both sides of an axis."""

    def residual(self, u: Sequence[Jet], sides: tuple[Side, ...], inputs: Jets) -> tuple[Array, Array]:
        (start, end), axis = u, sides[0].axis
        return start.value - end.value, start.partial(axis) - end.partial(axis)

    @property
    def prescribes(self) -> tuple[Value, ...]:
        return ()


@dataclass(frozen=True)
class Free(AbstractCondition):
    """Nothing is asked, as of the pressure on the walls of a channel.

    **Example:**

        >>> sides = sx.pde.Sides(x=(0.0, sx.pde.Free()))                                  # nothing at the right end
        >>> sx.Problem("u", sx.Box(x=(0, 1)), boundary=sides, residual=lambda u, p: u.x - 1).unknowns
        ('u',)
    """

    def residual(self, u: Sequence[Jet], sides: tuple[Side, ...], inputs: Jets) -> tuple:
        return ()

    @property
    def prescribes(self) -> tuple[Value, ...]:
        return ()


SideValue = Value | AbstractCondition


@dataclass(frozen=True, init=False)
class Sides:
    """What is prescribed on the sides of a box where that is not the same everywhere.

    `Sides(x=(0.0, 1.0), y="g")` is 0 at the start of x, 1 at its end, and the input g on both sides of y; axes that are not
    named have 0. A number, name or function is a value on Dirichlet sides and a flux on Neumann sides, after the box;
    `Dirichlet(…)`, `Neumann(…)` and `Free()` say it themselves.

    **Example:**

        >>> ends = sx.pde.Sides(x=(0.0, 1.0))                   # u = 0 left, u = 1 right
        >>> sx.Problem("u", sx.Box(x=(0, 1)), boundary=ends, residual=lambda u, p: u.xx).box.names
        ('x',)
    """

    values: Mapping[str, SideValue | tuple[SideValue, SideValue]]

    def __init__(self, **values: SideValue | tuple[SideValue, SideValue]):
        object.__setattr__(self, "values", values)

    def ends(self, axis: str) -> tuple[SideValue, SideValue]:
        value = self.values.get(axis, 0.0)
        return value if isinstance(value, tuple) else (value, value)


@dataclass(frozen=True)
class BoundaryCondition:
    """The condition on one unknown on one side, or on both sides of a periodic axis.

    `condition.residual(u, inputs)` vanishes where the condition holds. `u` are the unknowns' jets at points of every side in
    `sides`, one `Jets` per side (of a periodic axis points that differ by its length), and `inputs` the input jets.
    """

    unknown: str
    sides: tuple[Side, ...]
    condition: AbstractCondition

    def residual(self, u: Sequence[Jets], inputs: Jets) -> Any:
        return self.condition.residual([jets[self.unknown] for jets in u], self.sides, inputs)


BoundaryValues = SideValue | Sides | Mapping[str, SideValue | Sides]


def boundary_conditions(boundary: BoundaryValues, unknowns: tuple[str, ...], box: Box) -> tuple[BoundaryCondition, ...]:
    """The conditions that a declaration spells out, every unknown on every side in turn.

    **Raises:** `ValueError` for unknowns or axes that the problem does not have, and for unknowns without an entry.
    """
    if isinstance(boundary, Mapping):
        by_unknown = dict(boundary)
        if set(by_unknown) != set(unknowns):
            raise ValueError(f"boundary: got entries for {sorted(by_unknown)}, expected one for each of {unknowns}")
    else:
        by_unknown = dict.fromkeys(unknowns, boundary)
    found = []
    for unknown, given in by_unknown.items():
        values = given if isinstance(given, Sides) else Sides(**dict.fromkeys(_walls(box), given))
        if wrong := set(values.values) - set(_walls(box)):
            raise ValueError(f"boundary: no values are prescribed on {sorted(wrong)}; sides with values: {_walls(box)}")
        for axis, kind in zip(box.axes, box.conditions, strict=True):
            start, end = Side(axis.name, axis.start, -1), Side(axis.name, axis.stop, 1)
            if kind == "periodic":
                found.append(BoundaryCondition(unknown, (start, end), Periodic()))
                continue
            for side, value in zip((start, end), values.ends(axis.name), strict=True):
                plain = Dirichlet if kind == "dirichlet" else Neumann
                condition = value if isinstance(value, AbstractCondition) else plain(value)
                found.append(BoundaryCondition(unknown, (side,), condition))
    return tuple(found)


def prescribed(value: Value, u: Jet, inputs: Jets, names: tuple[str, ...] | None = None) -> Array:
    """A prescribed value at the points of `u`: the number, the input of that name, or the function of the coordinates
    `names`, by default all."""
    if isinstance(value, str):
        return inputs[value].value
    if not callable(value):
        return jnp.asarray(value)
    at = u.at
    return jnp.asarray(value(*(at[name] for name in names or at)))


def _walls(box: Box) -> list[str]:
    return [axis.name for axis in box.axes if axis.boundary != "periodic"]
