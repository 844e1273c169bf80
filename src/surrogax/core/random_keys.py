"""Random keys that people give."""

from typing import Any

import jax
import jax.numpy as jnp


def checked_key(key: Any, what: str) -> jax.Array:
    """A random key of JAX, new-style or old-style; `what` names the function in the message.

    **Raises:** `TypeError` for anything else, such as the number of a seed, and for an array of keys.
    """
    if isinstance(key, jax.Array):
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        if (typed and key.shape == ()) or (key.dtype == jnp.uint32 and key.ndim == 1):
            return key
    raise TypeError(f"{what}: key is {key!r:.60}, expected one random key, such as jax.random.key(0)")
