"""The Gaussian process against closed forms, scikit-learn and dense kriging; its uncertainty, rounding and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.surrogates.reduced.reduced_coordinates import single
from surrogax.surrogates.reduced.regression.gaussian_process import fit_gaussian_process
from surrogax.surrogates.reduced.regression.restricted_likelihood import (
    cholesky,
    correlation,
    matern52,
    matern52_remainder,
    negative_log_likelihood,
)

N = 60


def kernel(x, y, lengths):
    """The Matérn-5/2 kernel from its formula, by NumPy."""
    r = np.sqrt(5 * (((x[:, None] - y[None]) / lengths) ** 2).sum(2))
    return (1 + r + r**2 / 3) * np.exp(-r)


def smooth(z):
    return np.stack([np.sin(2 * z[:, 0]) * np.cos(z[:, 1]), np.exp(z[:, 0] * z[:, 1])], 1)


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).uniform(-1, 1, (N + 100, 2)).astype(np.float32).astype(np.float64)


@pytest.fixture(scope="module")
def process(inputs):
    return fit_gaussian_process(inputs[:N], smooth(inputs[:N]))


def evaluated(function, z):
    """In float32, and in float64."""
    low = np.asarray(jax.jit(jax.vmap(function))(jnp.asarray(z, jnp.float32)))
    with jax.enable_x64(True):
        return low, np.asarray(jax.vmap(function)(jnp.asarray(z)))


# Kernel and likelihood ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
def test_the_remainder_is_the_kernel_without_its_first_terms_to_full_relative_precision(order):
    squared = np.logspace(-6, 2, 60)
    with jax.enable_x64(True):
        exact = np.asarray(matern52_remainder(jnp.asarray(squared), order))
        rest = np.asarray(matern52(jnp.asarray(squared))) - 1 + (5 / 6 * squared if order == 2 else 0)
        flat = jax.grad(lambda s: matern52_remainder(s, order))(0.0)
    np.testing.assert_allclose(exact, rest, rtol=1e-9, atol=2e-16)
    np.testing.assert_allclose(matern52_remainder(jnp.float32(squared), order), exact, rtol=3e-5)
    assert np.isfinite(flat)


def test_likelihood_and_gradient_are_those_of_scikit_learn():
    """Frozen from GaussianProcessRegressor (1.8): kernel s² Matérn-5/2 ARD + white noise, at the best s² = 1.89249."""
    i = np.arange(8.0)
    z, y = np.stack([np.sin(1 + 3 * i), np.cos(2 * i)], 1), np.exp(np.sin(1 + 3 * i)) * np.cos(2 * i) + 0.1 * i

    with jax.enable_x64(True):

        def log_likelihood(lengths, noise):
            r = correlation(jnp.asarray(z), jnp.exp(-lengths), jnp.exp(noise))
            value = negative_log_likelihood(r, jnp.zeros((8, 0)), jnp.asarray(y)[:, None])
            return -8 * (value + 0.5 * (1 + jnp.log(2 * jnp.pi)))

        value, gradients = jax.value_and_grad(log_likelihood, (0, 1))(jnp.log(jnp.asarray([0.7, 1.9])), jnp.log(0.03))
    np.testing.assert_allclose(value, -10.808582051773998, rtol=1e-9)  # it adds 1e-10 to the diagonal
    np.testing.assert_allclose(gradients[0], [3.13868616, -2.48976285], rtol=1e-7)
    np.testing.assert_allclose(gradients[1], -0.23891377, rtol=1e-6)


def test_restricted_likelihood_is_that_of_contrasts_and_its_gradient_that_of_differences(inputs):
    """With T an orthonormal basis of the contrasts, TᵀH = 0, the data TᵀC have covariance s² TᵀRT (Harville 1974)."""
    z, c = inputs[:12], smooth(inputs[:12])
    features = np.concatenate([np.ones((12, 1)), z], 1)
    contrasts = np.linalg.qr(features, mode="complete")[0][:, 3:]

    def direct(lengths):
        r = contrasts.T @ (kernel(z, z, lengths) + 0.01 * np.eye(12)) @ contrasts
        data = contrasts.T @ c
        variance = np.sum(data * np.linalg.solve(r, data)) / (2 * 9)
        offset = 0.5 * np.linalg.slogdet(features.T @ features)[1] / 9
        return 0.5 * np.log(variance) + 0.5 * np.linalg.slogdet(r)[1] / 9 + offset

    lengths = np.array([0.8, 1.7])
    with jax.enable_x64(True):

        def ours(log_lengths):
            r = correlation(jnp.asarray(z), jnp.exp(-log_lengths), 0.01)
            return negative_log_likelihood(r, jnp.asarray(features), jnp.asarray(c))

        value, gradient = jax.value_and_grad(ours)(jnp.log(lengths))
    np.testing.assert_allclose(value, direct(lengths), rtol=1e-10)
    step = 1e-5
    for i in range(2):
        shift = np.exp(step * np.eye(2)[i])
        difference = (direct(lengths * shift) - direct(lengths / shift)) / (2 * step)
        np.testing.assert_allclose(gradient[i], difference, rtol=1e-6)


def test_a_matrix_without_cholesky_factor_gets_the_jitter_that_it_needs():
    z = jnp.zeros((6, 1)).at[3:].set(1e-4)
    factor, jitter = cholesky(correlation(z, jnp.ones(1), jnp.float32(0)))
    assert np.isfinite(factor).all() and 1e-8 <= jitter <= 1e-4
    assert cholesky(jnp.eye(3))[1] == 0


# The process ----------------------------------------------------------------------------------------------------------


def test_mean_and_variance_are_those_of_dense_universal_kriging(inputs, process):
    """The saddle-point system of the weights λ, Hᵀλ = h(z), solved as it stands."""
    z, c, new = inputs[:N], smooth(inputs[:N]), inputs[N:]
    lengths, p = 1 / process.rates, 3
    features = lambda x: np.concatenate([np.ones((len(x), 1)), x], 1)  # noqa: E731
    r = kernel(z, z, lengths) + process.noise * np.eye(N)
    system = np.block([[r, features(z)], [features(z).T, np.zeros((p, p))]])
    right = np.concatenate([kernel(z, new, lengths), features(new).T])
    solution = np.linalg.solve(system, right)
    variance = 1 + process.noise - (solution * right).sum(0)
    mean, spread = evaluated(process, new)[1], evaluated(process.spread, new)[1]
    np.testing.assert_allclose(mean, solution[:N].T @ c, atol=1e-6)
    np.testing.assert_allclose(spread, variance, rtol=1e-2, atol=1e-8)


def test_rounding_to_float32_is_far_below_the_error(inputs, process):
    """On a smooth map, whose lengths are so large that k(z, Z)ᵀR⁻¹C itself loses everything beyond 1e-3 in float32."""
    new, truth = inputs[N:], smooth(inputs[N:])
    low, high = evaluated(single(process), new)[0], evaluated(process, new)[1]
    scale = np.linalg.norm(truth - truth.mean(0))
    rounding, error = np.linalg.norm(low - high) / scale, np.linalg.norm(high - truth) / scale
    naive = np.float32(kernel(new, inputs[:N], 1 / process.rates)) @ np.float32(process.weights)
    exact = kernel(new, inputs[:N], 1 / process.rates) @ process.weights
    assert error < 0.02 and rounding < error / 20
    assert np.linalg.norm(naive - exact) / scale > 20 * rounding
    low, high = evaluated(single(process).spread, new)[0], evaluated(process.spread, new)[1]
    np.testing.assert_allclose(np.median(low / high), 1, rtol=0.25)


def test_a_linear_map_is_exact_and_a_nearly_linear_one_nearly(inputs):
    def bent(z, size):
        return np.stack([z[:, 0] + 2 * z[:, 1] + size * z[:, 0] ** 2, z[:, 1] - 3], 1)

    for size, limit in ((0.0, 1e-6), (1e-3, 1e-5)):
        found = fit_gaussian_process(inputs[:N], bent(inputs[:N], size))
        predicted, truth = evaluated(single(found), inputs[N:])[0], bent(inputs[N:], size)
        assert np.linalg.norm(predicted - truth) < limit * np.linalg.norm(truth - truth.mean(0))


def test_an_input_that_does_not_matter_gets_a_long_length(inputs):
    c = np.stack([np.sin(4 * inputs[:N, 0]), np.cos(3 * inputs[:N, 0])], 1)
    lengths = 1 / fit_gaussian_process(inputs[:N], c).rates
    assert lengths[1] > 20 * lengths[0]


def test_intervals_of_noisy_data_cover_what_they_promise(inputs):
    rng = np.random.default_rng(1)
    noise = np.array([0.2, 0.05])
    c = smooth(inputs) + noise * rng.normal(size=(len(inputs), 2))
    found = single(fit_gaussian_process(inputs[:N], c[:N]))
    mean, std = evaluated(found, inputs[N:])[0], evaluated(found.std, inputs[N:])[0]
    covered = (np.abs(mean - c[N:]) < 1.96 * std).mean(0)
    assert ((covered > 0.88) & (covered <= 1)).all() and (np.abs(mean - c[N:]) < 1.0 * std).mean() < 0.8
    assert ((std.mean(0) / noise > 0.5) & (std.mean(0) / noise < 2)).all()
    far = np.asarray(found.std(jnp.asarray([4.0, -4.0])))
    assert (far > 2 * std.mean(0)).all()


def test_gradients_of_the_prediction_are_those_of_differences_also_at_a_centre(inputs, process):
    with jax.enable_x64(True):
        for z in (jnp.asarray(inputs[N]), jnp.asarray(inputs[0])):
            for function in (lambda x: process(x)[0], process.spread):
                step = 1e-4 * jnp.eye(2)
                difference = jnp.stack([(function(z + h) - function(z - h)) / 2e-4 for h in step])
                np.testing.assert_allclose(jax.grad(function)(z), difference, rtol=1e-4, atol=1e-7)


def test_degenerate_data_give_finite_predictions(inputs):
    z, c = inputs[:N].copy(), smooth(inputs[:N])
    z[1], c[1] = z[0], c[0] + 1  # one input, two outputs
    z[3] = z[2]
    constant = z * [1, 0] + [0, 2.5]
    for x, y in ((z, c), (constant, c), (z, np.ones_like(c)), (constant * 0, c)):
        found = single(fit_gaussian_process(x, y))
        assert np.isfinite(evaluated(found, x)[0]).all() and np.isfinite(evaluated(found.std, x)[0]).all()
    np.testing.assert_allclose(found(jnp.zeros(2)), c.mean(0), rtol=1e-4)


def test_bad_input_is_refused(inputs):
    z, c = inputs[:N], smooth(inputs[:N])
    for wrong, message in (
        (lambda: fit_gaussian_process(z, c, trend="cubic"), "unknown trend 'cubic'"),
        (lambda: fit_gaussian_process(z[:2], c[:2]), "at least 3 samples of finite numbers, got 2"),
        (lambda: fit_gaussian_process(np.where(z == z[0], np.nan, z), c), "finite numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
