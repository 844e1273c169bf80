"""What the benchmark scripts share: the command line, the process of a peer, the record of how a number was measured."""

import argparse
import contextlib
import json
import platform
import subprocess
import sys
from datetime import date
from importlib import metadata
from pathlib import Path

import jax

RESULTS = Path(__file__).parent / "results"
PEERS = Path(__file__).parent / "peers"
# Environment of the PyTorch peer, made by `peers/requirements.txt`.
PEER = PEERS / ".venv" / "bin" / "python"
# Environment of the peers of the reduced bases, made by `peers/requirements-reduced.txt`.
REDUCED_PEER = PEERS / ".venv-reduced" / "bin" / "python"
# Environment of the peers of the linear solvers, made by `peers/requirements-linear.txt`.
LINEAR_PEER = PEERS / ".venv-linear" / "bin" / "python"


def options(description: str, quick: str, peer: Path | None = None, **others: dict) -> argparse.Namespace:
    """The command line of a benchmark.

    **Arguments:**

    - `description`: the docstring of the script.
    - `quick`: what `--quick` changes.
    - `peer`: the default Python of its peer. The result's `python` is that Python, or None where it is missing or
      `--self-only` is given.
    - `others`: further options by name, as arguments of `add_argument`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=quick)
    if peer is not None:
        parser.add_argument("--self-only", action="store_true", help="without the peer: its ratios are null")
        parser.add_argument("--peer-python", type=Path, default=peer, help="Python of the peer's environment")
    for name, settings in others.items():
        parser.add_argument(f"--{name}", **settings)
    found = parser.parse_args()
    if peer is not None:
        found.python = found.peer_python if found.peer_python.exists() and not found.self_only else None
    return found


class PeerProcess:
    """A script of `peers/` in its own Python, which reads and writes lines; what it says of errors stays visible.

    **Raises:** `RuntimeError` where it has failed, or ended before it answered.
    """

    def __init__(self, python: Path, script: str, *arguments):
        self.script = script
        command = [str(word) for word in (python, PEERS / script, *arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self) -> str:
        """Its next line."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer {self.script} ended with status {self.process.wait()} before it answered")
        return line

    def ask(self, *words) -> str:
        """Its answer to a line."""
        with contextlib.suppress(BrokenPipeError):  # it has ended, which `read` finds
            print(*words, file=self.process.stdin, flush=True)
        return self.read()

    def close(self) -> None:
        """Close its input and wait for its end."""
        self.process.communicate()
        if self.process.returncode:
            raise RuntimeError(f"the peer {self.script} failed with status {self.process.returncode}")


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
