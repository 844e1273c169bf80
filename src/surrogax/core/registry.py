"""Tags of classes. A file names a class by its tag only, so loading a file can build registered classes only."""

import dataclasses
import enum
import threading
from collections.abc import Callable
from typing import TypeVar

_TYPES: dict[str, type] = {}
_TAGS: dict[type, str] = {}
_OTHERS: list[Callable[[], None]] = []  # imports of modules that may register more
_importing = threading.RLock()  # other threads wait until all is registered

_T = TypeVar("_T")
_LIBRARY = __name__.removesuffix("core.registry")


def register(tag: str) -> Callable[[type[_T]], type[_T]]:
    """Class decorator that lets `save` and `load` handle a class under a unique tag: `@register("fno")`.

    The class is a dataclass (a frozen configuration, for example), an `equinox.Module`, a named tuple or an `enum.Enum`.
    Instances can then be saved; so can the class itself, where a field holds a class. Registering a base class does not
    register its subclasses. Files hold the tag and the names of fields or enum members: renaming one of them makes older
    files unreadable. Write `@register` above `@dataclass`.

    `load` sets fields without calling `__init__` or `__post_init__`, because a constructor may do anything. A class that
    wants its fields checked when they are read from a file declares equinox's `__check_init__(self)`, which raises
    `ValueError`: `load` calls it.

    **Raises:** `TypeError` for any other kind of class; `ValueError` for a tag that another class has, or for a second tag of
    the same class.

    **Example:**

        >>> @sx.register("docs.Scale")
        ... @dataclasses.dataclass(frozen=True)
        ... class Scale:
        ...     factor: float = 2.0
        >>> Scale().factor
        2.0
    """

    def decorate(cls: type[_T]) -> type[_T]:
        if not (dataclasses.is_dataclass(cls) or is_named_tuple(cls) or _is_plain_enum(cls)):
            raise TypeError(
                f"register({tag!r}): {cls.__qualname__} is no dataclass, equinox.Module, named tuple or enum (flags are "
                "none); write @register above @dataclass"
            )
        if not cls.__module__.startswith(_LIBRARY):
            _import_others()  # a tag of this library that is not imported yet is taken too
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
    """The tag of a class, or None if it is not registered."""
    return _TAGS.get(cls)


def type_of(tag: str) -> type | None:
    """The class with this tag, or None if there is none."""
    if tag not in _TYPES:
        _import_others()
    return _TYPES.get(tag)


def tags() -> list[str]:
    """All registered tags, sorted."""
    _import_others()
    return sorted(_TYPES)


def register_by(load: Callable[[], None]) -> None:
    """Call `load`, which imports modules with registered classes, once and before a tag counts as unknown.

    The face of the library, which imports its parts when they are first used, says so here how to import all of them.
    """
    _OTHERS.append(load)


def _import_others() -> None:
    with _importing:
        while _OTHERS:
            _OTHERS.pop()()


def field_names(cls: type) -> tuple[str, ...]:
    """Names of the fields of a registered dataclass, `equinox.Module` or named tuple."""
    return cls._fields if is_named_tuple(cls) else tuple(field.name for field in dataclasses.fields(cls))


def is_named_tuple(cls: type) -> bool:
    """Whether a class was made by `typing.NamedTuple` or `collections.namedtuple`."""
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def qualified_name(cls: type) -> str:
    """Module and name of a class, such as "surrogax.core.domains.grid.Grid"."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _is_plain_enum(cls: type) -> bool:
    # A combination of flags is no member and has no name to store.
    return issubclass(cls, enum.Enum) and not issubclass(cls, enum.Flag)
