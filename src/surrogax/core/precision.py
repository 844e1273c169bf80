"""Float64 work inside a float32 program.

The library never changes the process-wide x64 flag of JAX. Work that needs double precision (Gram matrices, label errors)
runs through `in_double`. On concrete arrays it computes in float64 under a local switch and returns NumPy arrays. Inside a
traced function (jit, grad, vmap) it raises `TypeError` unless x64 is on, because the backward pass would silently be rounded
to float32.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def in_double(function: Callable | None = None, *, promote: bool = True) -> Callable:
    """Decorator: call `function` with x64 enabled and its floating-point array arguments cast to float64.

    Called on concrete arrays, the decorated function returns NumPy arrays.

    **Arguments:** `promote`: False leaves the arguments as they are. Use it for a function that sums large float32 arrays in
    float64 without copying them to float64.

    **Raises:** `TypeError` if called on traced values (under jit, grad or vmap) while x64 is off.
    """
    if function is None:
        return functools.partial(in_double, promote=promote)

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((args, kwargs)))
        if traced and jnp.result_type(float) != jnp.float64:
            raise TypeError(
                f"{function.__name__} computes in float64 and cannot be traced (jit, grad, vmap) while x64 is off: "
                "its derivative would be rounded to float32. Enable it with jax.config.update('jax_enable_x64', True)."
            )
        with jax.enable_x64(True):
            if promote:
                args, kwargs = jax.tree.map(_promote, (args, kwargs))
            result = function(*args, **kwargs)
            return result if traced else jax.tree.map(_to_host, result)

    return wrapped


def _promote(leaf):
    if isinstance(leaf, np.ndarray | jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating):
        return jnp.asarray(leaf, jnp.float64)
    return leaf


def _to_host(leaf):
    return np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf
