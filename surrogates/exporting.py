"""Write a surrogate as a StableHLO program, which runs without this library."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from ..core.files import atomic_write
from .batching import Batch
from .synthetic_data import synthetic_dataset
from .task.task import Fields, Place

if TYPE_CHECKING:
    from .surrogate import AbstractSurrogate

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def export(surrogate: "AbstractSurrogate", path: str | os.PathLike, at: Place | None, platforms: Sequence[str]) -> None:
    """What `AbstractSurrogate.export` says."""
    task = surrogate.task
    if unknown := [p for p in platforms if p not in PLATFORMS]:
        raise ValueError(f"export: unknown platform {unknown[0]!r}; expected some of {', '.join(PLATFORMS)}")
    names = task.input_names()
    if not names:
        raise ValueError(
            f"export: {type(surrogate).__name__} has no inputs and always predicts the same; save what predict returns"
        )
    if task.origins:
        raise ValueError(
            f"export: values of {', '.join(name for name, _ in task.origins)} vary little about a large mean, which arrays in "
            "single precision do not resolve; subtract that mean from the data before training"
        )
    examples = synthetic_dataset(task, 1).read(
        list(names), frames=range(task.mode.history) if task.mode.history else None
    )
    (batch,) = jax.export.symbolic_shape("batch")
    fields = {
        name: jax.ShapeDtypeStruct((batch, *x.shape[1:]), jax.dtypes.canonicalize_dtype(x.dtype))
        for name, x in examples.items()
    }

    def predict(fields: Fields):
        count = next(iter(fields.values())).shape[0]
        return surrogate.on_batch(Batch(fields, jnp.arange(count)), at)

    exported = jax.export.export(jax.jit(predict), platforms=tuple(platforms))(fields)
    with atomic_write(path) as temporary:
        temporary.write_bytes(exported.serialize())
