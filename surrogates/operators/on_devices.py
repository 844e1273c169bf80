"""Evaluation of a network on the devices of a mesh, each of which computes its own samples and its own part of space."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax.flatten_util import ravel_pytree
from jax.sharding import PartitionSpec
from jaxtyping import Array, PyTree

from ...solvers.kernels.mesh_axes import BATCH, PARAMETERS, SPACE

_CPU_CACHE = 2**21  # bytes; the fastest of 2^20 to 2^23 for most of ten FNOs in one to three dimensions


def axes_to_divide() -> tuple[str, ...]:
    """Names of the axes ("data", "space") of the mesh in use (`jax.set_mesh`) that have several devices and along which arrays
    have not been divided yet by an enclosing `shard_map`. None where parameters are divided ("fsdp"): gathering those of a layer
    where it needs them is left to the compiler, while one vector of all would have to fit into a device."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.shape.get(PARAMETERS, 1) > 1:
        return ()
    return tuple(name for name in (BATCH, SPACE) if mesh.shape.get(name, 1) > 1 and name not in mesh.manual_axes)


def over_devices(function: Callable, model: PyTree, x: Array, state: PyTree) -> tuple[Array, PyTree]:
    """Evaluate `function(model, x, state) -> (y, state)` on the mesh in use; without a mesh, call it directly.

    x and y are `(batch, *space, channels)`. The batch is divided along the mesh axis "data", the first space axis along "space".
    The model is passed as one vector, so that the devices sum its gradient by one reduction.

    **Raises:** `ValueError` if the batch or the first space axis is no multiple of the number of devices.
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


def part_for_caches(batch: Any, sample_bytes: int) -> Any:
    """Number of samples to compute at a time, a divisor of `batch`.

    On a CPU it is the largest one for which an intermediate result of `sample_bytes` per sample fits into the second-level
    cache (1 if none fits); elsewhere, and for a batch of unknown size (`jax.export`), it is the whole batch.
    """
    if jax.default_backend() != "cpu" or not isinstance(batch, int):
        return batch
    return max((n for n in range(1, batch + 1) if batch % n == 0 and n * sample_bytes <= _CPU_CACHE), default=1)


def in_parts(function: Callable, x: Array, size: Any) -> Array:
    """Apply `function` to `size` samples of the batch `x` at a time and concatenate the results."""
    if size == x.shape[0]:
        return function(x)
    y = jax.lax.map(function, x.reshape(-1, size, *x.shape[1:]))
    return y.reshape(len(x), *y.shape[2:])
