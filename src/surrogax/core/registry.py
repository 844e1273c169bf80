"""Tags of classes. A file names a class by its tag and by nothing else, so it can build registered classes only."""

import dataclasses
import enum
from collections.abc import Callable
from typing import TypeVar

_TYPES: dict[str, type] = {}
_TAGS: dict[type, str] = {}

_T = TypeVar("_T")


def register(tag: str) -> Callable[[type[_T]], type[_T]]:
    """Class decorator that lets `save` and `load` handle a class under a unique tag: `@register("fno")`.

    The class is a dataclass (a frozen configuration, for example), an `equinox.Module`, a named tuple or an `enum.Enum`.
    Instances can then be saved, and the class itself too, where a field holds a class. A registered base class does not
    register the classes derived from it. Files hold the tag and the names of fields or members: renaming one of them makes
    older files unreadable. Write `@register` above `@dataclass`.

    `load` sets fields without calling `__init__` or `__post_init__`, because a constructor may do anything. A class that
    wants its fields checked when they are read from a file declares equinox's `__check_init__(self)`, which raises
    `ValueError`: `load` calls it.

    **Raises:** `TypeError` for any other class; `ValueError` for a tag that another class has, or a second tag.
    """

    def decorate(cls: type[_T]) -> type[_T]:
        if not (dataclasses.is_dataclass(cls) or is_named_tuple(cls) or _is_plain_enum(cls)):
            raise TypeError(
                f"register({tag!r}): {cls.__qualname__} is no dataclass, equinox.Module, named tuple or enum (flags are "
                "none); write @register above @dataclass"
            )
        known = _TYPES.get(tag)
        if known is not None and qualified_name(known) != qualified_name(cls):
            raise ValueError(
                f"tag {tag!r} belongs to {qualified_name(known)}; choose another one for {qualified_name(cls)}"
            )
        if _TAGS.get(cls, tag) != tag:
            raise ValueError(
                f"{qualified_name(cls)} is already registered as {_TAGS[cls]!r}, so it cannot be {tag!r} too"
            )
        _TYPES[tag], _TAGS[cls] = cls, tag
        return cls

    return decorate


def tag_of(cls: type) -> str | None:
    """The tag of a class, None for one that is not registered."""
    return _TAGS.get(cls)


def type_of(tag: str) -> type | None:
    """The class of a tag, None for an unknown one."""
    return _TYPES.get(tag)


def tags() -> list[str]:
    """All tags that are registered now."""
    return sorted(_TYPES)


def field_names(cls: type) -> tuple[str, ...]:
    """Names of the fields of a registered dataclass, `equinox.Module` or named tuple."""
    return cls._fields if is_named_tuple(cls) else tuple(field.name for field in dataclasses.fields(cls))


def is_named_tuple(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def qualified_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _is_plain_enum(cls: type) -> bool:
    # A combination of flags has no name of its own.
    return issubclass(cls, enum.Enum) and not issubclass(cls, enum.Flag)
