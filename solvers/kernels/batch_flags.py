"""Flags that a whole batch shares, so that a branch stays a branch under `vmap`."""

import jax
from jaxtyping import Array, Bool


@jax.custom_batching.custom_vmap
def any_of_batch(flag: Bool[Array, ""]) -> Bool[Array, ""]:
    """The flag itself; under `vmap` whether any member of the batch raises it, one flag for all."""
    return flag


@any_of_batch.def_vmap
def _any_of_batch(size, batched, flag):
    return any_of_batch(flag.any(0)), False
