"""The rooms of `solvers/linear` import each other in one direction, and no module is hidden by a public name."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import surrogax.solvers.linear as linear
from surrogax.solvers.linear.method import AbstractMethod
from surrogax.solvers.linear.preconditioning import AbstractPreconditioner

ROOT = Path(linear.__file__).parent


def imports_between_rooms(root: Path) -> dict[str, set[str]]:
    """Per room the other rooms that its files import; a room is a folder, or a file outside of the folders.

    `__init__.py` of the package only re-exports and is left out.
    """
    graph: dict[str, set[str]] = {}
    for file in root.rglob("*.py"):
        parts = file.relative_to(root).with_suffix("").parts
        if parts == ("__init__",):
            continue
        room = graph.setdefault(parts[0], set())
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.ImportFrom) or not 0 < node.level <= len(parts):
                continue  # an import from outside of the package
            base = parts[: len(parts) - node.level]
            target = (*base, *(node.module or "").split("."))
            names = [target] if node.module else [(*base, alias.name) for alias in node.names]
            room.update({name[0] for name in names} - {parts[0]})
    return graph


def test_rooms_import_each_other_without_circles():
    graph = imports_between_rooms(ROOT)
    assert {"operators", "krylov", "stationary", "direct", "preconditioners", "tuning", "driver"} <= graph.keys()
    assert graph["krylov"] >= {"driver", "preconditioning"} and "kernels" not in graph
    tuple(TopologicalSorter(graph).static_order())


def test_the_check_finds_circles(tmp_path):
    for folder, line in (("a", "from ..b.one import x"), ("b", "from ..c import x")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.py").write_text(line)
    (tmp_path / "c.py").write_text("x = 1\n")
    assert imports_between_rooms(tmp_path) == {"a": {"b"}, "b": {"c"}, "c": set()}
    (tmp_path / "c.py").write_text("def later():\n    from .a import one\n")
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(imports_between_rooms(tmp_path)).static_order())


def public_names() -> set[str]:
    tree = ast.parse((ROOT / "__init__.py").read_text())
    return {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_no_module_is_hidden_by_a_public_name():
    modules = {file.stem for file in ROOT.iterdir() if file.suffix == ".py" or file.is_dir()}
    assert {"solve", "CG"} <= public_names() and not modules & public_names()


def test_the_docstring_of_the_package_lists_every_public_name():
    assert [name for name in sorted(public_names()) if not re.search(rf"`{name}\b", linear.__doc__ or "")] == []


def subclasses(cls: type) -> set[type]:
    return set(cls.__subclasses__()).union(*map(subclasses, cls.__subclasses__()))


def overridden(cls: type) -> list[str]:
    """Concrete methods of this library that a class defines anew."""
    ours = [base for base in cls.__mro__[1:] if base.__module__.startswith("surrogax.")]
    names = [name for name, own in vars(cls).items() if callable(own) and (name[:2] != "__" or name == "__call__")]
    concrete = lambda base, name: name in vars(base) and not getattr(vars(base)[name], "__isabstractmethod__", False)  # noqa: E731
    return [name for name in names if any(concrete(base, name) for base in ours)]


def test_methods_and_preconditioners_are_abstract_or_final():
    classes = {cls for root in (AbstractMethod, AbstractPreconditioner) for cls in subclasses(root)}
    classes = {cls for cls in classes if cls.__module__.startswith("surrogax.")}
    assert {linear.CG, linear.Refinement, linear.SOR, linear.Multigrid} <= classes
    assert {cls.__name__: overridden(cls) for cls in classes if overridden(cls)} == {}


def test_the_check_finds_an_override():
    class Loud(linear.CG):
        def describe(self) -> str:
            return "CG!"

    assert overridden(Loud) == ["describe"]
