"""Pages of the public names: signature, fields, docstring, methods; and the index that the tests read."""

import enum
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .docstrings import Links, markdown, summary
from .examples import PRELUDE
from .public_names import FAMILIES, Family, Name, Page, namespaces, public_names
from .signatures import annotation_text, class_signature, fields_of, function_signature, node_of


def write_api_pages(folder: Path) -> None:
    """Write a page per `Page`, an introduction per `Family`, `index.md`, and `names.json`: the page of every public name."""
    names = public_names()
    members = {f"{n.path}.{member}" for n in names if inspect.isclass(n.value) for member in own_members(n.value)}
    links, by_page = Links(names, members), {}
    for name in names:
        by_page.setdefault(name.page, []).append(name)
    folder.mkdir(parents=True, exist_ok=True)
    for page, found in by_page.items():
        (folder / f"{page.slug}.md").write_text("\n".join(_page(page, found, links)))
    for family in FAMILIES:
        if len(family.pages) > 1:
            (folder / f"{family.slug}.md").write_text("\n".join(_family_page(family, by_page, links)))
    (folder / "index.md").write_text("\n".join(_index(by_page)))
    where = {path: name.page.slug for name in names for path in (name.path, *name.aliases)}
    (folder / "names.json").write_text(json.dumps(where, indent=1))


def own_members(cls: type) -> dict[str, Any]:
    """Public methods and properties that a class defines itself, with a docstring."""
    found = {}
    for name, value in vars(cls).items():
        inner = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        kind = inspect.isroutine(inner) or isinstance(inner, property)
        if (name.startswith("_") and name != "__call__") or not kind or not (inner.__doc__ or "").strip():
            continue
        if isinstance(inner, property) or node_of(inner) is not None:
            found[name] = value
    return found


def _index(by_page: dict[Page, list[Name]]) -> Iterator[str]:
    yield "# Reference\n"
    yield f"All {sum(map(len, by_page.values()))} public names, as `import surrogax as sx` gives them: `sx.` comes before each.\n"
    yield f"Examples begin with these lines, and the tests run them:\n\n```python\n{PRELUDE}```\n"
    for family in FAMILIES:
        yield f"## {family.title}\n"
        yield from _listed(family, by_page)
        yield ""
    yield "```{toctree}\n:hidden:\n"
    yield from (family.slug for family in FAMILIES)
    yield "```\n"


def _listed(family: Family, by_page: dict[Page, list[Name]]) -> Iterator[str]:
    for page in family.pages:
        yield f"- [{page.title}]({page.slug}.md): {', '.join(_reference(n) for n in by_page[page])}"


def _family_page(family: Family, by_page: dict[Page, list[Name]], links: Links) -> Iterator[str]:
    yield f"# {family.title}\n"
    yield from _introduction(family, links)
    yield from _listed(family, by_page)
    yield "\n```{toctree}\n:hidden:\n"
    yield from (page.slug for page in family.pages)
    yield "```\n"


def _introduction(family: Family, links: Links) -> Iterator[str]:
    if family.namespace:
        module = namespaces()[family.namespace]
        yield markdown(module.__doc__, lambda word: links.target(word, module.__name__)) + "\n"


def _reference(name: Name) -> str:
    return f"{{py:obj}}`{name.path} <surrogax.{name.path}>`"


def _page(page: Page, names: list[Name], links: Links) -> Iterator[str]:
    yield f"# {page.title}\n"
    for family in FAMILIES:
        if family.pages == (page,):
            yield from _introduction(family, links)
    yield "```{py:currentmodule} surrogax\n```\n"
    yield "| | |\n| --- | --- |"
    for name in names:
        text = summary(name.value)
        short = re.sub(r"(\|)" if "`" in text else r"([|<*_])", r"\\\1", text)
        yield f"| {_reference(name)} | {short} |"
    yield ""
    for name in names:
        yield from _entry(name, links)


def _entry(name: Name, links: Links) -> Iterator[str]:
    value, is_class = name.value, inspect.isclass(name.value)
    function = inspect.isroutine(value)
    kind = "class" if is_class else "function" if function else "data"
    own = set(fields_of(value)) | set(own_members(value)) if is_class else set()
    arguments = set(re.findall(r"(\w+)(?=[:=,)])", function_signature(value))) if function else own

    def link(word: str) -> str | None:
        return None if word in arguments or word == name.path.split(".")[-1] else links.target(word, name.module)

    signature = class_signature(value) if is_class else function_signature(value) if function else ""
    yield f"::::::{{py:{kind}}} {name.path}{signature}"
    yield (
        f":canonical: {value.__module__}.{value.__qualname__}\n"
        if is_class and value.__qualname__ not in name.path
        else ""
    )
    if is_class:
        yield from _bases(value, links)
    yield markdown(value.__doc__ if is_class or function else f"An instance of `{type(value).__name__}`.", link) + "\n"
    if name.aliases:
        yield f"Also {', '.join(f'`{alias}`' for alias in name.aliases)}.\n"
    if is_class:
        yield from _members_of(name, links, link)
    yield "::::::\n"
    for alias in name.aliases:
        yield f"::::{{py:data}} {alias}\n:no-contents-entry:\n\nThe same as {_reference(name)}.\n::::\n"


def _bases(cls: type, links: Links) -> Iterator[str]:
    shown = []
    for base in cls.__bases__:
        if base.__module__.startswith("surrogax"):
            target = links.target(base.__name__, base.__module__)
            shown.append(f"{{py:obj}}`{base.__name__} <surrogax.{target}>`" if target else f"`{base.__name__}`")
    if shown:
        yield f"*A kind of* {', '.join(shown)}.\n"


def _members_of(name: Name, links: Links, link) -> Iterator[str]:
    cls = name.value
    if issubclass(cls, enum.Enum):
        yield f"Members: {', '.join(f'`{word}`' for word in cls.__members__)}.\n"
    signature = class_signature(cls)
    for field, (note, _) in fields_of(cls).items():
        if not field.startswith("_") and not re.search(rf"\b{field}\b", signature) and field not in own_members(cls):
            yield f":::{{py:attribute}} {field}\n:type: {note}\n:::\n"
    for member, value in own_members(cls).items():
        yield from _member(member, value, link)
    inherited = {}
    for base in cls.__mro__[1:]:
        target = links.target(base.__name__, base.__module__) if base.__module__.startswith("surrogax") else None
        for member in own_members(base) if target else ():
            if member not in own_members(cls) and not member.startswith("_"):
                inherited.setdefault(member, f"{{py:obj}}`{member} <surrogax.{target}.{member}>`")
    if inherited:
        yield f"Inherited: {', '.join(inherited.values())}.\n"


def _member(member: str, value: Any, link) -> Iterator[str]:
    if isinstance(value, property):
        node = node_of(value.fget)
        note = annotation_text(node.returns, value.fget.__module__) if node is not None else ""
        yield f":::{{py:property}} {member}" + (f"\n:type: {note}" if note else "") + "\n"
        yield markdown(value.__doc__, link) + "\n:::\n"
        return
    inner = value.__func__ if isinstance(value, staticmethod | classmethod) else value
    signature = function_signature(inner, bound=not isinstance(value, staticmethod))
    kind = {staticmethod: "staticmethod", classmethod: "classmethod"}.get(type(value), "method")
    yield f":::{{py:{kind}}} {member}{signature}\n"
    yield markdown(inner.__doc__, link) + "\n:::\n"
