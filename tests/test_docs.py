"""The documentation: every public name has a page, pages of code run, examples of docstrings print what they say.

`make docs` builds the site and looks for dead links.
"""

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tools.run_all import FAST_COMPILATION  # in benchmarks/

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs" / "guide").glob("*.md"))


@pytest.fixture(scope="module")
def generator():
    """The modules of docs/generator by name."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        yield lambda name: importlib.import_module(f"generator.{name}")
    finally:
        sys.path.remove(str(ROOT / "docs"))


def homes() -> set[str]:
    """The modules from which the face and the public packages take their names."""
    found = set()
    packages = ("linear", "diffusion", "pde", "reduced", "generative", "learned_solvers", "operators", "baselines")
    files = [file for name in packages for file in ROOT.glob(f"s*/{name}/__init__.py")]
    for file in (ROOT / "src" / "surrogax" / "__init__.py", *files):
        inside = () if file.parts[-2] == "surrogax" else file.relative_to(ROOT).parts[:-1]
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = inside[: len(inside) - node.level + 1]
                names = [] if node.module else [alias.name for alias in node.names]
                found |= {".".join(("surrogax", *base, *filter(None, (node.module, name)))) for name in names or [None]}
    return found - {"surrogax.solvers"}  # from which packages are taken


def test_every_public_name_has_a_page(generator):
    page_of, known = generator("public_names").page_of, homes()
    assert len(known) > 200 and {"surrogax.solvers.linear.krylov.cg", "surrogax.surrogates.training.fit"} <= known
    pages = {module: page_of(module).slug for module in known}  # raises for a module without one
    assert pages["surrogax.solvers.linear.krylov.cg"] == "krylov" and pages["surrogax.surrogates.training.fit"] == "fit"
    with pytest.raises(LookupError, match="on no page"):
        page_of("elsewhere.module")


@pytest.mark.nightly
def test_names_have_docstrings_and_most_of_them_examples(generator):
    names = generator("public_names").public_names()
    assert len(names) > 400 and {"fit", "linear.CG", "pde.Problem", "log.CSV"} <= {
        p for n in names for p in (n.path, *n.aliases)
    }
    documented = [name for name in names if inspect.isclass(name.value) or inspect.isroutine(name.value)]
    for name in documented:
        assert name.page and (name.value.__doc__ or "").strip(), f"{name.path} has no docstring"
    with_example = [name.path for name in documented if generator("examples").has_example(name)]
    assert len(with_example) > 0.7 * len(documented)
    used = {"fit", "FNO", "Task", "from_arrays", "open", "evaluate", "linear.solve", "diffusion.sample", "reduced.pod"}
    assert used <= set(with_example)


def test_numbers_of_the_choosing_page_are_recorded(generator):
    """A number that the recorded run does not have raises; no place for a number is left."""
    page = generator("choosing_page")
    text = page.filled(page.TEMPLATE.read_text())
    assert not re.search(r"\{(percent|number|error|seconds|ms|times):", text)
    with pytest.raises(KeyError, match="no benchmark"):
        page.filled("{percent:nothing/rel_l2}")
    for place in (
        "operators_compared/burgers/XNO/rel_l2",
        "darcy_solver/cases/999/error",
        "darcy_solver/cases/0/error/0",
    ):
        with pytest.raises(KeyError, match="there are"):
            page.filled(f"{{percent:{place}}}")


def test_the_leaderboard_is_a_page_of_its_rows(generator, tmp_path):
    page = generator("leaderboard_page")
    page.write_leaderboard_page(tmp_path / "none.md", tmp_path / "absent.json")
    assert (
        "No run is recorded" in (text := (tmp_path / "none.md").read_text()) and "surrogax bench darcy burgers" in text
    )
    cost = {
        "ms_per_sample_1": 2.0,
        "ms_per_sample": 1.0,
        "parameters": 10,
        "label_error": None,
        "seed": 0,
        "field": "u",
    }
    rest = {"dataset": "9²", "metric": "rel_l2", "stderr": None, "time": None, "rollout": None, "starts": 1, "given": 0}
    shown = [
        ("net", "model", 0.02, 3.0, 20, 4e3, "solver 9², rtol 0.01"),
        ("mean", "baseline", 0.3, None, None, None, None),
    ]
    rows = [
        dict(task="darcy", surrogate=name, kind=kind, mean=mean, seconds=s, epochs=e, queries=q, solver=by, step=None)
        for name, kind, mean, s, e, q, by in [*shown, ("solver 9², rtol 0.01", "solver", None, None, None, None, None)]
    ]
    record = {
        "minutes": 0.1,
        "tasks": {
            "darcy": {"says": "Darcy flow.", "settings": "train = 4\n", "models": {"net": {"name": "fno", "width": 4}}}
        },
        "rows": [{**row, **cost, **rest} for row in rows],
        "environment": {"platform": "Linux", "versions": {"jax": "0"}},
    }
    (tmp_path / "leaderboard.json").write_text(json.dumps(record))
    page.write_leaderboard_page(tmp_path / "leaderboard.md", tmp_path / "leaderboard.json")
    text = (tmp_path / "leaderboard.md").read_text()
    assert (
        "| net | 2 % | 2 | 1 | 10 | 3 | 20 | 4e+03, solver 9², rtol 0.01 |" in text and "net: name fno, width 4" in text
    )
    assert "--minutes 0.1" in text and (tmp_path / "leaderboard" / "darcy.svg").stat().st_size > 1000


def test_results_show_every_record_and_what_did_not_run(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    results = importlib.import_module("make_results")
    records = [name for name in results.BENCHMARKS if (results.RESULTS / f"{name}.json").exists()]
    assert len(records) > 20 and all(results.section(name) for name in records)
    saved = json.loads((results.RESULTS / "pod.json").read_text())
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    ratio = saved["values"]["ratio_pymor_qr"]
    saved["values"]["ratio_pymor_qr"] = None
    (tmp_path / "pod.json").write_text(json.dumps(saved))
    assert ratio is not None and "| ratio pymor qr | not run |" in results.section("pod")
    del saved["values"]["cases"]
    (tmp_path / "pod.json").write_text(json.dumps(saved))
    with pytest.raises(ValueError, match=r"pod.json has not what its table shows: KeyError\('cases'\)"):
        results.section("pod")


def test_signatures_stand_as_they_were_written(generator):
    from surrogax.core.domains import Box, Grid

    signatures = generator("signatures")
    assert signatures.class_signature(Grid) == (
        "(box: Box, shape: tuple[int, ...], layouts: tuple[Literal['nodes', 'cells', 'periodic'], ...])"
    )
    assert signatures.function_signature(Box.grid, bound=True).startswith("(shape: ")


def test_docstrings_become_markdown(generator):
    text = "Solve by `CG`.\n\nFor x\n\n    u = v\n\n- `a`: one\n    and more\n\n    >>> 1 + 1\n    2\n"
    found = generator("docstrings").markdown(text, {"CG": "linear.CG"}.get)
    assert "{py:obj}`CG <surrogax.linear.CG>`" in found and "```python\nu = v\n```" in found
    assert "- `a`: one\n    and more" in found


@pytest.mark.nightly
def test_examples_of_docstrings(generator, tmp_path, monkeypatch):
    """In a fresh process, as a reader has it: without checks of annotations and with one device."""
    code = "from generator.examples import failures; found = list(failures()); print(''.join(found)); assert not found"
    paths = [str(ROOT / "docs"), str(ROOT / "src")]
    own = {"PYTHONPATH": os.pathsep.join(paths), "SURROGAX_CACHE": str(tmp_path), "XLA_FLAGS": FAST_COMPILATION}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]


@pytest.mark.nightly
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_runs_as_it_stands(page, tmp_path):
    """All blocks of a page in order, in an empty folder."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
    assert len(code.splitlines()) > 10
    environment = {**os.environ, "SURROGAX_CACHE": str(tmp_path / "cache"), "PYTHONWARNINGS": "error::UserWarning"}
    (tmp_path / "page.py").write_text(code)
    command = [sys.executable, "page.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
