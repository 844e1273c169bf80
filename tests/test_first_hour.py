"""The pages of the documentation that people type from: `docs/first_hour.md` runs as it stands, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import surrogax as sx

TEXT = (Path(__file__).parents[1] / "docs" / "first_hour.md").read_text()
BLOCKS = re.findall(r"```(python|bash)\n(.*?)```", TEXT, re.DOTALL)
PRELUDE, JOURNEYS = BLOCKS[0][1], BLOCKS[1:]
TITLES = re.findall(r"^## (\d+) ", TEXT, re.M)


def test_a_journey_is_short():
    assert len(JOURNEYS) == len(TITLES) == 10
    for _, code in JOURNEYS:
        assert len([line for line in code.splitlines() if line.strip()]) <= 12


@pytest.mark.nightly
def test_every_journey_runs(tmp_path):
    """In order and in one folder: the ninth uses what the eighth has saved."""
    environment = {**os.environ, "SURROGAX_CACHE": str(tmp_path / "cache"), "PYTHONWARNINGS": "error::UserWarning"}
    for number, (language, code) in zip(TITLES, JOURNEYS, strict=True):
        command = [sys.executable, "-c", PRELUDE + code]
        if language == "bash":
            command = ["bash", "-ec", re.sub(r"^surrogax ", f"{sys.executable} -m surrogax ", code, flags=re.M)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"journey {number}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
    assert (tmp_path / "posterior.png").stat().st_size > 10_000
    assert (tmp_path / "w.gif").stat().st_size > 10_000 and (tmp_path / "runs" / "burgers" / "report.html").exists()
    predicted = sx.open(tmp_path / "predicted.hdf5")
    model = sx.load(tmp_path / "runs" / "fno" / "best.sgx")
    np.testing.assert_allclose(predicted["u"], model.predict(sx.open(tmp_path / "new.hdf5"))["u"], rtol=1e-4, atol=1e-7)
