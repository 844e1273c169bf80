"""Samplers of collocation points for training without data."""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, count, number
from ...core.domains import Box

Points = Float[Array, "n d"]
Sizes = Float[Array, " n"]


class Population(eqx.Module):
    """The points of a step, and what their sampler remembers.

    **Fields:** `points` `(n, d)`; `factors` `(n,)`, by which the residuals at the points are multiplied in the loss; `memory`,
    what else the sampler keeps from step to step.
    """

    points: Points
    factors: Sizes
    memory: PyTree = None

    @classmethod
    def of(cls, points: Points) -> "Population":
        """Points that count alike."""
        return cls(points, jnp.ones(len(points), points.dtype))


@runtime_checkable
class Sampler(Protocol):
    """Chooses the points of every training step in a box; their number is fixed.

    **Fields:**

    - `pool`: number of further uniform points at which it wants to know the residual; 0 if it wants none.
    - `keeps`: whether points of a step may be points of the next one too.
    """

    @property
    def pool(self) -> int: ...

    @property
    def keeps(self) -> bool: ...

    def init(self, key: Array, box: Box) -> Population:
        """The points of the first step."""
        ...

    def update(
        self, key: Array, population: Population, residual: Sizes, pool: Points, at_pool: Sizes, box: Box
    ) -> Population:
        """The points of the next step, from those of this step and uniform ones, and the size of the residual at both. A point
        that stays keeps its place in the array."""
        ...


class UniformSampler(eqx.Module):
    """Draws new uniform points in every step. **Arguments:** `n`, the number of points; 1000 to 10000.

    **Example:**

        >>> sx.UniformSampler(500).init(key, sx.Box(x=(0, 1), y=(0, 1))).points.shape
        (500, 2)
    """

    n: int = eqx.field(static=True)
    pool = 0
    keeps = False

    def __check_init__(self):
        check_fields(self)
        count("UniformSampler", "n", self.n)

    def init(self, key, box):
        return Population.of(uniform_points(key, box, self.n))

    def update(self, key, population, residual, pool, at_pool, box):
        return self.init(key, box)


class FixedPoints(eqx.Module):
    """Uniform points that stay the same in all steps. A model may then fulfil the equation at these points alone, which the
    independent residual shows. **Arguments:** `n`, the number of points; 1000 to 20000.

    **Example:**

        >>> sx.FixedPoints(500).init(key, sx.Box(x=(0, 1), y=(0, 1))).points.shape
        (500, 2)
    """

    n: int = eqx.field(static=True)
    pool = 0
    keeps = True

    def __check_init__(self):
        check_fields(self)
        count("FixedPoints", "n", self.n)

    def init(self, key, box):
        return Population.of(uniform_points(key, box, self.n))

    def update(self, key, population, residual, pool, at_pool, box):
        return population


class R3(eqx.Module):
    """Retain, resample, release (Daw et al., ICML 2023).

    In every step the points whose |residual| exceeds the mean are kept, and all others are replaced by new uniform ones. Points
    so accumulate where the residual is large.

    **Arguments:** `n`, the number of points; 1000 to 10000.

    **Example:**

        >>> sx.R3(500).init(key, sx.Box(x=(0, 1), y=(0, 1))).points.shape
        (500, 2)
    """

    n: int = eqx.field(static=True)
    pool = 0
    keeps = True

    def __check_init__(self):
        check_fields(self)
        count("R3", "n", self.n)

    def init(self, key, box):
        return Population.of(uniform_points(key, box, self.n))

    def update(self, key, population, residual, pool, at_pool, box):
        return Population.of(retained(key, population.points, residual, box))


class RAD(eqx.Module):
    """Residual-based adaptive distribution (Wu et al., CMAME 403, 2023).

    Every time all points are drawn anew from uniform ones, with probabilities in proportion to |r|^k / mean |r|^k + c and without
    repetition. Where the residual is large in a small part of the box, at a shock, few of the candidates lie there: take R3,
    whose points gather, or a large `ratio`.

    **Arguments:** `n`, the number of points, 1000 to 10000; `k`, `c`: the published setting is 1 and 1; `ratio`: the number of
    candidates is `ratio` times n, 2 to 10.

    **Example:**

        >>> sx.RAD(500).init(key, sx.Box(x=(0, 1), y=(0, 1))).points.shape
        (500, 2)
    """

    n: int = eqx.field(static=True)
    k: float = eqx.field(static=True, default=1.0)
    c: float = eqx.field(static=True, default=1.0)
    ratio: int = eqx.field(static=True, default=3)
    keeps = False

    def __check_init__(self):
        check_fields(self)
        count("RAD", "n", self.n)
        count("RAD", "ratio", self.ratio, least=2)
        number("RAD", "k", self.k, least=0)
        number("RAD", "c", self.c, least=0)

    @property
    def pool(self) -> int:
        return self.ratio * self.n

    def init(self, key, box):
        return Population.of(uniform_points(key, box, self.n))

    def update(self, key, population, residual, pool, at_pool, box):
        powers = at_pool**self.k
        density = powers / jnp.maximum(powers.mean(), jnp.finfo(powers.dtype).tiny) + self.c
        # The largest n of log p + Gumbel noise are a draw without repetition.
        chance = jnp.log(density) + jax.random.gumbel(key, density.shape, density.dtype)
        return Population.of(pool[jax.lax.top_k(chance, self.n)[1]])


class RAR(eqx.Module):
    """Residual-based adaptive refinement (Lu et al., SIAM Rev. 63, 2021) with a fixed number of points.

    Every time the `moved` points with the smallest |residual| are replaced by those with the largest one out of uniform
    candidates.

    **Arguments:** `n`, the number of points, 1000 to 10000; `moved`, 1 % of n by default; `ratio`: the number of candidates is
    `ratio` times n.

    **Example:**

        >>> sx.RAR(500).init(key, sx.Box(x=(0, 1), y=(0, 1))).points.shape
        (500, 2)
    """

    n: int = eqx.field(static=True)
    moved: int | None = eqx.field(static=True, default=None)
    ratio: int = eqx.field(static=True, default=2)
    keeps = True

    def __check_init__(self):
        check_fields(self)
        count("RAR", "n", self.n)
        count("RAR", "ratio", self.ratio)
        if self.moved is not None and not 0 < self.moved <= self.n:
            raise ValueError(f"RAR(n={self.n}, moved={self.moved}): expected a number from 1 to n")

    @property
    def pool(self) -> int:
        return self.ratio * self.n

    def init(self, key, box):
        return Population.of(uniform_points(key, box, self.n))

    def update(self, key, population, residual, pool, at_pool, box):
        moved = max(1, self.n // 100) if self.moved is None else self.moved
        smallest = jax.lax.top_k(-residual, moved)[1]
        largest = jax.lax.top_k(at_pool, moved)[1]
        return Population.of(population.points.at[smallest].set(pool[largest]))


def retained(key: Array, points: Points, fitness: Sizes, box: Box) -> Points:
    """The points whose fitness exceeds the mean, and new uniform points in place of the others."""
    return jnp.where((fitness > fitness.mean())[:, None], points, uniform_points(key, box, len(points)))


def uniform_points(key: Array, box: Box, n: int) -> Points:
    """`n` uniform random points in a box, `(n, d)`."""
    lower, extent = jnp.asarray(box.lower, jnp.result_type(float)), jnp.asarray(box.extent, jnp.result_type(float))
    return lower + jax.random.uniform(key, (n, len(box.lower))) * extent
