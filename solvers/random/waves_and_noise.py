"""Fields of few random waves and of noise of low frequencies."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import check_fields, count
from ...core.domains import Grid
from ..kernels.differentiation import fourier_matrix
from ..kernels.interpolate import apply_along_axes
from .laws import Distribution
from .unit_coordinates import unit_coordinates, unit_lines


@dataclass(frozen=True)
class TruncatedNoise(Distribution):
    """White noise conditioned on its norm: independent N(0, 1) at the n unknowns of the grid, drawn again until ‖b‖₂ ≤ √n.

    About every second draw is accepted. On Dirichlet sides, which hold no unknowns, it is zero. Unlike Gaussian fields
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
        place = jnp.asarray(unit_coordinates(grid), float)
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
        distance = jnp.abs((jnp.asarray(unit_coordinates(grid), float) - middle + 0.5) % 1 - 0.5)
        return jnp.where((distance < width / 2).all(-1), float(self.high), float(self.low))


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
        matrices = [fourier_matrix(nodes, x, 1.0, 0) for x in unit_lines(grid)]
        return self.mean + self.spread * apply_along_axes(values, matrices)
