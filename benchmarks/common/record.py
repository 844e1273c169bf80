"""The record of a result: its values and how they were measured."""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import date
from importlib import metadata
from pathlib import Path

import jax

from surrogax.core.files import atomic_write


def record(name: str, arguments: argparse.Namespace, values: dict) -> None:
    """Write `values` with commit, command, machine and versions to `name`.json in `arguments.folder`, and print them as the
    last line."""
    details = {
        "benchmark": name,
        "commit": _git("rev-parse", "--short", "HEAD"),
        "date": date.today().isoformat(),
        "command": " ".join([Path(sys.argv[0]).name, *(a for a in sys.argv[1:] if "/" not in a)]),
        "machine": {
            "device": jax.devices()[0].device_kind,
            "cpu": platform.processor() or platform.machine(),
            "cores": _cores(),
        },
        "versions": {p: metadata.version(p) for p in ("jax", "equinox", "optax", "numpy")},
    }
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(arguments.folder / f"{name}.json") as temporary:
        temporary.write_text(json.dumps({**details, "values": values}, indent=1) + "\n")
    print(json.dumps(values))


def _cores() -> int | None:
    """Those that this process may use, and peers that it starts."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _git(*args: str) -> str:
    return subprocess.run(["git", *args], capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()
