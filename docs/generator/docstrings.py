"""Docstrings are Markdown already. Names in backticks become links, indented code gets a language."""

import ast
import inspect
import re
from collections.abc import Callable, Container, Iterator
from typing import Any

from .public_names import Name, namespaces

Linker = Callable[[str], str | None]


class Links:
    """Where a name in backticks leads: `CG` in a docstring of `linear` to `linear.CG`, `surrogax.fit` and `sx.fit` to `fit`."""

    def __init__(self, names: list[Name], members: Container[str]):
        self.known = {path: name.path for name in names for path in (name.path, *name.aliases)}
        self.members, self.spaces = members, namespaces()

    def target(self, word: str, module: str) -> str | None:
        """The full public name for a word in a docstring of `module`, None if it is none."""
        word = re.sub(r"^(?:surrogax|sx)\.", "", word)
        inside = [place for place, space in self.spaces.items() if place and module.startswith(space.__name__)]
        for candidate in (*(f"{place}.{word}" for place in inside), word):
            if candidate in self.known:
                return self.known[candidate]
            owner, _, member = candidate.rpartition(".")
            if owner in self.known and f"{self.known[owner]}.{member}" in self.members:
                return f"{self.known[owner]}.{member}"
        return None


def markdown(text: str | None, link: Linker) -> str:
    """A docstring as Markdown of the site."""
    if not text:
        return ""
    return "\n\n".join(_fenced(part) if code else _linked(part, link) for code, part in _parts(inspect.cleandoc(text)))


def _parts(text: str) -> Iterator[tuple[bool, str]]:
    """Paragraphs of prose, and code: blocks that are indented after an empty line outside a list, or between fences."""
    prose: list[str] = []
    code: list[str] = []
    in_list = fenced = False

    def ended(lines: list[str]) -> str:
        done = inspect.cleandoc("\n".join(["", *lines]))
        lines.clear()
        return done

    for line in text.splitlines():
        fence = line.lstrip().startswith("```")
        starts = line.startswith("    ") and (not prose or not prose[-1].strip()) and not in_list
        if fenced or fence or (line.startswith("    ") if code else starts) or (code and not line.strip()):
            if prose:
                yield False, ended(prose)
            if fence and fenced and code:
                yield True, ended(code)
            if fence:
                fenced = not fenced
            else:
                code.append(line)
            continue
        if code:
            yield True, ended(code)
        if line.strip():
            in_list = line.startswith("- ") or (in_list and line.startswith("  "))
        prose.append(line)
    if code:
        yield True, ended(code)
    if prose:
        yield False, ended(prose)


def _fenced(code: str) -> str:
    if code.startswith(">>>"):
        return f"```pycon\n{code}\n```"
    try:
        ast.parse(code)
        # A formula such as `u = v + w` parses too; mathematics outside ASCII tells it from code, except in a comment.
        plain = all(line.split("#")[0].isascii() for line in code.splitlines())
    except SyntaxError:
        plain = False
    return f"```{'python' if plain else 'text'}\n{code}\n```"


def _linked(text: str, link: Linker) -> str:
    def replaced(found: re.Match) -> str:
        parts = re.fullmatch(r"([^\W\d_][\w.]*)(\(.*\))?", found[1])
        target = link(parts[1]) if parts else None
        return found[0] if target is None else f"{{py:obj}}`{found[1]} <surrogax.{target}>`"

    return re.sub(r"(?<!`)`([^`\n]+)`(?!`)", replaced, text)


def summary(value: Any) -> str:
    """The first sentence of a docstring, on one line."""
    first = (inspect.getdoc(value) or "").split("\n\n")[0]
    return re.split(r"(?<=[.:])\s", " ".join(first.split()) + " ")[0].rstrip(":. ") + "."
