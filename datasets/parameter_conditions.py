"""Conditions on parameters, by which samples are chosen."""

from typing import Any

import numpy as np


def meets(name: str, values: np.ndarray, condition: Any) -> np.ndarray:
    """Which samples meet a condition on the values `(sample, [component])` of a parameter: a number, a pair of ends, a function.

    **Raises:** `TypeError` for anything else; `ValueError` for a parameter of several components and for a function that does not
    return a boolean per sample.
    """
    if callable(condition) and not isinstance(condition, type):
        found = np.asarray(condition(values))
        if found.shape != (len(values),) or found.dtype != bool:
            raise ValueError(
                f"where({name}=…): the function gave {found.dtype}{list(found.shape)}, expected a boolean per sample"
            )
        return found
    ends: Any = condition if isinstance(condition, tuple | list) else (condition,)
    numbers = [isinstance(end, int | float | np.number) and not isinstance(end, bool) for end in ends]
    if len(ends) not in (1, 2) or not all(numbers):
        raise TypeError(
            f"where({name}={condition!r:.60}): expected a number, a pair (low, high), or a function of the values"
        )
    if values.ndim != 1:
        raise ValueError(
            f"where({name}=…): {name} has {values.shape[1]} components; pass a function of the values (sample, component)"
        )
    slack = 1e-6 * np.abs(values)
    return (values >= ends[0] - slack) & (values <= ends[-1] + slack)


def values_of(values: np.ndarray) -> str:
    """The values of a parameter in a few words."""
    found = np.unique(values)
    if len(found) <= 6:
        return f"it is {', '.join(f'{value:g}' for value in found)}" if len(found) else "there are no samples"
    return f"it lies between {found[0]:g} and {found[-1]:g}"
