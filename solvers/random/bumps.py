"""Fields of localised bumps."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import check_fields, count, number
from ...core.domains import Grid
from .laws import Distribution
from .unit_coordinates import unit_lines


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


def _bells(grid: Grid, middles: Array, sharpness: Array, height: Array) -> Float[Array, "*space"]:
    """Σ_i h_i exp(−s_i |x − x_i|²), summed over the periodic images of every one of the `middles` `(i, d)`, which are in units of
    the box. Every term is a product of one factor per axis."""
    total, names = height.astype(float), "xyz"[: grid.ndim]
    factors = []
    for x, middle, length in zip(unit_lines(grid), middles.T, grid.box.extent, strict=True):
        distance = (jnp.asarray(x, float)[:, None] - middle + 0.5) % 1 - 0.5
        # The nearest image and its neighbours: the sum over all images is smooth across the sides.
        near = length * (distance[..., None] + np.arange(-1, 2))
        factors.append(jnp.exp(-sharpness[:, None] * near**2).sum(-1))
    along = ",".join(f"{x}i" for x in names)
    return jnp.einsum(f"i,{along}->{names}", total, *factors, precision="highest")
