"""Spectral convolution of a batch against the transforms of one sample."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels.fourier import multiply, truncated_irfft, truncated_rfft
from surrogax.solvers.kernels.spectral_product import spectral_convolution

CASES = [((12,), (5,)), ((8, 9), (4, 3)), ((9, 6), (5, 4)), ((6, 5, 8), (4, 3, 4)), ((4, 4), (6, 5))]


def sample_by_sample(x, weight):
    """`x` `(batch, *space, i)`, `weight` `(2, *kept, i, o)`."""

    def one(x):
        return truncated_irfft(multiply(truncated_rfft(x, weight.shape[1:-2]), weight), x.shape[:-1])

    return jax.vmap(one)(x)


def reversed_space(x):
    """(batch, *space, c) as (*reversed space, batch, c)."""
    return jnp.transpose(x, (*range(1, x.ndim - 1)[::-1], 0, x.ndim - 1))


@pytest.mark.parametrize("method", ["dft", "fft"])
@pytest.mark.parametrize("shape, kept", CASES)
def test_equals_transforms_of_single_samples(shape, kept, method):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x = jnp.asarray(rng.normal(size=(3, *shape, 2)))
        weight = jnp.asarray(rng.normal(size=(2, *kept, 2, 4)))
        ndim = len(shape)
        stored = jnp.transpose(weight, (*range(1, ndim + 1)[::-1], ndim + 1, 0, ndim + 2))
        expected = reversed_space(sample_by_sample(x, weight))
        found = jax.jit(spectral_convolution, static_argnames="method")(reversed_space(x), stored, method=method)
        np.testing.assert_allclose(found, expected, atol=1e-13 * abs(expected).max())


def test_no_operand_is_copied_and_gradients_are_adjoint():
    """Real linear in both arguments, so ⟨K v, w⟩ = ⟨v, Kᵀ w⟩ = ⟨R, dK⟩; and the program holds no transposition of a field."""
    v, w = (jax.random.normal(jax.random.key(i), (16, 12, 3, 4)) for i in (0, 1))
    weight = jax.random.normal(jax.random.key(2), (5, 6, 4, 2, 4))
    pairing = lambda v, weight: (spectral_convolution(v, weight, method="dft") * w).sum()  # noqa: E731
    value, (dv, dweight) = jax.jit(jax.value_and_grad(pairing, (0, 1)))(v, weight)
    np.testing.assert_allclose((v * dv).sum(), value, rtol=1e-4)
    np.testing.assert_allclose((weight * dweight).sum(), value, rtol=1e-4)
    program = jax.jit(lambda v: spectral_convolution(v, weight, method="dft")).lower(v).as_text()
    assert "stablehlo.transpose" not in program


@pytest.mark.nightly
def test_half_precision_and_batches_of_networks():
    v = jax.random.normal(jax.random.key(0), (8, 8, 2, 3))
    weights = jax.random.normal(jax.random.key(1), (2, 3, 4, 3, 2, 3))
    exact = jax.vmap(lambda r: spectral_convolution(v, r))(weights)
    np.testing.assert_allclose(exact[1], spectral_convolution(v, weights[1]), atol=1e-5)
    half = spectral_convolution(v.astype(jnp.bfloat16), weights[0].astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    assert abs(half.astype(float) - exact[0]).max() < 0.03 * abs(exact[0]).max()
