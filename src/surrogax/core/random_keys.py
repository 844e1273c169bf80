"""Random keys that people give."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def random_key(call: str, key: Any) -> jax.Array:
    """One random key of JAX; a key of the old style, two numbers of uint32, becomes one of the new style.

    **Raises:** `TypeError` for anything else, such as the number of a seed or an array of keys.
    """
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and not key.shape:
        return key
    if isinstance(key, jax.Array | np.ndarray) and key.dtype == np.uint32 and key.shape == (2,):
        return jax.random.wrap_key_data(jnp.asarray(key))
    raise TypeError(f"{call}(key={key!r}): expected a random key, for example jax.random.key(0)")
