"""Gaussian fields by independent eigenfunctions of −Δ, and periodic ones with a squared exponential kernel."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import scipy.special
from jaxtyping import Array, Float

from ...core.arguments import check_fields, count, number
from ...core.domains import Boundary, Grid
from ...core.storage import register
from ..kernels import gaussian_field
from .laws import Distribution


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
    cannot hold. White noise has no such limit.

    **Arguments:**

    - `length`: ℓ, 0.05 to 0.2; below a quarter of the box.
    - `smoothness`: ν, 0.5 to 2.5; realisations have about ν derivatives.
    - `boundary`: None is a stationary field, periodic along periodic axes only. With "periodic" opposite sides of every box are
      equal; with "neumann" the variance grows towards the sides, to 2 for each; with "dirichlet" it is zero there.

    **Example:**

        >>> sx.random.Matern(0.1).sample(key, sx.Grid.unit(16, 2, "periodic")).shape
        (16, 16)
    """

    length: float = 0.1
    smoothness: float = 1.0
    boundary: Boundary | None = None
    is_field, isotropic, smooth = True, True, True

    def __post_init__(self):
        check_fields(self)
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
