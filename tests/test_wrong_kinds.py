"""Public functions that are called with arguments of a wrong kind say so in a sentence of their own."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("every", [24, pytest.param(1, marks=pytest.mark.nightly)])
def test_wrong_kinds_are_refused_by_our_own_messages(every):
    script = Path(__file__).with_name("wrong_kinds.py")
    done = subprocess.run([sys.executable, script, str(every)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and done.stdout.endswith("0 faults\n"), done.stdout[-4000:] + done.stderr[-2000:]
