"""Saved objects and arrays, in the byte form of `array_file`. Reading one runs no code: a file can name registered types
only, and their fields are set without calling a constructor."""

import dataclasses
import math
import os
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from . import array_file
from .files import StorageError as StorageError

_TYPES: dict[str, type] = {}
_TAGS: dict[type, str] = {}


_T = TypeVar("_T")

# Registered types -----------------------------------------------------------------------------------------------------


def register(tag: str) -> Callable[[type[_T]], type[_T]]:
    """Class decorator: lets `save` and `load` handle a dataclass, `equinox.Module` or named tuple under a unique tag,
    `@register("fno")`. Every concrete class is registered itself, a base class does not count. The tag and the field
    names are what files hold: renaming either makes older files unreadable. Put it above `@dataclass`."""

    def decorate(cls: type[_T]) -> type[_T]:
        if not (dataclasses.is_dataclass(cls) or _is_named_tuple(cls)):
            raise TypeError(
                f"register({tag!r}): {cls.__qualname__} is no dataclass, equinox.Module or named tuple; "
                "write @register above @dataclass"
            )
        known = _TYPES.get(tag)
        if known is not None and _qualified(known) != _qualified(cls):
            raise ValueError(f"tag {tag!r} belongs to {_qualified(known)}; choose another one for {_qualified(cls)}")
        if _TAGS.get(cls, tag) != tag:
            raise ValueError(f"{_qualified(cls)} is already registered as {_TAGS[cls]!r}, so it cannot be {tag!r} too")
        _TYPES[tag], _TAGS[cls] = cls, tag
        return cls

    return decorate


def _is_named_tuple(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _field_names(cls: type) -> tuple[str, ...]:
    return cls._fields if _is_named_tuple(cls) else tuple(field.name for field in dataclasses.fields(cls))


# Saved objects --------------------------------------------------------------------------------------------------------


def save(path: str | os.PathLike, obj: Any) -> None:
    """Saves a tree of registered objects, tuples, lists, dicts with string keys, numbers, strings, None, JAX and NumPy
    arrays, NumPy scalars and JAX random keys. The file is replaced atomically.

    **Raises:** `TypeError` for anything else (functions, unregistered classes), naming where in `obj` it sits.
    """
    arrays: list[np.ndarray] = []
    tree = _encode(obj, "", arrays)
    array_file.write(path, tree, arrays)


def load(path: str | os.PathLike) -> Any:
    """What `save` wrote: JAX arrays as JAX arrays, NumPy arrays as NumPy arrays, objects of their registered types.

    **Raises:** `StorageError` for a damaged or foreign file, an unknown tag, or a type whose fields have changed.
    """
    try:
        tree, arrays = array_file.read(path)
        return _decode(tree, arrays, "")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise StorageError(f"{path}: {error}") from error


def save_arrays(path: str | os.PathLike, tree: Any) -> None:
    """Saves the arrays and numbers of any pytree by their key path. Its structure and all other leaves (functions) are
    not stored: that is for foreign models; give types of your own a tag and use `save`."""
    save(path, {jax.tree_util.keystr(key): leaf for key, leaf in _leaves(tree) if _is_value(leaf)})


def load_arrays(path: str | os.PathLike, like: Any) -> Any:
    """`like` with its arrays and numbers replaced by those of a file of `save_arrays`; `jax.ShapeDtypeStruct` leaves
    count as arrays.

    **Raises:** `StorageError` if key paths, shapes or dtypes differ.
    """
    saved = load(path)
    if not isinstance(saved, dict):
        raise StorageError(f"{path}: holds a saved {type(saved).__name__}, not arrays by key path; read it with load")
    leaves = [(jax.tree_util.keystr(key), leaf) for key, leaf in _leaves(like)]
    expected = {key for key, leaf in leaves if _is_value(leaf)}
    if saved.keys() != expected:
        raise StorageError(
            f"{path}: holds another structure; only in the file: {_some(saved.keys() - expected)}; "
            f"only in `like`: {_some(expected - saved.keys())}"
        )
    for key, leaf in leaves:
        if key in expected and _form(saved[key]) != _form(leaf):
            raise StorageError(
                f"{path}: {key} is {_form(saved[key])} in the file, {_form(leaf)} in `like`; "
                "build `like` with the settings of the saved model"
            )
    return jax.tree.unflatten(jax.tree.structure(like), [saved.get(key, leaf) for key, leaf in leaves])


def _leaves(tree: Any) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_flatten_with_path(tree)[0]


def _is_value(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct | np.ndarray | np.generic | bool | int | float)


def _form(leaf: Any) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "dtype") else type(leaf).__name__


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:5]) or "nothing"
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")


# The tree in the header -----------------------------------------------------------------------------------------------


def _encode(value: Any, where: str, arrays: list[np.ndarray]) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return {"key": jax.random.key_impl(value), "data": _encode(jax.random.key_data(value), where, arrays)}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        if value.dtype.name not in array_file.DTYPES:
            raise TypeError(
                f"cannot save {where or 'an array'} of dtype {value.dtype}; use one of {list(array_file.DTYPES)}"
            )
        arrays.append(np.asarray(value, array_file.DTYPES[value.dtype.name], order="C"))
        form = "jax" if isinstance(value, jax.Array) else "numpy" if isinstance(value, np.ndarray) else "scalar"
        return {"array": len(arrays) - 1, "as": form}
    if kind in (list, tuple):
        return {kind.__name__: [_encode(v, f"{where}[{i}]", arrays) for i, v in enumerate(value)]}
    if kind is dict:
        if wrong := [key for key in value if type(key) is not str]:
            raise TypeError(f"cannot save {where or 'a dict'} with the key {wrong[0]!r}: keys must be strings")
        return {"dict": {k: _encode(v, f"{where}[{k!r}]", arrays) for k, v in value.items()}}
    if kind in _TAGS:
        fields = {name: _encode(getattr(value, name), f"{where}.{name}", arrays) for name in _field_names(kind)}
        return {"tag": _TAGS[kind], "fields": fields}
    function = callable(value) and not dataclasses.is_dataclass(kind)
    fix = "store a name and look the function up" if function else f"register {_qualified(kind)} under a tag"
    raise TypeError(f"cannot save {where or 'this object'}: {value!r:.80} has no form in a file; {fix}")


def _decode(node: Any, arrays: list[np.ndarray], where: str) -> Any:
    match node:
        case None | bool() | int() | float() | str():
            return node
        case {"float": "nan" | "inf" | "-inf" as text}:
            return float(text)
        case {"key": str(impl), "data": data}:
            return jax.random.wrap_key_data(_decode(data, arrays, where), impl=impl)
        case {"array": int(index), "as": "jax" | "numpy" | "scalar" as form} if 0 <= index < len(arrays):
            return _as(form, arrays[index], where)
        case {"list": list(items)}:
            return [_decode(v, arrays, f"{where}[{i}]") for i, v in enumerate(items)]
        case {"tuple": list(items)}:
            return tuple(_decode(v, arrays, f"{where}[{i}]") for i, v in enumerate(items))
        case {"dict": dict(items)}:
            return {k: _decode(v, arrays, f"{where}[{k!r}]") for k, v in items.items()}
        case {"tag": str(tag), "fields": dict(fields)}:
            return _rebuild(tag, {k: _decode(v, arrays, f"{where}.{k}") for k, v in fields.items()}, where)
    raise StorageError(f"the header has {node!r:.80} at {where or 'its root'}, which stands for no value")


def _rebuild(tag: str, values: dict[str, Any], where: str) -> Any:
    if tag not in _TYPES:
        raise StorageError(
            f"{where or 'the object'} has the unknown tag {tag!r}, registered are {sorted(_TYPES)}; import the module "
            f"that defines it, or register a class with @register({tag!r})"
        )
    cls = _TYPES[tag]
    names = _field_names(cls)
    if set(names) != set(values):
        raise StorageError(
            f"{where or 'the object'} is a {tag!r} with fields {sorted(values)}, {cls.__qualname__} has "
            f"{sorted(names)}; the file is from another version"
        )
    if _is_named_tuple(cls):
        return tuple.__new__(cls, [values[name] for name in names])
    obj = object.__new__(cls)
    for name in names:
        object.__setattr__(obj, name, values[name])
    return obj


def _as(form: str, array: np.ndarray, where: str) -> Any:
    if form == "numpy":
        return array
    if form == "scalar":
        return array[()]
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        raise StorageError(
            f"{where or 'the array'} is a JAX array of {array.dtype}, but x64 is off; "
            'call jax.config.update("jax_enable_x64", True) before loading'
        )
    return jnp.asarray(array)
