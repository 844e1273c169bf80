"""Training of search directions on the residuals that their own iteration meets, without labels."""

from typing import Literal, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from ...solvers.linear.inner_products import dot, norm, ratio
from ...solvers.linear.preconditioning import bound_map
from ..task.task import Fields
from ..training.objective import AbstractObjective, Outcome
from .direction_systems import AbstractSystems


class Lane(eqx.Module):
    """One system A e = r of an operator on its way through the iteration: error, residual (of unit norm), and the last two
    directions, A-orthogonal, with their products with A."""

    e: Float[Array, "*n"]
    r: Float[Array, "*n"]
    directions: Float[Array, "2 *n"]
    products: Float[Array, "2 *n"]

    @classmethod
    def of(cls, e, r) -> "Lane":
        none = jnp.zeros((2, *r.shape), r.dtype)
        return cls(e, r, none, none)


class DirectionObjective(AbstractObjective):
    """What a good direction minimises, one DeepCG step at a time.

    `domains` operators with `lanes` systems each are kept in the objective's state. Every training step takes one step of the
    iteration on all of them with the current network, and the loss of that step is the training loss; the iterates go on
    without gradient. The oldest operator is replaced by a fresh one every `renew` steps, so that systems are met up to
    `domains · renew` iterations old: the network trains on the residuals that it leaves itself, which are not distributed
    like right-hand sides.

    **Arguments:**

    - `systems`: where operators and right-hand sides come from.
    - `loss`: "residual" is ‖r − α̂ A q‖², α̂ = qᵀr/qᵀA q, for unit residuals (Kaneda et al., eq. 8). "energy" is
      −log(x + 0.02) with x = (dᵀr)²/(dᵀA d · eᵀr), the share of the energy of the error that a step along d removes, d
      being q made A-orthogonal to the two directions before. Both are free of the scale of q. The energy is what the iteration
      minimises; the residual weighs the rough part of the error more than the smooth one.
    - `renew`: 0 takes fresh systems in every step, as the paper does.
    """

    systems: AbstractSystems
    loss: Literal["residual", "energy"] = eqx.field(static=True, default="energy")
    domains: int = eqx.field(static=True, default=8)
    lanes: int = eqx.field(static=True, default=2)
    renew: int = eqx.field(static=True, default=2)

    def __check_init__(self):
        if self.loss not in ("residual", "energy"):
            raise ValueError(f"DirectionObjective: loss={self.loss!r}; use 'residual' or 'energy'")

    @property
    def calls(self) -> int:
        return 1

    def init(self, key: Array) -> tuple[PyTree, Lane, Int[Array, ""]]:
        return *self._fresh(key, self.domains), jnp.asarray(0)

    def draw(self, state: PyTree, batch: None, key: Array) -> tuple[PyTree, Lane]:
        """The operators and their systems, each on its way through the iteration."""
        operators, lanes, _ = self.init(key) if self.renew == 0 else state
        return operators, lanes

    def value(self, model: PyTree, points: tuple[PyTree, Lane]) -> tuple[Float[Array, ""], Outcome]:
        def of_domain(operator, lanes):
            direction = bound_map(model, operator)
            return jax.vmap(lambda lane: self._step(direction, operator, lane))(lanes)

        losses, lanes = jax.vmap(of_domain)(*points)
        return losses.mean(), Outcome(memory=jax.lax.stop_gradient(lanes))

    def update(self, state: PyTree, points: tuple[PyTree, Lane], outcome: Outcome, key: Array) -> PyTree:
        operators, _ = points
        moved = (operators, outcome.memory, state[2] + 1)
        return self._renewed(moved, key) if self.renew else moved

    def validate(self, model: PyTree, batch: Fields) -> NoReturn:
        raise TypeError("directions are validated by a measure: fit(…, val=measure), a function of the direction")

    def _fresh(self, key: Array, count: int) -> tuple[PyTree, Lane]:
        def one(key):
            operator, e, r = self.systems.sample(key, self.lanes)
            return operator, jax.vmap(Lane.of)(e, r)

        # One after the other: batched eigendecompositions of small matrices are slow.
        return jax.lax.map(one, jax.random.split(key, count))

    def _renewed(self, state, key: Array):
        operators, lanes, count = state

        def replace(old):
            new = self._fresh(key, 1)
            slot = count // self.renew % self.domains
            return jax.tree.map(lambda a, b: jax.lax.dynamic_update_index_in_dim(a, b[0], slot, 0), old, new)

        return *jax.lax.cond(count % self.renew == 0, replace, lambda old: old, (operators, lanes)), count

    def _step(self, direction, operator, lane: Lane) -> tuple[Float[Array, ""], Lane]:
        e, r = lane.e, lane.r
        q = direction(r)
        q = q / jax.lax.stop_gradient(norm(q) + 1e-20)
        product = operator.mv(q)
        d, d_product = q, product
        for p, p_product in zip(lane.directions, lane.products, strict=True):
            overlap = ratio(dot(d, p_product), dot(p, p_product), dot(p, p_product) > 0)
            d, d_product = d - overlap * p, d_product - overlap * p_product
        curvature, energy = dot(d, d_product), dot(e, r)
        usable = (curvature > 1e-12) & (energy > 0)
        alpha = ratio(dot(d, r), curvature, usable)
        if self.loss == "energy":
            loss = -jnp.log(ratio(alpha * dot(d, r), energy, usable) + 0.02)
        else:
            best = ratio(dot(q, r), dot(q, product), dot(q, product) > 1e-12)
            loss = jnp.sum((r - best * product) ** 2)
        # r = A e anew: a recurrence of r would part from that of e after a few steps in float32.
        e = e - alpha * d
        r = operator.mv(e)
        size = norm(r)
        usable &= jnp.isfinite(size) & (size > 0)
        scale = ratio(jnp.ones_like(size), size, usable)
        after = Lane(scale * e, scale * r, jnp.stack([lane.directions[1], d]), jnp.stack([lane.products[1], d_product]))
        after = jax.tree.map(lambda x: jnp.where(usable, x, 0), after)  # a dead lane waits for its renewal
        return jnp.where(usable, loss, 0), after
