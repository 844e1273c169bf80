"""Files at addresses: copied once, again when they change; a real object store at night."""

from pathlib import Path, PureWindowsPath

import numpy as np
import pytest

import surrogax as sx
from surrogax.core.addresses import address_of

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SURROGAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "files"


def copies(cache):
    return sorted(str(file.relative_to(cache)).split("/", 1)[1] for file in cache.rglob("*") if file.is_file())


def test_a_file_is_copied_once_and_again_when_it_changes(tmp_path, files, cache):
    made = files.pdebench(tmp_path)
    store = fsspec.filesystem("memory")
    store.put(str(made.path), "/bucket/a.hdf5")
    np.testing.assert_array_equal(sx.open("memory://bucket/a.hdf5")["u"], made.arrays["u"])
    (copy,) = cache.rglob("a.hdf5")
    before = copy.stat().st_mtime_ns
    assert len(sx.open("memory://bucket/a.hdf5")) == 3 and copy.stat().st_mtime_ns == before
    store.pipe("/bucket/a.hdf5", b"<html><title>gone</title>")
    with pytest.raises(ValueError, match="a page of a web site"):
        sx.open("memory://bucket/a.hdf5")
    with pytest.raises(FileNotFoundError, match="nothing at this address"):
        sx.open("memory://bucket/b.hdf5")
    with pytest.raises(ValueError, match="nonsense"):
        sx.open("nonsense://bucket/b.hdf5")


def test_a_folder_is_copied_as_it_is(tmp_path, files, cache):
    made = files.realpdebench(tmp_path)
    fsspec.filesystem("memory").put(str(tmp_path / "cylinder"), "/bucket/cylinder", recursive=True)
    splits = sx.open_splits("memory://bucket/cylinder/")
    assert sorted(splits) == ["numerical", "real"]
    for name, expected in made.arrays.items():
        np.testing.assert_array_equal(splits["numerical"][name], expected)
    assert copies(cache)[0] == "cylinder/numerical/1000.h5"


def test_a_connection_that_breaks_leaves_no_file(tmp_path, files, cache, monkeypatch):
    made = files.pdebench(tmp_path)
    store = fsspec.filesystem("memory")
    store.put(str(made.path), "/bucket/c.hdf5")
    info = store.info("/bucket/c.hdf5")
    monkeypatch.setattr(
        type(store), "find", lambda self, path, **k: {"/bucket/c.hdf5": {**info, "size": info["size"] + 1}}
    )
    with pytest.raises(OSError, match="the connection ended after"):
        sx.open("memory://bucket/c.hdf5")
    assert not [file for file in cache.rglob("*") if file.is_file()]


def test_what_is_saved_at_an_address_is_opened_there(tmp_path, files):
    made = sx.open(files.pdebench(tmp_path).path)
    made.save("memory://bucket/saved.hdf5")
    np.testing.assert_array_equal(sx.open("memory://bucket/saved.hdf5")["u"], made["u"])
    made.select([1]).save("memory://bucket/saved.hdf5")  # replaced, and seen
    assert len(sx.open("memory://bucket/saved.hdf5")) == 1
    with pytest.raises(ValueError, match="nonsense"):
        made.save("nonsense://bucket/a.hdf5")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        made.save(tmp_path / "nowhere" / "a.hdf5")


def test_what_is_an_address():
    for path, expected in (
        ("s3://bucket/a.h5", "s3://bucket/a.h5"),
        (Path("s3://bucket/a.h5"), "s3://bucket/a.h5"),  # which has lost a slash
        ("S3://bucket", "s3://bucket"),
        ("C:/data/a.h5", None),
        (PureWindowsPath("C:/data/a.h5"), None),
        ("data:/a", None),
        ("/tmp/a://b", None),
    ):
        assert address_of(path) == expected


@pytest.mark.nightly
def test_a_real_object_store(tmp_path, files, s3_bucket):
    made = files.pdebench_groups(tmp_path)
    fsspec.filesystem("s3").put(str(made.path), "bucket/sets/groups.h5")
    data = sx.open(f"{s3_bucket}/sets/groups.h5")
    np.testing.assert_array_equal(data["activator"], made.arrays["activator"])
    data.save(f"{s3_bucket}/saved/a.hdf5")
    np.testing.assert_array_equal(sx.open(f"{s3_bucket}/saved/a.hdf5")["activator"], made.arrays["activator"])
    with pytest.raises(OSError, match="cannot write s3://nowhere"):
        data.save("s3://nowhere/a.hdf5")
