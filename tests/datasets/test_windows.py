"""Windows of trajectories are slices of them, however they are stored; those of contiguous files are read by the system."""

import os

import h5py
import numpy as np
import pytest

import surrogax as sx
from surrogax.core.files import StorageError
from surrogax.datasets.concatenation import concat
from surrogax.datasets.direct_reads import Extent
from surrogax.datasets.formats.hdf5_file import extent_of

RNG = np.random.default_rng(0)
GRID = sx.Box(x=(0, 2, "periodic"), y=(0, 3, "periodic")).grid((4, 6))
U = RNG.standard_normal((5, 9, 4, 6))
V = RNG.standard_normal((5, 9, 4, 6, 2)).astype(np.float32)
Q = RNG.standard_normal((5, 9))
POSITIONS, STARTS = np.array([3, 0, 3, 4, 1]), np.array([2, 0, 5, 6, 2])


def memory() -> sx.Dataset:
    return sx.from_arrays({"u": U, "v": V}, parameters={"nu": RNG.random(5)}, grid=GRID, times=np.arange(9.0))


def saved(tmp_path, monkeypatch=None):
    memory().save(tmp_path / "a.hdf5")
    return sx.open(tmp_path / "a.hdf5")


def compressed(tmp_path):
    saved(tmp_path)
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        for path in ("t0_fields/u", "t1_fields/v"):
            values, attributes = file[path][()], dict(file[path].attrs)
            del file[path]
            file.create_dataset(path, data=values, chunks=True, compression="gzip").attrs.update(attributes)
    return sx.open(tmp_path / "a.hdf5")


def joined(tmp_path):
    whole = saved(tmp_path)
    return concat([whole.select([0, 1, 2]), whole.select([3, 4])])


@pytest.mark.parametrize("kind", [memory, saved, compressed, joined], ids=lambda kind: kind.__name__)
def test_windows_are_slices(tmp_path, kind):
    data = memory() if kind is memory else kind(tmp_path)
    for name, whole in (("u", U), ("v", V)):
        for step in (1, 2):
            expected = np.stack([whole[p, s : s + 2 * step : step] for p, s in zip(POSITIONS, STARTS, strict=True)])
            np.testing.assert_array_equal(data.windows(name, POSITIONS, STARTS, 2, step), expected, strict=True)
        chosen = data.select([4, 3, 1]).subsample((2, 3), 2)
        expected = np.stack([whole[4, 2:7:2, ::2, ::3], whole[1, 4:9:2, ::2, ::3]])
        np.testing.assert_array_equal(chosen.windows(name, [0, 2], [1, 2], 3), expected, strict=True)
    assert data.windows("u", [], [], 2).shape == (0, 2, 4, 6)


def test_what_is_no_window():
    data = memory()
    for arguments, error, message in (
        (("nu", [0], [0], 1), ValueError, "has no time axis; use read"),
        (("u", [0, 1], [0], 1), ValueError, "2 positions need as many whole numbers"),
        (("u", [0], [0.5], 1), ValueError, "as many whole numbers as starts, got float64"),
        (("u", [0], [8], 2), IndexError, "2 instants, 1 apart, from 8 to 8 on do not fit into 9"),
        (("u", [0], [-1], 2), IndexError, "from -1 to -1"),
        (("u", [5], [0], 2), IndexError, "sample 5 of a dataset of 5"),
        (("u", [0], [0], 0), ValueError, "frames"),
    ):
        with pytest.raises(error, match=message):
            data.windows(*arguments)


def test_windows_of_a_file_are_read_by_the_system(tmp_path, monkeypatch):
    """Nothing but the windows is read, and none by HDF5."""
    data, seen = saved(tmp_path), []
    data.windows("u", [0], [0], 2)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", None)
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda *args: seen.append(real(*args)) or seen[-1])
    found = data.windows("u", POSITIONS, STARTS, 2)
    np.testing.assert_array_equal(found[1], U[0, :2])
    assert sum(seen) == found.nbytes and len(seen) == len(POSITIONS)
    np.testing.assert_array_equal(data.read("u")["u"], U)
    assert sum(seen) == found.nbytes + U.nbytes and len(seen) == len(POSITIONS) + 1  # neighbours are one read


@pytest.mark.parametrize("trouble", ["nothing at hand", "half at hand", "few bytes at a time"])
def test_what_is_not_in_the_memory_of_the_system(tmp_path, monkeypatch, trouble):
    """Reads that would wait, and short ones, as cold files and full systems give them."""
    data, real = saved(tmp_path), os.preadv

    def preadv(descriptor, views, place, flags=0):
        if flags and trouble == "nothing at hand":
            raise BlockingIOError
        most = {"nothing at hand": 2**20, "half at hand": len(views[0]) // (2 if flags else 1)}.get(trouble, 100)
        return real(descriptor, [views[0][: max(most, 1)]], place)

    monkeypatch.setattr(os, "preadv", preadv)
    expected = np.stack([U[p, s : s + 2] for p, s in zip(POSITIONS, STARTS, strict=True)])
    np.testing.assert_array_equal(data.windows("u", POSITIONS, STARTS, 2), expected)


def test_a_file_that_was_cut_off_after_it_was_opened(tmp_path):
    data = saved(tmp_path)
    data.windows("v", [0], [0], 2)
    with open(tmp_path / "a.hdf5", "r+b") as file:
        file.truncate(os.path.getsize(tmp_path / "a.hdf5") - 2000)
    with pytest.raises(StorageError, match=r"a\.hdf5: is not in The Well's layout, or damaged: the file ends at byte"):
        data.read(["u", "v"])


def test_arrays_that_do_not_lie_in_one_part(tmp_path):
    """Chunks, other byte orders and booleans are left to HDF5; a block of the user in front is counted."""
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=1024) as file:
        file["plain"], file["big"], file["flags"] = np.arange(6.0), np.arange(6, dtype=">f4"), np.ones(6, bool)
        file.create_dataset("chunked", data=np.arange(6.0), chunks=(2,))
        file.create_dataset("empty", (6,), "f4")
    with h5py.File(tmp_path / "a.h5") as file:
        assert [extent_of(file[name]) for name in ("big", "flags", "chunked", "empty")] == [None] * 4
        extent = extent_of(file["plain"])
        assert isinstance(extent, Extent)
        np.testing.assert_array_equal(extent.pieces(np.array([4, 0, 1]), 2), [[4, 5], [0, 1], [1, 2]])


def test_a_file_of_a_hundred_megabytes_is_written(tmp_path):
    """While it is written it is smaller than what it claims."""
    values = np.zeros((2, 3, 2050, 2050), np.float32)
    values[1, 2, 5] = 1
    grid = sx.Grid.unit(2050, 2, "periodic")
    sx.from_arrays({"u": values}, grid=grid, times=np.arange(3.0)).save(tmp_path / "a.hdf5")
    assert sx.open(tmp_path / "a.hdf5").windows("u", [1], [2], 1).sum() == 2050
