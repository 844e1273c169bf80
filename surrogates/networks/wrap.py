"""`wrap` makes a surrogate from your own network, a module of flax (NNX, or Linen with its variables) or any callable pytree."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ...core.arguments import checked
from ..task.inputs import Inputs
from ..task.signature import Signature
from ..task.task import Task
from .abstract_network import Abilities, AbstractNetwork, AbstractNetworkConfig
from .network_surrogate import NetworkSurrogate


@checked
def wrap(
    network: Any,
    task: Task,
    *,
    batched: bool = False,
    any_points: bool = False,
    inputs: Callable[[Inputs], Any] | None = None,
) -> NetworkSurrogate:
    """Make a surrogate from a network that knows nothing of this library. It trains, evaluates and saves like any other.

    **Arguments:**

    - `network`: a `flax.nnx.Module`, or any callable pytree of arrays, such as an equinox module. It maps
      `(*space, task.in_channels + task.in_params)` to `(*space, task.out_channels)`, both normalised. The `Param`s of a flax
      module are trained; everything else in it, such as batch statistics, becomes the surrogate's state. Its `train()` and
      `eval()` are called. A `flax.linen.Module` is given with its variables, `module.bind(variables)`: "params" are trained,
      all other collections become the state. If its `__call__` has an argument `train`, `training` or `deterministic`, it is
      told whether it trains; its stream of random numbers is named "dropout".
    - `task`: the learning problem.
    - `batched`: whether the network takes and returns arrays with a leading batch axis, as flax's convolutions do. Flax modules
      with a state need it.
    - `any_points`: whether the network predicts at any `inputs.query.points`, independent of the points of its inputs.
    - `inputs`: a function of `Inputs` (of one sample) that returns what the network is called with. By default the fields, with
      the parameters appended as constant channels.

    Saved files hold the arrays of the network only. Load them with `surrogax.load(path, like=wrap(TheSameNetwork(…), task))`. To
    train several seeds, pass `fit` a function of a key: `fit(lambda key: wrap(MyNetwork(key), task), …, seeds=3)`.

    **Raises:** `TypeError` for a network that is not callable; `ValueError` for a flax module with a state and `batched=False`.

    **Example:**

        >>> class Local(eqx.Module):
        ...     mlp: eqx.nn.MLP
        ...     def __call__(self, x):                                                      # (x, channels)
        ...         return jax.vmap(self.mlp)(x)
        >>> model = sx.wrap(Local(eqx.nn.MLP(task.in_channels, task.out_channels, 8, 1, key=key)), task)
        >>> model.predict(ds[:2])["u"].shape
        (2, 16)
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
    if _is_linen(network):
        if network.scope is None:
            raise ValueError(
                f"wrap: {type(network).__name__} of flax.linen has no variables; pass module.bind(module.init(key, x))"
            )
        module, variables = network.unbind()
        params = variables.get("params", {})
        rest = {name: values for name, values in variables.items() if name != "params"}
        if rest and not batched:
            raise ValueError(f"wrap: {type(network).__name__} has a state, which needs batches: pass batched=True")
        made = LinenNetwork(
            params=params, module=module, config=config, signature=task.signature, abilities=abilities, select=select
        )
        return NetworkSurrogate(network=made, task=task, state=rest or None)
    if not callable(network) or isinstance(network, type):
        raise TypeError(f"wrap: {type(network).__name__} is neither a module of flax nor callable")
    made = CallableNetwork(network=network, config=config, signature=task.signature, abilities=abilities, select=select)
    return NetworkSurrogate(network=made, task=task)


def default_inputs(inputs: Inputs) -> Array | None:
    """The input fields with the parameters appended as constant channels, `(*space, in_channels + in_params)`."""
    if inputs.params is None:
        return inputs.fields
    space = inputs.query.points.shape[:-1] if inputs.fields is None else inputs.fields.shape[:-1]
    params = jnp.broadcast_to(inputs.params, (*space, inputs.params.shape[-1]))
    return params if inputs.fields is None else jnp.concatenate([inputs.fields, params], -1)


@dataclass(frozen=True)
class Foreign(AbstractNetworkConfig):
    """The config of a wrapped network, which cannot build a new one. `name` is the class of the network."""

    name: str
    self_contained = False

    def build(self, signature: Signature, key: Array) -> NoReturn:
        raise ValueError(
            f"{self.name} does not know how to make new weights; pass a function of a key, "
            "fit(lambda key: wrap(MyNetwork(key), task), …)"
        )


class AbstractWrapped(AbstractNetwork):
    """What wrapped networks share. `select` is the argument `inputs` of `wrap`."""

    config: Foreign = eqx.field(static=True)
    signature: Signature = eqx.field(static=True)
    abilities: Abilities = eqx.field(static=True)
    select: Callable = eqx.field(static=True)

    def initial_state(self) -> None:
        return None

    def selected(self, inputs: Inputs) -> Any:
        """What the network is called with."""
        return jax.vmap(self.select)(inputs) if self.abilities.batched else self.select(inputs)


class CallableNetwork(AbstractWrapped):
    """A wrapped callable pytree."""

    network: PyTree

    def __call__(self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool):
        return self.network(self.selected(inputs)), state


class NNXNetwork(AbstractWrapped):
    """A wrapped flax NNX module, split into its parameters and its graph. The rest of the module is the surrogate's state."""

    params: PyTree
    graph: Any = eqx.field(static=True)

    def __call__(self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool):
        from flax import nnx

        module = nnx.merge(self.graph, self.params, nnx.State({}) if state is None else state, copy=True)
        module.train() if train else module.eval()
        y = module(self.selected(inputs))
        return y, (None if state is None else nnx.split(module, nnx.Param, ...)[2])


class LinenNetwork(AbstractWrapped):
    """A wrapped flax Linen module and its parameters. Its other variables are the surrogate's state."""

    params: PyTree
    module: Any = eqx.field(static=True)

    def __call__(self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool):
        asked = inspect.signature(type(self.module).__call__).parameters
        told = {"train": train, "training": train, "deterministic": not train}
        told = {name: value for name, value in told.items() if name in asked}
        rngs = {} if key is None or not train else {"dropout": key}
        variables = {"params": self.params, **(state or {})}
        changing = list(state) if state is not None and train else False
        y = self.module.apply(variables, self.selected(inputs), rngs=rngs, mutable=changing, **told)
        return y if changing else (y, state)


def _is_linen(network: Any) -> bool:
    linen = sys.modules.get("flax.linen")
    return linen is not None and isinstance(network, linen.Module)


def _is_nnx(network: Any) -> bool:
    # Importing flax is slow. A flax module can exist only if flax has been imported already.
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(network, nnx.Module)
