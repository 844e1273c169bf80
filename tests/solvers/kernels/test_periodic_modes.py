"""Blocks of Fourier modes: there and back, products that do not alias, pairs, symbols of odd order."""

import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels.periodic_modes import PeriodicModes

SHAPES = [(16,), (15,), (12, 10), (9, 8), (8, 7, 10)]


def fields(shape, count=2):
    return np.random.default_rng(0).normal(size=(count, *shape))


@pytest.mark.quick("shape1", "shape2", "shape4")
@pytest.mark.parametrize("shape", SHAPES, ids=[f"shape{i}" for i in range(len(SHAPES))])
def test_block_and_rest_are_the_field(x64, shape):
    modes, u = PeriodicModes(shape, (1.0,) * len(shape)), jnp.asarray(fields(shape))
    block, rest = modes.split(u)
    assert block.shape == (2, *[2 * m + 1 for m in modes.kept[:-1]], modes.kept[-1] + 1)
    np.testing.assert_allclose(modes.values(block, rest), u, atol=1e-14)
    low = modes.values(block)
    np.testing.assert_allclose(modes.block(low), block, atol=1e-12)
    assert abs(np.asarray(modes.split(low)[1])).max() < 1e-12
    pair = modes.pair(block[0], block[1])
    np.testing.assert_allclose(pair, np.asarray(low[0]) + 1j * np.asarray(low[1]), atol=1e-14)


@pytest.mark.quick("2-shape1", "3-shape2")
@pytest.mark.parametrize("shape", SHAPES, ids=[f"shape{i}" for i in range(len(SHAPES))])
@pytest.mark.parametrize("degree", [2, 3])
def test_products_do_not_alias(x64, shape, degree):
    """The block of a product is that on a grid three times as fine."""
    fine = tuple(3 * n for n in shape)
    modes = PeriodicModes(shape, (1.0,) * len(shape), degree)
    wide = PeriodicModes(fine, (1.0,) * len(shape), 3 * (degree + 1) - 1)
    block = modes.block(jnp.asarray(fields(shape)[0]))
    assert wide.kept == modes.kept
    scale = 3 ** len(shape)
    exact = wide.block(wide.values(block * scale) ** degree) / scale
    np.testing.assert_allclose(modes.block(modes.values(block) ** degree), exact, atol=1e-10)


@pytest.mark.parametrize("n", [16, 15, 512])
def test_the_square_by_matrices_is_that_by_transforms(x64, n, monkeypatch):
    modes = PeriodicModes((n,), (1.0,))
    assert modes._square_method(8) == ("dft" if n < 256 else "fft")
    block = modes.block(jnp.asarray(fields((n,))))
    monkeypatch.setattr(PeriodicModes, "_square_method", lambda self, itemsize: "dft")
    np.testing.assert_allclose(modes.square(block), modes.block(modes.values(block) ** 2), atol=1e-10 * n)


def test_odd_symbols_vanish_at_the_wave_that_alternates():
    even, odd = PeriodicModes((8,), (2 * np.pi,)), PeriodicModes((9,), (2 * np.pi,))
    assert even.symbol(lambda k: 1j * k[0] ** 3)[-1] == 0 and even.symbol(lambda k: -(k[0] ** 2))[-1] == -16
    assert odd.symbol(lambda k: 1j * k[0])[-1] == 4j
    plane = PeriodicModes((6, 8), (2 * np.pi, 2 * np.pi)).symbol(lambda k: 1j * (k[0] + k[1]) + 0 * k[0])
    assert plane.shape == (6, 5) and (plane[3].real == 0).all()
    np.testing.assert_array_equal(plane[3].imag, [0, 1, 2, 3, 0])
    np.testing.assert_array_equal(plane[:, 4].imag, [0, 1, 2, 0, -2, -1])
