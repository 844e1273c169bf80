"""The sizes of random inputs, for default time steps of fixed length that are the same for all samples.

`typical_inputs` is for solvers whose bounds follow the inputs that were given, and looks at the laws only where these are traced.
"""

import jax
import numpy as np
from jaxtyping import ArrayLike

from ...core.domains import Box
from ..random import AbstractLaw

_DRAWS = {1: 64, 2: 16, 3: 4}  # fields, by number of axes
_POINTS = {1: 64, 2: 32, 3: 16}  # per axis


def draws(value: AbstractLaw | ArrayLike, box: Box, times: np.ndarray | None = None) -> np.ndarray:
    """Some draws of a law on a coarse grid of the box, the same in every trace; or the numbers themselves.

    **Arguments:** `times`: instants, for laws of fields that depend on time.
    """
    if not isinstance(value, AbstractLaw):
        return np.asarray(value, np.float64)
    count, points = _DRAWS[len(box.axes)], _POINTS[len(box.axes)]
    with jax.ensure_compile_time_eval():
        keys = jax.random.split(jax.random.key(0), count)
        return np.asarray(jax.vmap(lambda key: value.draw(key, box.grid(points), times))(keys), np.float64)


def largest(value: AbstractLaw | ArrayLike, box: Box) -> float:
    """The largest absolute value among them."""
    return float(abs(draws(value, box)).max())


def smallest(value: AbstractLaw | ArrayLike, box: Box) -> float:
    """The smallest value among them."""
    return float(draws(value, box).min())
