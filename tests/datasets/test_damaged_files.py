"""Damaged files of every format give a dataset or a `StorageError`: no other error, no crash, nothing slow or large."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("count", [80, pytest.param(10_000, marks=pytest.mark.nightly)])
def test_damaged_files_are_told(count):
    script = Path(__file__).parents[1] / "damaged_files.py"
    done = subprocess.run([sys.executable, script, str(count)], capture_output=True, text=True, timeout=3600)
    assert done.stdout.endswith(f"{count} damaged files, 0 faults\n"), done.stdout[-4000:] + done.stderr[-2000:]
