"""Laws of the inputs of a PDE: random fields on a grid and random numbers.

Each is a frozen dataclass with `sample(key, grid)`: an array `(*grid.shape)` for a field, `()` for a number. A field
depends on the key alone, not on the resolution (see `kernels.gaussian_field`).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float

from ..core.arguments import check_fields, count, number
from ..core.domains import Boundary, Grid
from ..core.storage import register
from .kernels import gaussian_field
from .kernels.differentiation import fourier_matrix
from .kernels.interpolate import apply_along_axes


class AbstractLaw(ABC):
    """How an input of a problem is drawn, and what others may rely on. Every law says as class attributes:

    - `is_field`: one value per grid point, or one number per sample.
    - `isotropic`: no direction is preferred, so that on a square a realisation is as likely as its reflections and the one
      with x and y exchanged. Data are only augmented by symmetries where all laws of a problem are isotropic.
    - `smooth`: realisations have no jumps, so that an equation may differentiate them. Numbers are smooth.

    A class that leaves one out raises `TypeError` when it is defined.

    **Example:**

        >>> isinstance(sx.random.Uniform(), sx.random.AbstractLaw)
        True
    """

    is_field: ClassVar[bool]
    isotropic: ClassVar[bool]
    smooth: ClassVar[bool]
    is_timed: ClassVar[bool]  # whether draws have a time axis; from the base class

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        declared = {name for base in cls.__mro__ for name in vars(base)}
        missing = [name for name in ("is_field", "isotropic", "smooth") if name not in declared]
        if missing and AbstractLaw not in cls.__bases__:
            raise TypeError(
                f"the law {cls.__name__} does not say {missing}: write, for example, `{missing[0]} = False`"
            )

    @abstractmethod
    def draw(self, key: jax.Array, grid: Grid, times: np.ndarray | None) -> Array:
        """One realisation, at `times` if the law is one of time-dependent fields."""


class Distribution(AbstractLaw):
    """The law of a field or number that does not depend on time: derive from it, declare what `AbstractLaw` lists, and write
    `sample`. As a frozen dataclass it is also part of a problem's recipe, so that generated data are cached.

    ```
    @dataclass(frozen=True)
    class Wave(Distribution):
        is_field, isotropic, smooth = True, False, True

        def sample(self, key, grid):
            return jnp.sin(2 * jnp.pi * (jax.random.uniform(key) + grid.points[..., 0]))
    ```

    **Example:**

        >>> sx.random.Uniform().is_field, sx.random.GaussianField().is_field
        (False, True)
    """

    is_timed = False

    @abstractmethod
    def sample(self, key: jax.Array, grid: Grid) -> Array:
        """One realisation, `(*grid.shape)` or `()`, from the key alone."""

    def draw(self, key: jax.Array, grid: Grid, times: np.ndarray | None) -> Array:
        return self.sample(key, grid)


class TimedDistribution(AbstractLaw):
    """The law of a field that depends on time, such as a forcing: `sample(key, grid, times)`, `(t, *grid.shape)`.

    **Example:**

        >>> issubclass(sx.pde.TravellingWaves, sx.random.TimedDistribution)
        True
    """

    is_field = True
    is_timed = True

    @abstractmethod
    def sample(self, key: jax.Array, grid: Grid, times: np.ndarray) -> Array:
        """One realisation at the instants `times`, from the key alone."""

    def draw(self, key: jax.Array, grid: Grid, times: np.ndarray | None) -> Array:
        if times is None:
            raise ValueError(f"{self!r} is a law of time-dependent fields: give the instants, times=…")
        return self.sample(key, grid, times)


class JointLaw(ABC):
    """The law of several inputs that depend on each other, as a frozen dataclass: derive from it, name the `parts` and write
    `sample`. `problem("euler", **law.inputs())` gives each input its part; the parts of one law are drawn together.

    **Example:**

        >>> law = sx.pde.Riemann()
        >>> isinstance(law, sx.random.JointLaw), sorted(law.inputs()) == sorted(law.parts)
        (True, True)
    """

    parts: ClassVar[tuple[str, ...]]

    @abstractmethod
    def sample(self, key: jax.Array, grid: Grid) -> Mapping[str, Array]:
        """One realisation of every part, fields `(*grid.shape)` or `(*grid.shape, c)`, by name."""

    def inputs(self) -> "dict[str, Part]":
        """The parts by name, as arguments of a problem."""
        return {name: Part(self, name) for name in self.parts}


@dataclass(frozen=True)
class Part(Distribution):
    """One input of a `JointLaw`. In a problem all parts of one law get the same key, so that they belong to one draw.

    **Example:**

        >>> sorted({type(part).__name__ for part in sx.pde.Riemann().inputs().values()})
        ['Part']
    """

    law: JointLaw
    name: str
    is_field, isotropic, smooth = True, False, False

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        return self.law.sample(key, grid)[self.name]


class AbstractGaussianLaw(Distribution):
    """A Gaussian field by independent eigenfunctions of −Δ: write `spectrum`. `covariance` multiplies by that of its values.

    Derive from it as a frozen dataclass.

    **Example:**

        >>> isinstance(sx.random.Matern(), sx.random.AbstractGaussianLaw)
        True
    """

    is_field, isotropic, smooth = True, True, True

    @abstractmethod
    def spectrum(self, grid: Grid) -> dict[str, Any]:
        """`boundary` and `std`, and if need be `modes` and `per_axis`: the arguments of `kernels.gaussian_field.sample`."""

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        return gaussian_field.sample(key, grid, **self.spectrum(grid))

    def covariance(self, x: Float[Array, "*space"], grid: Grid) -> Float[Array, "*space"]:
        """K x with the covariance K of the field's values at the points of a grid."""
        return gaussian_field.covariance_product(x, grid, **self.spectrum(grid))


@register("GaussianField")
@dataclass(frozen=True)
class GaussianField(AbstractGaussianLaw):
    """μ ~ N(0, σ² τ^(2α−d) (−Δ + τ²)^(−α)) on the box, without the constant mode unless `mean_mode`.

    The covariance of the Fourier neural operator papers: their Darcy data is α=2, τ=3, Neumann; the Burgers data α=2,
    τ=5, σ=25·5^(−1.5) periodic. Realisations have about α − d/2 derivatives; 2π/τ is the correlation length, in the
    coordinates of the box: in one that is 2π times as long, τ/2π gives fields of the same shape.

    **Example:**

        >>> sx.random.GaussianField(alpha=2, tau=3).sample(key, sx.Grid.unit_square(17)).shape
        (17, 17)
    """

    alpha: float = 2.0
    tau: float = 3.0
    sigma: float = 1.0
    boundary: Boundary = "neumann"
    mean_mode: bool = False
    is_field, isotropic, smooth = True, True, True

    def spectrum(self, grid: Grid) -> dict[str, Any]:
        amplitude = self.sigma * self.tau ** (self.alpha - grid.ndim / 2)

        def std(eigenvalue):
            s = amplitude * (eigenvalue + self.tau**2) ** (-self.alpha / 2)
            return s if self.mean_mode else np.where(eigenvalue == 0, 0.0, s)

        return {"boundary": self.boundary, "std": std}


@register("Matern")
@dataclass(frozen=True)
class Matern(AbstractGaussianLaw):
    """A Gaussian field of unit variance with the spectrum c (2ν/ℓ² + |k|²)^(−ν−d/2) of the Matérn covariance, ν its `smoothness`
    and ℓ its `length`, in units of the box's coordinates.

    The noise of diffusion models of fields: on grids of every resolution it is the same function but for the waves that a grid
    cannot hold. White noise has no such limit. With the periodic `boundary` it is stationary; ℓ should then be below a quarter of
    the box. With "neumann" the variance grows towards the sides, to 2 for each.

    **Arguments:** `length`: ℓ, 0.05 to 0.2. `smoothness`: ν, 0.5 to 2.5; realisations have about ν derivatives.

    **Example:**

        >>> sx.random.Matern(0.1).sample(key, sx.Grid.unit(16, 2, "periodic")).shape
        (16, 16)
    """

    length: float = 0.1
    smoothness: float = 1.0
    boundary: Boundary = "periodic"
    is_field, isotropic, smooth = True, True, True

    def __post_init__(self):
        number("Matern", "length", self.length, above=0)
        number("Matern", "smoothness", self.smoothness, above=0)

    def spectrum(self, grid: Grid) -> dict[str, Any]:
        nu, d = self.smoothness, grid.ndim
        kappa = 2 * nu / self.length**2
        log_c = d / 2 * math.log(4 * math.pi) + math.lgamma(nu + d / 2) - math.lgamma(nu) + nu * math.log(kappa)
        return {
            "boundary": self.boundary,
            "std": lambda eigenvalue: np.exp(log_c / 2 - (nu + d / 2) / 2 * np.log(kappa + eigenvalue)),
        }


@register("PeriodicGP")
@dataclass(frozen=True)
class PeriodicGP(AbstractGaussianLaw):
    """A periodic Gaussian process with the covariance ∏_i exp(−2 sin²(π d_i)/length²), d_i the distance along axis i over the
    length of the box, without its mean unless `mean_mode` (the sources of the neural spectral methods: length 0.2).

    The variance of the waves with k periods along an axis is the Bessel function e^(−1/length²) I_k(1/length²). `modes` keeps
    that many functions per axis, 1, cos, sin, …: a field that every grid of `modes` points or more resolves.

    **Example:**

        >>> u = sx.random.PeriodicGP(0.2).sample(key, sx.Grid.unit(32, 1, "periodic"))
        >>> abs(float(u.mean())) < 1e-5
        True
    """

    length: float = 0.2
    modes: int | None = None
    mean_mode: bool = False
    is_field, isotropic, smooth = True, True, True

    def __post_init__(self):
        number("PeriodicGP", "length", self.length, above=0)
        if self.modes is not None:
            count("PeriodicGP", "modes", self.modes)

    def spectrum(self, grid: Grid) -> dict[str, Any]:
        def kept(eigenvalue):
            return np.where((eigenvalue == 0) & (not self.mean_mode), 0.0, 1.0)

        def std(half_waves):
            return np.sqrt(scipy.special.ive(half_waves / 2, self.length**-2))

        return {"boundary": "periodic", "std": kept, "modes": self.modes, "per_axis": std}


@dataclass(frozen=True)
class Threshold(Distribution):
    """Two-valued field: `upper` where a Gaussian field is ≥ 0, `lower` elsewhere (FNO paper, Darcy: 12 and 3).

    **Example:**

        >>> np.unique(sx.random.Threshold(12, 3).sample(key, sx.Grid.unit_square(17))).tolist()
        [3.0, 12.0]
    """

    upper: float = 12.0
    lower: float = 3.0
    field: GaussianField = GaussianField()
    is_field, isotropic, smooth = True, True, False

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        return jnp.where(self.field.sample(key, grid) >= 0, float(self.upper), float(self.lower))


@dataclass(frozen=True)
class Lognormal(Distribution):
    """exp(scale · μ) of a Gaussian field; positive and smooth, contrast about e^(6·scale·std).

    **Example:**

        >>> bool((sx.random.Lognormal().sample(key, sx.Grid.unit_square(9)) > 0).all())
        True
    """

    scale: float = 1.0
    field: GaussianField = GaussianField()
    is_field, isotropic, smooth = True, True, True

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        return jnp.exp(self.scale * self.field.sample(key, grid))


@dataclass(frozen=True)
class Uniform(Distribution):
    """A number, uniform on [low, high).

    **Example:**

        >>> value = sx.random.Uniform(2.0, 3.0).sample(key, sx.Grid.unit_square(9))
        >>> value.shape, 2 <= float(value) <= 3
        ((), True)
    """

    low: float = 0.0
    high: float = 1.0
    is_field, isotropic, smooth = False, True, True

    def sample(self, key: jax.Array, grid: Grid | None = None) -> Float[Array, ""]:
        return jax.random.uniform(key, dtype=jnp.float32, minval=self.low, maxval=self.high)


@dataclass(frozen=True)
class LogUniform(Distribution):
    """A positive number whose logarithm is uniform, low ≤ x < high.

    **Example:**

        >>> value = sx.random.LogUniform(1e-3, 1e-1).sample(key, sx.Grid.unit_square(9))
        >>> 1e-3 <= float(value) <= 1e-1
        True
    """

    low: float = 0.1
    high: float = 10.0
    is_field, isotropic, smooth = False, True, True

    def sample(self, key: jax.Array, grid: Grid | None = None) -> Float[Array, ""]:
        exponent = jax.random.uniform(key, dtype=jnp.float32)
        return self.low * (self.high / self.low) ** exponent


@dataclass(frozen=True)
class Beta(Distribution):
    """A number, shift + scale · Beta(a, b).

    **Example:**

        >>> value = sx.random.Beta(2, 6, scale=0.6, shift=-0.15).sample(key, sx.Grid.unit_square(9))
        >>> -0.15 <= float(value) <= 0.45
        True
    """

    a: float = 2.0
    b: float = 6.0
    scale: float = 1.0
    shift: float = 0.0
    is_field, isotropic, smooth = False, True, True

    def sample(self, key: jax.Array, grid: Grid | None = None) -> Float[Array, ""]:
        return self.shift + self.scale * jax.random.beta(key, self.a, self.b, dtype=jnp.float32)


@dataclass(frozen=True)
class TruncatedNoise(Distribution):
    """White noise conditioned on its norm: independent N(0, 1) at the n unknowns of the grid, drawn again until ‖b‖₂ ≤ √n.

    About every second draw is accepted. On Dirichlet sides, which hold no unknowns, it is zero. Unlike the fields above
    it has no limit on finer grids. The right-hand sides of Khodak et al., Learning to Relax (ICLR 2024).

    **Example:**

        >>> sx.random.TruncatedNoise().sample(key, sx.Grid.unit(32, 1, "periodic")).shape
        (32,)
    """

    is_field, isotropic, smooth = True, True, False

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        known = [int(b == "dirichlet") for b in grid.box.boundaries]
        shape = tuple(n - 2 * k for n, k in zip(grid.shape, known, strict=True))

        def draw(carry):
            key, part = jax.random.split(carry[0])
            return key, jax.random.normal(part, shape, jnp.float32)

        def too_large(carry):
            return jnp.sum(carry[1] ** 2) > math.prod(shape)

        _, noise = jax.lax.while_loop(too_large, draw, draw((key, None)))
        return jnp.pad(noise, [(k, k) for k in known])


@dataclass(frozen=True)
class SumOfWaves(Distribution):
    """Σ A sin(2π n·x/L + φ) over `waves` random waves: A uniform on [0, 1), n whole from 1 to `largest` along every axis, φ
    any phase.

    The initial states of PDEBench's advection and Burgers' equation (two waves up to 8), without their windows and absolute
    values. Smooth, and the same function on every grid.

    **Example:**

        >>> sx.random.SumOfWaves(waves=2).sample(key, sx.Grid.unit(32, 1, "periodic")).shape
        (32,)
    """

    waves: int = 2
    largest: int = 8
    is_field, isotropic, smooth = True, False, True

    def __post_init__(self):
        count("SumOfWaves", "waves", self.waves)
        count("SumOfWaves", "largest", self.largest)

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        keys = jax.random.split(key, 3)
        amplitude = jax.random.uniform(keys[0], (self.waves,), jnp.float32)
        turns = jax.random.uniform(keys[1], (self.waves,), jnp.float32)
        number = jax.random.randint(keys[2], (self.waves, grid.ndim), 1, self.largest + 1)
        place = jnp.asarray(_unit_coordinates(grid), float)
        phase = place @ number.T.astype(place.dtype) + turns
        return (amplitude * jnp.sin(2 * jnp.pi * phase)).sum(-1)


@dataclass(frozen=True)
class SquareWave(Distribution):
    """`high` in a random interval of a periodic axis, or box of several, and `low` elsewhere: the discontinuous states.

    Its ends are at x₀ ± half a width; x₀ is uniform and the width uniform between `narrowest` and `widest` parts of the axis.

    **Example:**

        >>> np.unique(sx.random.SquareWave(0.0, 1.0).sample(key, sx.Grid.unit(64, 1, "periodic"))).tolist()
        [0.0, 1.0]
    """

    low: float = 0.0
    high: float = 1.0
    narrowest: float = 0.1
    widest: float = 0.5
    is_field, isotropic, smooth = True, True, False

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        keys = jax.random.split(key)
        middle = jax.random.uniform(keys[0], (grid.ndim,), jnp.float32)
        width = jax.random.uniform(keys[1], (grid.ndim,), jnp.float32, self.narrowest, self.widest)
        distance = jnp.abs((jnp.asarray(_unit_coordinates(grid), float) - middle + 0.5) % 1 - 0.5)
        return jnp.where((distance < width / 2).all(-1), float(self.high), float(self.low))


@dataclass(frozen=True)
class Bumps(Distribution):
    """Σ height · exp(−|x − x_i|²/(2 width²)) round `number` random points of a periodic box, distances across its sides included.

    `width` is in units of the box's coordinates. The same function on every grid.

    **Example:**

        >>> sx.random.Bumps(number=3).sample(key, sx.Grid.unit(16, 2, "periodic")).shape
        (16, 16)
    """

    number: int = 8
    width: float = 0.1
    height: float = 1.0
    is_field, isotropic, smooth = True, True, True

    def __post_init__(self):
        count("Bumps", "number", self.number)
        number("Bumps", "width", self.width, above=0)

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        middles = jax.random.uniform(key, (self.number, grid.ndim), jnp.float32)
        return self.height * _bells(grid, middles, jnp.full(self.number, 0.5 / self.width**2), jnp.ones(self.number))


@dataclass(frozen=True)
class Clusters(Distribution):
    """Σ a_i exp(−s_i |x − x_i|²) round random points x_i of a periodic box: `fewest` to `most` of them, heights a_i uniform
    between the two of `height`, s_i between the two of `sharpness`, which is in units of the box's coordinates to the
    power of −2.

    The Well's Gray-Scott data start from `UnitRange(Clusters(), 1, 0)` and `UnitRange(Clusters())`. The same function on every
    grid.

    **Example:**

        >>> sx.random.Clusters(fewest=2, most=4).sample(key, sx.Grid.unit((16, 16), layout="periodic")).shape
        (16, 16)
    """

    fewest: int = 10
    most: int = 100
    height: tuple[float, float] = (1.0, 3.0)
    sharpness: tuple[float, float] = (150.0, 300.0)
    is_field, isotropic, smooth = True, True, True

    def __post_init__(self):
        check_fields(self)
        count("Clusters", "most", self.most, least=count("Clusters", "fewest", self.fewest))
        for value in self.sharpness:
            number("Clusters", "sharpness", value, above=0)

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        keys = jax.random.split(key, 4)
        present = jnp.arange(self.most) < jax.random.randint(keys[0], (), self.fewest, self.most + 1)
        height, sharpness = (
            jax.random.uniform(k, (self.most,), jnp.float32, *bounds)
            for k, bounds in zip(keys[1:3], (self.height, self.sharpness), strict=True)
        )
        middles = jax.random.uniform(keys[3], (self.most, grid.ndim), jnp.float32)
        return _bells(grid, middles, sharpness, jnp.where(present, height, 0))


@dataclass(frozen=True)
class InterpolatedNoise(Distribution):
    """mean + spread · w with w the trigonometric polynomial through independent values, uniform on (−½, ½), at `points` uniform
    points per axis of a periodic box.

    The Well's Gray-Scott data have 32 points, spread ½ and mean 1 for u, 0 for v, see `pde.gray_scott_pattern`. The same function
    on every grid of as many points or more.

    **Example:**

        >>> sx.random.InterpolatedNoise(points=8).sample(key, sx.Grid.unit_square(9)).shape
        (9, 9)
    """

    points: int = 32
    mean: float = 0.0
    spread: float = 1.0
    is_field, isotropic, smooth = True, True, True

    def __post_init__(self):
        check_fields(self)
        count("InterpolatedNoise", "points", self.points)

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        values = jax.random.uniform(key, (self.points,) * grid.ndim, jnp.float32, -0.5, 0.5)
        nodes = np.arange(self.points) / self.points
        matrices = [fourier_matrix(nodes, x, 1.0, 0) for x in _unit_lines(grid)]
        return self.mean + self.spread * apply_along_axes(values, matrices)


@dataclass(frozen=True)
class UnitRange(Distribution):
    """A field of another law, scaled and shifted so that its values at the grid's points go from `low` to `high`.

    The extremes are those on the grid: on grids of other resolution the same field differs by their interpolation error.

    **Example:**

        >>> u = sx.random.UnitRange(sx.random.GaussianField(), 0.0, 1.0).sample(key, sx.Grid.unit_square(17))
        >>> round(float(u.min()), 5), round(float(u.max()), 5)
        (0.0, 1.0)
    """

    field: Distribution
    low: float = 0.0
    high: float = 1.0
    is_field, isotropic, smooth = True, True, True

    def __post_init__(self):
        law = self.field
        if not (isinstance(law, Distribution) and law.is_field and law.isotropic and law.smooth):
            raise TypeError(f"UnitRange({law!r}): expected a law of smooth isotropic fields, such as PeriodicGP(0.2)")

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        values = self.field.sample(key, grid)
        least, most = values.min(), values.max()
        return self.low + (self.high - self.low) * (values - least) / (most - least)


def _bells(grid: Grid, middles: Array, sharpness: Array, height: Array) -> Float[Array, "*space"]:
    """Σ_i h_i exp(−s_i |x − x_i|²), summed over the periodic images of every one of the `middles` `(i, d)`, which are in units of
    the box. Every term is a product of one factor per axis."""
    total, names = height.astype(float), "xyz"[: grid.ndim]
    factors = []
    for x, middle, length in zip(_unit_lines(grid), middles.T, grid.box.extent, strict=True):
        distance = (jnp.asarray(x, float)[:, None] - middle + 0.5) % 1 - 0.5
        # The nearest image and its neighbours: the sum over all images is smooth across the sides.
        near = length * (distance[..., None] + np.arange(-1, 2))
        factors.append(jnp.exp(-sharpness[:, None] * near**2).sum(-1))
    along = ",".join(f"{x}i" for x in names)
    return jnp.einsum(f"i,{along}->{names}", total, *factors, precision="highest")


def _unit_lines(grid: Grid) -> list[np.ndarray]:
    """The coordinates along every axis in units of the box."""
    lines = zip(grid.coordinates, grid.box.lower, grid.box.extent, strict=True)
    return [(np.asarray(x) - low) / length for x, low, length in lines]


def _unit_coordinates(grid: Grid) -> np.ndarray:
    """The points in units of the box, `(*space, d)`."""
    return (grid.points - np.asarray(grid.box.lower)) / np.asarray(grid.box.extent)
