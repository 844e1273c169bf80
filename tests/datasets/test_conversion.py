"""`convert` goes on after a kill, refuses another source, and leaves complete files alone."""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

import surrogax as sx
from surrogax.core.files import StorageError
from surrogax.datasets import conversion
from surrogax.datasets.conversion import convert

RNG = np.random.default_rng(0)
GRID = sx.Box(x=(0, 2, "periodic"), y=(0, 1, "neumann")).grid((4, 6))


def written(path, n=40) -> sx.Dataset:
    arrays = {
        "u": RNG.random((n, 5, 4, 6)), "v": RNG.random((n, 5, 4, 6, 2), np.float32), "q": RNG.random((n, 4, 6, 3)),
        "wall": RNG.random((n, 4, 6)) > 0.5,
    }  # fmt: skip
    sx.from_arrays(arrays, grid=GRID, times=np.arange(5.0), parameters={"nu": RNG.random(n)}).save(path)
    return sx.open(path)


def assert_same(a, b):
    assert dict(a.fields) == dict(b.fields) and a.grid == b.grid and a.times.tolist() == b.times.tolist()
    for name in a.fields:
        np.testing.assert_array_equal(a[name], b[name], strict=True)


@pytest.mark.parametrize("frames", [False, True], ids=["samples", "frames"])
def test_a_conversion_goes_on_from_what_is_written(tmp_path, monkeypatch, frames, capfd):
    data, out = written(tmp_path / "a.hdf5"), tmp_path / "out.hdf5"
    if frames:  # samples too large for one block
        whole = conversion.blocks_of
        monkeypatch.setattr(conversion, "blocks_of", lambda data, chunk: whole(data, chunk, 3000))
    monkeypatch.setattr(conversion, "_RECORD_EVERY", -1.0)
    read, reads = sx.Dataset.read, []

    def failing(self, names=None, positions=None, *, frames=None):
        if positions is not None and len(positions):
            reads.append(positions)
            if len(reads) == 3:
                raise KeyboardInterrupt
        return read(self, names, positions, frames=frames)

    monkeypatch.setattr(sx.Dataset, "read", failing)
    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path / "a.hdf5", out)
    assert not out.exists() and json.loads((tmp_path / ".out.hdf5.part.json").read_text())["done"] == 2
    monkeypatch.setattr(sx.Dataset, "read", lambda self, *a, **k: reads.append(a) or read(self, *a, **k))
    assert convert(tmp_path / "a.hdf5", out) == [out]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hdf5", "out.hdf5"]
    monkeypatch.undo()
    assert_same(sx.open(out), data)
    assert "40 samples" in capfd.readouterr().err


def test_another_source_is_refused(tmp_path, monkeypatch):
    written(tmp_path / "a.hdf5", 20)
    out, record = tmp_path / "out.hdf5", tmp_path / ".out.hdf5.part.json"
    monkeypatch.setattr(conversion, "put_in_place", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        convert(tmp_path / "a.hdf5", out, progress=False)
    monkeypatch.undo()
    data = written(tmp_path / "a.hdf5", 24)
    record.write_text(json.dumps({"identity": {"source": "another"}, "done": 1}))
    with pytest.raises(
        ValueError,
        match=r"out\.hdf5 was begun from another source or with other options: source was another, now .*; remove",
    ):
        convert(tmp_path / "a.hdf5", out, progress=False)
    record.write_text("{")
    with pytest.raises(StorageError, match="is damaged"):
        convert(tmp_path / "a.hdf5", out, progress=False)
    record.unlink()
    convert(tmp_path / "a.hdf5", out, progress=False)
    assert_same(sx.open(out), data)
    for wrong, error in ((tmp_path, IsADirectoryError), (tmp_path / "no" / "a.hdf5", FileNotFoundError)):
        with pytest.raises(error, match="cannot write"):
            convert(tmp_path / "a.hdf5", wrong, progress=False)


def test_finished_splits_are_not_repeated(tmp_path, monkeypatch):
    for split, n in (("train", 20), ("valid", 4)):
        (tmp_path / "set" / "data" / split).mkdir(parents=True)
        written(tmp_path / "set" / "data" / split / "a.hdf5", n)
    run = conversion._Conversion.run

    def failing(self, progress):
        if self.identity["split"] == "valid":
            raise KeyboardInterrupt
        run(self, progress)

    monkeypatch.setattr(conversion._Conversion, "run", failing)
    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path / "set", tmp_path / "out", progress=False)
    monkeypatch.undo()
    made = tmp_path / "out" / "data" / "train" / "set.hdf5"
    before = made.stat().st_ino
    files = convert(tmp_path / "set", tmp_path / "out", progress=False)
    assert made.stat().st_ino == before and files[0] == made
    splits = sx.open_splits(tmp_path / "out")
    assert {name: len(data) for name, data in splits.items()} == {"train": 20, "valid": 4}
    assert not list((tmp_path / "out").rglob(".*"))


def test_room_is_made_before_values(tmp_path):
    """The structure of a file that is being filled is whole at any moment."""
    data = written(tmp_path / "a.hdf5", 3)
    part = conversion._Conversion(tmp_path / "b.hdf5", data, "a", {})
    part._say = lambda done: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        part.run(False)
    with h5py.File(tmp_path / ".b.hdf5.part") as file:
        assert file["t0_fields/u"].shape == (3, 5, 4, 6) and file["t0_fields/u"].id.get_offset()


@pytest.mark.nightly
def test_a_killed_process_goes_on(tmp_path):
    grid = sx.Grid.unit(128, 2, "periodic")
    values = RNG.random((200, 6, 128, 128), np.float32)
    sx.from_arrays({"u": values}, grid=grid, times=np.arange(6.0)).save(tmp_path / "a.hdf5")
    script = (
        "import sys, time\nfrom surrogax.datasets import conversion\nconversion._RECORD_EVERY = -1.0\n"
        "write = conversion._Conversion._write\n"
        "def slow(*args):\n    time.sleep(0.2)\n    write(*args)\n"
        "conversion._Conversion._write = slow\nconversion.convert(*sys.argv[1:], progress=False)\n"
    )
    record = tmp_path / ".out.hdf5.part.json"
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path / "a.hdf5", tmp_path / "out.hdf5"])
    while not (record.exists() and json.loads(record.read_text())["done"] >= 3):
        assert process.poll() is None
    process.kill()
    process.wait()
    assert not os.path.exists(tmp_path / "out.hdf5")
    convert(tmp_path / "a.hdf5", tmp_path / "out.hdf5", progress=False)
    np.testing.assert_array_equal(sx.open(tmp_path / "out.hdf5")["u"], values)
