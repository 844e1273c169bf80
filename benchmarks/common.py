"""What the benchmark scripts share: the record of where and how a number was measured."""

import json
import platform
import subprocess
import sys
from datetime import date
from importlib import metadata
from pathlib import Path

import jax

RESULTS = Path(__file__).parent / "results"
# Environment of the PyTorch peer, made by `peers/requirements.txt`.
PEER = Path(__file__).parent / "peers" / ".venv" / "bin" / "python"
# Environment of the peers of the reduced bases, made by `peers/requirements-reduced.txt`.
REDUCED_PEER = Path(__file__).parent / "peers" / ".venv-reduced" / "bin" / "python"
# Environment of the peers of the linear solvers, made by `peers/requirements-linear.txt`.
LINEAR_PEER = Path(__file__).parent / "peers" / ".venv-linear" / "bin" / "python"


def record(name: str, quick: bool, values: dict) -> None:
    """Print `values` as the last line, and keep them with their circumstances in results/ (full runs only)."""
    if not quick:
        details = {
            "benchmark": name,
            "commit": _git("rev-parse", "--short", "HEAD"),
            "date": date.today().isoformat(),
            "command": " ".join([Path(sys.argv[0]).name, *(a for a in sys.argv[1:] if "/" not in a)]),
            "machine": {"device": jax.devices()[0].device_kind, "cpu": platform.processor() or platform.machine()},
            "versions": {p: metadata.version(p) for p in ("jax", "equinox", "optax", "numpy")},
        }
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps({**details, "values": values}, indent=1) + "\n")
    print(json.dumps(values))


def _git(*args: str) -> str:
    return subprocess.run(["git", *args], capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()
