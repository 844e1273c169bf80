"""The rules of the house: imports point down, every file loads once, what must exist once does."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "surrogax"
# From the lowest floor to the highest; a module may import from its own floor and from those before it.
FLOORS = ("core", "solvers.kernels", "solvers", "datasets", "surrogates", "")
LINKS = ("solvers", "datasets", "surrogates")


def library_files() -> dict[str, Path]:
    """Every file of the library by its module name below `surrogax`, "" being the face."""
    files = {}
    for top in (PACKAGE / "core", PACKAGE / "cli", *(ROOT / name for name in LINKS), PACKAGE / "__init__.py"):
        for file in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            base = ROOT if file.is_relative_to(ROOT / top.name) else PACKAGE
            parts = file.relative_to(base).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return files


FILES = library_files()


def floor_of(module: str) -> int:
    return next(i for i, floor in enumerate(FLOORS) if not floor or module == floor or module.startswith(floor + "."))


def imported_modules(module: str) -> list[str]:
    """Modules of this library that a file imports, by their names below `surrogax`."""
    file, found = FILES[module], []
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    package = [part for part in package if part]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            target = ".".join(part for part in base if part)
            for alias in node.names:
                inner = ".".join(part for part in (target, alias.name) if part)
                found.append(inner if inner in FILES else target)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            assert not any(n.split(".")[0] in ("surrogax", *LINKS) for n in names), (
                f"{file}: imports inside the library are relative"
            )
    return found


@pytest.mark.parametrize("module", FILES, ids=lambda name: name or "surrogax")
def test_imports_point_down(module):
    for target in imported_modules(module):
        assert target in FILES, f"{module} imports {target}, which is no file"
        assert floor_of(target) <= floor_of(module), f"{module} imports {target}, which is a floor above"


def test_the_check_of_imports_sees_them():
    """The rule above is not empty: known edges are found, and every floor has files."""
    assert "solvers.kernels.stencil" in imported_modules("solvers.linear.operators.diffusion")
    assert "surrogates.training.fit" in imported_modules("")
    assert {floor_of(module) for module in FILES} == set(range(len(FLOORS)))


def test_links_to_the_floors_are_relative():
    """`src/surrogax` holds the face; the floors lie beside it and are linked, so that every clone finds them."""
    for name in LINKS:
        assert os.readlink(PACKAGE / name) == os.path.join("..", "..", name)


def test_every_file_is_loaded_under_one_name():
    """In a fresh process: import everything, then no file belongs to two modules."""
    modules = [".".join(part for part in ("surrogax", name) if part) for name in FILES]
    code = (
        "import importlib, sys, collections, os\n"
        f"for m in {modules}: importlib.import_module(m)\n"
        "paths = [getattr(m, '__file__', None) for m in list(sys.modules.values())]\n"
        "files = collections.Counter(os.path.realpath(p) for p in paths if p)\n"
        f"assert len([f for f in files if f.startswith({str(ROOT)!r}) and '.venv' not in f]) >= 30, files\n"
        f"assert not [f for f, n in files.items() if n > 1 and f.startswith({str(ROOT)!r}) and '.venv' not in f]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120)


def test_nothing_takes_the_name_of_hugging_face_datasets():
    pattern = re.compile(r"^\s*(import|from) datasets\b", re.MULTILINE)
    for file in [
        *FILES.values(),
        *ROOT.glob("benchmarks/**/*.py"),
        *ROOT.glob("tests/**/*.py"),
        *ROOT.glob("notebooks/*.ipynb"),
    ]:
        if ".venv" not in file.parts:
            assert not pattern.search(file.read_text()), f"{file} imports the bare name datasets"


@pytest.mark.parametrize(
    "what, pattern, home",
    [
        ("optimiser step", r"optimizer\.update\(", "src/surrogax/core/minimize.py"),
        ("application of a network to a batch", r"axis_name=\"batch\"", "surrogates/networks/network_surrogate.py"),
        ("relative L2 norm", r"def relative_l2\b", "solvers/kernels/norms.py"),
        ("implicit derivative of a solve", r"custom_linear_solve\(", "solvers/linear/linear_solve.py"),
        ("switch to float64", r"enable_x64\(", "src/surrogax/core/precision.py"),
        ("atomic replacement of a file", r"os\.replace\(", "src/surrogax/core/files.py"),
    ],
)
def test_exists_once(what, pattern, home):
    found = [str(f.relative_to(ROOT)) for f in FILES.values() if re.search(pattern, f.read_text())]
    assert found == [home], f"{what} belongs into {home}, found in {found}"


def test_nothing_read_from_a_file_can_execute_code():
    """pickle, eval and the like appear in the restricted reader alone."""
    dangerous = re.compile(r"\b(pickle\.loads?|eval|exec|allow_pickle=True|dill|marshal|cloudpickle|yaml\.load)\b\(?")
    for file in FILES.values():
        if file.name != "pt.py":
            code = "\n".join(line.split("#")[0] for line in file.read_text().splitlines())
            hits = [h for h in dangerous.findall(code) if not code.count(f"module.{h}")]
            assert not hits, f"{file}: {hits}"
