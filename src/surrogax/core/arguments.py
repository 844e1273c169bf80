"""Checks of arguments. They raise one sentence that names the call, the argument and what is expected."""

import collections.abc
import dataclasses
import functools
import inspect
import math
import operator
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np

Function = TypeVar("Function", bound=Callable)


def checked(function: Function) -> Function:
    """Decorator: check the kinds of the arguments of a public function against its annotations before it is called.

    Integers of any kind become `int`. Annotations of arrays are not checked; the function looks at arrays itself.

    **Raises:** `TypeError`, from the decorated function, for an argument of another kind, an unknown or a missing one.
    """
    signature = inspect.signature(function)
    name = function.__qualname__.removesuffix(".__init__").removesuffix(".__new__").split(".")[-1]
    hints: dict[str, Any] = {}

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        if not hints:
            hints.update(_hints(function))
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}: {error}; the arguments are {_listed(signature)}") from None
        for argument, value in bound.arguments.items():
            if argument in hints and signature.parameters[argument].kind not in _VARIADIC:
                bound.arguments[argument] = _checked(name, argument, value, hints[argument])
        return function(*bound.args, **bound.kwargs)

    return typing.cast(Function, wrapped)


def check_fields(instance: Any) -> None:
    """Check the kinds of the fields of a frozen dataclass or an equinox module against their annotations, as `checked` does.

    Call it first in `__post_init__` or `__check_init__`.
    """
    kind_ = type(instance)
    hints = _hints(kind_)
    for field in dataclasses.fields(instance):
        if field.init and field.name in hints:
            value = vars(instance)[field.name]
            found = _checked(kind_.__name__, field.name, value, hints[field.name])
            if found is not value:
                object.__setattr__(instance, field.name, found)


def misfit(instance: Any) -> str:
    """One sentence about the first field of a dataclass from a file whose value does not fit its annotation; "" if all do.

    The fields of an equinox module are compared if they are static: the others hold arrays.
    """
    hints = _hints(type(instance))
    for field in dataclasses.fields(instance):
        compared = not isinstance(instance, eqx.Module) or field.metadata.get("static", False)
        value = vars(instance)[field.name]
        if compared and field.name in hints and not _fits(value, hints[field.name]):
            wanted = " or ".join(dict.fromkeys(_words(hints[field.name])))
            return f"{field.name} is {_short(value)}, expected {wanted}"
    return ""


def count(call: str, name: str, value: Any, least: int = 1) -> int:
    """A whole number of at least `least`, from an integer of any kind.

    **Raises:** `TypeError` for another type, such as a float or a boolean; `ValueError` for a smaller number.
    """
    if not _fits(value, int):
        raise TypeError(f"{call}({name}={_short(value)}): expected a whole number, {least} or more")
    whole = operator.index(value)
    if whole < least:
        raise ValueError(f"{call}({name}={whole}): expected {least} or more")
    return whole


def number(
    call: str, name: str, value: Any, *, above: float = -math.inf, below: float = math.inf, least: float | None = None
) -> float:
    """A finite real number greater than `above` and less than `below`; with `least`, at least that number.

    **Raises:** `TypeError` for anything that is no real number; `ValueError` for one outside the range.
    """
    if not _fits(value, float):
        raise TypeError(f"{call}({name}={_short(value)}): expected a number")
    real = float(value)
    low_enough = real > above if least is None else real >= least
    if not (math.isfinite(real) and low_enough and real < below):
        low = f"above {above:g}" if least is None else f"{least:g} or more"
        limits = [low] * (least is not None or above > -math.inf) + [f"below {below:g}"] * (below < math.inf)
        raise ValueError(
            f"{call}({name}={real!r}): expected a finite number{' ' + ' and '.join(limits) if limits else ''}"
        )
    return real


def kind(call: str, name: str, value: Any, expected: type | tuple[type, ...], advice: str) -> None:
    """Check that a value has one of the `expected` types; a class in place of its instance is not enough.

    **Raises:** `TypeError` that ends with `advice`, a phrase such as "pass losses.RelativeL2()".
    """
    if not isinstance(value, expected):
        raise TypeError(f"{call}({name}=…) is {_kind_of(value)}; {advice}")


def real_array(call: str, name: str, value: Any) -> np.ndarray | jax.Array:
    """An array of real numbers: a JAX array as it is, anything else as a NumPy array.

    **Raises:** `TypeError` for anything but real numbers, such as text, None or rows of different lengths.
    """
    try:
        array = value if isinstance(value, jax.Array) else np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "fiu" and not jax.numpy.issubdtype(array.dtype, jax.numpy.floating):
        raise TypeError(f"{call}({name}={_short(value)}): expected an array of real numbers")
    return array


def random_key(call: str, key: Any) -> jax.Array:
    """One random key; an old key of two uint32 becomes a new one.

    **Raises:** `TypeError` for anything else, such as a seed.
    """
    if isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) and not key.shape:
        return key
    if isinstance(key, jax.Array | np.ndarray) and key.dtype == np.uint32 and key.shape == (2,):
        return jax.random.wrap_key_data(jnp.asarray(key))
    raise TypeError(f"{call}(key={_short(key)}): expected a random key, for example jax.random.key(0)")


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _checked(call: str, name: str, value: Any, hint: Any) -> Any:
    if not _fits(value, hint):
        wanted = " or ".join(dict.fromkeys(_words(hint)))
        raise TypeError(f"{call}({name}=…) is {_kind_of(value)}; expected {wanted}")
    return operator.index(value) if isinstance(value, np.integer) else value


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value has the kind that an annotation asks for. Annotations that this function does not know fit everything."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if hint is None or hint is type(None):
        return value is None
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is Literal:
        return any(value is each or (type(value) is type(each) and value == each) for each in inner)
    if hint is bool:
        return isinstance(value, bool | np.bool_)
    if hint is int:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)
    if hint is float:
        array = isinstance(value, np.ndarray | np.generic | jax.Array) and value.ndim == 0
        scalar = array and (jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer))
        return scalar or (isinstance(value, float | int) and not isinstance(value, bool))
    if hint is Callable or origin is collections.abc.Callable:
        return callable(value) and not isinstance(value, type)
    if isinstance(origin, type):
        return _fits_container(value, origin, inner)
    if not isinstance(hint, type) or _is_array(hint):
        return True
    return isinstance(value, hint)


def _fits_container(value: Any, origin: type, inner: tuple) -> bool:
    if not isinstance(value, origin) or (isinstance(value, str) and origin is not str):
        return False
    if issubclass(origin, collections.abc.Mapping):
        items = typing.cast(collections.abc.Mapping, value).items()
        return all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in items)
    if origin is tuple and not (len(inner) == 2 and inner[1] is Ellipsis):
        return not inner or (len(value) == len(inner) and all(map(_fits, value, inner)))
    if issubclass(origin, collections.abc.Sequence):
        return all(_fits(each, inner[0]) for each in value)
    return True


def _is_array(hint: type) -> bool:
    return hint in (jax.Array, np.ndarray) or issubclass(hint, jaxtyping.AbstractArray)


def _words(hint: Any) -> list[str]:
    """What an annotation asks for, in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return [word for each in inner for word in _words(each)]
    if origin is Literal:
        return [repr(each) for each in inner]
    known = {
        None: "None",
        type(None): "None",
        int: "a whole number",
        float: "a number",
        str: "a text",
        bool: "True or False",
    }
    if hint in known:
        return [known[hint]]
    if hint is Callable or origin is collections.abc.Callable:
        return ["a function"]
    if isinstance(origin, type):
        return [
            f"{origin.__name__.lower()} of {' and '.join(dict.fromkeys(w for x in inner if x is not ... for w in _words(x)))}"
        ]
    if isinstance(hint, type):
        return ["an array" if _is_array(hint) else f"{hint.__name__}"]
    return [str(hint)]


def _kind_of(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, str | int | float | None | bool):
        return repr(value)
    return f"of type {type(value).__name__}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _listed(signature: inspect.Signature) -> str:
    return ", ".join(name for name, p in signature.parameters.items() if name != "self" and p.kind not in _VARIADIC)


@functools.cache
def _hints(function: Any) -> dict[str, Any]:
    """The annotations of a function or class; without those that name what is imported for type checkers alone."""
    try:
        return {k: v for k, v in typing.get_type_hints(function).items() if k != "return"}
    except NameError:
        target = function.__init__ if isinstance(function, type) else function
        return {k: v for k, v in inspect.get_annotations(target).items() if k != "return" and not isinstance(v, str)}
