"""What identifies a problem: the name of its factory and the arguments it was called with, as one text.

The code of a factory and of laws that are a user's own is part of it, as a checksum of eight digits after `#`, so that data made
by an older version of them are not taken for those of the new one.
"""

import dataclasses
import hashlib
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import Array
from jax.core import Tracer

from ...core.identity import checksum, code_identity, identity_of


@dataclass(frozen=True, eq=False)
class Recipe:
    """A registered factory and its bound arguments, defaults included."""

    name: str
    arguments: Mapping[str, Any]
    factory: Callable

    def __str__(self) -> str:
        """`name(argument=…, …)` with all digits of every number; equal arguments give equal text, in every process.

        **Raises:** `TypeError` for an argument that has no text of its own, such as an object of a plain class.
        """
        own = is_own(self.factory.__module__)
        code = "" if own else f"#{checksum(identity_of(self.factory))}"
        return f"{self.name}({_listed(self.arguments, self.name)}){code}"


def canonical(value: Any, where: str = "this value") -> str:
    """The text of numbers, strings, None, arrays (type, shape and checksum), functions (name and checksum), sequences, mappings
    and dataclasses such as laws, boxes and grids, down to their last field."""
    if isinstance(value, Tracer):
        raise TypeError(f"{where} is traced by a JAX transformation and has no value to identify it by")
    if isinstance(value, np.ndarray | np.generic | Array):
        array = np.asarray(value)
        content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
        return repr(array.item()) if array.ndim == 0 else f"array({array.dtype}, {array.shape}, {content})"
    if value is None or isinstance(value, bool | int | float | complex | str):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"({', '.join(canonical(v, where) for v in value)})"
    if isinstance(value, Mapping):
        return f"{{{_listed(value, where)}}}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: vars(value)[f.name] for f in dataclasses.fields(value)}
        code = code_identity(type(value))
        return f"{_class_name(type(value))}({_listed(fields, where)})" + (f"#{checksum(code)}" if code else "")
    if isinstance(value, types.FunctionType | types.MethodType):
        return f"{value.__module__}.{value.__qualname__}#{checksum(identity_of(value))}"
    raise TypeError(
        f"{where} is of {_class_name(type(value))}, which nothing identifies from one process to the next: make it a frozen "
        "dataclass, or switch the cache off"
    )


def _class_name(cls: type) -> str:
    """With its module unless it is the library's own: two users' laws may have one name."""
    return cls.__qualname__ if is_own(cls.__module__) else f"{cls.__module__}.{cls.__qualname__}"


def is_own(module: str) -> bool:
    """Whether a module belongs to this library."""
    return module.split(".")[0] == __name__.split(".")[0]


def _listed(values: Mapping[str, Any], where: str) -> str:
    return ", ".join(f"{name}={canonical(value, f'{where}: {name}')}" for name, value in values.items())
