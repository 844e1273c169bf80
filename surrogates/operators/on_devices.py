"""A network on the devices of a mesh: every device computes its own samples and its own part of space."""

from collections.abc import Callable

import equinox as eqx
import jax
from jax.flatten_util import ravel_pytree
from jax.sharding import PartitionSpec
from jaxtyping import Array, PyTree

from ...solvers.kernels.mesh_axes import BATCH, SPACE


def axes_to_divide() -> tuple[str, ...]:
    """The axes of the mesh in use (`jax.set_mesh`) along which batches and space are still to be divided."""
    mesh = jax.sharding.get_abstract_mesh()
    return tuple(name for name in (BATCH, SPACE) if mesh.shape.get(name, 1) > 1 and name not in mesh.manual_axes)


def over_devices(function: Callable, model: PyTree, x: Array, state: PyTree) -> tuple[Array, PyTree]:
    """`function(model, x, state) -> (y, state)` with x and y `(batch, *space, channels)`, the batch divided along the mesh
    axis "data" and the first axis of space along "space"; without a mesh the function itself.

    The model enters as one vector, so that its gradient is one reduction.
    """
    axes = axes_to_divide()
    if not axes:
        return function(model, x, state)
    mesh = jax.sharding.get_abstract_mesh()
    for name, size, what in (
        (BATCH, x.shape[0], "batch"),
        (SPACE, x.shape[1], "first axis of space, with its padding,"),
    ):
        if name in axes and size % mesh.shape[name]:
            raise ValueError(f"the {what} of {size} is no multiple of the mesh's {mesh.shape[name]} along {name!r}")
    arrays, rest = eqx.partition(model, eqx.is_array)
    vector, unravel = ravel_pytree(arrays)
    divided = PartitionSpec(*(name if name in axes else None for name in (BATCH, SPACE)))

    def on_device(vector, x, state):
        return function(eqx.combine(unravel(vector), rest), x, state)

    whole = PartitionSpec()
    call = jax.shard_map(on_device, in_specs=(whole, divided, whole), out_specs=(divided, whole), axis_names=set(axes))
    return call(vector, x, state)
