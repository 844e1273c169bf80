"""Run the smallest case of the benchmarks, as many at once as there are cores, and stop at the first that fails or prints no
result.

    python benchmarks/tools/run_all.py      # make smoke; with --long those alone that compile for half a minute or more
"""

import concurrent.futures
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = sorted(Path(__file__).parents[1].glob("*.py"))
# What these compile is also compiled by tests; `make nightly` runs them.
LONG = (
    "bridges", "conformal", "darcy_paper", "darcy_posterior", "deep_cg", "kills", "learned_preconditioner", "learning_to_relax",
    "linear_solvers", "mesh_operators", "refiner", "scaling",
)  # fmt: skip
LIMIT = 300  # seconds of one script
# XLA's flags for programs that run once, which are those of the tests too. Compilation is two thirds of them; without LLVM's
# optimisation it takes a third less, without XLA's newer emitters of fused loops (an option of jaxlib 0.10 alone; XLA aborts on
# flags that it does not know) half of that.
FAST_COMPILATION = "--xla_backend_optimization_level=0" + " --xla_cpu_use_fusion_emitters=false" * (
    importlib.metadata.version("jaxlib").startswith("0.10.")
)


def run(script: Path) -> str:
    """The line to print of `script --smoke`: name and seconds.

    **Raises:** `RuntimeError` with its output if it fails, or if its last line is no JSON object.
    """
    start = time.monotonic()
    environment = {"XLA_FLAGS": FAST_COMPILATION, **os.environ}
    done = subprocess.run(
        [sys.executable, str(script), "--smoke"], capture_output=True, text=True, timeout=LIMIT, env=environment
    )
    last = (done.stdout.splitlines() or [""])[-1]
    if done.returncode or not is_object(last):
        raise RuntimeError(
            f"{done.stdout}{done.stderr}{script.name}: exit status {done.returncode}, last line {last!r}"
        )
    return f"{script.name:28}{time.monotonic() - start:6.1f} s"


def is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def main():
    chosen = [script for script in SCRIPTS if (script.stem in LONG) == ("--long" in sys.argv)]
    with concurrent.futures.ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        try:
            for done in concurrent.futures.as_completed([pool.submit(run, script) for script in chosen]):
                print(done.result(), flush=True)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            pool.shutdown(cancel_futures=True)
            sys.exit(str(error))


if __name__ == "__main__":
    main()
