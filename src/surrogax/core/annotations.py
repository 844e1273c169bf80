"""Whether the values of fields fit their annotations, for objects that are read from files."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import numpy as np

_NUMBERS = {bool: (bool, np.bool_), int: (int, np.integer), float: (int, float, np.integer, np.floating)}


def misfit(obj: Any) -> str:
    """One sentence about the first field of a dataclass whose value does not fit its annotation, "" if all do.

    Numbers, strings, sequences, mappings, literals, unions and classes are compared. The fields of an `equinox.Module` are arrays
    unless they are static, and arrays are not compared: `vmap` adds axes to them.
    """
    try:
        hints = typing.get_type_hints(type(obj))
    except NameError:  # an annotation names what its module imports for type checkers only
        return ""
    for field in dataclasses.fields(obj):
        compared = not isinstance(obj, eqx.Module) or field.metadata.get("static", False)
        if compared and not fits(vars(obj)[field.name], hints[field.name]):
            return (
                f"{field.name} is {vars(obj)[field.name]!r:.80}, expected {inspect.formatannotation(hints[field.name])}"
            )
    return ""


def fits(value: Any, hint: Any) -> bool:
    """Whether a value fits an annotation. An annotation of a kind that is not listed in `misfit` fits every value."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is None:
        return value is None
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in arguments)
    if origin is typing.Literal:
        return any(type(value) is type(one) and value == one for one in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        repeated = len(arguments) == 2 and arguments[1] is Ellipsis
        expected = arguments[:1] * len(value) if repeated else arguments
        return len(value) == len(expected) and all(map(fits, value, expected))
    if origin in (list, Sequence):
        return isinstance(value, list | tuple) and all(fits(v, arguments[0]) for v in value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            fits(k, arguments[0]) and fits(v, arguments[1]) for k, v in value.items()
        )
    if hint in _NUMBERS:
        return isinstance(value, _NUMBERS[hint]) and (hint is bool or not isinstance(value, bool | np.bool_))
    if isinstance(hint, type) and (hint in (str, tuple, list, dict) or dataclasses.is_dataclass(hint)):
        return isinstance(value, hint)
    return True
