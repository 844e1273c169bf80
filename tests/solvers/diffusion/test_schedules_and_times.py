"""Schedules are two maps that fit each other, and grids give the levels that their names say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers import diffusion

SCHEDULES = [
    diffusion.EDM(),
    diffusion.VE(),
    diffusion.VPLinear(),
    diffusion.VPCosine(),
    diffusion.VPDiscrete.from_betas(np.linspace(1e-4, 0.02, 1000)),
    diffusion.FlowMatching(),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_times_and_log_snr_are_inverse(schedule):
    """In float64 on the host, in float32 in compiled code; the noise level falls from start to end."""
    inside = np.linspace(schedule.start, schedule.end, 41)[1:-1]
    np.testing.assert_allclose(schedule.time(schedule.log_snr(inside)), inside, rtol=1e-9)
    assert (np.diff(schedule.level(inside)) < 0).all()
    compiled = jax.jit(lambda t: (schedule.log_snr(t), schedule.alpha(t)))(jnp.asarray(inside, jnp.float32))
    np.testing.assert_allclose(compiled[0], schedule.log_snr(inside), atol=2e-3)
    np.testing.assert_allclose(compiled[1], schedule.alpha(inside), rtol=1e-4)


def test_vp_schedules_preserve_the_variance():
    """α² + σ² = 1, where σ = s α."""
    for schedule in SCHEDULES[2:5]:
        t = np.linspace(schedule.start, schedule.end, 9)
        np.testing.assert_allclose(schedule.alpha(t) ** 2 * (1 + schedule.level(t) ** 2), 1, rtol=1e-10)


def test_the_discrete_schedule_is_its_table():
    betas = np.linspace(1e-4, 0.02, 1000)
    schedule, products = diffusion.VPDiscrete.from_betas(betas), np.cumprod(1 - betas)
    np.testing.assert_allclose(schedule.alpha(np.arange(1000.0)) ** 2, products, rtol=1e-12)
    np.testing.assert_allclose(schedule.level(np.arange(1000.0)), np.sqrt((1 - products) / products), rtol=1e-9)


def levels(grid, schedule):
    return diffusion.plan(diffusion.DDIM(), schedule=schedule, times=grid).levels


def test_grids():
    edm, vp, flow = diffusion.EDM(), diffusion.VPLinear(), diffusion.FlowMatching()
    karras = (80 ** (1 / 7) + np.arange(6) / 5 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(levels(6, edm), karras, rtol=1e-9)
    plan = diffusion.plan(diffusion.DDIM(), schedule=edm, times=diffusion.Rho(6))
    assert plan.end == 0 and abs(plan.start - 80) < 1e-9
    np.testing.assert_allclose(np.diff(np.log(levels(diffusion.LogSNR(6), vp)), 2), 0, atol=1e-9)
    np.testing.assert_allclose(
        vp.time(-np.log(levels(diffusion.Quadratic(4), vp))), np.linspace(1, np.sqrt(1e-3), 4) ** 2, rtol=1e-9
    )
    np.testing.assert_allclose(levels(diffusion.UniformTime(4), flow), [np.inf, 3, 1, 1 / 3])
    t = np.array([1, 0.75, 0.5, 0.25])
    shifted = 3 * t / (1 + 2 * t)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(levels(diffusion.Shifted(4, shift=3.0), flow), shifted / (1 - shifted), rtol=1e-9)
    noisy = diffusion.plan(diffusion.DDIM(), schedule=vp, times=diffusion.LogSNR(5, to_zero=False))
    np.testing.assert_allclose([noisy.start, noisy.end], vp.level(np.array([1, 1e-3])), rtol=1e-9)


@pytest.mark.parametrize(
    "order, evaluations, split",
    [(2, 6, (2, 2, 2)), (2, 7, (2, 2, 2, 1)), (3, 6, (3, 2, 1)), (3, 7, (3, 3, 1)), (3, 8, (3, 3, 2)), (3, 1, (1,))],
)
def test_evaluations_of_single_steps_are_divided_as_published(order, evaluations, split):
    assert diffusion.DPMSolver(order).split(evaluations, ends_clean=False) == split
    assert sum(diffusion.DPMSolver(order).split(evaluations, ends_clean=True)) == evaluations


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: diffusion.VPLinear(start=0.1, end=0.5), "from the noisy time"),
        (lambda: diffusion.VPLinear(beta_max=0.01), "above 0.1"),
        (lambda: diffusion.EDM(sigma_min=3.0, sigma_max=1.0), "above 3"),
        (lambda: diffusion.VPDiscrete((0.5, 0.9)), "fall from step to step"),
        (lambda: diffusion.VPDiscrete((0.9, 0.0)), "no signal at all"),
        (lambda: diffusion.Rho(5, rho=0.0), "above 0"),
        (lambda: diffusion.UniPC(4), "expected 1 to 3"),
        (lambda: diffusion.DPMSolver(1), "DDIM"),
        (lambda: diffusion.DDIM(eta=1.5), "0 to 1"),
        (lambda: diffusion.Heun(churn_min=2.0, churn_max=1.0), "range"),
    ],
)
def test_settings_without_meaning_are_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_schedule_of_ones_own_that_is_not_monotone_is_told():
    class Wavy(diffusion.AbstractSchedule):
        start, end = 1.0, 0.01

        def log_snr(self, t):
            return -np.log(t) + 3 * np.sin(8 * t)

        def time(self, log_snr):
            return log_snr

        def alpha(self, t):
            return np.ones_like(t)

    with pytest.raises(ValueError, match="the noise level of Wavy rises"):
        diffusion.plan(diffusion.DDIM(), schedule=Wavy(), times=diffusion.UniformTime(20))
