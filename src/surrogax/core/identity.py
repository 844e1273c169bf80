"""Identities: the content of objects, functions and classes in a form that can be compared and written to JSON.

By them a run folder knows what it belongs to, and a cache of generated data by which numbers and code these were made.
"""

import dataclasses
import functools
import json
import math
import sys
import types
import zlib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_OWN = __name__.split(".")[0]


def identity_of(value: Any, _seen: tuple[int, ...] = ()) -> Any:
    """A tree of strings, numbers, lists and dicts. It is equal for two objects if they have the same type and content.

    An array enters by dtype, shape and checksum. A function enters by its name, instructions, constants, defaults, the values
    that it closes over, and the numbers, strings, arrays and functions of its own module that it names, so that all numbers
    inside an optax optimiser or a schedule count. A function that is no part of an installed package also enters by the lists and
    dicts of numbers that it names, and by the functions that it names in other such modules. Any other object enters by its
    fields, not by the code of its methods, for which there is `code_identity`. Nothing depends on memory addresses, on the `repr`
    of objects or on the process.
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
            cells = [_contents(cell) for cell in value.__closure__ or ()]
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
        case _ if function := _function_of(value):  # a jitted function
            return inner(function)
    return [_name(type(value)), inner(vars(value)) if getattr(value, "__dict__", None) else ""]


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


def code_identity(cls: type) -> dict[str, Any]:
    """The code of a class: attributes, methods and properties, its own and those of its bases. Classes of this library and of
    installed packages, and what Python itself adds to a class, do not count; it is empty for a class of theirs."""
    return {
        f"{_name(owner)}.{name}": identity_of(_code_of(value))
        for owner in cls.__mro__
        if _is_local(owner.__module__)
        for name, value in sorted(vars(owner).items())
        if name in _RUN or not name.startswith(("__", "_abc_"))
    }


_RUN = ("__init__", "__post_init__", "__check_init__", "__call__")


def checksum(identity: Any) -> str:
    """Eight hexadecimal digits of an identity."""
    return f"{zlib.crc32(json.dumps(identity).encode()):08x}"


def _code_of(attribute: Any) -> Any:
    """What runs when an attribute of a class is used."""
    match attribute:
        case staticmethod() | classmethod():
            return attribute.__func__
        case property():
            return [attribute.fget, attribute.fset]
        case functools.cached_property():
            return attribute.func
    return attribute


@functools.cache
def _is_local(module: str | None) -> bool:
    """Whether a module is a user's own, such as a script or notebook: no part of Python, this library or an installed package."""
    root = (module or "builtins").split(".")[0]
    if root in sys.stdlib_module_names or root in (_OWN, "builtins"):
        return False
    place = vars(sys.modules[module]).get("__file__") if module in sys.modules else None
    return place is None or not {"site-packages", "dist-packages"} & set(PurePath(place).parts)


def _globals(function: types.FunctionType) -> dict[str, Any]:
    """What a function reads of its module by name, see `identity_of`."""
    names = sorted(_names(function.__code__))
    found = {name: function.__globals__[name] for name in names if name in function.__globals__}
    local = _is_local(function.__module__)
    values = {}
    for name, value in found.items():
        code = _function_of(value)
        if isinstance(value, _FIXED) or (code and code.__module__ == function.__module__):
            values[name] = value
        elif local:
            values |= {name + inner: v for inner, v in _local_values(value, names).items()}
    return values


_FIXED = (bool, int, float, complex, str, tuple, np.ndarray, np.generic, jax.Array)


def _local_values(value: Any, names: list[str]) -> dict[str, Any]:
    """What a function of a user reads of a global of another kind; `names` are those in its code."""
    code = _function_of(value)
    match value:
        case _ if code:
            return {"": value} if _is_local(code.__module__) else {}
        case list() | dict() | set():
            return {"": value} if _is_settings(value) else {}
        case type():
            return {"": code_identity(value)} if _is_local(value.__module__) else {}
        case types.ModuleType() if _is_local(value.__name__):
            read = {name: vars(value)[name] for name in names if name in vars(value)}
            return {f".{name}": v for name, v in read.items() if isinstance(v, _FIXED) or _function_of(v)}
        case _ if _is_setting(type(value)):
            return {"": [value, code_identity(type(value))]}
    return {}


def _is_setting(cls: type) -> bool:
    """Whether a class is a frozen dataclass that compares its fields, such as a law or a grid; datasets and models do not."""
    return any(
        parameters.frozen and parameters.eq
        for parameters in (vars(owner).get("__dataclass_params__") for owner in cls.__mro__)
        if parameters is not None
    )


def _function_of(value: Any) -> types.FunctionType | None:
    """The Python function in a function, a jitted one or a partial one; None for anything else."""
    if isinstance(value, functools.partial):
        return _function_of(value.func)
    found = value if isinstance(value, types.FunctionType) else getattr(value, "__wrapped__", None)
    return found if isinstance(found, types.FunctionType) else None


def _is_settings(value: list | dict | set | tuple) -> bool:
    """Whether a container holds numbers and strings alone. Others are logs, registries and the like, which grow."""
    entries = [*value.keys(), *value.values()] if isinstance(value, dict) else list(value)
    nested = (tuple, list, dict, set)
    return bool(entries) and all(
        _is_settings(v) if isinstance(v, nested) else isinstance(v, bool | int | float | str | np.ndarray)
        for v in entries
    )


def _names(code: types.CodeType) -> set[str]:
    nested = (_names(c) for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*nested)


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that has no value yet
        return "no value"
