"""One command for a bare machine with a GPU: the tests that matter, then every benchmark there, most valuable first.

    python benchmarks/gpu.py [--minutes 60] [--wheels DIR] [--peer-python PATH] [--folder PATH] [--only STEP …] [--list]
                             [--quick | --smoke]

Without a network: `pip download -d wheels -c requirements.lock setuptools ".[cuda,test]"` elsewhere (same Python, same kind of
machine), carry the folder along, and give it as --wheels: an environment `.venv-gpu` is made of it, once. Without --wheels the
steps run in the environment of this Python.

A step is a process of its own with a time box: the environment, what sets the constants of the platform, tests (kernels, solve,
POD, FNO, fit, samplers, exports), every benchmark with --quick, then the full ones. The result of each is written when it ends,
to steps/NAME.json in the folder (by default results/gpu), beside logs/NAME.log and what the benchmark itself records. The same
command goes on where it was stopped: steps that ended are not repeated, those that were cut are. Peers run where their
environments are, or in --peer-python.

--quick: the quick steps alone, two minutes; --smoke: two steps on any processor. Last line: JSON. `steps`: "done", "failed",
"cut" or "not run" with the reason, by name; `put_in`: constants of the library to change, with the values measured here.
"""

import argparse
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
_LEAST = 10.0  # seconds in which nothing can be done


class Step(NamedTuple):
    """A process: its name, the words after `python`, its time box in seconds, whether it is a run of tests."""

    name: str
    words: tuple[str, ...]
    seconds: float
    tests: bool = False


_ENVIRONMENT = (
    "import json, jax, surrogax, importlib.metadata as m; d = jax.devices();"
    "print(json.dumps({'platform': jax.default_backend(), 'devices': [x.device_kind for x in d], "
    "'memory': (d[0].memory_stats() or {}).get('bytes_limit'), "
    "'versions': {p: m.version(p) for p in ('surrogax', 'jax', 'jaxlib', 'equinox', 'optax')}}))"
)
TESTS = {
    "kernels": ["tests/solvers/kernels"],
    "solve": ["tests/solvers/linear"],
    "exports": ["tests/test_export.py"],
    "fno": ["tests/surrogates/operators"],
    "fit": [f"tests/surrogates/training/test_{name}.py" for name in ("fit", "session", "steps", "stream")],
    "samplers": ["tests/solvers/diffusion"],
    "pod": ["tests/surrogates/reduced"],
}
# Most valuable first: what is compared with PyTorch on GPUs everywhere, then what nobody else has, then long trainings.
_QUICK = [
    "fno_training", "operators_speed", "sampling_overhead", "linear_solvers", "pod", "diffusion_samplers", "pinn_speed",
    "generation", "darcy_solver", "unstructured", "gaussian_process", "kmedoids", "reduced_basis", "loading", "neural_spectral",
    "scaling",
]  # fmt: skip
_FULL = [
    ("fno_training", 600), ("operators_speed", 900), ("sampling_overhead", 600), ("linear_solvers", 1200), ("pod", 600),
    ("diffusion_samplers", 900), ("pinn_speed", 1200), ("generation", 900), ("darcy_solver", 900), ("unstructured", 900),
    ("scaling", 900), ("reduced_basis", 900), ("neural_spectral", 1800), ("pinn_accuracy", 3600), ("operators_compared", 3600),
    ("darcy_paper", 7200), ("burgers_paper", 7200), ("mesh_operators", 3600), ("darcy_posterior", 3600), ("refiner", 3600),
    ("pig", 3600), ("r3", 3600),
]  # fmt: skip
_KEEP = {
    "darcy_paper": "--runs",
    "burgers_paper": "--runs",
    "mesh_operators": "--runs",
    "darcy_posterior": "--kept",
    "refiner": "--kept",
}


def environment_step() -> Step:
    return Step("environment", ("-c", _ENVIRONMENT), 120)


def benchmark(name: str, seconds: float, folder: Path, python: Path | None, *words: str, label: str = "") -> Step:
    """A benchmark that records in `folder`, with its peer where it has one."""
    script = ROOT / "benchmarks" / f"{name}.py"
    if python is not None and "peer=" in script.read_text():
        words += ("--peer-python", str(python))
    return Step(label or name, (str(script), "--folder", str(folder), *words), seconds)


def quick_steps(folder: Path, python: Path | None) -> list[Step]:
    constants = [benchmark(name, 400, folder, None) for name in ("fourier_transforms", "platform_constants")]
    options = ("-m", "pytest", "-v", "-p", "no:cacheprovider", "--tb=short", "--color=no", "-m", "not nightly")
    tests = [Step(f"tests {name}", (*options, *files), 240, tests=True) for name, files in TESTS.items()]
    quick = [
        benchmark(name, 180, folder / "quick", python, "--quick", label=f"{name} quick") for name in _QUICK
    ]  # fmt: skip
    return [environment_step(), *constants, *tests, *quick]


def full_steps(folder: Path, python: Path | None) -> list[Step]:
    def kept(name: str) -> tuple[str, ...]:
        return (_KEEP[name], str(folder / "runs" / name)) if name in _KEEP else ()

    return [*quick_steps(folder, python), *(benchmark(n, s, folder, python, *kept(n)) for n, s in _FULL)]


def smoke_steps(folder: Path, python: Path | None) -> list[Step]:
    return [environment_step(), benchmark("platform_constants", 120, folder, python, "--smoke")]


FULL, QUICK, SMOKE = (full_steps, 60.0), (quick_steps, 2.0), (smoke_steps, 2.0)


class Runner:
    """Runs steps one after the other and keeps the result of each in `folder`.

    **Raises:** `ValueError` for a folder with results of another commit or size.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], seconds: float):
        from surrogax.core.files import write_json

        self.folder, self.end, self.write = folder, time.monotonic() + seconds, write_json
        for name in ("steps", "logs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        file = folder / "identity.json"
        if file.exists() and (before := json.loads(file.read_text())) != identity:
            raise ValueError(
                f"{folder} holds results of {before}, this is {identity}; choose another --folder or remove it"
            )
        write_json(file, identity)

    def file(self, step: Step) -> Path:
        return self.folder / "steps" / f"{step.name.replace(' ', '_')}.json"

    def result(self, step: Step) -> dict[str, Any] | None:
        """The kept result, whatever its state."""
        return json.loads(self.file(step).read_text()) if self.file(step).exists() else None

    def run(self, step: Step, box: float) -> dict[str, Any]:
        """The result of a step: the kept one if it has ended, else that of now. It may take `box` seconds."""
        before = self.result(step)
        if before is not None and before["state"] in ("done", "failed"):
            return before
        left = self.end - time.monotonic()
        if left < _LEAST:
            return before or {"state": "not run", "why": "the minutes were over"}
        log = self.folder / "logs" / f"{step.name.replace(' ', '_')}.log"
        kept = {"state": "cut", "seconds": 0.0, "command": " ".join(("python", *step.words))}
        self.write(self.file(step), kept)  # what a kill leaves
        began = time.monotonic()
        try:
            state, status = _finished(step, log, min(box, left))
        except BaseException:
            self.write(self.file(step), {**kept, "seconds": time.monotonic() - began, **_found(step, log)})
            raise
        kept |= {"state": state, "status": status, "seconds": time.monotonic() - began, **_found(step, log)}
        self.write(self.file(step), kept)
        return kept


def _finished(step: Step, log: Path, seconds: float) -> tuple[str, int | None]:
    """Run the process of a step, with all that it starts. How it ended, and its status."""
    variables = {
        **os.environ,
        "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", ""),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    if step.tests:
        variables["XLA_FLAGS"] = ""  # not those for short compilation on a CPU
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-u", *step.words], cwd=ROOT, env=variables, stdout=file, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            status = process.wait(seconds)
            return ("done" if status == 0 else "failed"), status
        except subprocess.TimeoutExpired:
            return "cut", None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _found(step: Step, log: Path) -> dict[str, Any]:
    """What the log of a step says: counts of tests and the names of those that failed; or the last JSON object, or its end."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    if step.tests:
        ends = [m for line in lines if (m := re.match(r"(\S+::.+) (PASSED|FAILED|SKIPPED|ERROR)\b", line))]
        counts = {word.lower(): sum(m[2] == word for m in ends) for word in ("PASSED", "FAILED", "SKIPPED", "ERROR")}
        return {"tests": counts, "failed": [m[1] for m in ends if m[2] in ("FAILED", "ERROR")]}
    for line in reversed(lines):
        if line.startswith("{"):
            try:
                return {"values": json.loads(line)}
            except ValueError:
                continue
    return {"values": None, "log_ends": lines[-5:]}


def put_in(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Constants of the library to change, with the measured values."""
    found: dict[str, Any] = {}
    transforms = (results.get("fourier_transforms") or {}).get("values")
    if transforms:
        found[f"fourier.FFT_COST_RATIO[{transforms['platform']!r}]"] = round(transforms["cost_ratio"], 1)
    constants = (results.get("platform_constants") or {}).get("values")
    return found | (constants["put_in"] if constants else {})


def _in_words(result: dict[str, Any]) -> str:
    if result["state"] == "not run":
        return f"not run: {result['why']}"
    counts = result.get("tests")
    tests = ", " + ", ".join(f"{n} {what}" for what, n in counts.items() if n) if counts else ""
    return f"{result['state']} in {result['seconds']:.0f} s{tests}"


def install(words: list[str]) -> None:
    """With --wheels: make `.venv-gpu` of the wheels, unless it is there, and go on in it with the other words."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--extras", default="cuda,test")
    parser.add_argument("--environment", type=Path, default=ROOT / ".venv-gpu")
    given, others = parser.parse_known_args(words)
    if given.wheels is None:
        return
    if not any(given.wheels.glob("*.whl")):
        sys.exit(f"gpu: --wheels {given.wheels}: no wheel lies there; see the help for how to collect them")
    python, complete = given.environment / "bin" / "python", given.environment / ".complete"
    if not complete.exists():
        pip = [
            python,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--quiet",
            "--no-index",
            "--find-links",
            given.wheels,
        ]
        for command in (
            [sys.executable, "-m", "venv", "--clear", given.environment],
            [*pip, "setuptools"],
            [*pip, "--no-build-isolation", "--editable", f"{ROOT}[{given.extras}]"],
        ):
            if status := subprocess.run([str(word) for word in command]).returncode:
                sys.exit(
                    f"gpu: {' '.join(map(str, command[1:4]))} … ended with status {status}; is a wheel missing in {given.wheels}?"
                )
        complete.touch()
    os.execv(python, [str(python), str(Path(__file__).resolve()), *others])


def main() -> None:
    install(sys.argv[1:])
    if importlib.util.find_spec("jax") is None:
        sys.exit(
            "gpu: there is no jax here; give --wheels DIR, or run this with the Python of an environment that has it"
        )
    from common.command_line import RESULTS, options
    from common.record import record

    arguments = options(
        __doc__, full=FULL, quick=QUICK, smoke=SMOKE,
        minutes={"type": float, "default": None, "help": "in all; 60, with --quick and --smoke 2"},
        only={"nargs": "*", "default": (), "metavar": "STEP", "help": "these steps only; the names of --list"},
        list={"action": "store_true", "help": "print the names of the steps"},
        cpu={"action": "store_true", "help": "go on though there is no GPU"},
        **{"peer-python": {"type": Path, "default": None, "help": "Python of the peers, such as one with PyTorch"}},
        wheels={"type": Path, "default": None, "help": "folder of wheels of which an environment is made"},
    )  # fmt: skip
    (make, usual), folder = arguments.size, arguments.folder if arguments.folder != RESULTS else RESULTS / "gpu"
    minutes = usual if arguments.minutes is None else arguments.minutes
    if minutes <= 0:
        sys.exit(f"gpu: --minutes {minutes:g} leaves no time for anything")
    steps = make(folder.resolve(), arguments.peer_python)
    if unknown := set(arguments.only) - {step.name for step in steps}:
        sys.exit(f"gpu: --only {sorted(unknown)[0]!r}: the steps are {', '.join(step.name for step in steps)}")
    if arguments.list:
        print("\n".join(f"{step.name:32}{step.seconds:6.0f} s at most" for step in steps))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    size = "smoke" if arguments.smoke else "quick" if arguments.quick else "full"
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT
    ).stdout.strip()
    try:
        runner = Runner(folder, {"commit": commit, "size": size}, 60 * minutes)
    except ValueError as error:
        sys.exit(f"gpu: {error}")
    results: dict[str, dict[str, Any]] = {}
    tests = sum(step.tests for step in steps)
    for step in steps:
        if arguments.only and step.name not in (*arguments.only, "environment"):
            results[step.name] = runner.result(step) or {"state": "not run", "why": "not among --only"}
            continue
        # Tests take at most half of the minutes.
        box = min(step.seconds, 60 * minutes / 2 / tests) if step.tests else step.seconds
        results[step.name] = result = runner.run(step, box)
        print(f"{step.name:32}{_in_words(result)}", flush=True)
        if step.name == "environment" and not (arguments.cpu or arguments.smoke):
            found = result["values"]
            if found is None or found["platform"] != "gpu":
                runner.file(step).unlink()
                what = "jax does not start; see the log" if found is None else f"jax finds {found['platform']} alone"
                sys.exit(f"gpu: no GPU here: {what}; install jax[cuda13], or give --cpu to go on without one")
    if arguments.folder == RESULTS:
        print(f"Results of the steps: {folder}")
    constants = put_in(results)
    for name, value in constants.items():
        print(f"put in: {name} = {value}")
    states = {
        name: result["state"] if "why" not in result else f"not run: {result['why']}"
        for name, result in results.items()
    }
    numbers = {name: result["tests"] for name, result in results.items() if "tests" in result}
    device = (results["environment"].get("values") or {}).get("devices")
    record(
        "gpu",
        arguments,
        {"devices": device, "minutes": minutes, "steps": states, "tests": numbers, "put_in": constants},
    )


if __name__ == "__main__":
    main()
