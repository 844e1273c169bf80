"""How an input of a problem is drawn: the laws that all others derive from."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import numpy as np
from jaxtyping import Array, Float

from ...core.domains import Grid


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
