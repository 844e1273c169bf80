"""The rules of the house: imports point down, packaging is complete, every file loads once, what must exist once does."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("solvers/kernels", "solvers", "datasets", "surrogates", "surrogax")
FILES = sorted(p for top in ("solvers", "datasets", "surrogates", "surrogax") for p in (ROOT / top).rglob("*.py"))


def floor_of(path: str) -> int:
    return next(i for i, floor in enumerate(FLOORS) if path == floor or path.startswith(floor + "/"))


def imported_paths(file: Path) -> list[str]:
    """Folders (or files) of this library that a file imports, relative to the root."""
    package = list(file.relative_to(ROOT).with_suffix("").parts[:-1])
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            # Inside the face, one dot more leads to the other floors.
            base = package[: len(package) - node.level + 1]
            module = (node.module or "").split(".") if node.module else []
            if package[0] == "surrogax" and not (ROOT / "/".join([*base, *module[:1]])).exists():
                module = module[1:] if module[:1] == ["surrogax"] else module
                base = []
            found += ["/".join([*base, *module])] if module else ["/".join([*base, alias.name]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            assert not any(n.split(".")[0] in ("surrogax", "solvers", "datasets", "surrogates") for n in names), (
                f"{file}: imports inside the library are relative"
            )
    return [
        p
        for p in found
        if p
        and (ROOT / p.split("/")[0]).is_dir()
        and p.split("/")[0] in ("solvers", "datasets", "surrogates", "surrogax")
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(file):
    own = str(file.relative_to(ROOT))
    # Two leaf modules of the lowest floor stand beside the kernels: what a grid is, and how it is saved.
    ground = ("solvers/domains", "solvers/storage", "solvers/files", "solvers/array_file", "solvers/precision")
    for target in imported_paths(file):
        if own.startswith("solvers/kernels") and target.startswith(ground):
            continue
        assert floor_of(target) <= floor_of(own), f"{own} imports {target}, which is a floor above"


def test_the_check_of_imports_sees_them():
    """The rule above is not empty: known edges are found."""
    assert "solvers/kernels" in " ".join(imported_paths(ROOT / "solvers/pde/elliptic.py"))
    assert "surrogates/training/fit" in " ".join(imported_paths(ROOT / "surrogax/__init__.py"))


def test_every_package_is_installed():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = set()
    for file in FILES:
        parts = file.relative_to(ROOT).parent.parts
        found.add(".".join(parts if parts[0] == "surrogax" else ("surrogax", *parts)))
    assert listed == found


def test_every_file_is_loaded_under_one_name():
    """In a fresh process: import everything, then no file belongs to two modules."""
    modules = []
    for file in FILES:
        parts = file.relative_to(ROOT).with_suffix("").parts
        parts = parts if parts[0] == "surrogax" else ("surrogax", *parts)
        modules.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    code = (
        "import importlib, sys, collections\n"
        f"for m in {modules}: importlib.import_module(m)\n"
        "files = collections.Counter(f for m in list(sys.modules.values()) if (f := getattr(m, '__file__', None)) "
        f"and f.startswith({str(ROOT)!r}) and '/.venv/' not in f)\n"
        "assert len(files) >= 30, files\n"
        "assert not [f for f, n in files.items() if n > 1]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120)


def test_nothing_takes_the_name_of_hugging_face_datasets():
    pattern = re.compile(r"^\s*(import|from) datasets\b", re.MULTILINE)
    for file in [
        *FILES,
        *ROOT.glob("benchmarks/**/*.py"),
        *ROOT.glob("tests/**/*.py"),
        *ROOT.glob("notebooks/*.ipynb"),
    ]:
        if ".venv" not in file.parts:
            assert not pattern.search(file.read_text()), f"{file} imports the bare name datasets"


@pytest.mark.parametrize(
    "what, pattern, home",
    [
        ("optimiser step", r"optimizer\.update\(", "surrogates/training/loop.py"),
        ("application of a network to a batch", r"axis_name=\"batch\"", "surrogates/network.py"),
        ("relative L2 norm", r"def relative_l2\b", "solvers/kernels/norms.py"),
        ("rollout", r"def rollout\(surrogate", "surrogates/surrogate.py"),
        ("implicit derivative of a solve", r"custom_linear_solve\(", "solvers/linear/solve.py"),
        ("switch to float64", r"enable_x64\(", "solvers/precision.py"),
        ("atomic replacement of a file", r"os\.replace\(", "solvers/files.py"),
    ],
)
def test_exists_once(what, pattern, home):
    found = [str(f.relative_to(ROOT)) for f in FILES if re.search(pattern, f.read_text())]
    assert found == [home], f"{what} belongs into {home}, found in {found}"


def test_nothing_read_from_a_file_can_execute_code():
    """pickle, eval and the like appear in the restricted reader alone."""
    dangerous = re.compile(r"\b(pickle\.loads?|eval|exec|allow_pickle=True|dill|marshal|cloudpickle|yaml\.load)\b\(?")
    for file in FILES:
        if file.name != "pt.py":
            code = "\n".join(line.split("#")[0] for line in file.read_text().splitlines())
            hits = [h for h in dangerous.findall(code) if not code.count(f"module.{h}")]
            assert not hits, f"{file}: {hits}"


def test_wheel_works_away_from_its_checkout(tmp_path):
    """Built in a folder of another name and unpacked, it imports beside a foreign package `datasets`, which stays itself;
    and tests pass in that checkout against the installed copy."""
    checkout, site, elsewhere = tmp_path / "another checkout", tmp_path / "site", tmp_path / "elsewhere"
    for top in ("solvers", "datasets", "surrogates", "surrogax", "tests"):
        shutil.copytree(ROOT / top, checkout / top, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        ".",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
    ]
    subprocess.run(build, check=True, cwd=checkout, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    assert (site / "surrogax" / "py.typed").exists() and not (site / "datasets").exists()
    (elsewhere / "datasets").mkdir(parents=True)
    (elsewhere / "datasets" / "__init__.py").write_text("foreign = True\n")
    code = (
        "import datasets, surrogax, surrogax.datasets\n"
        "assert datasets.foreign and surrogax.datasets is not datasets\n"
        f"assert surrogax.__file__.startswith({str(site)!r}), surrogax.__file__\n"
        f"assert surrogax.datasets.__file__.startswith({str(site)!r})\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{elsewhere}"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=elsewhere, env=environment, timeout=120)
    run = [sys.executable, "-m", "pytest", "-q", "tests/solvers/test_domains.py"]
    result = subprocess.run(run, cwd=checkout, env=environment, timeout=300, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
