"""`DirectionObjective`: training of search directions without labels, on the residuals of their own iteration."""

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
    """The state of the iteration for one system A e = r.

    **Fields:** `e`, the error; `r`, the residual, of unit norm; `directions`, the last two A-orthogonal directions; `products`,
    A times these directions.
    """

    e: Float[Array, "*n"]
    r: Float[Array, "*n"]
    directions: Float[Array, "2 *n"]
    products: Float[Array, "2 *n"]

    @classmethod
    def of(cls, e, r) -> "Lane":
        """The state before the first step, for error `e` and residual `r`."""
        none = jnp.zeros((2, *r.shape), r.dtype)
        return cls(e, r, none, none)


class DirectionObjective(AbstractObjective):
    """Trains a search direction by how much one DeepCG step with it reduces the error.

    The objective's state holds `domains` operators A with `lanes` systems A e = r each. Every training step takes one iteration
    step on all systems with the current network. The loss of this step is the training loss; no gradient flows to earlier
    iteration steps. Every `renew` training steps the oldest operator and its systems are replaced by new ones, so that systems
    are up to `domains · renew` iterations old. The network is therefore trained on the residuals that it leaves itself, which
    are not distributed like right-hand sides.

    **Arguments:**

    - `systems`: draws operators and right-hand sides, for example `RandomDomains(side=64)`.
    - `loss`: with q = network(r) and d, which is q made A-orthogonal to the two directions before,
      "energy" is −log(x + 0.02) with x = (dᵀr)²/(dᵀA d · eᵀr), the fraction of the error's energy that a step along d removes;
      "rate" is log(1 − x + 0.001), which goes on to tell good directions apart where x is almost 1;
      "residual" is ‖r − α A q‖² with α = qᵀr/qᵀA q, for ‖r‖ = 1 (Kaneda et al., eq. 8). Neither depends on the scale of q. The
      iteration minimises the energy; the residual gives the rough part of the error more weight than the smooth part.
    - `domains`, `lanes`: number of operators, and of systems per operator.
    - `renew`: number of training steps between two replacements. 0 draws new systems in every step, as the paper does.

    **Raises:** `ValueError` for an unknown `loss`.

    **Example:**

        >>> sx.learned_solvers.DirectionObjective(sx.learned_solvers.SineSystems((16, 16)), loss="residual").loss
        'residual'
    """

    systems: AbstractSystems
    loss: Literal["residual", "energy", "rate"] = eqx.field(static=True, default="energy")
    domains: int = eqx.field(static=True, default=8)
    lanes: int = eqx.field(static=True, default=2)
    renew: int = eqx.field(static=True, default=2)

    def __check_init__(self):
        if self.loss not in ("residual", "energy", "rate"):
            raise ValueError(f"DirectionObjective: loss={self.loss!r}; use 'residual', 'energy' or 'rate'")

    @property
    def calls(self) -> int:
        return 1

    def init(self, key: Array) -> tuple[PyTree, Lane, Int[Array, ""]]:
        return *self._fresh(key, self.domains), jnp.asarray(0)

    def draw(self, state: PyTree, batch: None, key: Array) -> tuple[PyTree, Lane]:
        """The operators, and the current states of their systems."""
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

        # `map`, not `vmap`: batched eigendecompositions of small matrices are slow.
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
        elif self.loss == "rate":
            loss = jnp.log(jnp.maximum(1 - ratio(alpha * dot(d, r), energy, usable), 0) + 1e-3)
        else:
            best = ratio(dot(q, r), dot(q, product), dot(q, product) > 1e-12)
            loss = jnp.sum((r - best * product) ** 2)
        # r is computed from e: in float32 a recurrence for r would drift away from A e within a few steps.
        e = e - alpha * d
        r = operator.mv(e)
        size = norm(r)
        usable &= jnp.isfinite(size) & (size > 0)
        scale = ratio(jnp.ones_like(size), size, usable)
        after = Lane(scale * e, scale * r, jnp.stack([lane.directions[1], d]), jnp.stack([lane.products[1], d_product]))
        after = jax.tree.map(lambda x: jnp.where(usable, x, 0), after)  # an unusable lane is zero until it is renewed
        return jnp.where(usable, loss, 0), after
