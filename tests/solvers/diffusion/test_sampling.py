"""`sample`: exact Gaussian data, noise per sample, counted evaluations, derivatives, and one sentence for what cannot be."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers import diffusion

MEAN, VARIANCE = np.array([1.0, -0.5]), np.array([4.0, 0.01])


def denoise(x, sigma, condition):
    """Of N((1, −½), diag(4, 0.01))."""
    return MEAN.astype(x.dtype) + VARIANCE / (VARIANCE + sigma**2) * (x - MEAN)


def velocity(x, t, condition):
    """ε − x₀ of straight paths for the same data, also at t = 1."""
    x0 = MEAN + (1 - t) * VARIANCE / ((1 - t) ** 2 * VARIANCE + t**2) * (x - (1 - t) * MEAN)
    eps = t / ((1 - t) ** 2 * VARIANCE + t**2) * (x - (1 - t) * MEAN)
    return eps - x0


SCHEDULES = {
    "EDM": diffusion.EDM(),
    "VE": diffusion.VE(sigma_max=200.0),
    "VPLinear": diffusion.VPLinear(),
    "VPCosine": diffusion.VPCosine(),
    "VPDiscrete": diffusion.VPDiscrete.from_betas(np.linspace(1e-4, 0.02, 1000)),
    "FlowMatching": diffusion.FlowMatching(),
}
ODE = {
    "DDIM": diffusion.DDIM(),
    "UniPC": diffusion.UniPC(3),
    "3M": diffusion.DPMSolverPP(3),
    "iPNDM": diffusion.IPNDM(),
    "Heun": diffusion.Heun(),
    "DPM-Solver": diffusion.DPMSolver(3),
}
SDE = {
    "ancestral": diffusion.DDIM(eta=1.0),
    "SDE-2M": diffusion.DPMSolverPP(2, eta=1.0),
    "SDE-3M": diffusion.ExponentialAdams(3, eta=1.0),
    "churn": diffusion.Heun(churn=40.0),
}
N = 3000


def check_moments(x, slack=0.0):
    """Means and variances within five standard errors of Monte Carlo."""
    x = np.asarray(x, np.float64)
    assert (abs(x.mean(0) - MEAN) < 5 * np.sqrt(VARIANCE / N) + slack * abs(MEAN)).all(), x.mean(0)
    assert (abs(x.var(0) / VARIANCE - 1) < 5 * np.sqrt(2 / N) + slack).all(), x.var(0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_exact_gaussian_data_come_back_through_every_schedule(schedule, key):
    network = diffusion.FlowPrediction(velocity, SCHEDULES[schedule]) if schedule == "FlowMatching" else denoise
    for solver in (diffusion.UniPC(3), diffusion.DPMSolverPP(2, eta=1.0)):
        x = diffusion.sample(
            network, solver, schedule=SCHEDULES[schedule], times=200, shape=(2,), n=N, key=key, dtype="float32"
        )
        check_moments(x, slack=0.02)  # at σ_max = 80 noise of mean zero and data of mean one are 2 % apart


# The others are compared with these in `test_parity.py` and `test_orders.py`.
QUICK = ("iPNDM", "Heun", "DPM-Solver", "ancestral", "churn")


@pytest.mark.parametrize("solver", [n if n in QUICK else pytest.param(n, marks=pytest.mark.nightly) for n in ODE | SDE])
def test_exact_gaussian_data_come_back_through_every_solver(solver, key):
    times = 201 if solver in ("Heun", "churn") else 200
    x = diffusion.sample(
        denoise, (ODE | SDE)[solver], schedule=diffusion.VPLinear(), times=times, shape=(2,), n=N, key=key
    )
    check_moments(x)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_automatic_choice_serves_every_schedule(schedule, key):
    network = diffusion.FlowPrediction(velocity, SCHEDULES[schedule]) if schedule == "FlowMatching" else denoise
    exact = diffusion.sample(
        network, diffusion.UniPC(3), schedule=SCHEDULES[schedule], times=200, shape=(2,), n=16, key=key
    )
    found = diffusion.sample(network, "auto", schedule=SCHEDULES[schedule], times=10, shape=(2,), n=16, key=key)
    assert float(abs(found - exact).max()) < 0.1
    table = diffusion.plan("auto", schedule=SCHEDULES[schedule], times=1)
    assert table.evaluations == 1 and table.end == 0


def test_a_sample_depends_on_its_key_alone(key):
    options = {"schedule": diffusion.EDM(), "times": 6, "shape": (2,)}
    for solver in (diffusion.UniPC(3), diffusion.DPMSolverPP(2, eta=1.0)):
        few = diffusion.sample(denoise, solver, n=3, key=key, **options)
        many = diffusion.sample(denoise, solver, n=7, key=key, **options)
        np.testing.assert_allclose(few, many[:3], rtol=1e-5, atol=1e-6)
        assert not np.allclose(many[0], many[1])


@pytest.mark.parametrize(
    "solver, evaluations",
    [
        (diffusion.DDIM(), 1),
        (diffusion.UniPC(3), 7),
        (diffusion.Heun(), 7),
        (diffusion.DPMSolver(2), 6),
        (diffusion.DPMSolver(3), 9),
    ],
)
def test_the_network_is_called_as_often_as_asked(solver, evaluations, key):
    calls = []

    def counting(x, sigma, condition):
        jax.debug.callback(lambda: calls.append(1))
        return 0.5 * x

    diffusion.sample(counting, solver, schedule=diffusion.EDM(), times=evaluations, shape=(1,), n=1, key=key)
    jax.effects_barrier()
    assert len(calls) == evaluations
    assert diffusion.plan(solver, schedule=diffusion.EDM(), times=evaluations).evaluations == evaluations


def test_one_evaluation_of_a_flow_is_its_jump(key):
    """From nothing but noise, x₀ = x − u(x, 1): what distilled networks need."""
    network = diffusion.FlowPrediction(lambda x, t, condition: 3 * x + t + condition, diffusion.FlowMatching())
    noise = jax.random.normal(key, (4, 3))
    x = diffusion.sample(
        network, diffusion.UniPC(3), schedule=diffusion.FlowMatching(), times=1, initial=noise, condition=2.0
    )
    np.testing.assert_allclose(x, noise - (3 * noise + 1 + 2), rtol=1e-5)


PREDICTIONS = [
    diffusion.NoisePrediction,
    diffusion.DataPrediction,
    diffusion.VelocityPrediction,
    diffusion.ScorePrediction,
]


@pytest.mark.parametrize("kind", [*PREDICTIONS, diffusion.FlowPrediction])
def test_predictions_are_conversions(kind, key):
    """A network that predicts anything gives the samples of the denoiser that it was made from."""
    schedule = (
        diffusion.FlowMatching(start=0.99, end=0.01) if kind is diffusion.FlowPrediction else diffusion.VPLinear()
    )

    def network(x, t, condition):
        level = diffusion.Level.of(jnp.exp(-schedule.log_snr(t)), schedule)
        return prediction.predicted(x, denoise(x / level.alpha, level.sigma, None), level)

    prediction = kind(network, schedule)
    options = {"schedule": schedule, "times": 6, "shape": (2,), "n": 2, "key": key}
    expected = diffusion.sample(denoise, diffusion.DPMSolverPP(2), **options)
    np.testing.assert_allclose(diffusion.sample(prediction, diffusion.DPMSolverPP(2), **options), expected, atol=3e-4)
    x = jnp.array([0.3, -0.7])
    np.testing.assert_allclose(prediction(x, 0.8), denoise(x, 0.8, None), rtol=2e-4)


def test_preconditioned_network(key):
    """With F = 0 the denoiser is that of N(0, d²), whose flow multiplies by √((d² + t²)/(d² + s²))."""
    network = diffusion.Preconditioned(lambda x, c_noise, condition: 0 * x, data_std=0.5)
    y = 80 * jax.random.normal(key, (3, 2))
    x = diffusion.sample(network, diffusion.UniPC(3), schedule=diffusion.EDM(), times=60, initial=y)
    np.testing.assert_allclose(x, y * 0.5 / np.sqrt(0.25 + 80**2), rtol=5e-3)


class Scaled(eqx.Module):
    """A denoiser with a parameter."""

    gain: jax.Array

    def __call__(self, x, sigma, condition):
        return jnp.tanh(self.gain * x / (1 + sigma**2)) + condition


def test_derivatives_compile_and_agree_with_differences(key, x64):
    def loss(gain, condition):
        options = {"schedule": diffusion.VPLinear(), "times": 5, "shape": (2,), "n": 3, "key": key}
        return (diffusion.sample(Scaled(gain), diffusion.UniPC(3), condition=condition, **options) ** 2).sum()

    gain, condition = jnp.asarray(0.7), jnp.asarray([0.1, -0.2])
    by_gain, by_condition = jax.jit(jax.grad(loss, argnums=(0, 1)))(gain, condition)
    h = 1e-5
    np.testing.assert_allclose(by_gain, (loss(gain + h, condition) - loss(gain - h, condition)) / (2 * h), rtol=1e-7)
    along = jnp.asarray([h, 0.0])
    np.testing.assert_allclose(
        by_condition[0], (loss(gain, condition + along) - loss(gain, condition - along)) / (2 * h), rtol=1e-7
    )
    several = jax.vmap(lambda c: loss(gain, c))(jnp.stack([condition, 2 * condition]))
    np.testing.assert_allclose(several[0], loss(gain, condition), rtol=1e-12)


def test_a_network_in_bfloat16_leaves_the_state_in_float32(key):
    def rounded(x, sigma, condition):
        return denoise(x, sigma, None).astype(jnp.bfloat16)

    options = {"schedule": diffusion.VPLinear(), "times": 12, "shape": (2,), "n": 64, "key": key}
    x = diffusion.sample(rounded, diffusion.DPMSolverPP(2), **options)
    exact = diffusion.sample(denoise, diffusion.DPMSolverPP(2), **options)
    assert x.dtype == jnp.float32
    assert float(abs(x - exact).max()) < 0.05


def test_coloured_noise_is_a_choice_of_the_noise_alone(key):
    """Noise of covariance C = diag(1, 9) and data N(0, C) · ¼: every mode then has the same ratio of data to noise."""
    deviation = np.array([1.0, 3.0])

    def coloured(key, shape):
        return deviation * jax.random.normal(key, shape)

    def of_field(x, sigma, condition):
        return 0.25 / (0.25 + sigma**2) * x

    options = {"schedule": diffusion.EDM(), "times": 60, "shape": (2,), "key": key, "n": N}
    for solver in (diffusion.UniPC(3), diffusion.DPMSolverPP(2, eta=1.0)):
        x = np.asarray(diffusion.sample(of_field, solver, noise=coloured, **options))
        np.testing.assert_allclose(x.std(0), 0.5 * deviation, rtol=5 / np.sqrt(2 * N) + 0.01)


@pytest.mark.parametrize("schedule", ["EDM", "FlowMatching"])
def test_a_teleport_is_exact_for_gaussian_data(schedule, key):
    """Also from infinite noise, with modes and without, and for the part of the state that they leave out."""
    start = {"EDM": 0.3, "FlowMatching": 0.4}[schedule]
    chosen = SCHEDULES[schedule]
    network = diffusion.FlowPrediction(velocity, chosen) if schedule == "FlowMatching" else denoise
    times = diffusion.UniformTime(1, start=start, end=0.9 * start, to_zero=False)
    options = {"schedule": chosen, "initial": jax.random.normal(key, (4, 2)) * min(chosen.start, 80.0)}
    model = diffusion.Gaussian(MEAN, VARIANCE)
    found = diffusion.sample(network, diffusion.DDIM(), times=times, teleport=model, trajectory=True, **options).points
    level = float(chosen.level(np.float64(start)))
    first = np.asarray(options["initial"]) / chosen.start
    begin = 80.0 if schedule == "EDM" else 1e8
    y = MEAN + np.sqrt((VARIANCE + level**2) / (VARIANCE + begin**2)) * (begin * first - MEAN)
    np.testing.assert_allclose(found[:, 0], y, rtol=1e-4, atol=1e-5)
    modes = diffusion.Gaussian(MEAN, VARIANCE[:1], np.array([[1.0, 0.0]]))
    part = diffusion.sample(network, diffusion.DDIM(), times=times, teleport=modes, trajectory=True, **options).points
    np.testing.assert_allclose(part[:, 0, 0], y[:, 0], rtol=1e-4)
    point = MEAN[1] + level / begin * (begin * first[:, 1] - MEAN[1])
    np.testing.assert_allclose(part[:, 0, 1], point, rtol=1e-4)


def test_a_gaussian_from_data():
    rng = np.random.default_rng(0)
    data = np.array([3.0, 0.5, 0.0]) * rng.standard_normal((500, 3)) + 2
    model = diffusion.Gaussian.fit(data, rank=2)
    assert model.variances.shape == (2,) and model.modes.shape == (2, 3)
    np.testing.assert_allclose(model.variances, np.var(data, 0, ddof=1)[:2], rtol=0.02)


BASE = {"schedule": diffusion.EDM(), "shape": (2,), "n": 2, "key": jax.random.key(0)}
VP = {**BASE, "schedule": diffusion.VPLinear()}
FLOW = {**BASE, "schedule": diffusion.FlowMatching()}


@pytest.mark.parametrize(
    "options, solver, message",
    [
        ({**BASE, "times": 6}, diffusion.Heun(), r"Heun makes 2N − 1 evaluations.*6 is not possible, 7 is"),
        ({**VP, "times": diffusion.LogSNR(7, to_zero=False)}, diffusion.Heun(), "2N evaluations"),
        ({**BASE, "times": 0}, diffusion.DDIM(), "1 or more"),
        ({**VP, "times": [1.0, 0.5, 0.5, 0.1]}, diffusion.DDIM(), "t=0.5 and t=0.5 have the same noise level"),
        ({**VP, "times": [0.1, 0.5, 1.0]}, diffusion.DDIM(), "rises from .* at t=0.1"),
        ({**VP, "times": [1.0]}, diffusion.DDIM(), "two or more finite times"),
        ({**BASE, "times": [80.0, -1.0]}, diffusion.DDIM(), "noise level nan"),
        ({**FLOW, "times": 5}, diffusion.DDIM(), "infinite noise"),
        ({**FLOW, "times": diffusion.LogSNR(5)}, diffusion.DDIM(), "not finite"),
        ({**BASE, "times": diffusion.Shifted(5)}, diffusion.DDIM(), "between 0 and 1"),
        ({"schedule": diffusion.EDM(), "times": 5}, diffusion.DDIM(), "give shape"),
        ({**BASE, "times": 5, "initial": jnp.zeros((2, 2))}, diffusion.DDIM(), "leave out shape"),
        ({**BASE, "times": 5, "teleport": diffusion.Gaussian(MEAN, VARIANCE)}, diffusion.DDIM(), "later start"),
    ],
)
def test_what_cannot_be_sampled_is_told(options, solver, message):
    with pytest.raises(ValueError, match=message):
        diffusion.sample(denoise, solver, **options)


def test_networks_and_arguments_of_a_wrong_kind_are_told(key):
    options = {**BASE, "times": 3}
    with pytest.raises(TypeError, match="denoise"):
        diffusion.sample("network", diffusion.DDIM(), **options)
    with pytest.raises(TypeError, match="the class UniPC"):
        diffusion.sample(denoise, diffusion.UniPC, **options)
    with pytest.raises(ValueError, match=r"returned the shape \(1,\) for a sample of shape \(2,\)"):
        diffusion.sample(lambda x, s, c: x[:1], diffusion.DDIM(), **options)
    with pytest.raises(FloatingPointError, match=r"evaluation 2 of 3, noise level .* for 2 of 2 samples"):
        diffusion.sample(lambda x, s, c: jnp.where(s < 10, jnp.nan, 0 * x), diffusion.DDIM(), **options)
    with pytest.raises(ValueError, match="which needs key"):
        initial = jnp.ones((2, 2))
        diffusion.sample(denoise, diffusion.DDIM(1.0), schedule=diffusion.EDM(), times=3, initial=initial)
    with pytest.raises(ValueError, match="Heun cannot start at the noise level inf"):
        network = diffusion.FlowPrediction(velocity, diffusion.FlowMatching())
        diffusion.sample(network, diffusion.Heun(), schedule=diffusion.FlowMatching(), times=5, shape=(2,), key=key)
    with pytest.raises(TypeError, match="FlowMatching"):
        diffusion.FlowPrediction(velocity, diffusion.EDM())


def test_a_table_is_computed_once_and_cannot_be_changed():
    """Of equal solvers, schedules and grids; a schedule that may change is planned anew."""
    first, second = (diffusion.plan(diffusion.UniPC(3), schedule=diffusion.EDM(), times=7) for _ in range(2))
    assert first is second and diffusion.plan(diffusion.UniPC(2), schedule=diffusion.EDM(), times=7) is not first
    with pytest.raises(ValueError, match="read-only"):
        first.advance[0, 0] = 1.0

    class Changing(diffusion.AbstractSchedule):
        start, end, factor = 2.0, 0.1, 1.0

        def log_snr(self, t):
            return -np.log(self.factor * t)

        def time(self, log_snr):
            return np.exp(-log_snr) / self.factor

        def alpha(self, t):
            return np.ones_like(t)

    schedule = Changing()
    before = diffusion.plan(diffusion.DDIM(), schedule=schedule, times=[2.0, 0.5])
    schedule.factor = 3.0
    assert diffusion.plan(diffusion.DDIM(), schedule=schedule, times=[2.0, 0.5]).start == 3 * before.start
