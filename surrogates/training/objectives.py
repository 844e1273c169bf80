"""What training minimises. One protocol for supervised and data-free training, so that there is one training loop."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ...solvers.pde.symmetry import Dihedral
from ..surrogate import NetworkSurrogate
from ..task.task import Fields
from ..trainable import apply_batch
from .losses import Loss, RelativeL2


class States(NamedTuple):
    """What changes during training beside the parameters: the network's state and the objective's own."""

    model: PyTree
    objective: PyTree


@runtime_checkable
class Objective(Protocol):
    """`init(key)` gives the objective's state; `loss` the value to minimise, the new states, and metrics to log.

    `batch` is a dict of arrays with a leading sample axis, or None for objectives that need no data.
    """

    def init(self, key: Array) -> PyTree: ...

    def loss(
        self, model: NetworkSurrogate, states: States, batch: Fields | None, key: Array
    ) -> tuple[Float[Array, ""], tuple[States, dict[str, Any]]]: ...


class Supervised(eqx.Module):
    """Mean over the batch of a loss between prediction and target, in physical units.

    **Arguments:**

    - `loss`: `losses.RelativeL2()` by default.
    - `symmetry`: every sample of a batch is replaced by a random image of it under this group.
    - `steps`, `gradient`: of an autoregressive task, unroll this many steps and average their losses; "last" lets the
      gradient flow through the last step only (pushforward, Brandstetter et al. 2022), "full" through all of them.
    - `dtype`: what the network computes in; the loss and all states stay in the type of the parameters.
    """

    loss_function: Loss = eqx.field(static=True, default=RelativeL2())
    symmetry: Dihedral | None = eqx.field(static=True, default=None)
    steps: int = eqx.field(static=True, default=1)
    gradient: str = eqx.field(static=True, default="full")
    dtype: str | None = eqx.field(static=True, default=None)

    def init(self, key: Array) -> None:
        return None

    def loss(self, model: NetworkSurrogate, states: States, batch: Fields | None, key: Array):
        if batch is None:
            raise ValueError("Supervised needs data")
        task = model.task
        k_symmetry, k_model = jax.random.split(key)
        if self.symmetry is not None:
            batch = _transform(task, self.symmetry, batch, k_symmetry)
        total, state = jnp.zeros(()), states.model
        for step in range(self.steps):
            inputs, k_step = jax.vmap(task.pack)(batch), jax.random.fold_in(k_model, step)
            y, state = apply_batch(model.network, state, inputs, key=k_step, train=True, dtype=self.dtype)
            predicted = jax.vmap(task.unpack)(y, batch)
            weighted = 1.0 if self.gradient == "full" or step == self.steps - 1 else 0.0
            total = total + weighted * self.per_sample(task, predicted, batch).mean()
            if step < self.steps - 1:
                predicted = predicted if self.gradient == "full" else jax.lax.stop_gradient(predicted)
                batch = jax.vmap(lambda b, p: _advance(task, b, p))(batch, predicted)
        count = self.steps if self.gradient == "full" else 1
        return total / count, (States(state, states.objective), {})

    def per_sample(self, task, predicted: Fields, batch: Fields) -> Float[Array, " batch"]:
        """The loss of every sample of a batch of named predictions."""

        def one(named, fields):
            grid = None if task.grid is None else task.grid_of(fields)
            u, reference = task.stack(named), task.pack_targets(fields)
            if u.shape != reference.shape:
                raise ValueError(f"the network predicts shape {u.shape}, the targets have {reference.shape}")
            return self.loss_function(u, reference, task.weights(fields), grid)

        return jax.vmap(one)(predicted, batch)


def _advance(task, fields: Fields, predicted: Fields) -> Fields:
    """Feed the prediction back and drop the oldest frame; the frames still to be predicted move up."""
    moved = task.advance(fields, predicted)
    return {
        k: jnp.concatenate([moved[k], fields[k][task.history + 1 :]]) if k in task.targets
        else (v[1:] if task.is_timed(k) else v)
        for k, v in fields.items()
    }  # fmt: skip


def _transform(task, symmetry: Dihedral, batch: Fields, key: Array) -> Fields:
    if task.grid is None or len(set(task.grid.layouts)) != 1:
        raise ValueError(f"symmetries act on grids of one layout, this task lives on {task.grid}")
    layout = task.grid.layouts[0]
    size = len(next(iter(batch.values())))
    elements = jax.vmap(symmetry.random)(jax.random.split(key, size))

    def transform(element, field):
        return symmetry.transform(element, field, layout)

    def transformed(name, values):
        if not task.is_field(name):
            return values
        over_time = jax.vmap(transform, in_axes=(None, 0)) if task.is_timed(name) else transform
        return jax.vmap(over_time)(elements, values)

    return {name: transformed(name, values) for name, values in batch.items()}
