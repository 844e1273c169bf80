"""The command line of a benchmark: how much to run, the Python of the peer, the folder of the result."""

import argparse
import atexit
import tempfile
from pathlib import Path

import jax

RESULTS = Path(__file__).parents[1] / "results"


def options(description: str, *, full, quick, smoke, peer: Path | None = None, **others: dict) -> argparse.Namespace:
    """Parse the command line of a benchmark.

    **Arguments:**

    - `description`: the docstring of the script. It says what `--quick` leaves out.
    - `full`, `quick`, `smoke`: how much to run without an option, with `--quick` (within two minutes on two cores) and with
      `--smoke` (the smallest case of every part, in seconds). Any object that the script understands.
    - `peer`: the default Python of its peer.
    - `others`: further options by name, as arguments of `add_argument`.

    **Returns:** the parsed options with

    - `size`: one of `full`, `quick` and `smoke`.
    - `folder`: where the result is written, what `--folder` gives, else `benchmarks/results` for a full run and a folder that
      is deleted at the end for others.
    - `python`, if there is a `peer`: its Python, or None where that is missing, with `--self-only` and with `--smoke`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    shorter = parser.add_mutually_exclusive_group()
    shorter.add_argument("--quick", action="store_true", help="within two minutes; the result is not kept")
    shorter.add_argument("--smoke", action="store_true", help="in seconds, without the peer; the result is not kept")
    parser.add_argument("--folder", type=Path, help="where the result is kept, of --quick and --smoke too")
    if peer is not None:
        parser.add_argument("--self-only", action="store_true", help="without the peer: its ratios are null")
        parser.add_argument("--peer-python", type=Path, default=peer, help="Python of the peer's environment")
    for name, settings in others.items():
        parser.add_argument(f"--{name}", **settings)
    found = parser.parse_args()
    found.size = smoke if found.smoke else quick if found.quick else full
    if found.smoke:  # most of the seconds would be those of the compiler
        jax.config.update("jax_disable_most_optimizations", True)
    found.folder = found.folder or (temporary_folder() if found.smoke or found.quick else RESULTS)
    if peer is not None:
        wanted = found.peer_python.exists() and not found.self_only and not found.smoke
        found.python = found.peer_python if wanted else None
    return found


def temporary_folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="surrogax-benchmark-")
    atexit.register(folder.cleanup)
    return Path(folder.name)
