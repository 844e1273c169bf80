"""`benchmarks/gpu.py`: steps in processes of their own, each kept when it ends, cut at its time, going on where it stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gpu
import pytest

SCRIPT = Path(gpu.__file__)
LINE = "print('a line'); print('{\"ratio\": 1.5}')"


def step(name: str, code: str, seconds: float = 20.0, tests: bool = False) -> gpu.Step:
    return gpu.Step(name, ("-c", code), seconds, tests)


def test_a_step_is_kept_when_it_ends_and_not_repeated(tmp_path):
    runner = gpu.Runner(tmp_path, {"commit": "a"}, 60)
    once = step("a step", f"{LINE}; open({str(tmp_path / 'ran')!r}, 'x')")
    for _ in range(2):
        found = runner.run(once, 20)
        assert found["state"] == "done" and found["values"] == {"ratio": 1.5}
    assert json.loads((tmp_path / "steps" / "a_step.json").read_text()) == found
    assert "a line" in (tmp_path / "logs" / "a_step.log").read_text()
    failed = runner.run(step("bad", "raise SystemExit('no such thing')"), 20)
    assert failed["state"] == "failed" and failed["log_ends"] == ["no such thing"] and failed["values"] is None


def test_a_step_is_cut_with_all_that_it_started_and_runs_again(tmp_path):
    late = tmp_path / "late"
    inner = f"import time; time.sleep(3); open({str(late)!r}, 'x')"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {inner!r}]); print('begun'); time.sleep(60)"
    runner, began = gpu.Runner(tmp_path, {}, 60), time.monotonic()
    assert runner.run(step("slow", code), 1.0)["state"] == "cut" and time.monotonic() - began < 10
    assert runner.run(step("slow", LINE), 20)["state"] == "done"
    time.sleep(2.5)
    assert not late.exists()
    over = gpu.Runner(tmp_path, {}, 5)
    assert over.run(step("another", LINE), 20) == {"state": "not run", "why": "the minutes were over"}


def test_results_of_another_commit_are_not_mixed(tmp_path):
    gpu.Runner(tmp_path, {"commit": "a", "size": "full"}, 60)
    with pytest.raises(ValueError, match=r"holds results of .*'a'.* choose another --folder"):
        gpu.Runner(tmp_path, {"commit": "b", "size": "full"}, 60)


def test_tests_are_counted_from_what_they_print_even_if_they_are_cut(tmp_path):
    log = tmp_path / "log"
    log.write_text(
        "tests/a.py::test_one PASSED [ 25%]\ntests/a.py::test_two[x y] FAILED [ 50%]\ntests/a.py::test_three SKIPPED (why)\n"
        "tests/a.py::test_four PASSED\nFAILED tests/a.py::test_two[x y] - assert 0\ntests/a.py::test_five "
    )
    found = gpu._found(step("tests", "", tests=True), log)
    assert found["tests"] == {"passed": 2, "failed": 1, "skipped": 1, "error": 0}
    assert found["failed"] == ["tests/a.py::test_two[x y]"]


def test_constants_to_put_in_come_from_what_was_measured():
    assert gpu.put_in({}) == {}
    measured = {
        "fourier_transforms": {"state": "done", "values": {"platform": "gpu", "cost_ratio": 41.27}},
        "platform_constants": {"state": "done", "values": {"put_in": {"gram._CHUNK": 2**24}}},
    }
    assert gpu.put_in(measured) == {"fourier.FFT_COST_RATIO['gpu']": 41.3, "gram._CHUNK": 2**24}


def test_the_steps_are_there():
    for make in (gpu.FULL[0], gpu.QUICK[0], gpu.SMOKE[0]):
        steps = make(Path("results"), None)
        assert steps[0].name == "environment" and len({s.name for s in steps}) == len(steps)
        for each in steps:
            for word in each.words:
                assert not word.startswith(("tests/", str(SCRIPT.parent))) or (gpu.ROOT / word).exists(), word
    with_peer = {s.name: s.words for s in gpu.full_steps(Path("results"), Path("/peer/python"))}
    assert "--peer-python" in with_peer["fno_training"] and "--peer-python" not in with_peer["reduced_basis"]


def run(*words: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


@pytest.mark.nightly
def test_mistakes_are_one_sentence(tmp_path):
    for words, said in (
        (("--minutes", "0"), "--minutes 0 leaves no time"),
        (("--only", "fno"), "--only 'fno': the steps are environment, "),
        (("--wheels", str(tmp_path)), "no wheel lies there"),
        (("--minutes", "1", "--folder", str(tmp_path)), "no GPU here: jax finds cpu alone"),
    ):
        done = run(*words)
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr, (words, done.stderr)
    listed = run("--list").stdout
    assert "tests kernels" in listed and "fno_training quick" in listed and "darcy_paper" in listed


@pytest.mark.nightly
def test_a_run_that_was_killed_goes_on(tmp_path):
    words = [sys.executable, str(SCRIPT), "--smoke", "--folder", str(tmp_path / "results")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    kept = tmp_path / "results" / "steps"
    while not (kept / "platform_constants.json").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 143
    process.stdout.close()
    first, cut = (json.loads((kept / f"{name}.json").read_text()) for name in ("environment", "platform_constants"))
    assert first["state"] == "done" and first["values"]["platform"] == "cpu" and cut["state"] == "cut"
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    assert json.loads((kept / "environment.json").read_text()) == first, "it was not run again"
    values = json.loads(done.stdout.splitlines()[-1])
    assert values["steps"] == {"environment": "done", "platform_constants": "done"}
    assert (tmp_path / "results" / "platform_constants.json").exists() and (tmp_path / "results" / "gpu.json").exists()
