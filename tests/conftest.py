"""Fixtures of the whole suite, the run-time check of every annotation of the library, and the option `--perturb-rounding`."""

import functools
import gc
import importlib.util
import os
import socket
import subprocess
import sys
import time
import types
import zlib

from tools.run_all import FAST_COMPILATION  # in benchmarks/

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
# Eight devices for the tests of meshes.
os.environ.setdefault("XLA_FLAGS", FAST_COMPILATION + " --xla_force_host_platform_device_count=8")

import jax
import jaxtyping
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse.linalg
from beartype import BeartypeConf, beartype

# Traced programs are many long-lived objects; looking through them for garbage less often saves 6 % of the suite.
gc.set_threshold(50_000, 20, 20)

# The hook takes the checker by name: beartype with an int standing wherever a float is asked for.
_checker = types.ModuleType("surrogax_test_typechecker")
_checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True))
sys.modules[_checker.__name__] = _checker
jaxtyping.install_import_hook("surrogax", f"{_checker.__name__}.check")


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def x64():
    """Arrays may be float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def s3_bucket(monkeypatch):
    """The address of an empty bucket of a real S3 server on this machine, moto's (`pip install s3fs 'moto[server]'`)."""
    if not all(map(importlib.util.find_spec, ("s3fs", "moto", "flask"))):
        pytest.skip("needs s3fs and moto[server] (pip install)")
    import fsspec

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", port], **quiet)
    try:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "key")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.get_filesystem_class("s3").clear_instance_cache()  # those of other servers
        store = fsspec.filesystem("s3")
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


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_programs():
    """The programs of one file are hardly of use to the next; kept, they come to 6 GB in every process of the suite."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


# Another processor, or another LAPACK, rounds differently inside a factorisation. With `--perturb-rounding SEED` every
# function below gets its matrices, and returns its results, with each entry moved by up to 4 units of rounding, so that a test
# which asserts the sign of rounding noise or the winner of a tie falls. As in LAPACK zeros stay zero, values that come sorted
# stay sorted, and equal matrices give equal results.
_FACTORISATIONS = {
    np.linalg: "cholesky cond det eig eigh eigvals eigvalsh inv lstsq matrix_rank pinv qr slogdet solve svd svdvals",
    scipy.linalg: "cho_factor cho_solve cholesky eig eigh eigh_tridiagonal eigvals eigvalsh expm inv ldl lstsq lu lu_factor "
    "lu_solve null_space orth pinv qr schur solve solve_banded solve_triangular sqrtm subspace_angles svd svdvals",
    scipy.sparse.linalg: "eigsh factorized spilu splu spsolve spsolve_triangular svds",
}
_UNITS = 4


def rounded_otherwise(x, seed: int):
    """Arrays of floating-point numbers in `x`, a tuple or not, with every entry moved by up to 4 units of rounding."""
    if isinstance(x, tuple):
        moved = [rounded_otherwise(part, seed) for part in x]
        return type(x)(*moved) if hasattr(x, "_fields") else tuple(moved)
    if scipy.sparse.issparse(x) and x.format in ("csr", "csc", "bsr", "coo", "dia"):
        moved = x.copy()
        moved.data = rounded_otherwise(x.data, seed)
        return moved
    if not isinstance(x, np.ndarray | np.inexact | jax.Array) or not np.issubdtype(x.dtype, np.inexact):
        return x
    x = np.asarray(x)
    noise = np.random.default_rng([seed, zlib.crc32(x.tobytes())]).uniform(-_UNITS, _UNITS, x.shape)
    moved = (x * (1 + np.finfo(x.dtype).eps * noise)).astype(x.dtype)
    if x.ndim == 1 and (x[:-1] <= x[1:]).all():
        moved = np.sort(moved)
    elif x.ndim == 1 and (x[:-1] >= x[1:]).all():
        moved = np.sort(moved)[::-1]
    return moved[()]


def perturbed(function, seed: int):
    @functools.wraps(function)
    def call(*args, **options):
        args = [rounded_otherwise(x, seed) for x in args]
        options = {name: rounded_otherwise(x, seed) for name, x in options.items()}
        return rounded_otherwise(function(*args, **options), seed + 1)

    return call


def pytest_addoption(parser):
    parser.addoption(
        "--perturb-rounding",
        type=int,
        metavar="SEED",
        help="let the factorisations of NumPy and SciPy round otherwise, by 4 units",
    )


def pytest_collection_modifyitems(items):
    for item in items:
        for quick in item.iter_markers("quick"):
            if item.callspec.id not in quick.args:
                item.add_marker(pytest.mark.nightly)


def pytest_configure(config):
    seed = config.getoption("perturb_rounding")
    if seed is not None:
        for module, names in _FACTORISATIONS.items():
            for name in names.split():
                setattr(module, name, perturbed(getattr(module, name), seed))
