"""Checks of arguments: each returns the value, or raises an error that names the call, the argument and what is expected."""

import math
import operator
from typing import Any

import numpy as np


def count(call: str, name: str, value: Any, least: int = 1) -> int:
    """A whole number of at least `least`, from an integer of any kind.

    **Raises:** `TypeError` for another type, such as a float or a boolean; `ValueError` for a smaller number.
    """
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        whole = operator.index(value)
    except TypeError:
        raise TypeError(f"{call}({name}={value!r}): expected a whole number, {least} or more") from None
    if whole < least:
        raise ValueError(f"{call}({name}={whole}): expected {least} or more")
    return whole


def number(
    call: str, name: str, value: Any, *, above: float = -math.inf, below: float = math.inf, least: float | None = None
) -> float:
    """A finite real number greater than `above` and less than `below`; with `least`, at least that number.

    **Raises:** `TypeError` for anything that is no real number; `ValueError` for one outside the range.
    """
    if isinstance(value, bool | np.bool_ | str | bytes) or np.ndim(value):
        raise TypeError(f"{call}({name}={value!r}): expected a number")
    try:
        real = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{call}({name}={value!r}): expected a number") from None
    low_enough = real > above if least is None else real >= least
    if not (math.isfinite(real) and low_enough and real < below):
        low = f"above {above:g}" if least is None else f"{least:g} or more"
        limits = [low] * (least is not None or above > -math.inf) + [f"below {below:g}"] * (below < math.inf)
        raise ValueError(
            f"{call}({name}={value!r}): expected a finite number{' ' + ' and '.join(limits) if limits else ''}"
        )
    return real


def kind(call: str, name: str, value: Any, expected: type | tuple[type, ...], advice: str) -> None:
    """Check that a value has one of the `expected` types; a class in place of its instance is not enough.

    **Raises:** `TypeError` that ends with `advice`, a phrase such as "pass losses.RelativeL2()".
    """
    if not isinstance(value, expected):
        shown = f"the class {value.__name__}" if isinstance(value, type) else f"{type(value).__name__}"
        raise TypeError(f"{call}({name}=…) is {shown}; {advice}")
