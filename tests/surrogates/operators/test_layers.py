"""Layers of neural operators in their batch layout `(*reversed space, batch, c)`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.surrogates.networks.basis_convolution import BasisConv, transforms
from surrogax.surrogates.networks.layers import GroupNorm
from surrogax.surrogates.networks.local_layers import DifferentialStencil, IntegralStencil


@pytest.mark.parametrize("space", [(7,), (5, 6), (3, 4, 5)])
def test_group_norm_normalises_every_sample_on_its_own_over_points_and_channels(space):
    batch, channels = 4, 3
    rng = np.random.default_rng(0)
    x = rng.normal(size=(*space, batch, channels)) * 10.0 ** np.arange(-1, batch - 1)[:, None] + np.arange(channels)
    scale, shift = rng.normal(size=(2, channels))
    norm = eqx.tree_at(lambda n: (n.scale, n.shift), GroupNorm(channels), (jnp.asarray(scale), jnp.asarray(shift)))
    y = np.asarray(norm(jnp.asarray(x, jnp.float32)))
    for i in range(batch):
        sample = x[..., i, :]
        expected = (sample - sample.mean()) / np.sqrt(sample.var() + 1e-5) * scale + shift
        np.testing.assert_allclose(y[..., i, :], expected, rtol=1e-4, atol=1e-5)

    others = x.copy()
    others[..., 1:, :] = rng.normal(size=others[..., 1:, :].shape)
    alone = np.asarray(norm(jnp.asarray(others, jnp.float32)))
    np.testing.assert_allclose(alone[..., 0, :], y[..., 0, :], rtol=1e-6, atol=1e-6)
    assert np.abs(alone[..., 1, :] - y[..., 1, :]).max() > 0.1


def on_line(n: int, layout: str, function) -> tuple[sx.Grid, np.ndarray]:
    """A grid of the unit interval and the values of a function there, as one sample of one channel."""
    grid = sx.Grid.unit((n,), layout=layout)
    return grid, jnp.asarray(function(np.asarray(grid.coordinates[0])), jnp.float32)[:, None, None]


def test_differential_stencils_tend_to_a_derivative_of_first_order():
    """For a field on a square of period 1, with the limit h₀ Σ_j κ_j (j·∇)v written out; the error is halved with h."""
    layer = DifferentialStencil(1, 1, sx.Grid.unit((8, 8), layout="periodic"), key=jax.random.key(0))
    matrices = np.asarray(layer.weight).reshape(3, 3)
    j = np.arange(-1, 2)
    along = np.array([(matrices * j[:, None]).sum(), (matrices * j).sum()]) / 8
    errors = []
    for n in (16, 32, 64, 128):
        grid = sx.Grid.unit((n, n), layout="periodic")
        x, y = np.moveaxis(2 * np.pi * grid.points, -1, 0)
        field, slopes = np.sin(x) * np.cos(y), 2 * np.pi * np.stack([np.cos(x) * np.cos(y), -np.sin(x) * np.sin(y)])
        found = layer(jnp.asarray(field.T, jnp.float32)[..., None, None], grid)[..., 0, 0].T
        errors.append(np.abs(found - np.tensordot(along, slopes, 1)).max())
    orders = -np.diff(np.log2(errors))
    assert (orders > 0.8).all() and (orders < 1.2).all(), orders
    constant, _ = layer(jnp.full((16, 16, 1, 1), 3.0), sx.Grid.unit((16, 16))), None
    np.testing.assert_allclose(constant, 0, atol=1e-5)


def test_integral_stencils_tend_to_the_integral():
    """∫ κ((y − x)/r) v(y) dy / 2r of v = cos 2πx in closed form: κ is linear on both sides of 0."""
    layer = IntegralStencil(1, 1, sx.Grid.unit((8,), layout="periodic"), reach=2, key=jax.random.key(1))
    left, middle, right = np.asarray(layer.weight).ravel()
    s, r = np.linspace(-1, 1, 20001), 2 / 8
    kappa = np.interp(s, [-1, 0, 1], [left, middle, right])
    errors = []
    for n in (16, 32, 64):
        grid, v = on_line(n, "periodic", lambda x: np.cos(2 * np.pi * x))
        x = np.asarray(grid.coordinates[0])
        exact = np.trapezoid(kappa * np.cos(2 * np.pi * (x[:, None] + r * s)), s, axis=1) / 2
        errors.append(np.abs(np.asarray(layer(v, grid))[:, 0, 0] - exact).max())
    orders = -np.diff(np.log2(errors))
    assert (orders > 1.8).all() and (orders < 2.2).all(), orders


@pytest.mark.parametrize(
    "basis, layout",
    [
        ("dirichlet", "nodes"),
        ("dirichlet", "cells"),
        ("neumann", "nodes"),
        ("neumann", "cells"),
        ("chebyshev", "nodes"),
    ],
)
def test_layers_in_real_bases_keep_their_functions(basis, layout):
    """With unit matrices the layer is the projection: it keeps what the basis holds and removes what is orthogonal to it."""
    functions = {
        "dirichlet": lambda x: np.sin(2 * np.pi * x) - 0.5 * np.sin(3 * np.pi * x),
        "neumann": lambda x: 2 + np.cos(2 * np.pi * x) - 0.5 * np.cos(3 * np.pi * x),
        "chebyshev": lambda x: 1 + x - 3 * x**3,
    }
    layer = BasisConv(1, 1, (4,), basis=basis, key=jax.random.key(0))
    layer = eqx.tree_at(lambda one: one.weight, layer, jnp.ones((4, 1, 1)))
    for n in (9, 16):
        grid, v = on_line(n, layout, functions[basis])
        np.testing.assert_allclose(layer(v, grid), v, atol=2e-6 * np.abs(v).max())
    if basis != "chebyshev":
        wave = {"dirichlet": np.sin, "neumann": np.cos}[basis]
        grid, v = on_line(16, layout, lambda x: wave(6 * np.pi * x))
        np.testing.assert_allclose(layer(v, grid), 0, atol=2e-6)
        full = grid.shape[0] - 2 * (basis == "dirichlet" and layout == "nodes")
        forward, back = transforms(basis, grid, 0, full + 3)
        product = forward @ back
        np.testing.assert_allclose(product[:full, :full], np.eye(full), atol=1e-12)
        assert not product[full:].any()
