"""Options of the command line made of constructors: keyword arguments with their types, defaults and lines of docstrings."""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union, get_args, get_origin

import tyro

from ..core.arguments import check_fields

# The last one needs measured values, which the command line does not take.
_NEVER = ("self", "cls", "task", "problem", "train", "key", "learn")
_REQUIRED = inspect.Parameter.empty


def options_of(name: str, make: Callable) -> type:
    """A frozen dataclass whose fields are the options of `make` that words can express.

    These are its arguments that are numbers, texts, truth values, `Literal`s, tuples and mappings of them, or None. A class with
    a frozen `config` (`FNO.config`) has the fields of that as well.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for source in (make, _config(make)):
        if source is not None:
            hints = _hints(source)
            for argument in inspect.signature(source).parameters.values():
                kind = _expressible(hints.get(argument.name, Any))
                named = argument.kind in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY)
                if named and argument.name not in (*_NEVER, *found) and kind is not None:
                    empty = get_origin(kind) is dict and argument.default == ()
                    found[argument.name] = kind, {} if empty else argument.default
    texts = {**_lines(_config(make)), **_lines(make)}
    fields = [
        (argument, typing.Annotated[kind, tyro.conf.arg(help=texts.get(argument, ""))], _field(default))
        for argument, (kind, default) in found.items()
    ]
    doc = (inspect.getdoc(make) or name).partition("\n")[0]
    made = dataclasses.make_dataclass(
        _class_name(name), fields, frozen=True, kw_only=True, namespace={"__doc__": doc, "__post_init__": _check}
    )
    return made


def given(options: Any) -> dict[str, Any]:
    """The options of an instance that are not what its constructor takes anyway, to call it with."""
    defaults = {f.name: default_of(f) for f in dataclasses.fields(options)}
    return {name: value for name, value in vars(options).items() if value != defaults[name]}


def _check(options: Any) -> None:
    if not any(value is tyro.MISSING for value in vars(options).values()):  # the command line may still give it
        check_fields(options)


def _field(default: Any) -> Any:
    if default is _REQUIRED:
        return dataclasses.field(default=tyro.MISSING)
    if isinstance(default, Mapping | list):
        return dataclasses.field(default_factory=lambda: default)
    return dataclasses.field(default=default)


def default_of(field: dataclasses.Field) -> Any:
    """The default of a field of a dataclass."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _config(make: Callable) -> Any:
    return vars(make).get("config") if inspect.isclass(make) else None


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in re.split(r"[^a-zA-Z0-9]", name))


def _hints(make: Any) -> dict[str, Any]:
    source = inspect.unwrap(make.__new__) if inspect.isclass(make) and "__new__" in vars(make) else make
    if inspect.isclass(source) and not dataclasses.is_dataclass(source):
        source = inspect.unwrap(source.__init__)
    return typing.get_type_hints(inspect.unwrap(source) if callable(source) else source)


def _expressible(hint: Any) -> Any:
    """The part of a type that words can express; None if there is none."""
    if hint in (int, float, str, bool, type(None)):
        return hint
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return hint
    if origin in (Union, types.UnionType):
        parts = [p for p in map(_expressible, inner) if p is not None]
        plain = [p for p in parts if p is not type(None)]
        if mappings := [p for p in plain if get_origin(p) is dict]:
            return mappings[0]
        return Union[tuple(parts)] if plain else None  # noqa: UP007 (made at run time)
    if origin is tuple:
        kinds = [k for k in inner if k is not Ellipsis]
        return hint if kinds and all(_expressible(k) == k for k in kinds) else None
    if origin is not None and inspect.isclass(origin) and issubclass(origin, Mapping):
        return dict[inner[0], inner[1]] if all(_expressible(k) == k for k in inner) else None
    return None


def _lines(make: Any) -> dict[str, str]:
    """The text of every argument in the docstring of a constructor, whose lines are "- `width`: channels, 20 to 64."."""
    text = inspect.getdoc(make) or "" if make is not None else ""
    found = {}
    for names, line in re.findall(r"^- ((?:`\w+`(?:, )?)+): (.*?)(?=^- |^\S|\Z)", text, re.M | re.S):
        for name in re.findall(r"`(\w+)`", names):
            found[name] = " ".join(line.split())
    return found
