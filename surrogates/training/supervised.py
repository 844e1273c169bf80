"""`Supervised`: training on a loss between predictions and targets."""

from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ...solvers.pde.symmetry import Dihedral
from ..batching import Batch
from ..networks.network_surrogate import NetworkSurrogate
from ..rollout import unroll
from ..task.task import Fields, Task
from ..trainable import with_state
from .losses import Loss, RelativeL2
from .objective import AbstractObjective, Outcome


@dataclass(frozen=True)
class Unroll:
    """Train an autoregressive surrogate on several predictions in a row, each from the one before.

    **Arguments:**

    - `steps`: number of predictions in a row, 2 to 8.
    - `gradient`: "full" averages the losses of all predictions and differentiates through all of them. "last" takes the loss of
      the last prediction only, and no gradient flows into the earlier ones (pushforward, Brandstetter et al. 2022).

    **Raises:** `ValueError` for `steps` below 1 or an unknown `gradient`.
    """

    steps: int = 1
    gradient: Literal["full", "last"] = "full"

    def __post_init__(self):
        if self.steps < 1 or self.gradient not in ("full", "last"):
            raise ValueError(f"{self!r}: steps must be 1 or more and gradient 'full' or 'last'")


class Supervised(AbstractObjective):
    """The mean over a batch of a loss between prediction and target, in physical units.

    This is the default objective of network surrogates. `fit(model, data, loss=…, symmetry=…, unroll=…, dtype=…)` makes it from
    these keywords. Validation uses the relative L2 error of one prediction.

    **Arguments:**

    - `loss`: the loss of one frame: `losses.RelativeL2()`, `losses.RelativeH1()`, `losses.MSE()` or your own `losses.Loss`.
    - `symmetry`: a group such as `surrogax.Dihedral()`; every sample is transformed by a random element of it in every step.
      None for no augmentation.
    - `unroll`: how many predictions in a row are trained, for autoregressive tasks; see `Unroll`.
    - `dtype`: the type in which the network computes, for example "bfloat16". The loss and all states keep the type of the
      parameters.
    """

    loss: Loss = eqx.field(static=True, default=RelativeL2())
    symmetry: Dihedral | None = eqx.field(static=True, default=None)
    unroll: Unroll = eqx.field(static=True, default=Unroll())
    dtype: str | None = eqx.field(static=True, default=None)

    @classmethod
    def of(
        cls,
        task: Task,
        data: Any,
        *,
        loss: Loss = RelativeL2(),  # noqa: B008 (frozen)
        symmetry: Dihedral | bool | None = None,
        unroll: Unroll = Unroll(),
        dtype: str | None = None,
    ) -> "Supervised":
        """The objective that `fit` makes for a network surrogate.

        The arguments are those of the class, with `symmetry=True` for the symmetry group that the problem of `data` declares.
        `data` are the training data of `fit`.

        **Raises:** `ValueError` without data, for `symmetry=True` if no group is declared, and for `unroll` with a task that
        cannot be rolled out.
        """
        if data is None:
            raise ValueError("fit needs data")
        if symmetry is True:
            if data.problem is None or data.problem.symmetry is None:
                raise ValueError(
                    "fit(symmetry=True): the data's problem declares no symmetry group; pass one, e.g. Dihedral()"
                )
            group = data.problem.symmetry
        else:
            group = symmetry or None
        if unroll.steps > 1 and not task.mode.rolls_out:
            raise ValueError(f"fit(unroll={unroll}): only an autoregressive task can be rolled out, not {task!r}")
        return cls(loss, group, unroll, dtype)

    @property
    def calls(self) -> int:
        return self.unroll.steps

    def init(self, key: Array) -> None:
        return None

    def draw(self, state: None, batch: Fields | None, key: Array) -> tuple[Fields, Array, Array]:
        """The batch, a key for the random symmetries of its samples, and a key for the randomness of the network."""
        if batch is None:
            raise ValueError("Supervised needs data")
        k_symmetry, k_model = jax.random.split(key)
        return batch, k_symmetry, k_model

    def value(self, model: NetworkSurrogate, points: PyTree) -> tuple[Float[Array, ""], Outcome]:
        (batch, k_symmetry, k_model), task = points, model.task
        if self.symmetry is not None:
            batch = transformed(task, self.symmetry, batch, k_symmetry)
        numbers = jnp.arange(len(jax.tree.leaves(batch)[0]))

        def predict(state, fields, call):
            key = jax.random.fold_in(k_model, call)
            frames, state = with_state(model, state).frames(
                Batch(fields, numbers), key=key, train=True, dtype=self.dtype
            )
            return state, frames

        full = self.unroll.gradient == "full"
        state, predicted = unroll(predict, task, batch, self.calls, model.state, through=full)
        counted = range(self.calls) if full else (self.calls - 1,)
        losses = [frame_losses(self.loss, task, predicted[call], batch, call).mean() for call in counted]
        return sum(losses, start=jnp.zeros(())) / len(losses), Outcome(state)

    def update(self, state: None, points: PyTree, outcome: Outcome, key: Array) -> None:
        return None

    def validate(self, model: NetworkSurrogate, batch: Fields) -> Float[Array, " batch"]:
        """Relative L2 error of one prediction in physical units, `(batch,)`, whatever the training loss."""
        frames, _ = model.frames(Batch(batch, jnp.arange(len(jax.tree.leaves(batch)[0]))))
        return frame_losses(RelativeL2(), model.task, frames, batch)


def frame_losses(
    loss: Loss, task: Task, predicted: Float[Array, "batch frames *space c"], batch: Fields, call: int = 0
) -> Float[Array, " batch"]:
    """The loss of every sample of a batch, averaged over the frames of prediction number `call`.

    `predicted` are its frames with channels and `batch` the arrays of the samples, both in physical units.

    **Raises:** `ValueError` if prediction and targets differ in shape.
    """

    def one(frames, fields):
        reference = task.wanted(fields, call)
        if frames.shape != reference.shape:
            raise ValueError(f"the network predicts shape {frames.shape[1:]}, the targets have {reference.shape[1:]}")
        weights, domain = task.weights(fields), task.domain_of(fields)
        return jax.vmap(lambda u, v: loss(u, v, weights, domain))(frames, reference).mean()

    return jax.vmap(one)(predicted, batch)


def transformed(task: Task, symmetry: Dihedral, batch: Fields, key: Array) -> Fields:
    """The batch with the fields of every sample transformed by a random element of the group.

    **Raises:** `ValueError` for tasks on point clouds, or on grids whose axes have different layouts.
    """
    grid = task.domain.as_grid("symmetry=…")
    if len(set(grid.layouts)) != 1:
        raise ValueError(f"symmetries act on grids of one layout, this task lives on {grid}")
    if len(set(grid.box.extent)) != 1:
        raise ValueError(f"the symmetries of the square need axes of one length, this task lives on {grid}")
    if len(task.domains) > 1:
        raise ValueError(f"symmetry=… needs all fields on one domain, this task has {len(task.domains)}")
    size = len(next(iter(batch.values())))
    elements = jax.vmap(symmetry.random)(jax.random.split(key, size))

    def image(element, field):
        return symmetry.transform(element, field, grid.layouts[0])

    def seen(name, values):
        if not task.is_field(name):
            return values
        over_time = jax.vmap(image, in_axes=(None, 0)) if task.is_timed(name) else image
        return jax.vmap(over_time)(elements, values)

    return {name: seen(name, values) for name, values in batch.items()}
