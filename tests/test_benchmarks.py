"""Every benchmark has a smallest case, keeps the result of full runs alone and is listed; `make smoke` runs them all."""

import ast
import json
import sys
from pathlib import Path

import pytest
from common import command_line
from common.command_line import options
from common.record import record
from tools.run_all import SCRIPTS, is_object

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def calls(script: Path, function: str) -> list[ast.Call]:
    nodes = ast.walk(ast.parse(script.read_text()))
    return [n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == function]


def test_the_scripts_are_found():
    assert {"pod", "darcy_solver", "fno_training", "kills", "tpu_check"} <= {script.stem for script in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_script_has_a_smallest_case_and_records_under_its_name(script):
    (parsed,), recorded = calls(script, "options"), calls(script, "record")
    sizes = {k.arg: k.value.id for k in parsed.keywords if k.arg in ("full", "quick", "smoke")}
    assert sizes == {"full": "FULL", "quick": "QUICK", "smoke": "SMOKE"}
    assert "--smoke" in ast.get_docstring(ast.parse(script.read_text()))
    assert {call.args[0].value for call in recorded} == {script.stem}


def test_every_result_belongs_to_a_script():
    written = {"leaderboard", *(script.stem for script in SCRIPTS)}  # the former by `surrogax bench`
    assert {file.stem for file in (BENCHMARKS / "results").glob("*.json")} <= written


@pytest.fixture
def parsed(monkeypatch):
    """`parsed(*words)`: options of a benchmark whose peer is this Python."""

    def parse(*words):
        monkeypatch.setattr(sys, "argv", ["script.py", *words])
        return options("A benchmark.", full=100, quick=10, smoke=1, peer=Path(sys.executable))

    # Compilation in this process stays as it is.
    monkeypatch.setattr(command_line.jax.config, "update", lambda *setting: None)
    return parse


def test_sizes_peers_and_folders(parsed):
    full, quick, smoke = parsed(), parsed("--quick"), parsed("--smoke")
    assert (full.size, quick.size, smoke.size) == (100, 10, 1)
    assert full.python == quick.python == Path(sys.executable) and smoke.python is None
    assert parsed("--self-only").python is None and parsed("--peer-python", "/nowhere/python").python is None
    assert full.folder == BENCHMARKS / "results"
    assert BENCHMARKS not in quick.folder.parents and BENCHMARKS not in smoke.folder.parents


def test_help_names_the_smallest_case(parsed, capsys):
    with pytest.raises(SystemExit):
        parsed("--help")
    assert "--smoke" in capsys.readouterr().out


def test_quick_and_smoke_exclude_each_other(parsed, capsys):
    with pytest.raises(SystemExit):
        parsed("--quick", "--smoke")
    assert "not allowed with" in capsys.readouterr().err


def test_the_last_line_is_the_result(parsed, capsys):
    arguments = parsed("--smoke")
    record("script", arguments, {"ratio": None, "cases": [{"n": 3}]})
    *_, last = capsys.readouterr().out.splitlines()
    assert json.loads(last) == {"ratio": None, "cases": [{"n": 3}]}
    saved = json.loads((arguments.folder / "script.json").read_text())
    assert saved["values"] == json.loads(last) and saved["command"] == "script.py --smoke"


def test_what_counts_as_a_result():
    assert is_object('{"ratio": null}')
    assert not is_object("[1]") and not is_object("not run: no --data")
