"""Where fields are given: boxes with boundary conditions, uniform grids on them, and point clouds.

A `Box` and a `Grid` are hashable and hold no arrays, so that a compiled function can close over them and a pytree can have them
in its structure. A `PointCloud` holds arrays, which can be traced and batched.
"""

from dataclasses import dataclass, replace
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .storage import register

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

    `boundary=None` stands for an axis without boundary condition (time).
    """

    name: str
    start: float
    stop: float
    boundary: Boundary | None = "dirichlet"

    def __post_init__(self):
        if not self.stop > self.start:
            raise ValueError(
                f"axis {self.name!r} is empty: [{self.start}, {self.stop}]; stop must be larger than start"
            )
        if self.boundary not in _LAYOUT_OF:
            raise ValueError(f"axis {self.name!r}: unknown boundary {self.boundary!r}; use one of {list(_LAYOUT_OF)}")

    @property
    def length(self) -> float:
        return self.stop - self.start


@register("Box")
@dataclass(frozen=True, init=False)
class Box:
    """A product of intervals with a boundary condition per axis.

    `Box(x=(0, 1), y=(0, 2, "neumann"), t=(0, 5))`: spatial axes default to "dirichlet", the axis named `t` to none.
    """

    axes: tuple[Axis, ...]

    def __init__(self, axes: tuple[Axis, ...] = (), **named: tuple):
        built = []
        for name, spec in named.items():
            if not 2 <= len(spec) <= 3:
                raise ValueError(f"axis {name!r}: expected (start, stop) or (start, stop, boundary), got {spec!r}")
            boundary = spec[2] if len(spec) == 3 else (None if name == "t" else "dirichlet")
            built.append(Axis(name, float(spec[0]), float(spec[1]), boundary))
        object.__setattr__(self, "axes", tuple(axes) + tuple(built))
        if not self.axes:
            raise ValueError("a Box needs at least one axis, for example Box(x=(0, 1))")

    @classmethod
    def unit(cls, ndim: int, boundary: Boundary = "dirichlet") -> "Box":
        """The unit interval, square or cube with one boundary condition on every side."""
        return cls(tuple(Axis(name, 0.0, 1.0, boundary) for name in _names(ndim)))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(axis.name for axis in self.axes)

    @property
    def boundaries(self) -> tuple[Boundary | None, ...]:
        return tuple(axis.boundary for axis in self.axes)

    @property
    def conditions(self) -> tuple[Boundary, ...]:
        """`boundaries` of a box without time axis."""
        found: tuple[Boundary, ...] = tuple(axis.boundary for axis in self.axes if axis.boundary is not None)
        if len(found) < len(self.axes):
            raise ValueError(f"axes {self.names} with boundaries {self.boundaries}: one has no boundary condition")
        return found

    @property
    def lower(self) -> tuple[float, ...]:
        return tuple(axis.start for axis in self.axes)

    @property
    def extent(self) -> tuple[float, ...]:
        return tuple(axis.length for axis in self.axes)

    def grid(self, shape: int | tuple[int, ...]) -> "Grid":
        """The grid that suits the boundary conditions: Dirichlet and time axes get nodes including both ends, Neumann
        axes cell centres, periodic axes nodes without the right end."""
        shape = (shape,) * len(self.axes) if isinstance(shape, int) else tuple(shape)
        return Grid(self, shape, tuple(_LAYOUT_OF[b] for b in self.boundaries))


@register("Grid")
@dataclass(frozen=True)
class Grid:
    """A uniform grid on a `Box`.

    `layouts` per axis: "nodes" has n points with both ends, spacing L/(n-1); "cells" the n cell centres, spacing L/n;
    "periodic" n nodes without the right end, spacing L/n.
    """

    box: Box
    shape: tuple[int, ...]
    layouts: tuple[Layout, ...]

    def __post_init__(self):
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
    def unit(cls, shape: int | tuple[int, ...], ndim: int | None = None, layout: Layout = "nodes") -> "Grid":
        """A grid on the unit interval, square or cube; `layout` holds for every axis."""
        if isinstance(shape, int):
            shape = (shape,) * (1 if ndim is None else ndim)
        return cls(Box.unit(len(shape), _BOUNDARY_OF[layout]), tuple(shape), (layout,) * len(shape))

    @classmethod
    def unit_interval(cls, n: int, layout: Layout = "nodes") -> "Grid":
        return cls.unit(n, 1, layout)

    @classmethod
    def unit_square(cls, n: int, layout: Layout = "nodes") -> "Grid":
        return cls.unit(n, 2, layout)

    @classmethod
    def unit_cube(cls, n: int, layout: Layout = "nodes") -> "Grid":
        return cls.unit(n, 3, layout)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        return self.box.names

    @property
    def spacing(self) -> tuple[float, ...]:
        return tuple(
            length / (n - 1 if layout == "nodes" else n)
            for length, n, layout in zip(self.box.extent, self.shape, self.layouts, strict=True)
        )

    @property
    def coordinates(self) -> tuple[np.ndarray, ...]:
        """Per axis the coordinates of its points, float64 `(n,)`."""
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
        """Quadrature weights `(*shape)`, float64: trapezoidal rule on nodes, midpoint rule elsewhere; they sum to the
        volume of the box."""
        weights = np.ones(())
        for n, h, layout in zip(self.shape, self.spacing, self.layouts, strict=True):
            w = np.full(n, h)
            if layout == "nodes":
                w[[0, -1]] = h / 2
            weights = weights[..., None] * w
        return weights

    @property
    def mask(self) -> Bool[np.ndarray, "*space"]:
        """True at every point: a uniform grid on a box has no missing points."""
        return np.ones(self.shape, bool)

    def subsample(self, stride: int | tuple[int, ...]) -> "Grid":
        """Every `stride`-th point. Raises if the coarse grid would not be nested: nodes need `stride` to divide n-1
        (421 nests 211, 141, 85), periodic axes n; cell centres of a coarser grid are no subset of the finer ones."""
        strides = (stride,) * self.ndim if isinstance(stride, int) else tuple(stride)
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

    def refine(self, factor: int) -> "Grid":
        """The grid of which this one is every `factor`-th point; nodes and periodic axes only."""
        fine = replace(
            self,
            shape=tuple(
                (n - 1) * factor + 1 if lay == "nodes" else n * factor
                for n, lay in zip(self.shape, self.layouts, strict=True)
            ),
        )
        fine.subsample(factor)
        return fine

    def __repr__(self) -> str:
        axes = ", ".join(
            f"{a.name}∈[{a.start:g}, {a.stop:g}] {n} {lay}"
            for a, n, lay in zip(self.box.axes, self.shape, self.layouts, strict=True)
        )
        return f"Grid({axes})"


@register("PointCloud")
class PointCloud(eqx.Module):
    """Scattered points with quadrature weights, padded to a common number so that clouds of different size batch.

    **Arguments:**

    - `points`: coordinates `(n, d)`.
    - `weights`: quadrature weights `(n,)`; by default 1/(number of valid points), so that they sum to one.
    - `mask`: True where a point is real, `(n,)`; padded points carry weight zero and are ignored by losses and metrics.
    """

    points: Float[Array, "*batch n d"]
    weights: Float[Array, "*batch n"]
    mask: Bool[Array, "*batch n"]

    def __init__(self, points, weights=None, mask=None):
        self.points = jnp.asarray(points)
        self.mask = jnp.ones(self.points.shape[:-1], bool) if mask is None else jnp.asarray(mask, bool)
        if weights is None:
            weights = self.mask / jnp.maximum(self.mask.sum(-1, keepdims=True), 1)
        self.weights = jnp.where(self.mask, jnp.asarray(weights, self.points.dtype), 0)

    @property
    def ndim(self) -> int:
        return self.points.shape[-1]

    @classmethod
    def stack(cls, clouds: "list[PointCloud]") -> "PointCloud":
        """Clouds of different size as one batched cloud, padded to the largest."""
        n = max(c.points.shape[0] for c in clouds)

        def pad(x):
            return jnp.pad(x, [(0, n - x.shape[0])] + [(0, 0)] * (x.ndim - 1))

        return cls(*(jnp.stack([pad(getattr(c, f)) for c in clouds]) for f in ("points", "weights", "mask")))


def _names(ndim: int) -> tuple[str, ...]:
    if not 1 <= ndim <= 3:
        raise ValueError(f"a unit box has 1 to 3 axes, got {ndim}")
    return ("x", "y", "z")[:ndim]
