"""DPM-Solver-v3: exact where its parametrisation is, of order three on a mixture, and exponential Adams without statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from common.mixtures import SMOOTH, Mixture

from surrogax.solvers import diffusion

SCHEDULE = diffusion.VPLinear()
LOG_SNRS = SCHEDULE.log_snr(np.array([SCHEDULE.start, SCHEDULE.end]))
MEAN, VARIANCE = np.array([0.5, -1.0]), np.array([4.0, 0.01])


def gaussian(x, sigma, condition):
    return MEAN.astype(x.dtype) + VARIANCE / (VARIANCE + sigma**2) * (x - MEAN)


def ends(denoise, solver, y, evaluations):
    """The normalised end from the normalised start."""
    grid = diffusion.LogSNR(evaluations, to_zero=False)
    x = diffusion.sample(denoise, solver, schedule=SCHEDULE, times=grid, initial=y * SCHEDULE.alpha(1.0))
    return np.asarray(x) / SCHEDULE.alpha(SCHEDULE.end)


def test_one_step_is_exact_for_gaussian_data(key, x64):
    """Order one, any number of steps, a diagonal covariance; DDIM is wrong by a hundred thousand times as much."""
    rng = np.random.default_rng(0)
    data = MEAN + np.sqrt(VARIANCE) * rng.standard_normal((64, 2))
    statistics = diffusion.ModelStatistics.estimate(gaussian, data, SCHEDULE, key=key)
    assert statistics.evaluations == 2 * 60 * 64
    y = np.exp(-LOG_SNRS[0]) * rng.standard_normal((5, 2))
    first, last = np.exp(-2 * LOG_SNRS)
    exact = MEAN + np.sqrt((VARIANCE + last) / (VARIANCE + first)) * (y - MEAN)
    for evaluations in (1, 3):
        found = ends(gaussian, diffusion.DPMSolverV3(statistics, order=1, corrector=0), jnp.asarray(y), evaluations)
        np.testing.assert_allclose(found, exact, rtol=0, atol=3e-4)
    assert abs(ends(gaussian, diffusion.DDIM(), jnp.asarray(y), 3) - exact).max() > 0.3


@pytest.mark.nightly
def test_order_and_accuracy_on_a_mixture(key, x64):
    """The reference promises 1.2e-2 at 10 evaluations and order 3.2."""
    mixture, rng = Mixture.random(0, SMOOTH), np.random.default_rng(5)
    chosen = rng.choice(6, 256, p=mixture.weights)
    data = mixture.means[chosen] + mixture.stds[chosen, None] * rng.standard_normal((256, 8))
    statistics = diffusion.ModelStatistics.estimate(mixture.denoise, data, SCHEDULE, key=key)
    y = jnp.asarray(np.exp(-LOG_SNRS[0]) * rng.standard_normal((64, 8)))
    exact = np.asarray(jax.jit(lambda y: mixture.flow(y, *LOG_SNRS, 1200))(y))

    def error(solver, evaluations):
        found = ends(mixture.denoise, solver, y, evaluations)
        return np.median(np.sqrt(np.mean((found - exact) ** 2, -1)))

    assert error(diffusion.DPMSolverV3(statistics), 10) < 1.2e-2 < error(diffusion.UniPC(3), 10)
    # The corrector with three nodes has order three too, with a smaller constant.
    for corrector in (0, 3):
        solver = diffusion.DPMSolverV3(statistics, corrector=corrector)
        assert 2.6 < np.log2(error(solver, 40) / error(solver, 80)) < 3.9
    assert error(diffusion.DPMSolverV3(statistics, order=1, corrector=0), 40) < 0.6 * error(diffusion.DDIM(), 40)


@pytest.mark.nightly
def test_without_statistics_it_is_exponential_adams(key, x64):
    """l = 1, s = b = 0, also with one number per channel for all points."""
    nodes = np.linspace(*LOG_SNRS, 9)
    one, none = np.ones((9, 1, 3)), np.zeros((9, 1, 3))
    plain = diffusion.ModelStatistics(nodes, one, none, none, 0)
    y = np.exp(-LOG_SNRS[0]) * jax.random.normal(key, (2, 4, 3))

    def denoise(x, sigma, condition):
        return jnp.tanh(x) / (1 + sigma)

    for order in (1, 2, 3):
        found = ends(denoise, diffusion.DPMSolverV3(plain, order, corrector=0), y, 6)
        np.testing.assert_allclose(found, ends(denoise, diffusion.ExponentialAdams(order), y, 6), rtol=1e-9, atol=1e-12)


def test_statistics_are_averaged_over_space_and_refuse_other_times(key):
    data = jax.random.normal(key, (8, 5, 2))
    options = {"nodes": 40, "key": key}
    statistics = diffusion.ModelStatistics.estimate(
        lambda x, s, c: x / (1 + s**2), data, SCHEDULE, average=(0,), **options
    )
    assert statistics.l.shape == (40, 1, 2)
    # D = y/(1 + s²) has l = 1 − 1/(1 + s²) whatever the sample, and nothing is left over.
    np.testing.assert_allclose(
        statistics.l[:, 0], 1 - 1 / (1 + np.exp(-2 * statistics.log_snrs))[:, None] * [1, 1], atol=1e-5
    )
    np.testing.assert_allclose(statistics.b, 0, atol=2e-3)
    with pytest.raises(ValueError, match="leave those of the statistics"):
        diffusion.plan(diffusion.DPMSolverV3(statistics), schedule=diffusion.EDM(), times=5)
    with pytest.raises(ValueError, match="infinite log-SNR at its ends"):
        diffusion.ModelStatistics.estimate(gaussian, data, diffusion.FlowMatching(), **options)
    with pytest.raises(ValueError, match=r"weights of shape \(1, 2\), samples have \(4, 3\)"):
        diffusion.sample(
            gaussian, diffusion.DPMSolverV3(statistics), schedule=SCHEDULE, times=4, shape=(4, 3), n=1, key=key
        )


@pytest.mark.nightly
def test_statistics_per_wavenumber_make_one_step_exact_for_fields(key, x64, tmp_path):
    """A Gaussian field is diagonal in the spectrum alone. The file keeps the hash of the schedule."""
    k = 2 * np.pi * np.fft.fftfreq(16, 1 / 16)
    variances = (k**2 + 9.0) ** -1.0
    variances = variances / variances.mean()

    def denoise(x, sigma, condition=None):
        return jnp.fft.ifft(jnp.fft.fft(x) * variances / (variances + sigma**2)).real

    spectral = diffusion.InSpectrum(diffusion.as_denoiser(denoise), (0,))
    rng = np.random.default_rng(0)
    data = np.sqrt(variances) * rng.standard_normal((32, 16))
    shells = diffusion.wavenumber_shells((16,), (0,))
    statistics = diffusion.ModelStatistics.estimate(spectral, data, SCHEDULE, key=key, groups=shells)
    assert len(np.unique(statistics.l[0])) == len(np.unique(shells)) == 9
    statistics.save(tmp_path / "v3.sgx")
    again = diffusion.ModelStatistics.load(tmp_path / "v3.sgx", SCHEDULE)
    np.testing.assert_array_equal(again.integral_b(0.0), statistics.integral_b(0.0))
    with pytest.raises(ValueError, match="estimated for another schedule"):
        diffusion.ModelStatistics.load(tmp_path / "v3.sgx", diffusion.VPLinear(beta_max=19.0))
    with pytest.raises(ValueError, match="two ways to average"):
        diffusion.ModelStatistics.estimate(spectral, data, SCHEDULE, key=key, groups=shells, average=(0,))
    y = np.exp(-LOG_SNRS[0]) * rng.standard_normal((4, 16))
    first, last = np.exp(-2 * LOG_SNRS)
    exact = np.fft.ifft(np.sqrt((variances + last) / (variances + first)) * np.fft.fft(y)).real
    z = diffusion.hartley(jnp.asarray(y), (1,))
    found = diffusion.hartley(jnp.asarray(ends(spectral, diffusion.DPMSolverV3(again, 1, 0), z, 1)), (1,))
    np.testing.assert_allclose(found, exact, atol=2e-3)
    assert abs(ends(denoise, diffusion.DDIM(), jnp.asarray(y), 1) - exact).max() > 0.3
