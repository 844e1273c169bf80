"""A real S3 server on this machine, for tests: moto's, which needs `pip install s3fs 'moto[server]'`."""

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

needs_s3 = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("s3fs", "moto", "flask"))),
    reason="needs s3fs and moto[server] (pip install)",
)


@contextmanager
def s3_server(monkeypatch) -> Iterator[str]:
    """The address of an empty bucket of a server that lives as long as the block."""
    import fsspec

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", port], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "key")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").clear_instance_cache()
        store = fsspec.filesystem("s3", endpoint_url=f"http://127.0.0.1:{port}")
        for _ in range(120):
            try:
                store.mkdir("bucket")
                break
            except OSError:
                time.sleep(0.5)
        yield "s3://bucket"
    finally:
        server.terminate()
        server.wait()
