"""What a domain is: where the values of a field live, and what every consumer may ask of it."""

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

    - `index` `(e, 2)`: numbers of the sender and of the receiver.
    - `mask` `(e,)`: True at real edges; padded ones join site 0 with itself.
    - `ends`: names of the domains that senders and receivers belong to; `("", "")` joins the main domain with itself.
    """

    index: Int[Array, "*batch e 2"]
    mask: Bool[Array, "*batch e"]
    ends: tuple[str, str] = eqx.field(static=True, default=("", ""))


class Sites(eqx.Module):
    """The points of one sample.

    **Fields:**

    - `points` `(*space, d)`: coordinates.
    - `weights` `(*space)`: quadrature weights, zero at padded points.
    - `mask` `(*space)`: True at real points; None where all are.
    - `edges`: sets of edges between the points, none on grids and clouds.
    """

    points: Shaped[Any, "*space d"]
    weights: Shaped[Any, "*space"]
    mask: Bool[Array, "*space"] | None = None
    edges: tuple[Edges, ...] = ()


class AbstractDomain(abc.ABC):
    """Where the values of a field live. Nobody asks which kind of domain it is.

    `Grid`, `PointCloudLayout` and `MeshLayout` are static (hashable): datasets and tasks hold them. A grid is known
    without a sample. Of a cloud or a mesh that differs from sample to sample the layout names the `arrays` of a sample
    in which points, weights, mask and edges are found. `PointCloud` and `Mesh` hold those arrays themselves.

    **Fields:** `ndim`, the number of coordinates of a point; `shape`, the number of points along every space axis, padding
    included.
    """

    ndim: int
    shape: tuple[int, ...]

    @property
    @abc.abstractmethod
    def space_axes(self) -> int:
        """Number of array axes that the points take: one per coordinate on a grid, one on a cloud."""

    @property
    @abc.abstractmethod
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays of a sample that describe its points; empty where no sample is needed."""

    @property
    @abc.abstractmethod
    def fixed(self) -> bool:
        """Whether every sample has the same points, so that fields may be averaged point by point over samples."""

    @abc.abstractmethod
    def sites(self, sample: Mapping[str, Any] | None = None) -> Sites:
        """Points, quadrature weights, mask and edges of one sample, in physical coordinates."""

    @abc.abstractmethod
    def scaled(self, points):
        """Coordinates `(…, d)` as networks see them: scaled to [0, 1] per axis where a box is known."""

    @abc.abstractmethod
    def at_shape(self, shape: tuple[int, ...]) -> "AbstractDomain":
        """The domain of a field with so many points per space axis."""

    @abc.abstractmethod
    def as_grid(self, purpose: str) -> "Grid":
        """The uniform grid. **Raises:** `ValueError` that names the purpose where there is none."""

    @abc.abstractmethod
    def matches(self, other: "AbstractDomain") -> bool:
        """Whether fields on `other` mean the same as fields here, the resolution apart."""

    @abc.abstractmethod
    def layout(self, name: str = "") -> "AbstractDomain":
        """The static part, for points that a dataset holds under this name."""

    @abc.abstractmethod
    def stored(self, name: str, samples: int) -> dict[str, np.ndarray]:
        """The arrays of the points as a dataset of so many samples holds them; none for a grid.

        **Raises:** `TypeError` for a layout, which holds no points.
        """

    @abc.abstractmethod
    def example(self, samples: int, key: Array) -> "AbstractDomain":
        """Points of this form for so many samples: a grid itself, random clouds and meshes elsewhere."""

    @abc.abstractmethod
    def over_time(self, frames: int, dt: float) -> "AbstractDomain":
        """The domain of `frames` instants, `dt` apart: time is the first space axis and the first coordinate."""
