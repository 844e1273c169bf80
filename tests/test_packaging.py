"""Packaging: wheel, editable install and source archive work from inside the clone and from elsewhere, and are typed.

A clone here is a copy of the checkout in a folder with a space in its name. Environments see the packages of the running one
(not its copy of surrogax), so that nothing is downloaded.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("solvers", "datasets", "surrogates")
IMPORTED = (
    "import surrogax, surrogax.solvers, surrogax.datasets, surrogax.surrogates; print(surrogax.surrogates.__file__)"
)


def run(*command, cwd: Path, **environment: str) -> str:
    """Standard output of a command. PYTHONPATH is the one given here or none: only what is installed is found."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    result = subprocess.run(command, cwd=cwd, env=variables, timeout=300, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def copied_clone(folder: Path) -> Path:
    clone = folder / "another clone"
    for top in (*FLOORS, "src", "tests", "benchmarks"):
        shutil.copytree(
            ROOT / top, clone / top, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    return clone


@pytest.fixture
def clone(tmp_path) -> Path:
    return copied_clone(tmp_path)


def environment(folder: Path) -> Path:
    """The interpreter of a new environment with the packages of this one; `.pth` files in them, as that of an editable
    install, are not read."""
    run(sys.executable, "-m", "venv", "--without-pip", str(folder), cwd=folder.parent)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def install(python: Path, *what: str, cwd: Path):
    pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--no-deps", "--no-build-isolation", "--force-reinstall", *what, cwd=cwd)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "options", [["."], pytest.param(["--editable", "."], marks=pytest.mark.nightly)], ids=["wheel", "editable"]
)
def test_an_install_works_in_the_clone_and_elsewhere(clone, tmp_path, options):
    python = environment(tmp_path / "environment")
    install(python, *options, cwd=clone)
    home = clone if "--editable" in options else tmp_path / "environment"
    for place in (clone, tmp_path):
        found = Path(run(str(python), "-c", IMPORTED, cwd=place).strip()).resolve()
        assert found.is_relative_to(home), f"in {place}: {found}"
    paths = [file.read_text().strip() for file in (tmp_path / "environment").rglob("*.pth")]
    # A plain path, which type checkers follow, and no hook in Python.
    assert (str(clone / "src") in paths) == ("--editable" in options)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build(copied_clone(folder), folder)
    return next(folder.glob("*.whl"))


def build(clone: Path, to: Path):
    wheel = (sys.executable, "-m", "pip", "wheel", ".", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(to))
    run(*wheel, cwd=clone)


@pytest.mark.nightly
def test_wheel_works_away_from_its_checkout(wheel, tmp_path):
    """Unpacked, it imports beside a foreign package `datasets`, which stays itself."""
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    zipfile.ZipFile(wheel).extractall(site)
    assert (site / "surrogax" / "py.typed").exists()
    assert not any((site / floor).exists() for floor in FLOORS)
    (elsewhere / "datasets").mkdir(parents=True)
    (elsewhere / "datasets" / "__init__.py").write_text("foreign = True\n")
    code = (
        "import datasets, surrogax, surrogax.datasets\n"
        "assert datasets.foreign and surrogax.datasets is not datasets\n"
        f"assert surrogax.__file__.startswith({str(site)!r}), surrogax.__file__\n"
        f"assert surrogax.datasets.__file__.startswith({str(site)!r})\n"
    )
    run(sys.executable, "-c", code, cwd=elsewhere, PYTHONPATH=f"{site}{os.pathsep}{elsewhere}")


@pytest.mark.nightly
def test_tests_pass_in_a_clone_against_the_installed_copy(wheel, clone, tmp_path):
    python = environment(tmp_path / "environment")
    install(python, str(wheel), cwd=tmp_path)
    run(str(python), "-m", "pytest", "-q", "tests/core/test_domains.py", cwd=clone)


def test_wheel_holds_every_file_of_the_library(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for top, base in ((ROOT / "src" / "surrogax", ROOT / "src"), *((ROOT / floor, ROOT) for floor in FLOORS)):
        for file in top.rglob("*"):  # links are not followed
            inside = Path("surrogax", file.relative_to(base)) if base == ROOT else file.relative_to(base)
            if file.is_file() and "__pycache__" not in file.parts:
                assert str(inside) in names, f"{inside} is missing"


@pytest.mark.nightly
def test_source_archive_holds_the_floors_and_builds_the_same_wheel(wheel, clone, tmp_path):
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    run(sys.executable, "-c", code, cwd=clone)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    for floor in FLOORS:
        assert (unpacked / "src" / "surrogax" / floor / "__init__.py").exists()
    build(unpacked, tmp_path / "again")
    (again,) = (tmp_path / "again").glob("*.whl")
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.nightly
def test_wheel_and_source_archive_install_and_have_the_command(wheel, clone, tmp_path):
    """From each, in an empty folder: the command and the module answer with the version, and a name is found."""
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    run(sys.executable, "-c", code, cwd=clone)
    empty = tmp_path / "empty"
    empty.mkdir()
    for kind, archive in (("wheel", wheel), ("source", next(tmp_path.glob("*.tar.gz")))):
        python = environment(tmp_path / kind)
        install(python, str(archive), cwd=empty)
        version = run(str(python), "-c", "import surrogax; print(surrogax.__version__)", cwd=empty).strip()
        for command in ([str(python.parent / "surrogax")], [str(python), "-m", "surrogax"]):
            assert run(*command, "--version", cwd=empty) == f"surrogax {version}\n"
            assert "train surrogates" in run(*command, "--help", cwd=empty)
        assert run(str(python), "-c", "import surrogax as sx; print(sx.FNO.__name__)", cwd=empty) == "FNO\n"


@pytest.mark.nightly
def test_a_type_checker_reports_planted_errors(tmp_path):
    """Our settings check a file of every floor, and a user's script sees the types of an editable install."""
    pyright = pytest.importorskip("pyright", reason="pyright is for developers")
    library = tmp_path / "src" / "surrogax"
    shutil.copytree(
        ROOT / "src" / "surrogax", library, symlinks=True, ignore=lambda _, names: set(names) - {*FLOORS, "py.typed"}
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    places = {"": library, "core": library / "core"} | {floor: tmp_path / floor for floor in FLOORS}
    for place in places.values():
        place.mkdir(exist_ok=True)
        (place / "__init__.py").touch()
        (place / "planted.py").write_text("def size() -> int:\n    return 'wrong'\n")

    def errors(*options: str, cwd: Path) -> list[str]:
        command = [sys.executable, "-m", pyright.__name__, "--pythonpath", sys.executable, *options]
        result = subprocess.run(command, cwd=cwd, timeout=300, capture_output=True, text=True)
        return [line for line in result.stdout.splitlines() if "error:" in line]

    found = errors(cwd=tmp_path)
    for place in places.values():
        assert any(f"{place.relative_to(tmp_path)}/planted.py" in line for line in found), (place, found)

    user = tmp_path / "user"
    user.mkdir()
    modules = [".".join(filter(None, ("surrogax", name, "planted"))) for name in places]
    lines = [f"import {module}\ntext: str = {module}.size()" for module in modules]
    (user / "script.py").write_text("\n".join(lines))
    (user / "pyrightconfig.json").write_text('{"extraPaths": ["../src"]}')
    found = [line for line in errors(cwd=user) if '"int" is not assignable to declared type "str"' in line]
    assert len(found) == len(modules), found
