"""Unstructured meshes, points joined by edges: `Mesh` holds the arrays, `MeshLayout` is the static form for datasets."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from ..storage import register
from .domain import AbstractDomain, Edges, Sites
from .point_cloud import (
    OverTime,
    check_alike,
    check_points,
    checked_points,
    example_mask,
    named,
    no_grid,
    padded,
    real_array,
    repeated,
    stored_in,
)


@register("Mesh")
class Mesh(eqx.Module, AbstractDomain):
    """Points with quadrature weights and directed edges. Meshes of different size are padded to form a batch.

    **Arguments:**

    - `points` `(n, d)`, `weights` `(n,)`, `mask` `(n,)`: as in `PointCloud`.
    - `edges` `(e, 2)`: number of the sending point and number of the receiving point. List an edge in both directions if
      information should flow both ways.
    - `edge_mask` `(e,)`: True at real edges, False at padded ones; by default all are real.

    A batch of meshes has a leading axis on every array. `Mesh.from_cells` computes weights and edges from simplices,
    `Mesh.stack` pads and stacks meshes.

    **Raises:** `ValueError` as `PointCloud`, and for edges that are not `(e, 2)` or name points that do not exist; `TypeError`
    for edges that are not whole numbers.

    **Example:**

        >>> mesh = sx.Mesh.from_cells(np.array([[0.0, 0], [1, 0], [0, 1]]), np.array([[0, 1, 2]]))
        >>> mesh.edges.shape, round(float(mesh.weights.sum()), 6)
        ((6, 2), 0.5)
    """

    points: Float[Array, "*batch n d"]
    edges: Int[Array, "*batch e 2"]
    weights: Float[Array, "*batch n"]
    mask: Bool[Array, "*batch n"]
    edge_mask: Bool[Array, "*batch e"]

    def __init__(self, points, edges, weights=None, mask=None, edge_mask=None):
        self.points, self.weights, self.mask = checked_points(points, weights, mask, "Mesh")
        edges = edges if isinstance(edges, Array) else np.asarray(edges)
        if edges.size and not jnp.issubdtype(edges.dtype, jnp.integer):
            raise TypeError(f"Mesh: edges are of dtype {edges.dtype}, expected whole numbers, the numbers of points")
        self.edges = jnp.asarray(edges, int)
        self.edge_mask = jnp.ones(edges.shape[:-1], bool) if edge_mask is None else jnp.asarray(edge_mask, bool)

    def __check_init__(self):
        check_points(self.points, self.weights, self.mask, "Mesh")
        batch = self.points.shape[:-2]
        if self.edges.ndim < 2 or self.edges.shape[-1] != 2 or self.edges.shape[:-2] != batch:
            expected = ", ".join(map(str, (*batch, "e", 2)))
            raise ValueError(f"Mesh: edges have shape {self.edges.shape}, expected ({expected})")
        if self.edge_mask.shape != self.edges.shape[:-1]:
            raise ValueError(f"Mesh: edge_mask has shape {self.edge_mask.shape}, expected {self.edges.shape[:-1]}")
        if isinstance(self.edges, Tracer) or isinstance(self.edge_mask, Tracer):
            return
        real = np.asarray(self.edges)[np.asarray(self.edge_mask)]
        if real.size and not (real.min() >= 0 and real.max() < self.shape[0]):
            raise ValueError(f"Mesh: edges name points {real.min()} to {real.max()} of {self.shape[0]}")

    @classmethod
    def from_cells(cls, points: np.ndarray, cells: np.ndarray) -> "Mesh":
        """The mesh of simplices (intervals, triangles, tetrahedra).

        Every side of a cell becomes an edge in both directions. The weights are those of the vertex rule
        ∫f ≈ Σ_cells |cell| · (mean of f over the vertices of the cell), which is exact for linear f.

        **Arguments:** `points` `(n, d)`; `cells` `(m, d+1)`, the point numbers of the vertices of every cell.

        **Raises:** `ValueError` for cells of another shape or with point numbers outside 0 … n−1, and for volumes that leave the
        range of the points' floating-point type.
        """
        points, cells = np.asarray(points), np.asarray(cells)
        if points.ndim != 2:
            raise ValueError(f"Mesh.from_cells: points have shape {points.shape}, expected (n, d), one row per point")
        if cells.size and not np.issubdtype(cells.dtype, np.integer):
            raise TypeError(f"Mesh.from_cells: cells are of dtype {cells.dtype}, expected the numbers of points")
        dim = points.shape[-1]
        if cells.ndim != 2 or cells.shape[1] != dim + 1:
            raise ValueError(f"Mesh.from_cells: cells have shape {cells.shape}, expected (m, {dim + 1}) in {dim}D")
        if cells.size and not (cells.min() >= 0 and cells.max() < len(points)):
            raise ValueError(f"Mesh.from_cells: cells name points {cells.min()} to {cells.max()} of {len(points)}")
        sides = points.astype(np.float64)[cells[:, 1:]] - points[cells[:, :1]]
        volumes = np.abs(np.linalg.det(sides)) / math.factorial(dim)
        weights = np.bincount(cells.ravel(), np.repeat(volumes / (dim + 1), dim + 1), minlength=len(points))
        pairs = np.concatenate([cells[:, [i, j]] for i, j in itertools.permutations(range(dim + 1), 2)])
        range_ = jnp.finfo(real_array(points[:0], "Mesh.from_cells: points").dtype)
        if weights.max(initial=0) > range_.max or 0 < weights.max(initial=0) < range_.tiny:
            raise ValueError(
                f"Mesh.from_cells: cells of volume {volumes.max():.1e} leave the range of {range_.dtype}; rescale the points"
            )
        return cls(points, np.unique(pairs, axis=0), weights)

    @classmethod
    def stack(cls, meshes: "list[Mesh]") -> "Mesh":
        """Meshes of different size as one batch, padded to the largest numbers of points and edges.

        **Raises:** `ValueError` for an empty list and for meshes of different dimension.
        """
        check_alike(meshes, cls, "Mesh.stack")
        n, e = max(m.points.shape[0] for m in meshes), max(m.edges.shape[0] for m in meshes)
        return cls(
            jnp.stack([padded(m.points, n) for m in meshes]),
            jnp.stack([padded(m.edges, e) for m in meshes]),
            jnp.stack([padded(m.weights, n) for m in meshes]),
            jnp.stack([padded(m.mask, n) for m in meshes]),
            jnp.stack([padded(m.edge_mask, e) for m in meshes]),
        )

    def layout(self, name: str = "") -> "MeshLayout":
        """The layout of meshes of this size, whose arrays a sample stores as `name.points`, `name.edges`, … (without a name as
        `points`, `edges`, …)."""
        return MeshLayout(self.points.shape[-1], self.points.shape[-2], self.edges.shape[-2], name)

    def stored(self, name: str, samples: int) -> dict[str, np.ndarray]:
        """The arrays by name, with a leading sample axis. A single mesh is repeated for all `samples`."""
        arrays = (self.points, self.weights, self.mask, self.edges, self.edge_mask)
        return {
            key: repeated(np.asarray(x), samples if self.points.ndim == 2 else None)
            for key, x in zip(self.layout(name).arrays, arrays, strict=True)
        }

    def example(self, samples: int, key: Array) -> "Mesh":
        """The mesh itself."""
        return self

    @property
    def ndim(self) -> int:
        return self.points.shape[-1]

    @property
    def space_axes(self) -> int:
        return 1

    @property
    def shape(self) -> tuple[int, ...]:
        return self.points.shape[-2:-1]

    @property
    def arrays(self) -> tuple[str, ...]:
        return ()

    @property
    def fixed(self) -> bool:
        return True

    @property
    def periodic(self) -> tuple[bool, ...]:
        return (False,) * self.ndim

    def sites(self, sample: Mapping[str, Any] | None = None) -> Sites:
        return Sites(self.points, self.weights, self.mask, (Edges(self.edges, self.edge_mask),))

    def scaled(self, points):
        """The coordinates as they are: a mesh knows no box."""
        return points

    def outside(self, points) -> Bool[np.ndarray, "*batch"]:
        return np.zeros(points.shape[:-1], bool)

    def at_shape(self, shape: tuple[int, ...]) -> "Mesh":
        return self

    def as_grid(self, purpose: str) -> NoReturn:
        no_grid(purpose)

    def matches(self, other: AbstractDomain) -> bool:
        return self.layout().matches(other)

    def over_time(self, frames: int, dt: float) -> "OverTime":
        return OverTime(self, frames, dt)


@register("MeshLayout")
@dataclass(frozen=True)
class MeshLayout(AbstractDomain):
    """Meshes that differ from sample to sample. Each sample stores its mesh in the arrays `points`, `weights`, `mask`, `edges`
    and `edge_mask`, or `name.points`, … if the layout has a name.

    **Fields:** `ndim`, coordinates per point; `capacity` and `edge_capacity`, the numbers of points and edges that all arrays
    are padded to; `name`, the name of the domain in its dataset.
    """

    ndim: int
    capacity: int
    edge_capacity: int
    name: str = ""

    def layout(self, name: str = "") -> "MeshLayout":
        return replace(self, name=name)

    def stored(self, name: str, samples: int) -> NoReturn:
        raise TypeError(f"{self!r} is a layout and holds no points; pass a Mesh")

    def example(self, samples: int, key: Array) -> Mesh:
        k_points, k_edges = jax.random.split(key)
        points = jax.random.uniform(k_points, (samples, self.capacity, self.ndim))
        mask = example_mask(samples, self.capacity)
        edges = jax.random.randint(k_edges, (samples, self.edge_capacity, 2), 0, mask.sum(-1)[:, None, None])
        return Mesh(points, edges, mask=mask)

    @property
    def space_axes(self) -> int:
        return 1

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.capacity,)

    @property
    def arrays(self) -> tuple[str, ...]:
        return named(self.name, "points", "weights", "mask", "edges", "edge_mask")

    @property
    def fixed(self) -> bool:
        return False

    @property
    def periodic(self) -> tuple[bool, ...]:
        return (False,) * self.ndim

    def sites(self, sample: Mapping[str, Any] | None = None) -> Sites:
        points, weights, mask, edges, edge_mask = stored_in(sample, self.arrays)
        return Sites(points, weights, mask, (Edges(edges, edge_mask, (self.name, self.name)),))

    def scaled(self, points):
        """The coordinates as they are: a mesh knows no box."""
        return points

    def outside(self, points) -> Bool[np.ndarray, "*batch"]:
        return np.zeros(points.shape[:-1], bool)

    def at_shape(self, shape: tuple[int, ...]) -> "MeshLayout":
        return self

    def as_grid(self, purpose: str) -> NoReturn:
        no_grid(purpose)

    def matches(self, other: AbstractDomain) -> bool:
        """Whether `other` is a mesh layout with the same dimension and name; sizes may differ."""
        return isinstance(other, MeshLayout) and (other.ndim, other.name) == (self.ndim, self.name)

    def over_time(self, frames: int, dt: float) -> OverTime:
        return OverTime(self, frames, dt)

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"meshes{name} in {self.ndim}D, up to {self.capacity} points and {self.edge_capacity} edges"
