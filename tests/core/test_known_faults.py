"""Sums that one version of XLA gets wrong, and the flag that avoids it."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core import known_faults

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
{first}
import surrogax
z = jax.random.normal(jax.random.key(0), (3000, 2, 28))
c, h = jnp.linspace(0, 1, 28), jnp.array([1.0, 2.0])
found = jax.jit(lambda z, c, h: (h * (c * jnp.exp(-(z**2))).sum(-1)).sum(-1))(z, c, h)
exact = (np.asarray(h) * (np.asarray(c) * np.exp(-np.asarray(z) ** 2)).sum(-1)).sum(-1)
print(int((abs(found - exact) > 1e-3).sum()))
"""


def test_sums_of_sums_are_right_after_import():
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(first="")], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0 and done.stdout.strip() == "0", done.stdout + done.stderr[-2000:]


def test_here_too():
    z = jax.random.normal(jax.random.key(0), (4160, 2, 28))
    c, h = jnp.linspace(0, 1, 56).reshape(2, 28), jnp.linspace(-1, 1, 32).reshape(16, 2)
    found = jax.jit(lambda z, c, h: jnp.tanh((c * jnp.exp(-(z**2))).sum(-1) @ h.T))(z, c, h)
    expected = np.tanh((np.asarray(c) * np.exp(-(np.asarray(z) ** 2))).sum(-1) @ np.asarray(h).T)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    "version, flags, expected",
    [
        ("0.10.2", "", "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_REDUCE"),
        ("0.10.2", "--a=1", "--a=1 --xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_REDUCE"),
        ("0.10.2", "--xla_cpu_experimental_ynn_fusion_type=", "--xla_cpu_experimental_ynn_fusion_type="),
        ("0.11.1", "--a=1", "--a=1"),
    ],
)
def test_the_flag_is_set_for_one_version_and_never_over_another(monkeypatch, version, flags, expected):
    monkeypatch.setattr(known_faults, "version", lambda name: version)
    monkeypatch.setitem(sys.modules, "jax._src.xla_bridge", None)
    monkeypatch.setenv("XLA_FLAGS", flags)
    known_faults.avoid_wrong_sums()
    assert os.environ["XLA_FLAGS"] == expected


def test_it_warns_where_it_comes_too_late(monkeypatch):
    jnp.ones(3).block_until_ready()
    monkeypatch.setattr(known_faults, "version", lambda name: "0.10.2")
    monkeypatch.setenv("XLA_FLAGS", "--a=1")
    with pytest.warns(UserWarning, match="wrong sums .* import surrogax first"):
        known_faults.avoid_wrong_sums()
    assert os.environ["XLA_FLAGS"] == "--a=1"
