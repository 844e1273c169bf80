"""What is trained of a model and how a network is applied to a batch: each said once."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..core.storage import register
from .task.task import Inputs, Task


@register("Buffer")
class Buffer(eqx.Module):
    """Arrays that belong to a model but that no optimiser moves: a basis, a statistic."""

    value: PyTree


def trainable(model: PyTree) -> PyTree:
    """A pytree of booleans like `model`: True at floating-point arrays that training moves, False at buffers, at the
    statistics of a `Task`, at the `state` of a surrogate (batch statistics), at integers and everything else. Use with
    `equinox.partition`."""

    def mark(node):
        if isinstance(node, Buffer | Task):
            return jax.tree.map(lambda _: False, node)
        return eqx.is_inexact_array(node)

    marks = jax.tree.map(mark, model, is_leaf=lambda node: isinstance(node, Buffer | Task))
    if isinstance(getattr(model, "task", None), Task) and getattr(model, "state", None) is not None:
        marks = eqx.tree_at(lambda m: m.state, marks, jax.tree.map(lambda _: False, model.state))
    return marks


def count_parameters(model: PyTree) -> int:
    """Trained numbers, counted as reals; of a model that was fitted by linear algebra the numbers in its buffers."""
    trained = jax.tree.leaves(eqx.filter(model, trainable(model)))
    if not trained:
        buffers = [b for b in jax.tree.leaves(model, is_leaf=_is_buffer) if _is_buffer(b)]
        trained = [x for x in jax.tree.leaves(buffers) if eqx.is_inexact_array(x)]
    return sum(x.size * (2 if jnp.iscomplexobj(x) else 1) for x in trained)


def _is_buffer(node) -> bool:
    return isinstance(node, Buffer)


def apply_batch(
    network: Callable,
    state: PyTree,
    inputs: Inputs,
    *,
    key: Array | None = None,
    train: bool = False,
    dtype: str | None = None,
) -> tuple[Array, PyTree]:
    """Outputs of a batch and the new model state.

    Stateless networks are `network(inputs, key=key) -> y` on one sample. Networks with a state (batch statistics) are
    `network(inputs, key=key, state=state, train=train) -> (y, state)` under a vmap whose axis is called "batch". A network
    with `batched = True` takes the whole batch itself.

    `dtype`: what the network computes in ("bfloat16"); its parameters are rounded to it, outputs come in their own type.
    """
    if dtype is not None:
        parameters = [x for x in jax.tree.leaves(network) if eqx.is_inexact_array(x)]
        own = jnp.result_type(*parameters)
        y, state = apply_batch(_cast(network, dtype), state, _cast(inputs, dtype), key=key, train=train)
        return y.astype(own), state
    size = jax.tree.leaves(inputs)[0].shape[0]
    if getattr(network, "batched", False):
        return network(inputs, key=key, state=state, train=train)
    keys = None if key is None else jax.random.split(key, size)
    axes = (0, None if key is None else 0)
    if state is None:
        return jax.vmap(lambda x, k: network(x, key=k), in_axes=axes)(inputs, keys), None
    call = jax.vmap(
        lambda x, k: network(x, key=k, state=state, train=train),
        in_axes=axes,
        out_axes=(0, None),
        axis_name="batch",
    )
    return call(inputs, keys)


def _cast(tree: PyTree, dtype: str) -> PyTree:
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, tree)
