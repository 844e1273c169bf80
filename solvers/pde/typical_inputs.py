"""Bounds for the solvers in time, such as the shortest stable step, from the inputs or, if traced, from their laws."""

from collections.abc import Callable

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from ...core.domains import Grid
from ..kernels.exponential import Instants
from .inputs import DeclaredInputs, Fields


def smallest(
    number: Callable[[Fields, Grid], Array], given: Fields, declared: Fields, grid: Grid, times: Instants
) -> float:
    """The number for the inputs that were given; where they are traced, the smallest of 16 draws of those that were declared,
    the same in every trace.

    **Arguments:**

    - `number`: (inputs, grid) ↦ a positive number, traceable.
    - `given`: the inputs of a solve, complete. `declared`: those of the problem, laws and constants.
    - `times`: the instants of inputs that depend on time.
    """
    with jax.ensure_compile_time_eval():
        if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(dict(given))):
            return float(number(given, grid))
        inputs, instants = DeclaredInputs(declared), np.asarray(times)

        def of_a_draw(key):
            return number(inputs.complete(inputs.sample(key, grid, instants)), grid)

        return float(jax.jit(jax.vmap(of_a_draw))(jax.random.split(jax.random.key(0), 16)).min())
