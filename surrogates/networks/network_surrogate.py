"""`NetworkSurrogate`: a network and its task as a surrogate. `FNO(task, …)` and `wrap(network, task)` return one."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ...core.storage import register
from ..batching import Batch
from ..resampling import resample
from ..surrogate import AbstractBatchFirst, AbstractRelative, Capabilities
from ..task.inputs import Inputs
from ..task.task import Fields, Place, Task
from ..trainable import AbstractTrainable, Buffer
from .abstract_network import AbstractNetwork, AbstractNetworkConfig


@register("NetworkSurrogate")
class NetworkSurrogate(AbstractBatchFirst, AbstractRelative, AbstractTrainable):
    """A surrogate that predicts by a network and is trained by `fit`.

    **Fields:** `network`; `task`, which packs the network's inputs and decodes its outputs; `state`, the network's state, such as
    running statistics, or None.

    **Example:**

        >>> model = sx.NetworkSurrogate.build(sx.FNO.config(width=4, modes=4, depth=1), task, key)
        >>> model.predict(ds[:2])["u"].shape
        (2, 16)
    """

    network: AbstractNetwork
    task: Task
    state: PyTree = None

    @classmethod
    def build(cls, config: AbstractNetworkConfig, task: Task, key: Array) -> "NetworkSurrogate":
        """A surrogate for `task` by a network with new weights, built from `config`."""
        network = config.build(task.signature, key)
        return cls(network, task, network.initial_state())

    @property
    def capabilities(self) -> Capabilities:
        abilities = self.network.abilities
        # Only inputs that live with the targets can be brought to another grid of theirs.
        together = all(self.task.spec(name).domain == self.task.place for name in self.task.inputs)
        return Capabilities(
            resolution_free=self.task.domain.fixed and together and abilities.resolution_free,
            # Increments add to the last frame, which is known where the inputs are.
            any_points=abilities.any_points and not self.task.mode.increments,
            needs_input=bool(self.task.inputs or self.task.parameters),
            autoregressive=self.task.mode.rolls_out,
            self_contained=self.network.config.self_contained,
        )

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        return jax.tree.map(lambda y: y[0], self.call_batch(Batch.of(fields), at))

    def call_batch(self, batch: Batch, at: Place | None = None) -> dict[str, Array]:
        if at is not None and not self.capabilities.any_points:
            own, other = self.task.domain.as_grid("at=…"), at.as_grid("a prediction of this network")
            if own.layouts != other.layouts:
                raise ValueError(
                    f"at={at!r}: the network was trained on {own!r} and needs points of the same layout; predict there and "
                    "interpolate"
                )
            # Such a network predicts at the points of its inputs, so the inputs are interpolated to the wanted points first.
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

        - `batch`: the samples, in physical units.
        - `at`: a grid or point cloud at which to predict; by default the points of the samples.
        - `key`: for randomness of the network in training.
        - `train`: True in training: statistics of the batch are used, and the state changes.
        - `dtype`: the type in which the network computes, for example "bfloat16"; parameters and inputs are rounded to it.
        """
        task, network = self.task, self.network

        def packed(sample):
            return _cast(task.pack(sample, at), dtype)

        network = _cast(network, dtype)

        def inputs_of(sample):
            return packed(sample[0])

        samples = batch.fields, batch.numbers
        y, state = applied(network, inputs_of, samples, key=key, state=self.state, train=train)
        if dtype is not None:
            y = y.astype(jnp.result_type(*(x for x in jax.tree.leaves(self.network) if eqx.is_inexact_array(x))))
        return jax.vmap(task.decode)(y, batch.fields), state

    def at_points(self, fields: Fields, points: Float[Array, "n d"]) -> Float[Array, "n c"]:
        """The targets of one sample at single points, with channels, in physical units.

        `points` `(n, d)` are physical coordinates; in a space-time task time is the first one. The network must have the ability
        `any_points`.
        """
        if self.task.mode.increments:
            raise ValueError(
                "at_points: increments add to the last frame, which is known at the points of the inputs alone"
            )
        inputs = self.task.pack_at(fields, points)
        if self.network.abilities.batched:
            y = self.network(jax.tree.map(lambda x: x[None], inputs), key=None, state=self.state, train=False)[0][0]
        else:
            y, _ = self.network(inputs, key=None, state=self.state, train=False)
        return self.task.decode(y[None] if self.task.mode.ahead else y, fields)[0]

    def objective(self, data: Any, **options: Any):
        """The default objective of `fit`: `Supervised` with these options."""
        from ..training.supervised import Supervised  # the objective evaluates surrogates

        return Supervised.of(self.task, data, **options)

    def about_origin(self) -> "NetworkSurrogate":
        return NetworkSurrogate(self.network, self.task.about_origin(), self.state)

    def renewed(self, key: Array) -> "NetworkSurrogate":
        """A surrogate of the same form with new weights. What the network holds in a `Buffer`, such as a basis, stays."""
        new = NetworkSurrogate.build(self.network.config, self.task, key)
        kept = jax.tree.map(
            lambda own, fresh: own if isinstance(own, Buffer) else fresh,
            self.network,
            new.network,
            is_leaf=lambda node: isinstance(node, Buffer),
        )
        return NetworkSurrogate(kept, new.task, new.state)


def applied(
    network: AbstractNetwork,
    packed: Callable[[Any], Inputs],
    samples: PyTree,
    *,
    key: Array | None,
    state: PyTree,
    train: bool,
) -> tuple[Float[Array, "batch ..."], PyTree]:
    """A network on a batch, whether it takes a batch or one sample: its outputs and its new state.

    **Arguments:** `packed`: makes the inputs of one sample. `samples`: a pytree of arrays with a leading sample axis.
    """
    if network.abilities.batched:
        return network(jax.vmap(packed)(samples), key=key, state=state, train=train)
    # Packing is inside the mapped function, so that arrays which all samples share (grid points) are not copied.
    keys = None if key is None else jax.random.split(key, len(jax.tree.leaves(samples)[0]))
    return jax.vmap(
        lambda sample, k: network(packed(sample), key=k, state=state, train=train),
        in_axes=(0, None if key is None else 0),
        out_axes=(0, None),
        axis_name="batch",
    )(samples, keys)


def _cast(tree: PyTree, dtype: str | None) -> PyTree:
    if dtype is None:
        return tree
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, tree)
