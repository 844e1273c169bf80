"""The rooms of `reduced`: who imports whom, no module behind a function, public names, `help`."""

import ast
import graphlib
import importlib
import inspect
import pkgutil
import types
from pathlib import Path

import pytest

import surrogax as sx

PACKAGE = sx.reduced.__name__
ROOT = Path(inspect.getfile(sx.reduced)).parent
ROOMS = sorted(folder.name for folder in ROOT.iterdir() if (folder / "__init__.py").exists())
# What each room may import from; the surrogates and the face of the package, outside of the rooms, may import from all.
ALLOWED = {
    "basis": set(),
    "clustering": {"basis"},
    "interpolation": set(),
    "regression": set(),
    "local": {"basis", "clustering", "regression"},
    "certified": {"interpolation"},
}


def modules() -> list[str]:
    return [PACKAGE, *(m.name for m in pkgutil.walk_packages([str(ROOT)], f"{PACKAGE}."))]


def imported(file: Path) -> set[str]:
    """Dotted names below the package that a file imports by relative imports."""
    parts = ("surrogates", "reduced", *file.relative_to(ROOT).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*parts[: len(parts) - node.level + 1], *(node.module or "").split(".")]
            found |= {".".join(part for part in (*base, alias.name) if part) for alias in node.names}
    return {name.removeprefix("surrogates.reduced.") for name in found if name.startswith("surrogates.reduced.")}


def rooms_of(room: str) -> set[str]:
    """The other rooms that the files of a room import from, and "" for the package itself or a file at its root."""
    names = set().union(*(imported(file) for file in (ROOT / room).glob("*.py")))
    return {name.split(".")[0] if name.split(".")[0] in ROOMS else "" for name in names} - {room}


def test_every_room_is_listed():
    assert set(ROOMS) == set(ALLOWED)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_those_below_alone(room):
    assert rooms_of(room) <= ALLOWED[room]


def test_rooms_form_no_circle_and_the_check_sees_their_imports():
    tuple(graphlib.TopologicalSorter({room: rooms_of(room) for room in ROOMS}).static_order())  # CycleError otherwise
    assert {"basis", "clustering"} <= rooms_of("local") and rooms_of("certified") == {"interpolation"}


def test_no_module_is_hidden_by_what_its_package_exports():
    for name in modules():
        parent, _, child = name.rpartition(".")
        if name != PACKAGE:
            assert isinstance(getattr(importlib.import_module(parent), child), types.ModuleType), name


def test_every_module_and_public_function_has_a_docstring():
    """Functions and classes without an underscore in front, wherever they are defined in the package."""
    missing = []
    for name in modules():
        module = importlib.import_module(name)
        own = [v for k, v in vars(module).items() if not k.startswith("_") and getattr(v, "__module__", "") == name]
        public = [v for v in own if inspect.isfunction(v) or inspect.isclass(v)]
        # A dataclass without a docstring gets its signature as one.
        missing += [v.__qualname__ for v in public if not v.__doc__ or v.__doc__.startswith(f"{v.__name__}(")]
        missing += [name] * (not module.__doc__)
    assert not missing


def test_help_names_everything_public():
    public = [name for name, value in vars(sx.reduced).items() if not isinstance(value, types.ModuleType)]
    documented = sx.reduced.__doc__
    missing = [name for name in public if not name.startswith("_") and f"`{name}`" not in documented]
    assert not missing and len(public) > 50
