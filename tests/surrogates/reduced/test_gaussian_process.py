"""The Gaussian process against closed forms, scikit-learn and dense kriging; its uncertainty, rounding and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.storage import load, save
from surrogax.surrogates.reduced.regression.covariance_kernels import matern52
from surrogax.surrogates.reduced.regression.gaussian_process import fit_gaussian_process
from surrogax.surrogates.reduced.regression.per_point import checked_pairs
from surrogax.surrogates.reduced.regression.restricted_likelihood import (
    cholesky,
    correlation,
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
    return fit_gaussian_process(inputs[:N], smooth(inputs[:N]), kernel="matern52")


def in_single(function, z):
    """In a float32 program."""
    return np.asarray(jax.jit(jax.vmap(function))(jnp.asarray(z, jnp.float32)))


# Kernel and likelihood ------------------------------------------------------------------------------------------------


def test_three_derivatives_of_the_kernel_are_finite_and_right():
    with jax.enable_x64(True):
        for derivative, closed in (
            (jax.grad(matern52), lambda r: -5 / 6 * (1 + r) * np.exp(-r)),
            (jax.grad(jax.grad(matern52)), lambda r: 25 / 12 * np.exp(-r)),
        ):
            for squared in (0.0, 1e-6, 0.3, 4.0):
                np.testing.assert_allclose(derivative(jnp.asarray(squared)), closed(np.sqrt(5 * squared)), rtol=1e-12)


def test_likelihood_and_gradient_are_those_of_scikit_learn():
    """Frozen from GaussianProcessRegressor (1.8): kernel s² Matérn-5/2 ARD + white noise, at the best s² = 1.89249."""
    i = np.arange(8.0)
    z, y = np.stack([np.sin(1 + 3 * i), np.cos(2 * i)], 1), np.exp(np.sin(1 + 3 * i)) * np.cos(2 * i) + 0.1 * i

    with jax.enable_x64(True):

        def log_likelihood(lengths, noise):
            r = correlation(matern52, jnp.asarray(z), jnp.exp(-lengths), jnp.exp(noise))
            value = negative_log_likelihood(r, jnp.zeros((8, 0)), jnp.asarray(y)[:, None])
            return -8 * (value + 0.5 * (1 + jnp.log(2 * jnp.pi)))

        value, gradients = jax.value_and_grad(log_likelihood, (0, 1))(jnp.log(jnp.asarray([0.7, 1.9])), jnp.log(0.03))
    np.testing.assert_allclose(value, -10.808582051773998, rtol=1e-9)  # it adds 1e-10 to the diagonal
    np.testing.assert_allclose(gradients[0], [3.13868616, -2.48976285], rtol=1e-7)
    np.testing.assert_allclose(gradients[1], -0.23891377, rtol=1e-6)


@pytest.mark.nightly
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
            r = correlation(matern52, jnp.asarray(z), jnp.exp(-log_lengths), 0.01)
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
    factor, jitter = cholesky(correlation(matern52, z, jnp.ones(1), jnp.float32(0)))
    assert np.isfinite(factor).all() and 1e-12 <= jitter <= 1e-4
    assert cholesky(jnp.eye(3))[1] == 0


# The process ----------------------------------------------------------------------------------------------------------


def test_mean_and_variance_are_those_of_dense_universal_kriging(inputs, process):
    """The saddle-point system of the weights λ, Hᵀλ = h(x), solved as it stands; variances up to the factor Σ."""
    scaled = process.scaling(inputs)
    z, c, new = scaled[:N], smooth(inputs[:N]), scaled[N:]
    lengths, p, noise = process.lengths, 3, np.asarray(process.noise)
    features = lambda x: np.concatenate([np.ones((len(x), 1)), x], 1)  # noqa: E731
    r = kernel(z, z, lengths) + noise * np.eye(N)
    system = np.block([[r, features(z)], [features(z).T, np.zeros((p, p))]])
    right = np.concatenate([kernel(z, new, lengths), features(new).T])
    solution = np.linalg.solve(system, right)
    variance = 1 + noise - (solution * right).sum(0)
    np.testing.assert_allclose(process(inputs[N:]), solution[:N].T @ c, atol=1e-6)
    np.testing.assert_allclose(process.spread(inputs[N:]), variance, rtol=1e-3, atol=1e-9)


def test_float32_programs_predict_as_float64_ones(inputs, process):
    """Mean, spread and gradient under jit and vmap with x64 off, against x64 on; a plain float32 sum loses 1e-4 of the mean."""
    new = inputs[N:]
    scale = np.abs(smooth(inputs)).max()
    for function in (process, process.spread, process.std, jax.jacobian(process)):
        with jax.enable_x64(True):
            exact = np.asarray(jax.vmap(function)(jnp.asarray(new)))
        low = in_single(function, new)
        assert low.dtype == np.float32 and exact.dtype == np.float64
        np.testing.assert_allclose(low, exact, rtol=3e-4, atol=3e-7 * np.abs(exact).max())
    k = kernel(process.scaling(new), process.scaling(inputs[:N]), process.lengths)
    weights = np.asarray(process.weights)
    assert np.abs(np.float32(k) @ np.float32(weights) - k @ weights).max() > 1e-4 * scale


@pytest.mark.nightly
def test_more_data_of_a_smooth_curve_give_smaller_errors_and_honest_intervals():
    rng, x = np.random.default_rng(0), np.linspace(0, 1, 6)
    new = rng.uniform(0.1, 2.9, (200, 1))
    errors = []
    for n in (25, 100):
        z = rng.uniform(0, 3, (n, 1))
        found = fit_gaussian_process(z, np.exp(-z * x))
        miss, std = np.abs(in_single(found, new) - np.exp(-new * x)), in_single(found.std, new)
        errors.append(miss.max())
        assert 0.85 < (miss < 2 * std)[:, 1:].mean() <= 1
    assert errors[1] < 0.2 * errors[0] and errors[1] < 1e-4


@pytest.mark.parametrize("periods", [8, pytest.param(20, marks=pytest.mark.nightly)])
def test_many_oscillations_are_found(periods):
    z = np.random.default_rng(1).uniform(0, 1, (12 * periods, 1))
    waves = lambda z: np.concatenate([np.sin(2 * np.pi * periods * z), np.cos(2 * np.pi * periods * z)], 1)  # noqa: E731
    new = np.random.default_rng(2).uniform(0.05, 0.95, (100, 1))
    assert np.sqrt(np.mean((in_single(fit_gaussian_process(z, waves(z)), new) - waves(new)) ** 2)) < 0.1


@pytest.mark.nightly
def test_the_kernel_is_that_of_larger_likelihood(inputs):
    """The squared exponential for a smooth map, whose error it makes several times smaller; Matérn for one with a kink."""
    z, new = inputs[:N], inputs[N:]

    def error(gp, truth):
        return np.sqrt(((np.float64(gp(new)) - truth(new)) ** 2).mean())

    chosen, rough = fit_gaussian_process(z, smooth(z)), fit_gaussian_process(z, smooth(z), kernel="matern52")
    assert (chosen.kernel, rough.kernel) == ("squared_exponential", "matern52")
    assert error(chosen, smooth) < 0.4 * error(rough, smooth)
    assert fit_gaussian_process(z, np.abs(z[:, :1] - 0.1)).kernel == "matern52"


@pytest.mark.nightly
def test_intervals_of_the_squared_exponential_are_those_of_dense_kriging(inputs):
    """Mean and spread by the inverse of the whole saddle-point system, in float64."""
    z, c, new = inputs[:N], smooth(inputs[:N]) + 0.01 * np.sin(40 * inputs[:N]), inputs[N:]
    gp = fit_gaussian_process(z, c, kernel="squared_exponential")
    x, at = gp.scaling(z) * np.asarray(gp.rates), gp.scaling(new) * np.asarray(gp.rates)
    k = lambda a, b: np.exp(-((a[:, None] - b[None]) ** 2).sum(2) / 2)  # noqa: E731
    h, h_new = (np.concatenate([np.ones((len(a), 1)), gp.scaling(a)], 1) for a in (z, new))
    noise = np.asarray(gp.noise)
    right = np.concatenate([k(x, at), h_new.T])
    weights = np.linalg.solve(np.block([[k(x, x) + noise * np.eye(N), h], [h.T, np.zeros((3, 3))]]), right)
    np.testing.assert_allclose(gp(new), weights[:N].T @ c, atol=1e-5)
    np.testing.assert_allclose(gp.spread(new), 1 + noise - (weights * right).sum(0), rtol=1e-3, atol=1e-9)


def test_samples_that_explain_nothing_of_each_other_are_reported():
    rng = np.random.default_rng(3)
    with pytest.warns(UserWarning, match="the 30 samples explain nothing of each other"):
        fit_gaussian_process(rng.uniform(0, 1, (30, 1)), rng.normal(size=(30, 2)))


def test_left_out_errors_are_those_of_fits_without_each_sample(inputs, process):
    """Universal kriging with the same hyperparameters, solved anew without sample i."""
    x, c, noise = process.scaling(inputs[:N]), smooth(inputs[:N]), np.asarray(process.noise)
    features = np.concatenate([np.ones((N, 1)), x], 1)
    r = kernel(x, x, process.lengths)
    for i in (0, 17, 41):
        others = np.arange(N) != i
        h = features[others]
        system = np.block([[r[np.ix_(others, others)] + noise * np.eye(N - 1), h], [h.T, np.zeros((3, 3))]])
        predicted = np.concatenate([r[i, others], features[i]]) @ np.linalg.solve(
            system, np.concatenate([c[others], np.zeros((3, 2))])
        )
        np.testing.assert_allclose(process.left_out[i], c[i] - predicted, rtol=1e-3, atol=1e-8)


def test_units_and_offsets_do_not_matter(inputs):
    """Also dates and unix seconds, whose spread is below the rounding of float32."""
    z, c, new = inputs[:N], smooth(inputs[:N]), inputs[N:]
    plain = fit_gaussian_process(z, c)
    for factor, shift in (([1, 1], [7.3e5, 0]), ([0.5, 2e11], [1.7e9, 1e12])):
        moved = fit_gaussian_process(z * factor + shift, 1e6 + 1e-2 * c)
        np.testing.assert_allclose((np.float64(moved(new * factor + shift)) - 1e6) * 1e2, plain(new), atol=20)
        with jax.enable_x64(True):
            np.testing.assert_allclose((moved(new * factor + shift) - 1e6) * 1e2, plain(new), atol=1e-4)


@pytest.mark.nightly
def test_inputs_over_decades_enter_by_their_logarithm():
    rng = np.random.default_rng(0)
    k, new = 10 ** rng.uniform(-2, 2, (2, 60, 1))
    curve = lambda k: np.tanh(2 * np.log10(k))  # noqa: E731
    error = lambda gp: np.abs(np.asarray(gp(new)) - curve(new)).max()  # noqa: E731
    chosen, plain = fit_gaussian_process(k, curve(k)), fit_gaussian_process(k, curve(k), log=())
    assert chosen.scaling.logarithmic == (True,) and plain.scaling.logarithmic == (False,)
    assert error(chosen) < 0.02 and error(chosen) < 0.2 * error(plain)
    assert np.isfinite(chosen(np.array([[0.0], [-1.0]]))).all()
    # Uniform numbers reach over decades too, but their logarithms crowd at one end.
    z = rng.uniform(0, 1, (60, 1))
    assert fit_gaussian_process(z, np.sin(3 * z)).scaling.logarithmic == (False,)
    assert fit_gaussian_process(z, np.sin(3 * z), log=(0,)).scaling.described(["k"]) == "log k"
    for wrong, message in (("log", "use 'auto' or the numbers"), ((1,), "there is no input 1"), ((0,), "not positive")):
        with pytest.raises(ValueError, match=message):
            fit_gaussian_process(z - 0.5, z, log=wrong)


@pytest.mark.nightly
def test_many_inputs_at_once_are_predicted_as_one_by_one(inputs, process):
    new = inputs[N : N + 3]
    np.testing.assert_allclose(process(new), np.stack([process(z) for z in new]), rtol=1e-6)
    np.testing.assert_allclose(process.std(jnp.asarray(new, jnp.float32)).shape, (3, 2))
    line = fit_gaussian_process(new[:, :1], new[:, 1:])
    assert line(0.3).shape == (1,) and line([0.3]).shape == (1,)
    for wrong in (np.zeros(3), np.zeros((4, 3)), 0.5):
        with pytest.raises(ValueError, match=r"expected \(2,\) for one or \(n, 2\) for many"):
            process(wrong)


def test_a_linear_map_is_exact_and_a_nearly_linear_one_nearly(inputs):
    def bent(z, size):
        return np.stack([z[:, 0] + 2 * z[:, 1] + size * z[:, 0] ** 2, z[:, 1] - 3], 1)

    for size, limit in ((0.0, 1e-6), (1e-3, 1e-5)):
        found = fit_gaussian_process(inputs[:N], bent(inputs[:N], size))
        predicted, truth = in_single(found, inputs[N:]), bent(inputs[N:], size)
        assert np.linalg.norm(predicted - truth) < limit * np.linalg.norm(truth - truth.mean(0))


def test_it_can_be_saved(process, inputs, tmp_path):
    save(tmp_path / "gp", process)
    again = load(tmp_path / "gp")
    np.testing.assert_array_equal(again(inputs[N:]), process(inputs[N:]))
    np.testing.assert_array_equal(again.std(inputs[N:]), process.std(inputs[N:]))


def test_an_input_that_does_not_matter_gets_a_long_length(inputs):
    c = np.stack([np.sin(4 * inputs[:N, 0]), np.cos(3 * inputs[:N, 0])], 1)
    lengths = fit_gaussian_process(inputs[:N], c).lengths
    assert lengths[1] > 20 * lengths[0]


def test_intervals_of_noisy_data_cover_what_they_promise(inputs):
    rng = np.random.default_rng(1)
    noise = np.array([0.2, 0.05])
    c = smooth(inputs) + noise * rng.normal(size=(len(inputs), 2))
    found = fit_gaussian_process(inputs[:N], c[:N])
    mean, std = in_single(found, inputs[N:]), in_single(found.std, inputs[N:])
    covered = (np.abs(mean - c[N:]) < 1.96 * std).mean(0)
    assert ((covered > 0.88) & (covered <= 1)).all() and (np.abs(mean - c[N:]) < 1.0 * std).mean() < 0.8
    assert ((std.mean(0) / noise > 0.5) & (std.mean(0) / noise < 2)).all()
    far = np.asarray(found.std(jnp.asarray([4.0, -4.0])))
    assert (far > 2 * std.mean(0)).all()


def test_gradients_of_the_prediction_are_those_of_differences_also_at_a_centre(inputs, process):
    for z in (inputs[N], inputs[0]):
        for function in (lambda x: process(x)[0], process.spread):
            with jax.enable_x64(True):
                step = 2e-3 * jnp.eye(2)
                difference = np.stack([(function(z + h) - function(z - h)) / 4e-3 for h in step])
                exact = np.asarray(jax.grad(function)(jnp.asarray(z)))
                np.testing.assert_allclose(exact, difference, rtol=1e-3, atol=1e-5)
            np.testing.assert_allclose(jax.jit(jax.grad(function))(jnp.float32(z)), exact, rtol=2e-3, atol=1e-12)


@pytest.mark.filterwarnings("ignore:fit_gaussian_process")
@pytest.mark.nightly
def test_degenerate_data_give_finite_predictions(inputs):
    z, c = inputs[:N].copy(), smooth(inputs[:N])
    z[1], c[1] = z[0], c[0] + 1  # one input, two outputs
    z[3] = z[2]
    constant = z * [1, 0] + [0, 2.5]
    for x, y in ((z, c), (constant, c), (z, np.ones_like(c)), (constant * 0, c)):
        found = fit_gaussian_process(x, y)
        assert np.isfinite(in_single(found, x)).all() and np.isfinite(in_single(found.std, x)).all()
        if y is not c:
            np.testing.assert_allclose(found(x), y)
            assert (np.asarray(found.std(x)) < 1e-5).all()
    np.testing.assert_allclose(found(jnp.zeros(2)), c.mean(0), rtol=1e-4)


def test_repeated_samples_keep_lengths_and_predictions(inputs):
    """20 points, each three times, with equal values and with noise of 1e-3."""
    z, rng = np.repeat(inputs[:20], 3, 0), np.random.default_rng(4)
    for noise in (0.0, 1e-3):
        c = smooth(z) + noise * rng.normal(size=(60, 2))
        found = fit_gaussian_process(z, c)
        assert ((found.lengths > 1e-2) & (found.lengths < 1e5)).all()
        np.testing.assert_allclose(found(inputs[:20]), smooth(inputs[:20]), atol=3 * noise + 1e-4)


def test_bad_input_is_refused(inputs):
    z, c = inputs[:N], smooth(inputs[:N])
    for error, wrong, message in (
        (ValueError, lambda: fit_gaussian_process(z, c, trend="cubic"), "unknown trend 'cubic'"),
        (ValueError, lambda: fit_gaussian_process(z[:2], c[:2]), "at least 3 samples, got 2"),
        (
            ValueError,
            lambda: fit_gaussian_process(np.where(z == z[5], np.nan, z), c),
            "finite numbers; inputs of sample 5",
        ),
        (ValueError, lambda: fit_gaussian_process(z, np.where(c == c[7], np.inf, c)), "outputs of sample 7"),
        (ValueError, lambda: checked_pairs("fit", z, c[:9]), "60 inputs for 9 outputs"),
    ):
        with pytest.raises(error, match=message):
            wrong()
    for x, y, message in ((z, c + 1j, "outputs of type complex128"), (z.astype(str), c, "inputs of type <U32")):
        with pytest.raises(TypeError, match=message):
            checked_pairs("fit_gaussian_process", x, y)
    with pytest.raises(
        ValueError, match=r"outputs of shape \(60,\); expected a row per sample: reshape it to \(60, 1\)"
    ):
        checked_pairs("fit_gaussian_process", z, c[:, 0])
