"""Layers of neural operators in their batch layout `(*reversed space, batch, c)`."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.surrogates.networks.layers import GroupNorm


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
