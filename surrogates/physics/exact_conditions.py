"""Conditions that a trial function fulfils exactly: a lift that has the prescribed values, and a factor that vanishes there."""

import itertools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.domains import Box
from ...solvers.pde.conditions import BoundaryCondition, Dirichlet, Value
from ...solvers.pde.declaration import Problem


@dataclass(frozen=True)
class Prescribed:
    """The values of one unknown on one face of the box of space and time: where coordinate `index` is at its start or end."""

    index: int
    start: float
    length: float
    at_end: bool
    value: Value
    spatial: bool  # the value is a function of the space coordinates alone, as initial values are

    @property
    def position(self) -> float:
        return self.start + self.length * self.at_end

    def on_face(self, point: Float[Array, " d"]) -> Float[Array, " d"]:
        return point.at[self.index].set(self.position)

    def blend(self, point: Float[Array, " d"], alone: bool) -> Array:
        """1 on the face; if it is not `alone` along its axis, 0 on the opposite one."""
        if alone:
            return jnp.ones((), point.dtype)
        share = (point[self.index] - self.start) / self.length
        return share if self.at_end else 1 - share

    def distance(self, point: Float[Array, " d"]) -> Array:
        """The distance from the face in units of the box."""
        share = (point[self.index] - self.start) / self.length
        return 1 - share if self.at_end else share

    def at(self, point: Float[Array, " d"], inputs: dict[str, Any]) -> Array:
        if isinstance(self.value, str):
            return jnp.asarray(inputs[self.value])
        if not callable(self.value):
            return jnp.asarray(self.value, point.dtype)
        value = jnp.asarray(self.value(*(point[:-1] if self.spatial else point)))
        if value.shape:
            raise ValueError(
                f"a condition has the shape {value.shape} at one point, expected one number: a function of the coordinates there"
            )
        return value


@dataclass(frozen=True)
class ExactConditions:
    """u = L + D N of one unknown, with a lift L that has the values prescribed on `faces` and a factor D that vanishes there.

    L adds the faces one after the other, each by what is missing there yet (transfinite interpolation, Gordon & Hall 1973).
    Where faces meet, their values must agree.
    """

    faces: tuple[Prescribed, ...]

    def __call__(self, point: Float[Array, " d"], value: Array, inputs: dict[str, Any]) -> Array:
        factor = jnp.ones((), point.dtype)
        for face in self.faces:
            # 1 in the middle between two faces.
            factor = factor * face.distance(point) * (1 if self._alone(face) else 2)
        return self.lift(point, inputs) + factor * value

    def lift(self, point: Float[Array, " d"], inputs: dict[str, Any]) -> Array:
        return self._lift(len(self.faces), point, inputs)

    def _lift(self, number: int, point: Float[Array, " d"], inputs: dict[str, Any]) -> Array:
        """The lift of the first `number` faces. Both faces of an axis are added at once, to what was there before the axis."""
        if not number:
            return jnp.zeros((), point.dtype)
        last = self.faces[number - 1]
        before = sum(face.index != last.index for face in self.faces[:number])
        total = self._lift(before, point, inputs)
        for face in self.faces[before:number]:
            there = face.on_face(point)
            missing = face.at(there, inputs) - self._lift(before, there, inputs)
            total = total + face.blend(point, self._alone(face)) * missing
        return total

    def _alone(self, face: Prescribed) -> bool:
        return sum(other.index == face.index for other in self.faces) == 1

    def contradiction(self, box: Box, inputs: dict[str, Any]) -> float:
        """The largest difference between the lift and the values on the faces, relative to the largest value."""
        worst, largest = 0.0, 0.0
        shares = list(itertools.product(np.linspace(0, 1, 5), repeat=len(box.axes) - 1))
        for face in self.faces:
            for share in shares:
                point = face.on_face(jnp.asarray(_point(box, np.insert(share, face.index, 0.0))))
                value = float(face.at(point, inputs))
                worst = max(worst, abs(float(self.lift(point, inputs)) - value))
                largest = max(largest, abs(value))
        return worst / largest if largest else worst

    def seam(self, box: Box, index: int, inputs: dict[str, Any]) -> float:
        """The largest jump of the lift or of its slope between both ends of the periodic axis `index`, relative to the largest
        value or slope. Such a jump stays in u at all times."""
        both = jax.jit(lambda point: (self.lift(point, inputs), jax.grad(self.lift)(point, inputs)[index]))
        length, sizes, jumps = box.axes[index].length, np.zeros(2), np.zeros(2)
        # Both ends, and places between that are no zeros of a wave.
        along = [0.0, *(0.618034 * np.arange(1, 14) % 1), 1.0]
        for share in itertools.product((0.11, 0.47, 0.86), repeat=len(box.axes) - 1):
            points = [_point(box, np.insert(share, index, x)) for x in along]
            found = np.array([both(jnp.asarray(point)) for point in points], float)
            sizes = np.maximum(sizes, abs(found).max(0))
            jumps = np.maximum(jumps, abs(found[-1] - found[0]))
        # A slope that is rounding beside the values is none, and the reverse.
        sizes = np.maximum(sizes, 1e-3 * sizes[::-1] * [length, 1 / length])
        return float(np.max(jumps / np.where(sizes > 0, sizes, 1)))


def _point(box: Box, shares: np.ndarray) -> np.ndarray:
    return np.array([axis.start + axis.length * share for axis, share in zip(box.axes, shares, strict=True)])


def exact_conditions(
    problem: Problem, unknown: str, boundary: bool, initial: bool
) -> tuple[ExactConditions, tuple[BoundaryCondition, ...], bool]:
    """The conditions on one unknown that can hold exactly: Dirichlet sides and the initial value.

    **Arguments:** `boundary`, `initial`: whether to take those of the sides and that of the start.

    **Returns:** them; the boundary conditions that remain, apart from periodic ones, which the inputs of a trial function fulfil;
    and whether the initial value remains.
    """
    axes = problem.space_time.axes
    faces: list[Prescribed] = []
    left: list[BoundaryCondition] = []
    for condition in problem.boundary:
        if condition.unknown != unknown or len(condition.sides) == 2:
            continue
        held = condition.condition
        if boundary and isinstance(held, Dirichlet):
            (side,) = condition.sides
            index = problem.box.names.index(side.axis)
            faces.append(Prescribed(index, axes[index].start, axes[index].length, side.outward > 0, held.value, False))
        else:
            left.append(condition)
    starts = unknown in problem.initial
    if initial and starts:
        index = len(axes) - 1
        faces.append(Prescribed(index, axes[-1].start, axes[-1].length, False, problem.initial[unknown], True))
    ordered = sorted(faces, key=lambda face: face.index)
    return ExactConditions(tuple(ordered)), tuple(left), starts and not initial
