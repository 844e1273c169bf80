"""Resampling of periodic data: exact for odd and even numbers of points, real and complex; what one grid lacks is gone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels.periodic_resampling import resample_periodic

RNG = np.random.default_rng(0)


def waves(n: int, top: int, imaginary: bool) -> np.ndarray:
    """Σ c_k exp(2πikx) for |k| ≤ top, with real values or not, at n points."""
    k, x = np.arange(-top, top + 1), np.arange(n) / n
    c = np.random.default_rng(1).normal(size=(2, len(k)))
    u = np.exp(2j * np.pi * x[:, None] * k) @ (c[0] + 1j * c[1])
    return u if imaginary else u.real


@pytest.mark.parametrize("imaginary", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("n, m", [(9, 16), (10, 15), (9, 13), (8, 12), (16, 9), (15, 10), (13, 9), (12, 8)])
def test_it_is_exact_for_what_both_grids_hold(n, m, imaginary, x64):
    top = (min(n, m) - 1) // 2
    found = resample_periodic(waves(n, top, imaginary), m)
    assert jnp.iscomplexobj(found) == imaginary
    np.testing.assert_allclose(found, waves(m, top, imaginary), atol=1e-12)


def test_several_axes_one_after_the_other_and_back(x64):
    """Up and down again is the identity, also for the wave that alternates; sizes and channels stay."""
    u = RNG.normal(size=(2, 8, 7, 3))
    up = resample_periodic(u, (13, 12), first=1)
    assert up.shape == (2, 13, 12, 3)
    np.testing.assert_allclose(resample_periodic(up, (8, 7), first=1), u, atol=1e-12)
    np.testing.assert_allclose(up.mean((1, 2)), u.mean((1, 2)), atol=1e-12)
    np.testing.assert_allclose(resample_periodic(u, 8, first=1), u, atol=1e-12)
    alternating = jnp.asarray((-1.0) ** np.arange(6))
    np.testing.assert_allclose(resample_periodic(alternating, 12), np.cos(np.pi * np.arange(12) / 2), atol=1e-12)


def test_frequencies_above_those_of_the_coarse_grid_are_not_folded(x64):
    x = np.arange(24) / 24
    u = np.cos(2 * np.pi * 3 * x) + np.sin(2 * np.pi * 7 * x)
    np.testing.assert_allclose(resample_periodic(u, 9), np.cos(2 * np.pi * 3 * np.arange(9) / 9), atol=1e-12)


def test_it_compiles_and_has_derivatives():
    u = jnp.asarray(RNG.normal(size=8), jnp.float32)
    run = jax.jit(jax.vmap(lambda v: (resample_periodic(v, 12) ** 2).sum()))
    gradient = jax.grad(lambda v: run(v[None])[0])(u)
    step = 1e-2 * jnp.ones(8)
    np.testing.assert_allclose(gradient @ step, (run((u + step)[None]) - run((u - step)[None]))[0] / 2, rtol=1e-3)


def test_whole_numbers_become_floating_ones():
    u = np.array([3, 1, -2, 0, 5, 0])
    found = resample_periodic(u, np.int64(9))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, resample_periodic(np.float32(u), 9), atol=1e-6)
    np.testing.assert_allclose(found[::3], u[::2], atol=1e-5)


def test_wrong_shapes_are_named():
    with pytest.raises(TypeError, match=r"resample_periodic\(shape=…\)"):
        resample_periodic(jnp.ones(8), (12.5,))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"of an array \(0,\)"):
        resample_periodic(jnp.ones(0), 4)
    for shape in ((4, 4), 0):
        with pytest.raises(
            ValueError, match=r"resample_periodic: \(.*\) points along the axes from 0 on of an array \(8,\)"
        ):
            resample_periodic(jnp.ones(8), shape)
