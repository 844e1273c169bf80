"""Run the smallest case of every benchmark, and stop at the first that fails or prints no result.

    python benchmarks/tools/run_all.py      # make smoke
"""

import json
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = sorted(Path(__file__).parents[1].glob("*.py"))


def run(script: Path) -> None:
    """Print the seconds of `script --smoke`.

    **Raises:** `SystemExit`, after its output, if it fails or if its last line is no JSON object.
    """
    start = time.monotonic()
    done = subprocess.run([sys.executable, str(script), "--smoke"], capture_output=True, text=True)
    lines = done.stdout.splitlines() or [""]
    if done.returncode or not is_object(lines[-1]):
        raise SystemExit(f"{done.stdout}{done.stderr}{script.name}: exit status {done.returncode}, last line: {lines[-1]}")
    print(f"{script.name:28}{time.monotonic() - start:6.1f} s", flush=True)


def is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


if __name__ == "__main__":
    for script in SCRIPTS:
        run(script)
