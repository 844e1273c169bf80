"""Boxes with boundary conditions, and uniform grids on them. Both are static: hashable and without arrays."""

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, SupportsIndex

import numpy as np
from jaxtyping import Array, Bool, Float

from ..arguments import check_fields, count, kind
from ..storage import register
from .domain import AbstractDomain, Sites

Boundary = Literal["dirichlet", "neumann", "periodic"]
Layout = Literal["nodes", "cells", "periodic"]

_LAYOUT_OF: dict[Boundary | None, Layout] = {
    "dirichlet": "nodes",
    "neumann": "cells",
    "periodic": "periodic",
    None: "nodes",
}

_BOUNDARY_OF: dict[Layout, Boundary] = {"nodes": "dirichlet", "cells": "neumann", "periodic": "periodic"}


@register("Axis")
@dataclass(frozen=True)
class Axis:
    """One axis of a `Box`: the interval [start, stop] and the boundary condition at its two ends.

    `boundary` is "dirichlet", "neumann" or "periodic", or None for an axis without boundary condition (time).

    **Raises:** `ValueError` for an interval that is empty or not finite, or an unknown boundary condition.
    """

    name: str
    start: float
    stop: float
    boundary: Boundary | None = "dirichlet"

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        check_fields(self)
        if not self.stop > self.start:
            raise ValueError(
                f"axis {self.name!r} is empty: [{self.start}, {self.stop}]; stop must be larger than start"
            )
        if not math.isfinite(self.length):
            raise ValueError(f"axis {self.name!r} has no finite length: [{self.start}, {self.stop}]")

    @property
    def length(self) -> float:
        return self.stop - self.start


@register("Box")
@dataclass(frozen=True, init=False)
class Box:
    """A product of intervals with a boundary condition per axis.

    Every keyword is an axis, `name=(start, stop)` or `name=(start, stop, boundary)`, for example
    `Box(x=(0, 1), y=(0, 2, "neumann"), t=(0, 5))`. The boundary condition defaults to "dirichlet", and to none for the axis
    named `t`.

    **Raises:** `ValueError` for a box without axes, two axes of one name, or an axis that is not two or three values.

    **Example:**

        >>> box = sx.Box(x=(0, 1, "periodic"), y=(-1, 1))
        >>> box.names, box.conditions
        (('x', 'y'), ('periodic', 'dirichlet'))
        >>> box.grid((4, 3)).shape
        (4, 3)
    """

    axes: tuple[Axis, ...]

    def __init__(self, axes: tuple[Axis, ...] = (), **named: Any):
        object.__setattr__(self, "axes", tuple(axes) + tuple(_axis(name, spec) for name, spec in named.items()))
        self.__check_init__()

    def __check_init__(self):
        if not all(isinstance(axis, Axis) for axis in self.axes):
            raise TypeError(f"a Box of {self.axes!r}: name its axes, for example Box(x=(0, 1), y=(0, 2))")
        if not self.axes:
            raise ValueError("a Box needs at least one axis, for example Box(x=(0, 1))")
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise ValueError(
                f"a Box with the axes {self.names}: {twice} are there twice; every axis needs its own name"
            )

    @classmethod
    def unit(cls, ndim: int, boundary: Boundary = "dirichlet") -> "Box":
        """The unit interval, square or cube with the same boundary condition on every side."""
        return cls(tuple(Axis(name, 0.0, 1.0, boundary) for name in _names(count("Box.unit", "ndim", ndim))))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(axis.name for axis in self.axes)

    @property
    def boundaries(self) -> tuple[Boundary | None, ...]:
        """The boundary condition of every axis, None for an axis without one."""
        return tuple(axis.boundary for axis in self.axes)

    @property
    def conditions(self) -> tuple[Boundary, ...]:
        """The boundary condition of every axis, for a box in space.

        **Raises:** `ValueError` if an axis has none, such as a time axis.
        """
        found: tuple[Boundary, ...] = tuple(axis.boundary for axis in self.axes if axis.boundary is not None)
        if len(found) < len(self.axes):
            raise ValueError(f"axes {self.names} with boundaries {self.boundaries}: one has no boundary condition")
        return found

    @property
    def lower(self) -> tuple[float, ...]:
        """The start of every axis."""
        return tuple(axis.start for axis in self.axes)

    @property
    def extent(self) -> tuple[float, ...]:
        """The length of every axis."""
        return tuple(axis.length for axis in self.axes)

    def grid(self, shape: "SupportsIndex | Sequence[SupportsIndex] | Grid") -> "Grid":
        """The grid with `shape` points (one number for all axes, or one per axis) that suits the boundary conditions.

        Dirichlet and time axes get nodes including both ends, Neumann axes cell centres, periodic axes nodes without the right
        end. If `shape` is a grid on this box, it is returned unchanged.

        **Raises:** `ValueError` for a grid on another box, and as `Grid`; `TypeError` for anything but whole numbers.
        """
        if isinstance(shape, Grid):
            if shape.box != self:
                raise ValueError(f"{shape} is not on {self}")
            return shape
        return Grid(self, per_axis(shape, len(self.axes), "grid"), tuple(_LAYOUT_OF[b] for b in self.boundaries))


@register("Grid")
@dataclass(frozen=True)
class Grid(AbstractDomain):
    """A uniform grid on a `Box`. Make one with `Grid.unit_square(64)` or `box.grid(64)`.

    **Arguments:**

    - `box`: the domain.
    - `shape`: points per axis.
    - `layouts`: where the n points of an axis of length L are. "nodes": from one end to the other, both included, with spacing
      L/(n−1). "cells": the centres of n cells, with spacing L/n. "periodic": from the left end on, without the right end, with
      spacing L/n.

    **Raises:** `ValueError` if the numbers of axes differ, for an unknown layout, and for too few points (2 for "nodes");
    `TypeError` for numbers of points that are not whole.

    **Example:**

        >>> grid = sx.Grid.unit_square(3)
        >>> grid.shape, grid.points.shape, grid.weights.sum().item()
        ((3, 3), (3, 3, 2), 1.0)
    """

    box: Box
    shape: tuple[int, ...]
    layouts: tuple[Layout, ...]

    def __post_init__(self):
        kind("Grid", "box", self.box, Box, "give a Box, such as Box(x=(0, 1), y=(0, 2))")
        kind("Grid", "layouts", self.layouts, (tuple, list), 'give one per axis, such as ("nodes", "periodic")')
        object.__setattr__(self, "shape", per_axis(self.shape, len(self.box.axes), "Grid"))
        object.__setattr__(self, "layouts", tuple(self.layouts))
        self.__check_init__()

    def __check_init__(self):
        if not len(self.shape) == len(self.layouts) == len(self.box.axes):
            raise ValueError(
                f"Grid of {len(self.box.axes)} axes {self.box.names} got shape {self.shape} and layouts {self.layouts}"
            )
        for axis, n, layout in zip(self.box.axes, self.shape, self.layouts, strict=True):
            if layout not in ("nodes", "cells", "periodic"):
                raise ValueError(f"axis {axis.name!r}: unknown layout {layout!r}; use 'nodes', 'cells' or 'periodic'")
            if n < (2 if layout == "nodes" else 1):
                raise ValueError(f"axis {axis.name!r} has {n} points, too few for layout {layout!r}")

    @classmethod
    def unit(
        cls, shape: SupportsIndex | Sequence[SupportsIndex], ndim: int | None = None, layout: Layout = "nodes"
    ) -> "Grid":
        """A grid on the unit interval, square or cube with the same layout on every axis.

        `shape` is the number of points per axis: a tuple, or one number for `ndim` axes (1 by default).
        """
        shape = per_axis(shape, 1 if ndim is None else count("Grid.unit", "ndim", ndim), "Grid.unit")
        if not isinstance(layout, str) or layout not in _BOUNDARY_OF:
            raise ValueError(f"Grid.unit: unknown layout {layout!r}; use one of {list(_BOUNDARY_OF)}")
        return cls(Box.unit(len(shape), _BOUNDARY_OF[layout]), shape, (layout,) * len(shape))

    @classmethod
    def unit_interval(cls, n: SupportsIndex, layout: Layout = "nodes") -> "Grid":
        """`n` points on [0, 1]."""
        return cls.unit(n, 1, layout)

    @classmethod
    def unit_square(cls, n: SupportsIndex, layout: Layout = "nodes") -> "Grid":
        """`n` × `n` points on [0, 1]²."""
        return cls.unit(n, 2, layout)

    @classmethod
    def unit_cube(cls, n: SupportsIndex, layout: Layout = "nodes") -> "Grid":
        """`n` × `n` × `n` points on [0, 1]³."""
        return cls.unit(n, 3, layout)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def space_axes(self) -> int:
        return len(self.shape)

    @property
    def arrays(self) -> tuple[str, ...]:
        """Empty: a grid computes its points without a sample."""
        return ()

    @property
    def fixed(self) -> bool:
        """True: every sample has the same points."""
        return True

    @property
    def periodic(self) -> tuple[bool, ...]:
        return tuple(layout == "periodic" for layout in self.layouts)

    @property
    def names(self) -> tuple[str, ...]:
        return self.box.names

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance of neighbouring points along every axis."""
        return tuple(
            length / (n - 1 if layout == "nodes" else n)
            for length, n, layout in zip(self.box.extent, self.shape, self.layouts, strict=True)
        )

    @property
    def coordinates(self) -> tuple[np.ndarray, ...]:
        """One float64 array `(n,)` per axis: the coordinates of the points along it."""
        shift = {"nodes": 0.0, "cells": 0.5, "periodic": 0.0}
        return tuple(
            axis.start + h * (np.arange(n) + shift[layout])
            for axis, n, h, layout in zip(self.box.axes, self.shape, self.spacing, self.layouts, strict=True)
        )

    @property
    def points(self) -> Float[np.ndarray, "*space d"]:
        """Coordinates of every grid point, float64 `(*shape, ndim)`."""
        return np.stack(np.meshgrid(*self.coordinates, indexing="ij"), axis=-1)

    @property
    def weights(self) -> Float[np.ndarray, "*space"]:
        """Quadrature weights, float64 `(*shape)`: the trapezoidal rule on "nodes", equal weights on the other layouts. Their sum
        is the volume of the box."""
        return self._products(self.spacing)

    def _shares(self) -> Float[np.ndarray, "*space"]:
        """`weights` as shares of the volume."""
        return self._products(tuple(h / length for h, length in zip(self.spacing, self.box.extent, strict=True)))

    def _products(self, steps: tuple[float, ...]) -> Float[np.ndarray, "*space"]:
        weights = np.ones(())
        for n, h, layout in zip(self.shape, steps, self.layouts, strict=True):
            w = np.full(n, h)
            if layout == "nodes":
                w[[0, -1]] = h / 2
            weights = weights[..., None] * w
        return weights

    @property
    def mask(self) -> Bool[np.ndarray, "*space"]:
        """True at every point: a uniform grid on a box has no missing points."""
        return np.ones(self.shape, bool)

    def subsample(self, stride: SupportsIndex | Sequence[SupportsIndex]) -> "Grid":
        """The grid of every `stride`-th point, on the same box. `stride` is one number, or one per axis.

        **Raises:** `ValueError` if the coarse points would not be a grid of the same layout on the same box. `stride` must divide
        n−1 on "nodes" (421 points nest 211, 141 and 85) and n on "periodic" axes. "cells" cannot be subsampled: the centres of
        coarse cells are no centres of fine cells.
        """
        strides = per_axis(stride, self.ndim, "subsample")
        if len(strides) != self.ndim:
            raise ValueError(f"subsample by {strides}: expected one stride or one for each of the axes {self.names}")
        shape = []
        for axis, n, layout, step in zip(self.box.axes, self.shape, self.layouts, strides, strict=True):
            intervals = n - 1 if layout == "nodes" else n
            if step != 1 and (layout == "cells" or step < 1 or intervals % step):
                divisors = [d for d in range(2, min(intervals, 33)) if intervals % d == 0] if layout != "cells" else []
                raise ValueError(
                    f"axis {axis.name!r} with {n} points ({layout}) cannot be subsampled by {step}: the coarse points "
                    f"would not be grid points of the same box; possible strides: {divisors or 'none'}"
                )
            shape.append(intervals // step + (layout == "nodes"))
        return replace(self, shape=tuple(shape))

    def refine(self, factor: SupportsIndex) -> "Grid":
        """The finer grid whose every `factor`-th point is a point of this grid.

        **Raises:** `ValueError` on "cells", where no such grid exists, and for a factor below 1.
        """
        factor = count("refine", "factor", factor)
        fine = replace(
            self,
            shape=tuple(
                (n - 1) * factor + 1 if lay == "nodes" else n * factor
                for n, lay in zip(self.shape, self.layouts, strict=True)
            ),
        )
        fine.subsample(factor)
        return fine

    def layout(self, name: str = "") -> "Grid":
        """The grid itself, which is static."""
        return self

    def stored(self, name: str, samples: int) -> dict[str, np.ndarray]:
        """Empty: a dataset on a grid stores no arrays of points."""
        return {}

    def example(self, samples: int, key: Array) -> "Grid":
        """The grid itself."""
        return self

    def sites(self, sample: Mapping[str, Any] | None = None) -> Sites:
        """All points of the grid and their weights; the sample is not read.

        On a box whose volume is below 1e-30 or above 1e30 the weights sum to 1, because consumers compute in float32, where such
        a volume or its squares do not exist.
        """
        volume = math.prod(self.box.extent)
        return Sites(self.points, self.weights if 1e-30 < volume < 1e30 else self._shares())

    def scaled(self, points):
        """Coordinates `(…, d)` scaled to [0, 1] per axis of the box."""
        return (points - np.array(self.box.lower)) / np.array(self.box.extent)

    def outside(self, points) -> Bool[np.ndarray, "*batch"]:
        """Which of the points `(…, d)` lie outside of the box by more than rounding, along an axis that is not periodic."""
        shares = self.scaled(np.asarray(points, np.float64))[..., ~np.array(self.periodic)]
        return np.any(abs(shares - 0.5) > 0.5 + 1e-6, axis=-1)

    def at_shape(self, shape: tuple[int, ...]) -> "Grid":
        """The grid with another number of points per axis, on the same box with the same layouts."""
        return self if shape == self.shape else replace(self, shape=tuple(shape))

    def as_grid(self, purpose: str) -> "Grid":
        """The grid itself."""
        return self

    def matches(self, other: AbstractDomain) -> bool:
        """Whether `other` is a grid with this box and these layouts, at any resolution."""
        return isinstance(other, Grid) and (other.box, other.layouts) == (self.box, self.layouts)

    def over_time(self, frames: int, dt: float) -> "Grid":
        """The grid of time and space: this grid with a first axis `t` of `frames` nodes from 0 on, `dt` apart.

        **Raises:** `ValueError` for fewer than two frames.
        """
        if frames < 2:
            raise ValueError(f"a space-time grid needs two frames or more, got {frames}")
        box = Box((Axis("t", 0.0, (frames - 1) * dt, None), *self.box.axes))
        return Grid(box, (frames, *self.shape), ("nodes", *self.layouts))

    def __repr__(self) -> str:
        axes = ", ".join(
            f"{a.name}∈[{a.start:g}, {a.stop:g}] {n} {lay}"
            for a, n, lay in zip(self.box.axes, self.shape, self.layouts, strict=True)
        )
        return f"Grid({axes})"


def per_axis(value: Any, ndim: int, what: str) -> tuple[int, ...]:
    """Whole numbers as a tuple of `int`: those of a sequence, or one number for each of `ndim` axes.

    **Raises:** `TypeError` for anything else, such as 2.0 or "64".
    """
    one = isinstance(value, str) or not isinstance(value, Sequence | np.ndarray | Array) or np.ndim(value) == 0
    given: Any = [value] if one else list(value)
    try:
        found = tuple(map(operator.index, given))
    except TypeError:
        found = None
    if found is None or isinstance(value, bool):
        raise TypeError(f"{what}: got {value!r}, expected a whole number for all axes or a tuple with one per axis")
    return found * ndim if one else found


def _axis(name: str, spec: Any) -> Axis:
    if not (isinstance(spec, tuple | list) and 2 <= len(spec) <= 3):
        raise ValueError(f"axis {name!r}: expected (start, stop) or (start, stop, boundary), got {spec!r}")
    try:
        if any(isinstance(end, bool) for end in spec[:2]):
            raise TypeError
        start, stop = float(spec[0]), float(spec[1])
    except (TypeError, ValueError):
        raise ValueError(f"axis {name!r}: its ends are {spec[0]!r} and {spec[1]!r}, expected two numbers") from None
    return Axis(name, start, stop, spec[2] if len(spec) == 3 else (None if name == "t" else "dirichlet"))


def _names(ndim: int) -> tuple[str, ...]:
    if not 1 <= ndim <= 3:
        raise ValueError(f"a unit box has 1 to 3 axes, got {ndim}")
    return ("x", "y", "z")[:ndim]
