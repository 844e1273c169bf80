"""The log-density by the ODE against that of a Gaussian mixture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from common.mixtures import SMOOTH, Mixture
from scipy.special import logsumexp

from surrogax.solvers import diffusion

SCHEDULE = diffusion.VPLinear()
MIXTURE = Mixture.random(0, SMOOTH, 4)


def exact(x):
    """log p of x₀ + s ε at the end of the schedule."""
    variance = MIXTURE.stds**2 + float(SCHEDULE.level(np.float64(SCHEDULE.end))) ** 2
    square = ((x[:, None] - MIXTURE.means) ** 2).sum(-1)
    return logsumexp(np.log(MIXTURE.weights) - square / (2 * variance) - 2 * np.log(2 * np.pi * variance), axis=1)


@pytest.fixture
def points():
    rng = np.random.default_rng(2)
    chosen = rng.choice(6, 16, p=MIXTURE.weights)
    return MIXTURE.means[chosen] + MIXTURE.stds[chosen, None] * rng.standard_normal((16, 4))


def test_the_exact_trace_gives_the_density_with_order_four(points, x64):
    """With a start noisy enough that what remains is the error of the steps."""

    def error(steps):
        found = diffusion.log_likelihood(MIXTURE.denoise, points, schedule=SCHEDULE, steps=steps)
        return abs(found - reference).max()

    reference = diffusion.log_likelihood(MIXTURE.denoise, points, schedule=SCHEDULE, steps=160)
    np.testing.assert_allclose(reference, exact(points), rtol=0, atol=2e-3)
    assert 3.4 < np.log2(error(25) / error(50)) < 4.6
    np.testing.assert_allclose(
        diffusion.log_likelihood(MIXTURE.denoise, points, schedule=SCHEDULE), exact(points), rtol=0, atol=5e-3
    )


@pytest.mark.nightly
def test_hutchinson_has_no_bias_and_derivatives_exist(points, key, x64):
    found = diffusion.log_likelihood(MIXTURE.denoise, points, schedule=SCHEDULE, probes=16, key=key)
    assert abs(np.mean(found - exact(points))) < 0.2
    x = jnp.asarray(points[:1])
    score = jax.grad(lambda x: diffusion.log_likelihood(MIXTURE.denoise, x, schedule=SCHEDULE)[0])(x)[0]
    level = float(SCHEDULE.level(np.float64(SCHEDULE.end)))
    np.testing.assert_allclose(score, (MIXTURE.denoise(x[0], level) - x[0]) / level**2, rtol=2e-2, atol=2e-2)


def test_what_has_no_likelihood_is_told(points):
    with pytest.raises(ValueError, match="infinite log-SNR"):
        diffusion.log_likelihood(MIXTURE.denoise, points, schedule=diffusion.FlowMatching())
    with pytest.raises(ValueError, match="give key"):
        diffusion.log_likelihood(MIXTURE.denoise, points, schedule=SCHEDULE, probes=2)
