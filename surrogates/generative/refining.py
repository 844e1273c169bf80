"""`Refining`: the objective by which `fit` trains a `Refiner`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..task.task import Fields
from ..training.objective import AbstractObjective, Outcome


class Refining(AbstractObjective):
    """The mean squared error of the noise that a `Refiner` finds in true frames: |F(y + σ_k ε, u, k) − ε|², every round k as
    often as the others.

    **Example:**

        >>> sx.generative.Refining().calls                                              # of the network in a step
        1
    """

    @property
    def calls(self) -> int:
        return 1

    def init(self, key: Array) -> None:
        return None

    def draw(self, state: None, batch: Fields | None, key: Array) -> tuple[Fields, Array, Array, Array]:
        """The batch, an order of its samples that says which round each is in, the keys of the noise, and one for the network."""
        if batch is None:
            raise ValueError("Refining needs data")
        count = len(next(iter(batch.values())))
        order, noise, network = jax.random.split(key, 3)
        return batch, jax.random.permutation(order, count), jax.random.split(noise, count), network

    def value(self, model, points: PyTree) -> tuple[Float[Array, ""], Outcome]:
        batch, order, keys, network = points
        losses, state = _losses(model, batch, order, keys, network, True)
        return losses.mean(), Outcome(state)

    def update(self, state: None, points: PyTree, outcome: Outcome, key: Array) -> None:
        return None

    def validate(self, model, batch: Fields) -> Float[Array, " batch"]:
        """The error of the noise in all rounds, with the same noise in every validation."""
        count = len(next(iter(batch.values())))
        keys = jax.random.split(jax.random.key(0), count)
        each = [_losses(model, batch, jnp.full(count, k), keys, None, False)[0] for k in range(model.refinements)]
        return jnp.stack(each).mean(0)


def _losses(model, batch: Fields, order: Array, keys: Array, network, train: bool) -> tuple[Array, PyTree]:
    task = model.task
    clean = jax.vmap(lambda fields: model.encoded(task.wanted(fields), fields))(dict(batch))
    given = {name: values[:, : task.mode.history] if task.is_timed(name) else values for name, values in batch.items()}
    k = 1 + order % model.refinements
    eps = jax.vmap(lambda key: jax.random.normal(key, clean.shape[1:], clean.dtype))(keys)
    noisy = clean + model.level(k).reshape(-1, *(1,) * (clean.ndim - 1)) * eps
    found, state = model.noise_in(noisy, k, given, key=network, train=train)
    return jnp.mean((found - eps) ** 2, tuple(range(1, eps.ndim))), state
