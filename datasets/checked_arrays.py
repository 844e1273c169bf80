"""Arrays that people give, as NumPy arrays of real numbers, and instants, as increasing numbers."""

from typing import Any

import jax.numpy as jnp
import numpy as np


def real_numbers(values: Any, what: str) -> np.ndarray:
    """The values as a NumPy array of float16, float32 or float64; `what` names them in messages.

    Lists, NumPy, JAX and PyTorch arrays are accepted. Booleans and whole numbers become the smallest of float32 and float64 that
    holds every value of their type, bfloat16 becomes float32.

    **Raises:** `TypeError` for complex numbers, strings, dates and objects; `ValueError` for lists of unequal length and for
    masked arrays with masked values.
    """
    if isinstance(values, np.ma.MaskedArray):
        if masked := int(np.ma.count_masked(values)):
            raise ValueError(
                f"{what} is a masked array with {masked} of {values.size} values masked, and what lies under a mask has no "
                "meaning; fill them with a value of your choice, values.filled(0.0), or leave those points out by points="
            )
        values = values.data
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{what} is no array of numbers ({error}); give a NumPy array") from error
    if array.dtype.kind in "biu":
        return array.astype(np.result_type(array.dtype, np.float32))
    if array.dtype.kind == "f":
        native = array.dtype.newbyteorder("=")
        return array.astype(native if native.itemsize <= 8 else np.float64, copy=False)
    if jnp.issubdtype(array.dtype, jnp.floating):  # bfloat16, float8
        return array.astype(np.float32)
    fixes = {
        "c": "give real and imaginary part as two components, np.stack([z.real, z.imag], -1)",
        "M": 'give numbers since a start, (t - t[0]) / np.timedelta64(1, "s")',
        "m": 'give numbers in a unit of your choice, dt / np.timedelta64(1, "s")',
    }
    fix = fixes.get(array.dtype.kind, "convert it to numbers, values.astype(float)")
    raise TypeError(f"{what} is of dtype {array.dtype}, expected real numbers; {fix}")


def instants(times: Any) -> np.ndarray:
    """The instants of a time axis, float32 or float64 `(time,)`.

    **Raises:** `ValueError` for anything but one or more finite numbers that increase; `TypeError` as `real_numbers`.
    """
    found = real_numbers(times, "times")
    if found.ndim != 1 or not len(found):
        raise ValueError(
            f"times has shape {found.shape}, expected (time,): one or more instants, which all samples share"
        )
    if not np.isfinite(found).all():
        first = int(np.flatnonzero(~np.isfinite(found))[0])
        raise ValueError(
            f"times[{first}] is {found[first]}; cut what was padded or never reached, for example times[:{first}], and the "
            "fields with it"
        )
    if (np.diff(found) <= 0).any():
        first = int(np.flatnonzero(np.diff(found) <= 0)[0])
        raise ValueError(
            f"times must increase, but times[{first}] = {found[first]:g} is followed by {found[first + 1]:g}; sort the "
            "frames by np.argsort(times) and keep one of equal instants"
        )
    return found
