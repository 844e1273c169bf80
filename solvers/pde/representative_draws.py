"""The sizes of random inputs, for default time steps that are the same for all samples."""

import jax
import numpy as np

from ...core.domains import Box
from ..random import AbstractLaw, Distribution

_DRAWS = {1: 64, 2: 16, 3: 4}  # fields, by number of axes
_POINTS = {1: 64, 2: 32, 3: 16}  # per axis


def draws(value: Distribution | float, box: Box) -> np.ndarray:
    """Some draws of a law on a coarse grid of the box, the same in every trace; or the number itself."""
    if not isinstance(value, AbstractLaw):
        return np.asarray(value, np.float64)
    count, points = _DRAWS[len(box.axes)], _POINTS[len(box.axes)]
    with jax.ensure_compile_time_eval():
        keys = jax.random.split(jax.random.key(0), count)
        return np.asarray(jax.vmap(lambda key: value.draw(key, box.grid(points), None))(keys), np.float64)


def largest(value: Distribution | float, box: Box) -> float:
    """The largest absolute value among them."""
    return float(abs(draws(value, box)).max())


def smallest(value: Distribution | float, box: Box) -> float:
    """The smallest value among them."""
    return float(draws(value, box).min())
