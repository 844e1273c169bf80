"""Pages of what is registered: problems and file formats."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from surrogax.datasets.formats.registry import AbstractFormat, known_formats
from surrogax.datasets.formats.registry import _all as all_formats
from surrogax.solvers.pde import Problem, problem, registered_problems
from surrogax.solvers.pde.registry import _factories

from .docstrings import Links, markdown
from .public_names import public_names
from .signatures import function_signature

ROOT = Path(__file__).parents[2]


def write_problem_pages(folder: Path) -> None:
    """Write a page for every registered problem and an index of them."""
    folder.mkdir(parents=True, exist_ok=True)
    links, made = Links(public_names(), ()), {name: _example(name) for name in registered_problems()}
    for name, example in made.items():
        (folder / f"{name}.md").write_text("\n".join(_problem_page(name, example, links)))
    (folder / "index.md").write_text("\n".join(_problem_index(made)))


def _factory(name: str) -> Any:
    return inspect.unwrap(_factories[name])


def _example(name: str) -> Problem | None:
    """The problem with its defaults, None if an argument has none."""
    parameters = inspect.signature(_factory(name)).parameters.values()
    return None if any(p.default is p.empty for p in parameters) else problem(name)


def _title(name: str) -> str:
    """What the module's first line calls the equation."""
    first = (sys.modules[_factory(name).__module__].__doc__ or name).strip().splitlines()[0]
    return first.partition(":")[0].rstrip(". ")


def _equation(name: str) -> str:
    first = " ".join((inspect.getdoc(_factory(name)) or "").split("\n\n")[0].split())
    return first.partition(". ")[0].rstrip(".")


def _dimensions(made: Problem | None) -> str:
    return "as given" if made is None else f"{len(made.box.axes)}" + (" + time" if made.time is not None else "")


def _problem_index(made: dict[str, Problem | None]) -> Iterator[str]:
    yield "# Problems\n"
    yield "Registered equations: `sx.problem(NAME, …)` declares one, `sx.generate` solves it for random inputs. "
    yield "[One of your own](../../guide/own_pde.md) is made the same way.\n"
    yield "| name | equation | dimensions | unknowns | random inputs by default |\n| --- | --- | ---: | --- | --- |"
    for name, example in made.items():
        unknowns = "" if example is None else ", ".join(f"`{u}`" for u in example.unknowns)
        laws = "" if example is None else ", ".join(f"`{law}`" for law in example.laws)
        equation = _equation(name).replace("|", "\\|").replace("*", "\\*")
        yield f"| [{name}]({name}.md) | {equation} | {_dimensions(example)} | {unknowns} | {laws} |"
    yield "\n```{toctree}\n:hidden:\n"
    yield from made
    yield "```"


def _problem_page(name: str, example: Problem | None, links: Links) -> Iterator[str]:
    factory = _factory(name)
    yield f"# {name}\n"
    module = sys.modules[factory.__module__]
    link = lambda word: links.target(word, module.__name__)  # noqa: E731
    yield markdown(module.__doc__, link) + "\n"
    signature = function_signature(factory).partition(" -> ")[0]
    call = signature.strip("()")
    yield f'```python\nsx.problem(\n    "{name}",\n    ' + ",\n    ".join(_split(call)) + ",\n)\n```\n"
    yield markdown(factory.__doc__, link) + "\n"
    if example is not None:
        yield "## Declaration with these defaults\n"
        yield from _declaration(example)
    if example is not None and "residual" in example._parts:
        yield "## Residual\n\nLeft-hand side minus right-hand side, as it stands in the source:\n"
        yield f"```python\n{_residual_source(example._parts['residual'])}```\n"
    yield f"Source: `{Path(inspect.getfile(factory)).resolve().relative_to(ROOT)}`"


def _split(call: str) -> list[str]:
    """The arguments of a call, at commas outside brackets."""
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(call):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts, start = [*parts, call[start:i].strip()], i + 1
    return [part for part in (*parts, call[start:].strip()) if part and part != "*"]


def _declaration(example: Problem) -> Iterator[str]:
    axes = ", ".join(f"{a.name} ∈ [{a.start:g}, {a.stop:g}] {a.boundary}" for a in example.box.axes)
    rows = {
        "unknowns": ", ".join(f"`{u}`" for u in example.unknowns),
        "box": axes,
        "time": "steady" if example.time is None else f"[{example.time.start:g}, {example.time.stop:g}]",
        **{f"input `{n}`, random": f"`{law!r}`" for n, law in example.laws.items()},
        **{f"input `{n}`": f"`{_short(value)}`" for n, value in example.constants.items()},
        "declares": ", ".join(f"`{part}`" for part in example._parts),
    }
    if example.no_residual:
        rows["no residual"] = example.no_residual
    if example.symmetry is not None:
        rows["symmetry"] = f"`{example.symmetry!r}`"
    yield "| | |\n| --- | --- |"
    yield from (f"| {key} | {value.replace('|', chr(92) + '|')} |" for key, value in rows.items())
    yield ""


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) < 100 else text[:97] + "…"


def _residual_source(residual: Any) -> str:
    while not inspect.isroutine(residual):
        residual = residual.func
    return inspect.cleandoc("\n" + inspect.getsource(residual)) + "\n"


def write_format_page(path: Path) -> None:
    """Write the page of file formats: how each is recognised, and what it opens."""
    links = Links(public_names(), ())
    by_module: dict[str, list[AbstractFormat]] = {}
    for form in all_formats():
        by_module.setdefault(type(form).__module__, []).append(form)
    path.write_text("\n".join(_format_page(by_module, links)))


def _format_page(by_module: dict[str, list[AbstractFormat]], links: Links) -> Iterator[str]:
    yield "# File formats\n"
    yield "{py:obj}`sx.open <surrogax.open>` recognises a file or folder by its content and tries the formats in this order: "
    yield (
        ", ".join(known_formats())
        + ". {py:obj}`sx.register_format <surrogax.register_format>` puts one of your own before them.\n"
    )
    for module, forms in by_module.items():
        yield f"## {' and '.join(form.name for form in forms)}\n"
        link = lambda word, module=module: links.target(word, module)  # noqa: E731
        yield markdown(sys.modules[module].__doc__, link) + "\n"
        for form in forms:
            yield f"**{form.name}.** {markdown(type(form).__doc__, link)}\n"
            if doc := vars(type(form))["recognises"].__doc__:
                yield markdown(doc, link) + "\n"
        yield f"Source: `{Path(inspect.getfile(type(forms[0]))).resolve().relative_to(ROOT)}`\n"
