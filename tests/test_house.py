"""The rules of the house: imports point down, every file loads once, what must exist once does."""

import ast
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import equinox as eqx
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
        if not any(part.startswith(".venv") for part in file.parts):
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


def calls(module: str, matches) -> int:
    """How many calls of a file match."""
    nodes = ast.walk(ast.parse(FILES[module].read_text()))
    return sum(isinstance(node, ast.Call) and matches(node.func) for node in nodes)


def counted(floors: tuple[str, ...], matches) -> dict[str, int]:
    """The files of some floors with calls that match, and how many."""
    found = {module: calls(module, matches) for module in FILES if module.startswith(floors)}
    return {module: number for module, number in found.items() if number}


def test_scans_above_the_solvers_are_counted():
    """One scan over optimiser steps, one rollout; whoever adds a scan says here what it is for."""
    found = counted(("core", "datasets", "surrogates"), lambda f: isinstance(f, ast.Attribute) and f.attr == "scan")
    assert found == {
        "core.minimize": 1,  # plain functions: a likelihood, a classifier
        "surrogates.training.loop": 1,  # optimiser steps
        "surrogates.training.runner": 1,  # validation batches
        "surrogates.rollout": 1,  # predictions fed back
        "surrogates.generative.refiner": 1,  # rounds of refinement within one prediction
        "surrogates.baselines.solver": 1,  # time steps of the classical solver within one prediction
        "surrogates.reduced.clustering.kmedoids": 1,  # swaps
        "surrogates.generative.simplified_bridge": 1,  # the path of a diffusion
    }


def test_the_optimiser_steps_at_three_places_and_batches_are_filled_up_at_one():
    steps = counted(("",), lambda f: isinstance(f, ast.Name) and f.id == "optimizer_step")
    # plain functions; optax in training; L-BFGS in training, in float64 and with the reason of its stop
    assert steps == {"core.minimize": 1, "surrogates.training.steps": 1, "surrogates.training.quasi_newton": 1}
    filled = counted(("",), lambda f: isinstance(f, ast.Attribute) and f.attr == "resize")
    assert filled == {"surrogates.batching": 1}


def test_nothing_is_found_by_the_name_of_an_attribute():
    """`getattr` and `hasattr` are no protocol. They ask objects of other libraries, and fields by their names."""
    found = counted(("",), lambda f: isinstance(f, ast.Name) and f.id in ("getattr", "hasattr"))
    assert found == {
        "core.registry": 1,  # is a class a named tuple?
        "core.storage": 2,  # the fields of a registered class by name; the dtype of a leaf
        "solvers.linear.operators.sparse": 4,  # SciPy's and JAX's sparse matrices
        "solvers.linear.tuning.tuned_solver": 2,  # the tuned field of a method, by its name
        "core.identity": 3,  # fields of any object, by name
    }


def test_nobody_asks_which_kind_a_domain_is():
    pattern = re.compile(r"isinstance\([^()]*\b(Grid|PointCloud|PointCloudLayout|Mesh|MeshLayout)\b")
    found = {module: len(pattern.findall(file.read_text())) for module, file in FILES.items()}
    assert {module: number for module, number in found.items() if number} == {
        "core.domains.grid": 2,  # `matches`, and a grid given where one is made
        "core.domains.point_cloud": 1,
        "core.domains.mesh": 1,
        "solvers.pde.marching": 1,  # a grid or its shape
        "cli.training_data": 1,  # what can be drawn, and solved on
    }


def test_no_python_loop_runs_over_steps():
    """Loops over the steps of a rollout, an optimiser or a solver are compiled."""
    for module, file in FILES.items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.For) and isinstance(node.iter, ast.Call):
                text = ast.unparse(node.iter)
                assert not re.match(r"range\((self\.|model\.)?(steps|n_steps|max_steps|calls)\)", text), (
                    f"{module}: {text}"
                )


def test_no_module_is_hidden_by_a_name_of_its_package():
    for module, file in FILES.items():
        if file.name == "__init__.py":
            package = importlib.import_module(f"surrogax.{module}".rstrip("."))
            for inner in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{package.__name__}.{inner.name}")
                found = getattr(package, inner.name)
                assert inspect.ismodule(found), f"{package.__name__}.{inner.name} is a {type(found).__name__}"


def overrides(cls: type) -> list[str]:
    """Methods of a class that replace a concrete one of a base class of this library."""
    found = []
    for name, value in vars(cls).items():
        special = name.startswith("__") and name != "__call__"
        if special or not (callable(value) or isinstance(value, property | classmethod | staticmethod)):
            continue
        for base in cls.__mro__[1:]:
            held = vars(base).get(name) if base.__module__.startswith("surrogax") else None
            if held is not None and not getattr(held, "__isabstractmethod__", False):
                found.append(f"{cls.__qualname__}.{name} of {base.__qualname__}")
    return found


def test_a_class_is_abstract_or_final():
    """No class replaces a concrete method of another one."""
    for module in FILES:
        for value in vars(importlib.import_module(f"surrogax.{module}".rstrip("."))).values():
            if inspect.isclass(value) and value.__module__.startswith("surrogax"):
                assert not overrides(value)

    class Base(eqx.Module):
        def method(self):
            return 1

    Base.__module__ = "surrogax.toy"

    class Derived(Base):
        def method(self):
            return 2

    assert len(overrides(Derived)) == 1, "the rule sees what breaks it"


def test_nothing_read_from_a_file_can_execute_code():
    """pickle, eval and the like appear in the restricted reader alone."""
    dangerous = re.compile(r"\b(pickle\.loads?|eval|exec|allow_pickle=True|dill|marshal|cloudpickle|yaml\.load)\b\(?")
    for file in FILES.values():
        if file.name != "pt.py":
            code = "\n".join(line.split("#")[0] for line in file.read_text().splitlines())
            hits = [h for h in dangerous.findall(code) if not code.count(f"module.{h}")]
            assert not hits, f"{file}: {hits}"
