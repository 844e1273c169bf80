"""What all regressors share: checks of their data, and calls for one input or many."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ....core.precision import Double


def per_point(function: Callable, z, parameters, d: int) -> Float[Array, "..."]:
    """`function(z, parameters)`, a `wide` function of one vector z of length `d`, for one input `(d,)`, a number if d = 1, or for
    many `(n, d)`. NumPy arrays are not rounded to float32.

    **Raises:** `ValueError` for another shape."""
    z = z if isinstance(z, jax.Array) else np.asarray(z, np.float64)
    if z.shape == () and d == 1:
        z = z.reshape(1)
    if z.shape != (d,) and (z.ndim != 2 or z.shape[1] != d):
        raise ValueError(f"inputs of shape {z.shape}; expected ({d},) for one or (n, {d}) for many")
    if isinstance(z, np.ndarray) and jnp.result_type(float) != jnp.float64:
        z = Double.of(z)
    return function(z, parameters) if z.shape == (d,) else jax.vmap(function, (0, None))(z, parameters)


def checked_pairs(call: str, z, c, least: int = 1) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n m"]]:
    """Inputs and outputs of a fit in float64.

    **Raises:** `ValueError`, which begins with `call`, for shapes other than `(n, d)` and `(n, m)`, fewer than `least`
    samples, and NaN or infinity (naming the row); `TypeError` for complex numbers or no numbers.
    """
    z, c = (checked_rows(call, name, values) for name, values in (("inputs", z), ("outputs", c)))
    if len(z) != len(c):
        raise ValueError(f"{call}: {len(z)} inputs for {len(c)} outputs")
    if len(z) < least:
        raise ValueError(f"{call} needs at least {least} samples, got {len(z)}")
    return z, c


def checked_rows(call: str, name: str, values) -> Float[np.ndarray, "n d"]:
    """The array `name` in float64, a row per sample; raises as `checked_pairs` does."""
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{call}: {name} of type {values.dtype}; expected real numbers (complex ones as two columns)")
    if values.ndim != 2 or not values.shape[1]:
        hint = f": reshape it to ({len(values)}, 1)" if values.ndim == 1 else ""
        raise ValueError(f"{call}: {name} of shape {values.shape}; expected a row per sample{hint}")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values).all(1))
        raise ValueError(
            f"{call} needs finite numbers; {name} of sample {bad[0]} hold NaN or infinity ({len(bad)} such samples)"
        )
    return values
