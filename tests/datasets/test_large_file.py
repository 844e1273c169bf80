"""A file far larger than memory is described, cut into windows and read in batches within little memory."""

import subprocess
import sys

import pytest

WORK = """
import resource, sys
import h5py, numpy as np
import surrogax as sx
from surrogax.datasets.description import described

peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
path, samples, most = sys.argv[1], *map(int, sys.argv[2:])
grid = sx.Box(x=(0, 1, "periodic"), y=(0, 1, "periodic")).grid(256)
small = sx.from_arrays({"w": np.zeros((1, 50, 256, 256), np.float32)}, grid=grid, times=np.arange(50.0))
small.save(path)
with h5py.File(path, "r+") as file:  # the same file with many samples whose values are holes on the disk
    attributes = dict(file["t0_fields/w"].attrs)
    del file["t0_fields/w"]
    space = h5py.h5s.create_simple((samples, 50, 256, 256))
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.CONTIGUOUS)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    h5py.h5d.create(file["t0_fields"].id, b"w", h5py.h5t.IEEE_F32LE, space, layout)
    file["t0_fields/w"].attrs.update(attributes)
    file.attrs["n_trajectories"] = samples
del small
data = sx.open(path)
before = peak()
said = str(described(data, most // 2))
assert said.startswith(f"{samples} samples"), said
rng = np.random.default_rng(0)
for _ in range(most):
    start = int(rng.integers(46))
    window = data.read("w", rng.integers(samples, size=8), frames=range(start, start + 4))["w"]
    assert window.shape == (8, 4, 256, 256)
for count, (positions, arrays) in enumerate(data.blocks("w")):
    if count == most:
        break
print(f"{peak() - before:.0f} MB above {before:.0f}", flush=True)
"""


@pytest.mark.nightly
def test_a_large_file_needs_little_memory(tmp_path, samples=1600, most=40):
    """1600 samples of 50 × 256² are 21 GB."""
    done = subprocess.run(
        [sys.executable, "-c", WORK, tmp_path / "large.hdf5", str(samples), str(most)],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(done.stdout.split()[0]) < 150, done.stdout
