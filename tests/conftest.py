"""Fixtures of the whole suite, and the run-time check of every annotation of the library."""

import os
import sys
import types

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
# Compilation is two thirds of the suite; without LLVM's optimisation it takes a third less, without XLA's newer emitters of
# fused loops half of that. Eight devices for the tests of meshes.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_force_host_platform_device_count=8",
)

import jax
import jaxtyping
import matplotlib.pyplot as plt
import pytest
from beartype import BeartypeConf, beartype

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


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")
