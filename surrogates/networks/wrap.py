"""Somebody's own network as a surrogate: flax NNX modules and any callable pytree."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..task.inputs import Inputs
from ..task.signature import Signature
from ..task.task import Task
from .abstract_network import Abilities, AbstractNetwork, AbstractNetworkConfig
from .network_surrogate import NetworkSurrogate


def wrap(
    network: Any,
    task: Task,
    *,
    batched: bool = False,
    any_points: bool = False,
    inputs: Callable[[Inputs], Any] | None = None,
) -> NetworkSurrogate:
    """A surrogate that trains, evaluates and saves like any other, from a network that knows nothing of this library.

    **Arguments:**

    - `network`: a `flax.nnx.Module` (its `Param`s are trained, everything else, such as batch statistics, becomes the
      model state, and `train()` and `eval()` are called), or any callable pytree of arrays (an equinox module).
    - `batched`: the network takes arrays with a leading batch axis, as flax's convolutions do. Modules with a state must.
    - `any_points`: the network answers at any `inputs.query.points`, whatever the points of its inputs.
    - `inputs`: what the network is called with, a function of `Inputs`; by default the fields with the parameters appended
      as constant channels, `(*space, in_channels + in_params)`.

    The network returns `(*space, out_channels)`, normalised values. Saved files hold its arrays only: read them back with
    `surrogax.load(path, like=wrap(TheSameNetwork(…), task))`. For several seeds pass `fit` a function of a key.
    """
    select = default_inputs if inputs is None else inputs
    abilities = Abilities(batched=batched, any_points=any_points)
    config = Foreign(f"{type(network).__module__}.{type(network).__qualname__}")
    if _is_nnx(network):
        from flax import nnx

        graph, params, rest = nnx.split(network, nnx.Param, ...)
        stateful = bool(jax.tree.leaves(rest))
        if stateful and not batched:
            raise ValueError(f"wrap: {type(network).__name__} has a state, which needs batches: pass batched=True")
        made = NNXNetwork(
            params=params, graph=graph, config=config, signature=task.signature, abilities=abilities, select=select
        )
        return NetworkSurrogate(network=made, task=task, state=rest if stateful else None)
    if not callable(network):
        raise TypeError(f"wrap: {type(network).__name__} is neither a flax.nnx.Module nor callable")
    made = CallableNetwork(network=network, config=config, signature=task.signature, abilities=abilities, select=select)
    return NetworkSurrogate(network=made, task=task)


def default_inputs(inputs: Inputs) -> Array | None:
    """Fields and, as constant channels, parameters."""
    if inputs.params is None:
        return inputs.fields
    space = inputs.query.points.shape[:-1] if inputs.fields is None else inputs.fields.shape[:-1]
    params = jnp.broadcast_to(inputs.params, (*space, inputs.params.shape[-1]))
    return params if inputs.fields is None else jnp.concatenate([inputs.fields, params], -1)


@dataclass(frozen=True)
class Foreign(AbstractNetworkConfig):
    """Stands for the config of a network made elsewhere; `name` says of which class."""

    name: str
    self_contained = False

    def build(self, signature: Signature, key: Array) -> NoReturn:
        raise ValueError(
            f"{self.name} does not know how to make new weights; pass a function of a key, "
            "fit(lambda key: wrap(MyNetwork(key), task), …)"
        )


class CallableNetwork(AbstractNetwork):
    """Any callable pytree."""

    network: PyTree
    config: Foreign = eqx.field(static=True)
    signature: Signature = eqx.field(static=True)
    abilities: Abilities = eqx.field(static=True)
    select: Callable = eqx.field(static=True)

    def initial_state(self) -> None:
        return None

    def __call__(self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool):
        if self.abilities.batched:
            return self.network(jax.vmap(self.select)(inputs)), state
        return self.network(self.select(inputs)), state


class NNXNetwork(AbstractNetwork):
    """A flax NNX module, split into its parameters and its graph; the rest of it is the surrogate's state."""

    params: PyTree
    graph: Any = eqx.field(static=True)
    config: Foreign = eqx.field(static=True)
    signature: Signature = eqx.field(static=True)
    abilities: Abilities = eqx.field(static=True)
    select: Callable = eqx.field(static=True)

    def initial_state(self) -> None:
        return None

    def __call__(self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool):
        from flax import nnx

        module = nnx.merge(self.graph, self.params, nnx.State({}) if state is None else state, copy=True)
        module.train() if train else module.eval()
        x = jax.vmap(self.select)(inputs) if self.abilities.batched else self.select(inputs)
        y = module(x)
        return y, (None if state is None else nnx.split(module, nnx.Param, ...)[2])


def _is_nnx(network: Any) -> bool:
    # flax is heavy to import; a module of its can only exist if somebody has.
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(network, nnx.Module)
