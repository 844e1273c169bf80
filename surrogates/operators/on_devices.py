"""A network on the devices of a mesh: every device computes its own samples and its own part of space."""

from collections.abc import Callable

import equinox as eqx
import jax
from jax.flatten_util import ravel_pytree
from jax.sharding import PartitionSpec
from jaxtyping import Array, PyTree

from ...solvers.kernels.mesh_axes import BATCH, SPACE

_CPU_CACHE = 2**20  # bytes; two cores have 2 MiB, and an operation reads one array and writes another


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


def part_for_caches(batch: int, sample_bytes: int) -> int:
    """How many samples of a batch, evenly divided, to compute at a time on this platform: on a CPU as many as keep an
    intermediate result, of `sample_bytes` per sample, within its second-level caches; elsewhere all."""
    if jax.default_backend() != "cpu":
        return batch
    return max((n for n in range(1, batch + 1) if batch % n == 0 and n * sample_bytes <= _CPU_CACHE), default=1)


def in_parts(function: Callable, x: Array, size: int) -> Array:
    """`function` of `size` samples of a batch at a time."""
    if size == len(x):
        return function(x)
    y = jax.lax.map(function, x.reshape(-1, size, *x.shape[1:]))
    return y.reshape(len(x), *y.shape[2:])
