"""The axes of a mesh of devices by name, and means over what they divide."""

import jax
from jaxtyping import Array, Inexact

BATCH, SPACE = "data", "space"
PARAMETERS = "fsdp"  # divides parameters and their optimiser's memory, and the batch as well


def devices_along(axis: str) -> int:
    """On how many devices an array is divided along this mesh axis, here in a program that is written for one device
    (`jax.shard_map`); else 1."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.shape[axis] if axis in mesh.manual_axes else 1


def mean_over(x: Inexact[Array, "..."], axes: tuple[int, ...], *divided: str) -> Inexact[Array, "..."]:
    """Mean over array axes, kept with length 1, that are divided along these mesh axes."""
    mean = x.mean(axes, keepdims=True)
    along = tuple(name for name in divided if devices_along(name) > 1)
    return jax.lax.pmean(mean, along) if along else mean
