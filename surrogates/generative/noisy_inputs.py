"""What a network sees that removes noise: noisy targets, a level of noise, and the inputs of the task."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.domains import Grid
from ..task.inputs import FieldValues, Inputs
from ..task.signature import Signature, SourceSignature
from ..task.task import Fields, Task

_WAVES = (1.0, 2.0, 4.0, 8.0)


def noisy_signature(call: str, task: Task, more: int = 0) -> Signature:
    """The signature of such a network, with `more` channels.

    **Raises:** `ValueError` for targets that are not on a grid, or inputs elsewhere.
    """
    own = task.signature
    domain = own.domain.as_grid(call)
    if any(source.domain != domain for source in own.sources):
        raise ValueError(f"{call}: all input fields must be on the grid of the targets")
    channels = own.out_channels + sum(source.channels for source in own.sources) + more
    params = own.params + 1 + 2 * len(_WAVES)
    return Signature((SourceSignature(channels, domain),), params, own.out_channels, domain)


def noisy_inputs(
    task: Task,
    fields: Fields,
    at: Grid | None,
    x: Float[Array, "*space c"],
    level: Float[Array, ""],
    *more: Float[Array, "*space m"],
) -> Inputs:
    """The inputs of such a network for one sample: the channels of `x` before those of the inputs and `more`, and the number
    `level` with its waves after the parameters."""
    own = task.pack(fields, at)
    angles = level * jnp.array(_WAVES, level.dtype)
    features = jnp.concatenate([level[None], jnp.sin(angles), jnp.cos(angles)])
    params = features if own.params is None else jnp.concatenate([own.params, features])
    values = jnp.concatenate([x, *(source.values for source in own.sources), *more], -1)
    return Inputs((FieldValues(values, own.query),), params, own.query)
