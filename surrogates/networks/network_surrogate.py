"""A network with its task as a surrogate: what `FNO(task, …)` and `wrap(network, task)` return and `fit` trains."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ...core.storage import register
from ..batching import Batch
from ..resampling import resample
from ..surrogate import AbstractBatchFirst, Capabilities
from ..task.task import Fields, Place, Task
from ..trainable import AbstractTrainable
from .abstract_network import AbstractNetwork, AbstractNetworkConfig


@register("NetworkSurrogate")
class NetworkSurrogate(AbstractBatchFirst, AbstractTrainable):
    """A network, the task that packs its inputs and decodes its outputs, and the network's state."""

    network: AbstractNetwork
    task: Task
    state: PyTree = None

    @classmethod
    def build(cls, config: AbstractNetworkConfig, task: Task, key: Array) -> "NetworkSurrogate":
        """The surrogate of a network with new weights for this task."""
        network = config.build(task.signature, key)
        return cls(network, task, network.initial_state())

    @property
    def capabilities(self) -> Capabilities:
        abilities = self.network.abilities
        return Capabilities(
            resolution_free=self.task.domain.fixed and abilities.resolution_free,
            any_points=abilities.any_points,
            needs_input=bool(self.task.inputs or self.task.parameters),
            autoregressive=self.task.mode.rolls_out,
            self_contained=self.network.config.self_contained,
        )

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        return jax.tree.map(lambda y: y[0], self.call_batch(Batch.of(fields), at))

    def call_batch(self, batch: Batch, at: Place | None = None) -> dict[str, Array]:
        if at is not None and not self.network.abilities.any_points:
            # A network that reads its inputs where it answers gets them there.
            fields = jax.vmap(lambda sample, _: resample(self.task, sample, at))(batch.fields, batch.numbers)
            batch = Batch(fields, batch.numbers)
        frames, _ = self.frames(batch, at=at)
        return jax.vmap(self.task.split)(frames)

    def frames(
        self,
        batch: Batch,
        *,
        at: Place | None = None,
        key: Array | None = None,
        train: bool = False,
        dtype: str | None = None,
    ) -> tuple[Float[Array, "batch frames *space c"], PyTree]:
        """Predicted frames of a batch with channels, in physical units, and the network's new state.

        **Arguments:**

        - `key`: for what is random in training.
        - `train`: whether statistics of the batch are used and the state moves on.
        - `dtype`: what the network computes in, for example "bfloat16"; its parameters are rounded to it.
        """
        task, network = self.task, self.network

        def packed(sample):
            return _cast(task.pack(sample, at), dtype)

        network = _cast(network, dtype)
        if network.abilities.batched:
            inputs = jax.vmap(lambda sample, _: packed(sample))(batch.fields, batch.numbers)
            y, state = network(inputs, key=key, state=self.state, train=train)
        else:
            # What all samples share, such as the points of a grid, is not copied: packing is part of the mapped function.
            keys = None if key is None else jax.random.split(key, len(batch))
            y, state = jax.vmap(
                lambda sample, _, k: network(packed(sample), key=k, state=self.state, train=train),
                in_axes=(0, 0, None if key is None else 0),
                out_axes=(0, None),
                axis_name="batch",
            )(batch.fields, batch.numbers, keys)
        if dtype is not None:
            y = y.astype(jnp.result_type(*(x for x in jax.tree.leaves(self.network) if eqx.is_inexact_array(x))))
        return jax.vmap(task.decode)(y, batch.fields), state

    def at_points(self, fields: Fields, points: Float[Array, "n d"]) -> Float[Array, "n c"]:
        """The targets with channels, in physical units, of one sample at single points of space, or of time and space in a
        space-time task (time first), for networks that answer at any points."""
        inputs = self.task.pack_at(fields, points)
        if self.network.abilities.batched:
            y = self.network(jax.tree.map(lambda x: x[None], inputs), key=None, state=self.state, train=False)[0][0]
        else:
            y, _ = self.network(inputs, key=None, state=self.state, train=False)
        return self.task.decode(y[None] if self.task.mode.ahead else y, fields)[0]

    def objective(self, data: Any, **options: Any):
        """`training.Supervised` with these options."""
        from ..training.supervised import Supervised  # the objective evaluates surrogates

        return Supervised.of(self.task, data, **options)

    def renewed(self, key: Array) -> "NetworkSurrogate":
        network = self.network.config.build(self.task.signature, key)
        return eqx.tree_at(lambda s: s.network, self, network)


def _cast(tree: PyTree, dtype: str | None) -> PyTree:
    if dtype is None:
        return tree
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, tree)
