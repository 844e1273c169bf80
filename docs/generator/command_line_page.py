"""The page of the command line, made of the options themselves."""

import ast
import dataclasses
import importlib
import inspect
import itertools
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tyro

from surrogax.cli.choices import LOSSES, MODES
from surrogax.cli.entry_point import COMMANDS
from surrogax.cli.optimizers import OPTIMIZERS
from surrogax.cli.options import default_of, options_of
from surrogax.cli.presets import PRESETS
from surrogax.cli.settings import Settings
from surrogax.surrogates.model_registry import registered_models

from .docstrings import Links, markdown
from .public_names import public_names
from .signatures import node_of


def write_command_line_page(path: Path) -> None:
    """Write the commands with their options, then presets and what `train` chooses by name."""
    path.write_text("\n".join(_page(Links(public_names(), ()))))


def _page(links: Links) -> Iterator[str]:
    yield "# Command line\n\n| `surrogax` … | |\n| --- | --- |"
    yield from (f"| `{name}` | {says} |" for name, (_, _, says) in COMMANDS.items())
    yield "\n`surrogax COMMAND --help` shows the options of a command.\n"
    for name, (module, command, _) in COMMANDS.items():
        if not command:  # `train`, whose options depend on what is chosen
            continue
        kind = vars(importlib.import_module(f"surrogax.cli.{module}"))[command]
        yield f"## surrogax {name}\n\n{markdown(kind.__doc__, _nothing)}\n"
        yield from _options(kind, "")
    yield f"## surrogax train\n\n{markdown(Settings.__doc__, _nothing)}\n"
    yield "`surrogax train PRESET` and `surrogax train FILE.toml` start from settings, which options change:\n"
    yield "| preset | |\n| --- | --- |"
    yield from (f"| `{name}` | {preset.says} |" for name, preset in PRESETS.items())
    yield ""
    yield from _options(Settings, "")
    for choice, known in (("model", registered_models()), ("mode", MODES), ("loss", LOSSES), ("optimizer", OPTIMIZERS)):
        yield f"### --{choice}\n"
        yield from _choices(choice, known, links)


def _nothing(_: str) -> None:
    return None


def _choices(choice: str, known: dict[str, Callable], links: Links) -> Iterator[str]:
    for name, make in known.items():
        target = links.target(make.__name__, make.__module__)
        shown = f", {{py:obj}}`{make.__name__} <surrogax.{target}>`" if target else ""
        first = " ".join((inspect.getdoc(make) or "").split("\n\n")[0].split()).partition(". ")[0].rstrip(".")
        yield f"**`--{choice} {name}`**{shown}: {markdown(first, _nothing)}.\n"
        yield from _options(options_of(name, make), f"{choice}.")


def _options(kind: type, prefix: str) -> Iterator[str]:
    """A table of the fields of a dataclass, with those of nested ones."""
    rows = list(_rows(kind, prefix))
    if rows:
        yield "| option | default | |\n| --- | --- | --- |"
        yield from ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
        yield ""


def _rows(kind: type, prefix: str) -> Iterator[tuple[str, str, str]]:
    hints, texts = typing.get_type_hints(kind, include_extras=True), _texts_below(kind)
    for field in dataclasses.fields(kind):
        default = default_of(field)
        if dataclasses.is_dataclass(default):
            yield from _rows(type(default), f"{prefix}{field.name}.")
            continue
        hint, help, positional = hints[field.name], texts.get(field.name, ""), False
        if typing.get_origin(hint) is typing.Annotated:
            hint, *marks = typing.get_args(hint)
            help = next((m.help for m in marks if hasattr(m, "help") and m.help), help)
            positional = any(m is tyro.conf.Positional or "Positional" in repr(m) for m in marks)
        name = field.name.upper() if positional else f"--{prefix}{field.name}".replace("_", "-")
        required = default in (dataclasses.MISSING, tyro.MISSING)
        yield (
            f"`{name}{'' if positional else ' ' + _kind(hint)}`".replace(" `", "`"),
            "*required*" if required else f"`{_plain(default)}`",
            " ".join(help.split()),
        )


def _plain(default: Any) -> str:
    if isinstance(default, tuple | list):
        return " ".join(map(str, default)) or "none"
    return "none" if default in (None, "", {}) else str(default)


def _kind(hint: Any) -> str:
    """What is typed after an option."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "/".join(map(str, inner))
    if origin in (typing.Union, types.UnionType):
        return "/".join(dict.fromkeys(_kind(part) for part in inner if part is not type(None)))
    if origin is tuple:
        return f"{_kind(inner[0])} …"
    if origin is not None:
        return "NAME VALUE …"
    return {bool: "", int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}.get(hint, "")


def _texts_below(kind: type) -> dict[str, str]:
    """The texts that stand below the fields in the source of a dataclass and its bases."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        node = node_of(base) if base.__module__.startswith("surrogax") else None
        body = node.body if isinstance(node, ast.ClassDef) else []
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[field.target.id] = text.value.value
    return found
