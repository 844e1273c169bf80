"""Identities: the content of objects in a form that can be compared and written to JSON."""

import dataclasses
import functools
import math
import types
import zlib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...datasets.dataset import Dataset

_WHOLE = 2**31  # bytes: every value of a dataset up to this size enters its identity
_SAMPLES = 256  # number of samples of a larger dataset that enter its identity


def identity_of(value: Any, _seen: tuple[int, ...] = ()) -> Any:
    """A tree of strings, numbers, lists and dicts. It is equal for two objects if they have the same type and content.

    An array enters by dtype, shape and checksum. A function enters by its name, instructions, constants, defaults, the values
    that it closes over, and the numbers, strings, arrays and functions of its own module that it names, so that all numbers
    inside an optax optimiser or a schedule count. Any other object enters by its fields, not by the code of its methods.
    Nothing depends on memory addresses, on the `repr` of objects or on the process.
    """
    if id(value) in _seen:
        return "…"
    seen = (*_seen, id(value))

    def inner(x):
        return identity_of(x, seen)

    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case complex() | bytes() | PurePath():
            return str(value)
        case jax.Array() if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            return ["key", np.asarray(jax.random.key_data(value)).tolist()]
        case jax.Array() | np.ndarray() | np.generic():
            array = np.asarray(value)
            return [array.dtype.name, list(array.shape), zlib.crc32(np.ascontiguousarray(array).tobytes())]
        case np.dtype() | type():
            return str(value)
        case Mapping():
            return {str(k): inner(v) for k, v in value.items()}
        case set() | frozenset():
            return sorted(str(inner(v)) for v in value)
        case types.FunctionType():
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
            code = _code(value.__code__, value.__doc__)
            return [_name(value), code, inner(cells), inner(defaults), inner(_globals(value))]
        case types.MethodType():
            return [_name(value.__func__), inner(value.__self__)]
        case functools.partial():
            return ["partial", inner(value.func), inner(value.args), inner(value.keywords)]
        case _ if dataclasses.is_dataclass(value):
            fields = {f.name: inner(getattr(value, f.name)) for f in dataclasses.fields(value)}
            return [_name(type(value)), fields]
        case tuple() | list():
            kind = [] if type(value) in (tuple, list) else [_name(type(value))]
            return kind + [inner(v) for v in value]
        case types.BuiltinFunctionType() | types.ModuleType():
            return str(value.__name__)
        case _ if isinstance(getattr(value, "__wrapped__", None), types.FunctionType):  # a jitted function
            return inner(value.__wrapped__)
    return [_name(type(value)), inner(vars(value)) if getattr(value, "__dict__", None) else ""]


def data_identity(data: Dataset | None, names: tuple[str, ...]) -> Any:
    """The identity of the named arrays of a dataset: their form and a checksum of their values, in order.

    All values of a dataset up to 2 GiB enter the checksum; of a larger one the values of 256 evenly spread samples.
    """
    if data is None:
        return None
    one = data.read(list(names), [0]) if len(data) else {}
    size = len(data) * sum(v.nbytes for v in one.values())
    chosen = np.arange(len(data)) if size <= _WHOLE else np.unique(np.linspace(0, len(data) - 1, _SAMPLES).astype(int))
    sums = dict.fromkeys(names, 0)
    block = max(1, 2**26 * len(data) // max(size, 1))
    for start in range(0, len(chosen), block):
        for name, values in data.read(list(names), chosen[start : start + block]).items():
            sums[name] = zlib.crc32(np.ascontiguousarray(values).tobytes(), sums[name])
    shapes = {name: [v.dtype.name, list(v.shape[1:])] for name, v in one.items()}
    return {"samples": len(data), "arrays": shapes, "checksums": sums}


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _code(code: types.CodeType, doc: str | None = None) -> list:
    """Checksum of a function's instructions, its names and its constants without the docstring. Another version of Python
    compiles other instructions, so that a run is resumed with the version that began it."""
    constants = [_constant(c) for c in code.co_consts if doc is None or c != doc]
    return [zlib.crc32(code.co_code), list(code.co_names), constants]


def _constant(value: Any) -> Any:
    """One constant of a function's code, in a form that does not depend on the process."""
    match value:
        case types.CodeType():
            return _code(value)
        case frozenset():  # `x in {"a", "b"}`; the order of a set of strings differs from process to process
            return sorted(map(repr, value))
    return repr(value)


def _globals(function: types.FunctionType) -> dict[str, Any]:
    """What a function reads of its module by name: values that do not change in place, and the module's own functions."""
    found = {name: function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__}
    fixed = (bool, int, float, complex, str, tuple, np.ndarray, np.generic, jax.Array)
    own = (types.FunctionType, functools.partial)
    return {
        name: value
        for name, value in sorted(found.items())
        if isinstance(value, fixed) or (isinstance(value, own) and value.__module__ == function.__module__)
    }


def _names(code: types.CodeType) -> set[str]:
    nested = (_names(c) for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*nested)
