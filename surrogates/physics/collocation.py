"""Collocation points of a residual objective: inside the box, on its sides, at the initial time, with random numbers."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from ...core.domains import Box
from ...solvers.pde.conditions import Side
from ...solvers.pde.declaration import Problem
from .sampling import Population, uniform_points


class Collocation(eqx.Module):
    """Points of space and time, each with its own random parameters.

    **Fields:** `points` `(n, d)`, in the order of `Problem.coordinates` (time last); `numbers`, the problem's random numbers by
    name, `(n,)` each. A row of it is one point.
    """

    points: Float[Array, "*n d"]
    numbers: dict[str, Float[Array, "*n"]]


class Points(eqx.Module):
    """The points of a step: inside, on the sides of every condition, at the start (None for a steady problem), and independent
    ones, on which the model is not trained.

    `factors` of the squared residuals of every term, in the order of `AbstractWeights`; `weights`, from which they come; `gated`,
    whether a sampler gives the points factors of its own.
    """

    inside: Collocation
    sides: list[list[Collocation]]
    start: Collocation | None
    independent: Collocation
    factors: list[Array]
    weights: tuple[PyTree, ...]
    gated: bool = eqx.field(static=True)


class ResidualState(eqx.Module):
    """What a `Residual` keeps from step to step: the points inside, and the states of its weights."""

    population: Population
    weights: tuple[PyTree, ...]


def with_numbers(problem: Problem, points: Float[Array, "n d"], key: Array) -> Collocation:
    """Points with new random numbers of a problem, each with its own."""
    grid, names = problem.box.grid(2), enumerate(problem.laws.items())
    keys = jax.random.split(jax.random.fold_in(key, 1), len(points))
    return Collocation(
        points,
        {
            name: jax.vmap(lambda k, i=i, law=law: law.draw(jax.random.fold_in(k, i), grid, None))(keys)
            for i, (name, law) in names
        },
    )


def on_sides(sides: tuple[Side, ...], box: Box, key: Array, n: int) -> list[Float[Array, "n d"]]:
    """Random points of the box, moved to each of `sides` along the axis of the side."""
    points = uniform_points(key, box, n)
    return [points.at[:, box.names.index(side.axis)].set(side.position) for side in sides]
