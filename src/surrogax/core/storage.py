"""Saved objects. `save` writes a tree of registered objects to one safetensors file, `load` reads it back.

Arrays are stored under their path in the object (`network.blocks[0].weight`); the tree of everything else, with the tags of the
classes, is the metadata (see `safetensors_file`). Reading a file runs no code that the file could choose: it can name
registered classes only, whose fields are set without calling a constructor and must fit their annotations. The one method of
such a class that is called is its own `__check_init__`, so that a file cannot hold an object that the class refuses. Shapes in
annotations (`Float[Array, "i o"]`) are not enforced: modules that `vmap` made carry further axes in front.

An object with a blueprint (a network with its config) is stored as the blueprint and its arrays; loading builds its
structure again, by the `skeleton` of the registered blueprint.
"""

import dataclasses
import enum
import math
import os
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from . import safetensors_file
from .addresses import address_of
from .arguments import misfit
from .blueprint import AbstractBlueprint, AbstractBuilt
from .files import StorageError as StorageError
from .registry import field_names, is_named_tuple, qualified_name, tag_of, tags, type_of
from .registry import register as register
from .remote_files import local_copy
from .safetensors_file import DTYPES

# Saved objects --------------------------------------------------------------------------------------------------------


def save(path: str | os.PathLike, obj: Any) -> None:
    """Save a tree of registered objects, registered classes, tuples, lists, dicts with string keys, numbers, strings, None,
    JAX and NumPy arrays, NumPy scalars and JAX random keys. The file is replaced in one step. `path` may be an address such as
    `s3://bucket/file`.

    **Raises:** `TypeError` for anything else (functions, unregistered classes), naming its place in `obj`.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = _encode(obj, "", arrays)
    safetensors_file.write(path, tree, arrays)


def load(path: str | os.PathLike) -> Any:
    """Read what `save` wrote: JAX arrays as JAX arrays, NumPy arrays as NumPy arrays, objects as their registered classes.

    Settings (dataclasses that are no `equinox.Module`) that came after the file have their defaults, parts of modules whose
    default is None are None.

    **Raises:** `StorageError` for a damaged or foreign file, an unknown tag, a class whose fields have changed, and an object
    whose fields do not fit their annotations or are refused by the `__check_init__` of its class.
    """
    address = address_of(path)
    try:
        tree, arrays = safetensors_file.read(path if address is None else local_copy(address))
        match tree:
            case {"leaves": dict(leaves)}:
                loaded = {key: _decode(node, arrays, key) for key, node in leaves.items()}
            case _:
                loaded = _decode(tree, arrays, "")
        if arrays:
            raise StorageError(f"holds the arrays {_some(set(arrays))}, which its header does not mention")
        return loaded
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise StorageError(f"{path}: {error}") from error


def save_arrays(path: str | os.PathLike, tree: Any) -> None:
    """Save the arrays and numbers of any pytree by their key paths, as a file that `load_arrays` reads.

    The structure of the tree and all other leaves (functions, for example) are not stored. Use it for models of other
    libraries; for your own classes, register a tag and use `save`.
    """
    arrays: dict[str, np.ndarray] = {}
    leaves = {key: _encode(leaf, key, arrays) for key, leaf in values_by_path(tree).items()}
    safetensors_file.write(path, {"leaves": leaves}, arrays)


def load_arrays(path: str | os.PathLike, like: Any) -> Any:
    """Read a file of `save_arrays` and return a copy of `like` with the arrays and numbers of the file.

    Leaves of `like` that are `jax.ShapeDtypeStruct` count as arrays.

    **Raises:** `StorageError` if key paths, shapes or dtypes differ.
    """
    saved = load(path)
    if not isinstance(saved, dict):
        raise StorageError(f"{path}: holds a saved {type(saved).__name__}, not arrays by key path; read it with load")
    return with_values(like, saved, path)


def values_by_path(tree: Any) -> dict[str, Any]:
    """The arrays and numbers of any pytree by their key paths."""
    return {jax.tree_util.keystr(key): leaf for key, leaf in _leaves(tree) if _is_value(leaf)}


def with_values(like: Any, saved: dict[str, Any], path: str | os.PathLike) -> Any:
    """A copy of `like` with the arrays and numbers `saved` by key path; `path` names the file in errors.

    **Raises:** `StorageError` if key paths, shapes or dtypes differ.
    """
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


def to_json(obj: Any) -> Any:
    """The JSON value by which `save` describes an object without arrays, such as a grid, for files of other formats.

    **Raises:** `TypeError` for what `save` refuses, and for an object with arrays.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = _encode(obj, "", arrays)
    if arrays:
        raise TypeError(f"cannot describe {obj!r:.80} without its arrays {_some(set(arrays))}")
    return tree


def from_json(tree: Any) -> Any:
    """The object that `to_json` described. **Raises:** `StorageError` as `load`."""
    return _decode(tree, {}, "")


def _leaves(tree: Any) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_flatten_with_path(tree)[0]


def _is_value(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct | np.ndarray | np.generic | bool | int | float)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct | np.ndarray)


def _form(leaf: Any) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "dtype") else type(leaf).__name__


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:5]) or "nothing"
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")


# Objects to JSON ------------------------------------------------------------------------------------------------------


def _encode(value: Any, where: str, arrays: dict[str, np.ndarray]) -> Any:
    """The JSON node of a value at the path `where`. The arrays of the value are added to `arrays` under their paths."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        arrays[_array_name(where)] = np.asarray(jax.random.key_data(value), order="C")
        return {"key": jax.random.key_impl(value)}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return _encode_array(value, where, arrays)
    if isinstance(value, AbstractBuilt):
        leaves = [(f"{where}{jax.tree_util.keystr(key)}", leaf) for key, leaf in _leaves(value) if _is_array(leaf)]
        built = {name: _encode(leaf, name, arrays) for name, leaf in leaves}
        return {"blueprint": _encode(value.blueprint, f"{where}.blueprint", arrays), "arrays": built}
    if kind in (list, tuple):
        return {kind.__name__: [_encode(v, f"{where}[{i}]", arrays) for i, v in enumerate(value)]}
    if kind is dict:
        if wrong := [key for key in value if type(key) is not str]:
            raise TypeError(f"cannot save {where or 'a dict'} with the key {wrong[0]!r}: keys must be strings")
        return {"dict": {k: _encode(v, f"{where}[{k!r}]", arrays) for k, v in value.items()}}
    if isinstance(value, type) and tag_of(value) is not None:
        return {"type": tag_of(value)}
    if tag_of(kind) is not None:
        if isinstance(value, enum.Enum):
            return {"enum": tag_of(kind), "name": value.name}
        fields = {name: _encode(getattr(value, name), f"{where}.{name}", arrays) for name in field_names(kind)}
        return {"tag": tag_of(kind), "fields": fields}
    function = callable(value) and not isinstance(value, type) and not dataclasses.is_dataclass(kind)
    unknown = value if isinstance(value, type) else kind
    fix = "store a name and look the function up" if function else f"register {qualified_name(unknown)} under a tag"
    raise TypeError(f"cannot save {where or 'this object'}: {value!r:.80} has no form in a file; {fix}")


def _encode_array(value: jax.Array | np.ndarray | np.generic, where: str, arrays: dict[str, np.ndarray]) -> Any:
    form = "jax" if isinstance(value, jax.Array) else "numpy" if isinstance(value, np.ndarray) else "scalar"
    name = value.dtype.name
    if name in ("complex64", "complex128"):
        # Real and imaginary parts along a last axis of length 2: safetensors has no complex128.
        pairs = np.asarray(value, name, order="C")[..., None].view("float32" if name == "complex64" else "float64")
        arrays[_array_name(where)] = pairs
        return {"complex": form}
    if name not in DTYPES:
        raise TypeError(
            f"cannot save {where or 'an array'} of dtype {value.dtype}; use one of "
            f"{[*DTYPES, 'complex64', 'complex128']}"
        )
    arrays[_array_name(where)] = np.asarray(value, DTYPES[name], order="C")
    return {"array": form}


def _array_name(where: str) -> str:
    """Name in the file of the array at a path: the path itself, or "value" if the array is the whole object."""
    return where.removeprefix(".") or "value"


# JSON to objects ------------------------------------------------------------------------------------------------------


def _decode(node: Any, arrays: dict[str, np.ndarray], where: str) -> Any:
    """The value of a JSON node at the path `where`. The arrays of the value are removed from `arrays`."""
    match node:
        case None | bool() | int() | float() | str():
            return node
        case {"float": "nan" | "inf" | "-inf" as text}:
            return float(text)
        case {"key": str(impl)}:
            return jax.random.wrap_key_data(jnp.asarray(_take(arrays, where)), impl=impl)
        case {"array": "jax" | "numpy" | "scalar" as form}:
            return _as(form, _take(arrays, where), where)
        case {"complex": "jax" | "numpy" | "scalar" as form}:
            return _as(form, _complex(_take(arrays, where), where), where)
        case {"blueprint": dict(plan), "arrays": dict(built)}:
            values = {name: _decode(leaf, arrays, name) for name, leaf in built.items()}
            return _filled(_decode(plan, arrays, f"{where}.blueprint"), values, where)
        case {"list": list(items)}:
            return [_decode(v, arrays, f"{where}[{i}]") for i, v in enumerate(items)]
        case {"tuple": list(items)}:
            return tuple(_decode(v, arrays, f"{where}[{i}]") for i, v in enumerate(items))
        case {"dict": dict(items)}:
            return {k: _decode(v, arrays, f"{where}[{k!r}]") for k, v in items.items()}
        case {"type": str(tag)}:
            return _registered(tag, where)
        case {"enum": str(tag), "name": str(name)}:
            return _member(_registered(tag, where), name, where)
        case {"tag": str(tag), "fields": dict(fields)}:
            values = {k: _decode(v, arrays, f"{where}.{k}") for k, v in fields.items()}
            return _rebuild(_registered(tag, where), tag, values, where)
    raise StorageError(f"the header has {node!r:.80} at {where or 'its root'}, which describes no value")


def _take(arrays: dict[str, np.ndarray], where: str) -> np.ndarray:
    try:
        return arrays.pop(_array_name(where))
    except KeyError:
        raise StorageError(f"the header has an array at {where or 'its root'}, the file holds none there") from None


def _registered(tag: str, where: str) -> type:
    cls = type_of(tag)
    if cls is None:
        raise StorageError(
            f"{where or 'the object'} has the unknown tag {tag!r}, registered are {tags()}; import the module "
            f"that defines it, or register a class with @register({tag!r})"
        )
    return cls


def _member(cls: type, name: str, where: str) -> enum.Enum:
    if not issubclass(cls, enum.Enum) or name not in cls.__members__:
        raise StorageError(f"{where or 'the object'} is {name!r:.80} of {cls.__qualname__}, which has no such member")
    return cls.__members__[name]


def _rebuild(cls: type, tag: str, values: dict[str, Any], where: str) -> Any:
    """An instance of `cls` with these fields, made without calling its constructor."""
    if issubclass(cls, enum.Enum):
        raise StorageError(f"{where or 'the object'} gives fields to {cls.__qualname__}, which is an enum")
    names = field_names(cls)
    values = {**_later_settings(cls), **values}
    if set(names) != set(values):
        raise StorageError(
            f"{where or 'the object'} is a {tag!r} with fields {sorted(values)}, {cls.__qualname__} has "
            f"{sorted(names)}; the file is from another version"
        )
    if is_named_tuple(cls):
        return tuple.__new__(cls, [values[name] for name in names])
    obj = object.__new__(cls)
    for name in names:
        object.__setattr__(obj, name, values[name])
    if wrong := misfit(obj):
        raise StorageError(f"{where or 'the object'} is no valid {cls.__qualname__}: {wrong}")
    for owner in cls.__mro__:
        if "__check_init__" in vars(owner):
            try:
                vars(owner)["__check_init__"](obj)
            except Exception as error:  # a check may raise anything when fields have wrong values
                raise StorageError(f"{where or 'the object'} is no valid {cls.__qualname__}: {error}") from error
    return obj


def _later_settings(cls: type) -> dict[str, Any]:
    """The defaults of settings and the absent parts of modules, which an older file may lack. A setting that is added must
    change nothing by default."""
    if not dataclasses.is_dataclass(cls):
        return {}
    later = {f.name: f.default for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING}
    return {name: None for name, default in later.items() if default is None} if issubclass(cls, eqx.Module) else later


def _filled(blueprint: Any, values: dict[str, Any], where: str) -> Any:
    """The skeleton of a blueprint, filled with the arrays `values`, given by path."""
    if not isinstance(blueprint, AbstractBlueprint):
        raise StorageError(f"{where or 'the object'} is built from a {type(blueprint).__name__}, which is no blueprint")
    try:
        skeleton = blueprint.skeleton()
    except Exception as error:  # building may raise anything when settings have wrong values
        raise StorageError(f"{where or 'the object'} cannot be built from {blueprint!r:.200}: {error}") from error
    leaves = [(f"{where}{jax.tree_util.keystr(key)}", leaf) for key, leaf in _leaves(skeleton)]
    expected = {name: _form(leaf) for name, leaf in leaves if _is_array(leaf)}
    found = {name: _form(value) for name, value in values.items()}
    widened = {name: form.replace("float32", "float64") for name, form in expected.items()}  # it was trained in float64
    if found not in (expected, widened):
        name = next(n for n in sorted(expected | found) if expected.get(n) != found.get(n))
        raise StorageError(
            f"{where or 'the object'} was built with {name} {found.get(name, 'absent')}, its blueprint asks for "
            f"{expected.get(name, 'nothing there')}; the file is damaged or from another version"
        )
    return jax.tree.unflatten(jax.tree.structure(skeleton), [values.get(name, leaf) for name, leaf in leaves])


def _complex(pairs: np.ndarray, where: str) -> np.ndarray:
    if pairs.dtype.name not in ("float32", "float64") or pairs.shape[-1:] != (2,):
        raise StorageError(
            f"{where or 'the array'} is complex, but stored as {_form(pairs)}; expected pairs of real numbers"
        )
    return pairs.view("complex64" if pairs.dtype.name == "float32" else "complex128")[..., 0]


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
