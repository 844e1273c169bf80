"""Peers: other libraries, each in its own Python environment and process."""

import contextlib
import subprocess
from pathlib import Path

PEERS = Path(__file__).parents[1] / "peers"
# PyTorch and neuraloperator, `peers/requirements.txt`.
TORCH = PEERS / ".venv" / "bin" / "python"
# pyMOR, scikit-learn and kmedoids, `peers/requirements-reduced.txt`.
REDUCED = PEERS / ".venv-reduced" / "bin" / "python"
# SciPy and pyamg, `peers/requirements-linear.txt`.
LINEAR = PEERS / ".venv-linear" / "bin" / "python"
# PyTorch and the_well, `peers/requirements-loading.txt`.
LOADING = PEERS / ".venv-loading" / "bin" / "python"
# diffusers and PyTorch, `peers/requirements-diffusion.txt`.
DIFFUSION = PEERS / ".venv-diffusion" / "bin" / "python"
# crepes and MAPIE, `peers/requirements-conformal.txt`.
CONFORMAL = PEERS / ".venv-conformal" / "bin" / "python"
# DeepXDE, PyTorch and jinns, `peers/requirements-physics.txt`.
PHYSICS = PEERS / ".venv-physics" / "bin" / "python"
# hackable-diffusion and diffuse-jax, `peers/requirements-diffusion-jax.txt`.
DIFFUSION_JAX = PEERS / ".venv-diffusion-jax" / "bin" / "python"
# neojax-operators, foundax and opifex, `peers/requirements-operators-jax.txt`.
OPERATORS_JAX = PEERS / ".venv-operators-jax" / "bin" / "python"
# exponax and SciPy, `peers/requirements-exponax.txt`.
EXPONAX = PEERS / ".venv-exponax" / "bin" / "python"


class PeerProcess:
    """A running script of `peers/`, which is asked and answers by lines. Its messages of errors stay visible.

    **Raises:** `RuntimeError` if it has failed, or ended before it answered.
    """

    def __init__(self, python: Path, script: str, *arguments):
        self.script = script
        command = [str(word) for word in (python, PEERS / script, *arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self) -> str:
        """Wait for its next line."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer {self.script} ended with status {self.process.wait()} before it answered")
        return line

    def ask(self, *words) -> str:
        """Send a line and wait for the answer."""
        with contextlib.suppress(BrokenPipeError):  # it has ended, which `read` finds
            print(*words, file=self.process.stdin, flush=True)
        return self.read()

    def close(self) -> None:
        """Close its input and wait for its end."""
        self.process.communicate()
        if self.process.returncode:
            raise RuntimeError(f"the peer {self.script} failed with status {self.process.returncode}")
