"""`Sensors`: which observations a model meets in training."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.arguments import check_fields, count, number
from ...core.domains import Grid
from ...core.storage import register
from ..task.task import Fields, Task
from .observe import Observe
from .observed_set import ObservedSet


@register("Sensors")
@dataclass(frozen=True)
class Sensors:
    """Sensors of one field, drawn anew for every sample in every step of training: their number is uniform from 0 to `most`,
    their places are uniform in the box, and the deviation of their errors is uniform in the logarithm between the two `std`,
    for half of the draws one for all sensors, for the others each its own.

    **Arguments:**

    - `field`: the name of a target of the task. A vector is observed in all components.
    - `most`: number of sensors that is never exceeded. Attention costs its square.
    - `std`: smallest and largest standard deviation of the errors, in physical units as in `Observe`; or one number.

    **Raises:** `ValueError` for numbers that are not above 0 or out of order.

    **Example:**

        >>> sx.generative.Sensors("u", most=32, std=(0.01, 0.1)).most
        32
    """

    field: str
    most: int
    std: float | tuple[float, float]

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        check_fields(self)
        count("Sensors", "most", self.most)
        for end in self.ends:
            number("Sensors", "std", end, above=0)
        if self.ends[0] > self.ends[1]:
            raise ValueError(f"Sensors(std={self.std}): the smallest comes first")

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest standard deviation."""
        return self.std if isinstance(self.std, tuple) else (self.std, self.std)

    def drawn(self, fields: Fields, grid: Grid, task: Task, key: Array) -> ObservedSet:
        """Observations of one sample, with errors."""
        where, how_many, law, size, errors = jax.random.split(key, 5)
        shares = jax.random.uniform(where, (self.most, grid.ndim))
        places = jnp.asarray(grid.box.lower, shares.dtype) + shares * jnp.asarray(grid.box.extent, shares.dtype)
        common = jax.random.bernoulli(law)
        level = jax.random.uniform(size, (self.most,))
        low, high = np.log(self.ends)
        std = jnp.exp(low + (high - low) * jnp.where(common, level[0], level))
        there = jnp.arange(self.most) < jax.random.randint(how_many, (), 0, self.most + 1)
        # Any value and std will do here: they are replaced.
        observe = Observe(self.field, at=places, std=1.0)
        exact = observe.seen(fields, grid)
        wide = jnp.broadcast_to(std.reshape(-1, *(1,) * (exact.ndim - 1)), exact.shape)
        values = exact + wide * jax.random.normal(errors, exact.shape, exact.dtype)
        return ObservedSet.of_field(task, grid, self.field, places, values, wide, there)
