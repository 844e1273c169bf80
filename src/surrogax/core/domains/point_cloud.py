"""Scattered points: `PointCloud` holds the arrays, `PointCloudLayout` is the static form for datasets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from ..storage import register
from .domain import AbstractDomain, Sites


@register("PointCloud")
class PointCloud(eqx.Module, AbstractDomain):
    """Scattered points with quadrature weights. Clouds of different size are padded to form a batch.

    **Arguments:**

    - `points` `(n, d)`: coordinates.
    - `weights` `(n,)`: quadrature weights; by default 1/(number of real points), so that they sum to one.
    - `mask` `(n,)`: True at real points, False at padded ones; by default all are real. Padded points get weight zero, and
      losses and metrics ignore them.

    A batch of clouds has a leading axis on every array; `PointCloud.stack` pads and stacks clouds. Whole numbers become floats.

    **Raises:** `ValueError` for points without the axes `(n, d)`, for weights or a mask of another shape, for negative weights,
    and for points or weights that are not finite where the mask is True; `TypeError` for points that are no real numbers.

    **Example:**

        >>> cloud = sx.PointCloud(np.array([[0.0, 0], [1, 0], [0, 1]]))
        >>> cloud.shape, round(float(cloud.weights.sum()), 6)
        ((3,), 1.0)
    """

    points: Float[Array, "*batch n d"]
    weights: Float[Array, "*batch n"]
    mask: Bool[Array, "*batch n"]

    def __init__(self, points, weights=None, mask=None):
        self.points, self.weights, self.mask = checked_points(points, weights, mask, "PointCloud")

    def __check_init__(self):
        check_points(self.points, self.weights, self.mask, "PointCloud")

    @classmethod
    def stack(cls, clouds: "list[PointCloud]") -> "PointCloud":
        """Clouds of different size as one batch, padded to the largest number of points.

        **Raises:** `ValueError` for an empty list and for clouds of different dimension.
        """
        check_alike(clouds, cls, "PointCloud.stack")
        n = max(c.points.shape[0] for c in clouds)
        points, weights, mask = (
            jnp.stack([padded(array, n) for array in arrays])
            for arrays in zip(*((c.points, c.weights, c.mask) for c in clouds), strict=True)
        )
        return cls(points, weights, mask)

    def layout(self, name: str = "") -> "PointCloudLayout":
        """The layout of clouds of this size, whose arrays a sample stores as `name.points`, `name.weights` and `name.mask`
        (without a name as `points`, `weights` and `mask`)."""
        return PointCloudLayout(self.points.shape[-1], self.points.shape[-2], name)

    def stored(self, name: str, samples: int) -> dict[str, np.ndarray]:
        """The arrays by name, with a leading sample axis. A single cloud is repeated for all `samples`."""
        arrays = (self.points, self.weights, self.mask)
        return {
            key: repeated(np.asarray(x), samples if self.points.ndim == 2 else None)
            for key, x in zip(self.layout(name).arrays, arrays, strict=True)
        }

    def example(self, samples: int, key: Array) -> "PointCloud":
        """The cloud itself."""
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
        return Sites(self.points, self.weights, self.mask)

    def scaled(self, points):
        """The coordinates as they are: a cloud knows no box."""
        return points

    def outside(self, points) -> Bool[np.ndarray, "*batch"]:
        return np.zeros(points.shape[:-1], bool)

    def at_shape(self, shape: tuple[int, ...]) -> "PointCloud":
        return self

    def as_grid(self, purpose: str) -> NoReturn:
        no_grid(purpose)

    def matches(self, other: AbstractDomain) -> bool:
        return self.layout().matches(other)

    def over_time(self, frames: int, dt: float) -> "OverTime":
        return OverTime(self, frames, dt)


@register("PointCloudLayout")
@dataclass(frozen=True)
class PointCloudLayout(AbstractDomain):
    """Clouds that differ from sample to sample. Each sample stores its cloud in the arrays `points`, `weights` and `mask`, or
    `name.points`, … if the layout has a name.

    **Fields:** `ndim`, coordinates per point; `capacity`, the number of points that all arrays are padded to; `name`, the name
    of the domain in its dataset.
    """

    ndim: int
    capacity: int
    name: str = ""

    def layout(self, name: str = "") -> "PointCloudLayout":
        return replace(self, name=name)

    def stored(self, name: str, samples: int) -> NoReturn:
        raise TypeError(f"{self!r} is a layout and holds no points; pass a PointCloud")

    def example(self, samples: int, key: Array) -> PointCloud:
        points = jax.random.uniform(key, (samples, self.capacity, self.ndim))
        return PointCloud(points, mask=example_mask(samples, self.capacity))

    @property
    def space_axes(self) -> int:
        return 1

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.capacity,)

    @property
    def arrays(self) -> tuple[str, ...]:
        return named(self.name, "points", "weights", "mask")

    @property
    def fixed(self) -> bool:
        return False

    @property
    def periodic(self) -> tuple[bool, ...]:
        return (False,) * self.ndim

    def sites(self, sample: Mapping[str, Any] | None = None) -> Sites:
        points, weights, mask = stored_in(sample, self.arrays)
        return Sites(points, weights, mask)

    def scaled(self, points):
        """The coordinates as they are: a cloud knows no box."""
        return points

    def outside(self, points) -> Bool[np.ndarray, "*batch"]:
        return np.zeros(points.shape[:-1], bool)

    def at_shape(self, shape: tuple[int, ...]) -> "PointCloudLayout":
        return self

    def as_grid(self, purpose: str) -> NoReturn:
        no_grid(purpose)

    def matches(self, other: AbstractDomain) -> bool:
        """Whether `other` is a cloud layout with the same dimension and name; sizes may differ."""
        return isinstance(other, PointCloudLayout) and (other.ndim, other.name) == (self.ndim, self.name)

    def over_time(self, frames: int, dt: float) -> "OverTime":
        return OverTime(self, frames, dt)

    def __repr__(self) -> str:
        return f"point clouds{f' {self.name!r}' if self.name else ''} in {self.ndim}D, up to {self.capacity} points"


@register("OverTime")
@dataclass(frozen=True)
class OverTime(AbstractDomain):
    """The points of a cloud or mesh at several instants. Fields are `(frames, n)`, coordinates are `(t, x, …)`.

    `scaled` maps t to [0, 1] and leaves the coordinates of space as `space.scaled` does. Edges are those of `space`.

    **Fields:** `space`, the points of every instant; `frames`, the number of instants; `dt`, their distance.
    """

    space: AbstractDomain
    frames: int
    dt: float

    def layout(self, name: str = "") -> "OverTime":
        return replace(self, space=self.space.layout(name))

    def stored(self, name: str, samples: int) -> dict[str, np.ndarray]:
        return self.space.stored(name, samples)

    def example(self, samples: int, key: Array) -> AbstractDomain:
        return OverTime(self.space.example(samples, key), self.frames, self.dt)

    @property
    def ndim(self) -> int:
        return 1 + self.space.ndim

    @property
    def space_axes(self) -> int:
        return 1 + self.space.space_axes

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.frames, *self.space.shape)

    @property
    def arrays(self) -> tuple[str, ...]:
        return self.space.arrays

    @property
    def fixed(self) -> bool:
        return self.space.fixed

    @property
    def periodic(self) -> tuple[bool, ...]:
        return (False, *self.space.periodic)

    def sites(self, sample: Mapping[str, Any] | None = None) -> Sites:
        space = self.space.sites(sample)
        t = np.linspace(0, (self.frames - 1) * self.dt, self.frames)
        t = jnp.broadcast_to(
            jnp.asarray(t, space.points.dtype)[(..., *(None,) * space.points.ndim)],
            (self.frames, *space.points.shape[:-1], 1),
        )
        points = jnp.concatenate([t, jnp.broadcast_to(space.points, (self.frames, *space.points.shape))], -1)
        weights = jnp.broadcast_to(space.weights, (self.frames, *space.weights.shape))
        mask = None if space.mask is None else jnp.broadcast_to(space.mask, weights.shape)
        return Sites(points, weights, mask, space.edges)

    def scaled(self, points):
        t = points[..., :1] / max((self.frames - 1) * self.dt, self.dt)
        return jnp.concatenate([t, self.space.scaled(points[..., 1:])], -1)

    def outside(self, points) -> Bool[np.ndarray, "*batch"]:
        return self.space.outside(points[..., 1:])

    def at_shape(self, shape: tuple[int, ...]) -> "OverTime":
        return OverTime(self.space.at_shape(shape[1:]), shape[0], self.dt)

    def as_grid(self, purpose: str):
        return self.space.as_grid(purpose).over_time(self.frames, self.dt)

    def matches(self, other: AbstractDomain) -> bool:
        return isinstance(other, OverTime) and self.space.matches(other.space)

    def over_time(self, frames: int, dt: float) -> NoReturn:
        raise ValueError(f"{self} has a time axis already")


def checked_points(points, weights, mask, what: str) -> tuple[Array, Array, Array]:
    """Points, weights and mask as JAX arrays that fit together, with the defaults of `PointCloud`."""
    given, points = points, real_array(points, f"{what}: points")
    _check_rounding(given, points, what)
    mask = jnp.ones(points.shape[:-1], bool) if mask is None else jnp.asarray(mask, bool)
    _check_shape("mask", mask, points, what)
    weights = mask / jnp.maximum(mask.sum(-1, keepdims=True), 1) if weights is None else weights
    weights = real_array(weights, f"{what}: weights").astype(points.dtype)
    _check_shape("weights", weights, points, what)
    return jnp.where(mask[..., None] | jnp.isfinite(points), points, 0), jnp.where(mask, weights, 0), mask


def check_points(points, weights, mask, what: str) -> None:
    """Refuse points and weights whose values have no meaning. Values that JAX is tracing are not looked at."""
    _check_shape("mask", mask, points, what)
    _check_shape("weights", weights, points, what)
    if not isinstance(points, Tracer) and (bad := int((~np.isfinite(points)).any(-1).sum())):
        raise ValueError(f"{what}: {bad} points are not finite; leave them out or mask them (mask=…)")
    if not isinstance(weights, Tracer) and (bad := int((~(np.asarray(weights) >= 0) | np.isinf(weights)).sum())):
        raise ValueError(
            f"{what}: {bad} weights are negative or not finite; they are volumes, so give finite values ≥ 0"
        )


def _check_rounding(given, points, what: str) -> None:
    """Refuse float64 coordinates of which float32 keeps too little, such as metres of a map."""
    if not isinstance(given, np.ndarray) or given.dtype != np.float64 or points.dtype == given.dtype or points.ndim < 2:
        return
    finite = np.isfinite(given).all(-1)
    if not finite.any():
        return
    extent = np.ptp(given[finite], axis=0).max(initial=0)
    lost = np.abs(given[finite] - np.asarray(points)[finite]).max(initial=0)
    if lost > 1e-3 * extent > 0:
        raise ValueError(
            f"{what}: {points.dtype} rounds the points by up to {lost:.1e}, of an extent of {extent:.1e}; subtract an origin "
            "that all samples share, for example points - points.mean(0)"
        )


def _check_shape(name: str, array, points, what: str) -> None:
    if points.ndim < 2:
        raise ValueError(
            f"{what}: points have shape {points.shape}, expected (n, d), a row per point; on a line give points[:, None]"
        )
    if array.shape != points.shape[:-1]:
        raise ValueError(f"{what}: {name} of shape {array.shape}, expected {points.shape[:-1]}, one per point")


def check_alike(domains: Any, cls: type, what: str) -> None:
    """Refuse what is no list of clouds or meshes, of the class `cls`, and an empty one or one of different dimensions."""
    if not isinstance(domains, list | tuple) or not all(isinstance(domain, cls) for domain in domains):
        raise TypeError(f"{what}: got {domains!r:.60}, expected a list of {cls.__name__}")
    dimensions = {domain.ndim for domain in domains}
    if len(dimensions) != 1:
        raise ValueError(
            f"{what}: got {len(domains)} of dimensions {sorted(dimensions)}; expected one or more of one dimension"
        )


def real_array(values, what: str) -> Array:
    """A JAX array of floating-point numbers. **Raises:** `TypeError` for complex numbers, strings and objects."""
    try:
        traced = any(isinstance(leaf, Array) for leaf in jax.tree.leaves(values))
        array = jnp.asarray(values) if traced else np.asarray(values)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} are {values!r:.80}, expected an array of real numbers") from error
    if jnp.issubdtype(array.dtype, jnp.floating):
        return jnp.asarray(array)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{what} are of dtype {array.dtype}, expected real numbers")
    return jnp.asarray(array, jnp.result_type(float))


def named(name: str, *arrays: str) -> tuple[str, ...]:
    """Names in a sample of the `arrays` of the domain `name`: `name.array`, or `array` for the main domain ""."""
    return tuple(f"{name}.{array}" if name else array for array in arrays)


def stored_in(sample: Mapping[str, Any] | None, names: tuple[str, ...]) -> list[Any]:
    """The arrays of a sample with these names.

    **Raises:** `ValueError` naming the first array that the sample lacks.
    """
    missing = [name for name in names if sample is None or name not in sample]
    if sample is None or missing:
        raise ValueError(f"the sample holds no array {missing[0]!r}, which its points need")
    return [jnp.asarray(sample[name]) for name in names]


def repeated(array: np.ndarray, samples: int | None) -> np.ndarray:
    """The array repeated along a new first axis of `samples`, without copying it; unchanged if `samples` is None."""
    return array if samples is None else np.broadcast_to(array, (samples, *array.shape))


def example_mask(samples: int, capacity: int) -> Bool[Array, "samples capacity"]:
    """A mask for synthetic samples: the first points of every sample are real. Their number differs from sample to sample and
    is at least about five sixths of the capacity."""
    sizes = capacity - jnp.arange(samples) % max(1 + capacity // 6, 1)
    return jnp.arange(capacity) < sizes[:, None]


def padded(array, n: int):
    """The array padded with zeros (False) to length `n` along its first axis."""
    return jnp.pad(array, [(0, n - array.shape[0])] + [(0, 0)] * (array.ndim - 1))


def no_grid(purpose: str) -> NoReturn:
    """Raise the `ValueError` of `as_grid` on a domain that is no grid."""
    raise ValueError(f"{purpose} needs a uniform grid; these data live on point clouds or meshes")
