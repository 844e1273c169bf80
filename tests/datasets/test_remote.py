"""Files at addresses: copied once, again when they change; a real object store at night."""

import importlib.util
import subprocess
import sys
import time

import numpy as np
import pytest

import surrogax as sx

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


@pytest.mark.nightly
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("s3fs", "moto", "flask"))),
    reason="needs s3fs and moto[server] (pip install)",
)
def test_a_real_object_store(tmp_path, files, monkeypatch):
    made = files.pdebench_groups(tmp_path)
    port = "5601"
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", port], stderr=subprocess.DEVNULL)
    try:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "key")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        store = fsspec.filesystem("s3", endpoint_url=f"http://127.0.0.1:{port}")
        for _ in range(60):
            try:
                store.mkdir("bucket")
                break
            except OSError:
                time.sleep(0.5)
        store.put(str(made.path), "bucket/sets/groups.h5")
        data = sx.open("s3://bucket/sets/groups.h5")
        np.testing.assert_array_equal(data["activator"], made.arrays["activator"])
    finally:
        server.terminate()
        server.wait()
