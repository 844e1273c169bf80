"""`AbstractDomain`: the points at which a field has values, and all that the rest of the library may ask about them."""

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Int, Shaped

if TYPE_CHECKING:
    from .grid import Grid


class Edges(eqx.Module):
    """Directed edges between two sets of sites, padded to a fixed number.

    **Fields:**

    - `index` `(e, 2)`: number of the sending site and number of the receiving site of every edge.
    - `mask` `(e,)`: True at real edges. A padded edge joins site 0 with itself.
    - `ends`: names of the domains to which the senders and the receivers belong. `("", "")` means that both belong to the main
      domain.
    """

    index: Int[Array, "*batch e 2"]
    mask: Bool[Array, "*batch e"]
    ends: tuple[str, str] = eqx.field(static=True, default=("", ""))


class Sites(eqx.Module):
    """The points of one sample. `*space` is one axis per coordinate on a grid, and a single axis on clouds and meshes.

    **Fields:**

    - `points` `(*space, d)`: coordinates.
    - `weights` `(*space)`: quadrature weights, zero at padded points.
    - `mask` `(*space)`: True at real points, False at padded ones; None if all points are real.
    - `edges`: sets of edges between the points; empty on grids and clouds.
    """

    points: Shaped[Any, "*space d"]
    weights: Shaped[Any, "*space"]
    mask: Bool[Array, "*space"] | None = None
    edges: tuple[Edges, ...] = ()


class AbstractDomain(abc.ABC):
    """The points at which a field has values. Code that uses a domain calls these methods instead of asking for its kind.

    There are two forms:

    - Static domains are hashable and hold no arrays: `Grid`, `PointCloudLayout`, `MeshLayout`. Datasets and tasks hold these. A
      `Grid` computes its points. A layout describes clouds or meshes that differ from sample to sample; it names the `arrays`
      of a sample in which points, weights, mask and edges are stored.
    - `PointCloud` and `Mesh` hold the arrays of points themselves.

    **Fields:** `ndim`, the number of coordinates of a point; `shape`, the number of points along every space axis, padding
    included.

    **Example:**

        >>> issubclass(sx.Grid, sx.AbstractDomain)
        True
    """

    ndim: int
    shape: tuple[int, ...]

    @property
    @abc.abstractmethod
    def space_axes(self) -> int:
        """Number of space axes of a field's array: `ndim` on a grid, 1 on a cloud or mesh."""

    @property
    @abc.abstractmethod
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays of a sample that `sites` reads; empty if `sites` needs no sample."""

    @property
    @abc.abstractmethod
    def fixed(self) -> bool:
        """Whether every sample has the same points. Fields can then be averaged over samples point by point."""

    @property
    @abc.abstractmethod
    def periodic(self) -> tuple[bool, ...]:
        """Whether the domain repeats along each coordinate. Where it does, `scaled` coordinates have the period 1."""

    @abc.abstractmethod
    def sites(self, sample: Mapping[str, Any] | None = None) -> Sites:
        """Points (in physical coordinates), quadrature weights, mask and edges of one sample.

        **Raises:** `ValueError` if the sample lacks one of `arrays`.
        """

    @abc.abstractmethod
    def scaled(self, points) -> Any:
        """Coordinates as networks see them, from physical ones `(…, d)`: scaled to [0, 1] along every axis of a box; unchanged on
        clouds and meshes, which have no box."""

    @abc.abstractmethod
    def outside(self, points) -> Bool[np.ndarray, "*batch"]:
        """Which of the points `(…, d)`, in physical coordinates, lie outside of the box along an axis that is not periodic. None
        do on clouds and meshes, which have no box."""

    @abc.abstractmethod
    def at_shape(self, shape: tuple[int, ...]) -> "AbstractDomain":
        """This domain with `shape` points per space axis: another resolution of a grid. Clouds and meshes return themselves."""

    @abc.abstractmethod
    def as_grid(self, purpose: str) -> "Grid":
        """This domain, if it is a uniform grid.

        **Raises:** `ValueError` otherwise; the message says that `purpose` needs a uniform grid.
        """

    @abc.abstractmethod
    def matches(self, other: "AbstractDomain") -> bool:
        """Whether a model fitted on this domain can read fields on `other`. The number of points may differ."""

    @abc.abstractmethod
    def layout(self, name: str = "") -> "AbstractDomain":
        """The static form of this domain. `name` is the domain's name in a dataset and prefixes the names of its `arrays`."""

    @abc.abstractmethod
    def stored(self, name: str, samples: int) -> dict[str, np.ndarray]:
        """The arrays that describe the points, by name, with a leading axis of `samples`; none for a grid.

        **Raises:** `TypeError` for a layout, which holds no points.
        """

    @abc.abstractmethod
    def example(self, samples: int, key: Array) -> "AbstractDomain":
        """Points for `samples` synthetic samples: random clouds or meshes from a layout; every other domain returns itself."""

    @abc.abstractmethod
    def over_time(self, frames: int, dt: float) -> "AbstractDomain":
        """The space-time domain of `frames` instants, `dt` apart. Time is its first space axis and its first coordinate."""
