"""`Denoising`: the objective by which `fit` trains a `Denoiser`, by the losses of EDM and of flow matching."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ...core.arguments import number
from ..task.task import Fields
from ..training.objective import AbstractObjective, Outcome


class Denoising(AbstractObjective):
    """The denoising loss of a `Denoiser`, the mean over samples and points of

    - EDM: (s² + 1)/s² |D(x₀ + s ε, s) − x₀|² with log s ~ N(level_mean, level_std²) (Karras et al. 2022, in units of the data);
      beside a Gaussian law |D − x₀|²/c_out², per channel, which is 1 for that law alone;
    - flow matching: |u((1 − t) x₀ + t ε, t) − (ε − x₀)|², t uniform in (0, 1),

    in normalised values. The levels of a batch are spread evenly over their distribution, by which the loss varies less.

    **Arguments:** `level_mean`, `level_std`: of log s; −0.5 and 1.2 for data of unit variance. More noise is seen with a larger
    mean.

    **Example:**

        >>> sx.generative.Denoising().level_std
        1.2
    """

    level_mean: float = eqx.field(static=True, default=-0.5)
    level_std: float = eqx.field(static=True, default=1.2)

    def __check_init__(self):
        number("Denoising", "level_mean", self.level_mean)
        number("Denoising", "level_std", self.level_std, above=0)

    @property
    def calls(self) -> int:
        return 1

    def init(self, key: Array) -> None:
        return None

    def draw(self, state: None, batch: Fields | None, key: Array) -> tuple[Fields, Array, Array, Array]:
        """The batch, where in their distribution the levels are, the keys of the noise, and one for the network."""
        if batch is None:
            raise ValueError("Denoising needs data")
        count = len(next(iter(batch.values())))
        order, inside, noise, network = jax.random.split(key, 4)
        shares = (jax.random.permutation(order, count) + jax.random.uniform(inside, (count,))) / count
        return batch, shares, jax.random.split(noise, count), network

    def value(self, model, points: PyTree) -> tuple[Float[Array, ""], Outcome]:
        batch, shares, keys, network = points
        losses, state = model.losses(batch, shares, keys, (self.level_mean, self.level_std), key=network, train=True)
        return losses.mean(), Outcome(state)

    def update(self, state: None, points: PyTree, outcome: Outcome, key: Array) -> None:
        return None

    def validate(self, model, batch: Fields) -> Float[Array, " batch"]:
        """The loss at four levels, with the same noise in every validation."""
        count = len(next(iter(batch.values())))
        keys = jax.random.split(jax.random.key(0), count)
        levels = self.level_mean, self.level_std
        each = [
            model.losses(
                batch, jnp.full(count, (i + 0.5) / 4), jax.vmap(jax.random.fold_in, (0, None))(keys, i), levels
            )[0]
            for i in range(4)
        ]
        return jnp.stack(each).mean(0)
