"""Other processes in the one frame, on data whose flow is known: reversion to a mean, heavy tails, flow maps, a spectrum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers import diffusion

MEAN, VARIANCE = np.array([1.0, -0.5]), np.array([4.0, 0.01])
CENTRE = np.array([3.0, -2.0])
N = 3000


def denoise(x, sigma, condition):
    """Of N((1, −½), diag(4, 0.01))."""
    return MEAN.astype(x.dtype) + VARIANCE / (VARIANCE + sigma**2) * (x - MEAN)


REVERTING = diffusion.MeanReverting(std=0.5)


@pytest.mark.parametrize("solver", [diffusion.UniPC(3), diffusion.DPMSolverPP(2, eta=1.0)], ids=["ode", "sde"])
def test_exact_data_come_back_from_a_mean(solver, key):
    """The denoiser is the ordinary one; the noisy end is N(μ, s∞²)."""
    x = diffusion.sample(denoise, solver, schedule=REVERTING, times=200, shape=(2,), n=N, centre=CENTRE, key=key)
    x = np.asarray(x, np.float64)
    # e⁻⁵ of x₀ − μ is left at the noisy end, 1.4 % of its deviation.
    slack = 0.03 * np.sqrt(VARIANCE) + 0.02 * abs(MEAN - CENTRE) * np.sqrt(VARIANCE)
    assert (abs(x.mean(0) - MEAN) < 5 * np.sqrt(VARIANCE / N) + slack).all(), x.mean(0)
    assert (abs(x.var(0) / VARIANCE - 1) < 5 * np.sqrt(2 / N) + 0.03).all(), x.var(0)


def test_steps_are_those_of_the_mean_reverting_samplers(x64):
    """One step of the published data-prediction samplers: x_t = (σ_t/σ_s) x_s + μ (1 − σ_t/σ_s + (σ_t/σ_s) α_s − α_t) + α_t (1 −
    e^(−h)) D, D = E[x₀], from x_s = μ + α_s (x₀ − μ) + σ_s ε."""
    s, t = 0.7, 0.4
    (a, b), (h,) = REVERTING.alpha(np.array([s, t])), np.diff(REVERTING.log_snr(np.array([s, t])))
    std = np.array([a, b]) * REVERTING.level(np.array([s, t]))
    x = np.array([[0.3, 0.9]])
    d = np.array([1.5, -0.2])
    ratio = std[1] / std[0]
    expected = ratio * x + CENTRE * (1 - ratio + ratio * a - b) + b * (1 - np.exp(-h)) * d
    for denoiser in (
        lambda x, sigma, condition: jnp.asarray(d),
        diffusion.DataPrediction(lambda x, t, condition: jnp.asarray(d), REVERTING),
    ):
        found = diffusion.sample(denoiser, diffusion.DDIM(), schedule=REVERTING, times=[s, t], initial=x, centre=CENTRE)
        np.testing.assert_allclose(found, expected, rtol=1e-12)

    def noise(x_t, t, condition):
        level = diffusion.Level.of(jnp.exp(-REVERTING.log_snr(t)), REVERTING)
        return (x_t - CENTRE - level.alpha * (d - CENTRE)) / level.std

    by_noise = diffusion.NoisePrediction(noise, REVERTING)
    found = diffusion.sample(by_noise, diffusion.DDIM(), schedule=REVERTING, times=[s, t], initial=x, centre=CENTRE)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


CLOUD = np.array([[2.0, 0.0], [-1.0, 1.5], [-1.0, -1.5], [-1.0, -1.4]])


def cloud_denoiser(extra):
    """E[x₀ | x] of a cloud of points under the kernel (|x − x₀|² + s² D)^(−(N+D)/2), or under Gaussian noise."""

    def denoise(x, sigma, condition):
        square = ((x - CLOUD) ** 2).sum(-1)
        heavy = 0 if extra is None else -(2 + extra) / 2 * jnp.log1p(square / (sigma**2 * extra))
        return jax.nn.softmax(-square / (2 * sigma**2) if extra is None else heavy) @ CLOUD.astype(x.dtype)

    return denoise


@pytest.mark.nightly
def test_heavy_tailed_noise_finds_every_point_as_often(key):
    """PFGM++ of a finite cloud: samples end on the points, each point as often."""
    x = diffusion.sample(
        cloud_denoiser(4), diffusion.UniPC(3), schedule=diffusion.EDM(sigma_max=200.0), times=60, shape=(2,), n=N, key=key,
        noise=diffusion.StudentNoise(4),
    )  # fmt: skip
    distance = np.linalg.norm(np.asarray(x)[:, None] - CLOUD, axis=-1)
    assert np.median(distance.min(1)) < 1e-3
    shares = np.bincount(distance[:, :3].argmin(1), minlength=3) / N  # the last two points are one here
    assert (abs(shares - [0.25, 0.25, 0.5]) < 5 * np.sqrt(0.25 / N) + 0.01).all(), shares
    with pytest.raises(ValueError, match="no solver that adds noise"):
        diffusion.sample(
            cloud_denoiser(4), diffusion.DDIM(1.0), schedule=diffusion.EDM(), times=5, shape=(2,), n=1, key=key,
            noise=diffusion.StudentNoise(4),
        )  # fmt: skip


@pytest.mark.nightly
def test_heavy_tails_vanish_with_many_dimensions(key):
    """D → ∞ is Gaussian noise: the noise itself, and the end of every path."""
    many = diffusion.StudentNoise(10_000_000)(key, (4,))
    normal = jax.random.normal(jax.random.split(key)[0], (4,))
    np.testing.assert_allclose(many, normal, rtol=2e-3)
    drawn = np.asarray(jax.vmap(lambda k: diffusion.StudentNoise(8)(k, (1,)))(jax.random.split(key, 20_000)))
    assert abs(drawn.var() / (8 / 6) - 1) < 0.1
    y = 20 * jax.random.normal(key, (16, 2))
    ends = [
        diffusion.sample(cloud_denoiser(extra), diffusion.UniPC(3), schedule=diffusion.EDM(), times=20, initial=4 * y)
        for extra in (None, 10**7)
    ]
    np.testing.assert_allclose(*ends, atol=2e-2)


def flow_map(x, t, s, condition):
    """The exact flow of N(m, diag(4, 0.01)) along straight paths, from t to s."""
    std = [jnp.sqrt((1 - a) ** 2 * VARIANCE.astype(np.float32) + a**2) for a in (t, s)]
    return (1 - s) * MEAN + std[1] / std[0] * (x - (1 - t) * MEAN)


def test_a_flow_map_is_exact_for_any_steps(key):
    """From infinite noise, one evaluation or several, at the clean end and before it; other solvers are refused."""
    network, noise = diffusion.FlowMap(flow_map, diffusion.FlowMatching()), jax.random.normal(key, (5, 2))
    exact = MEAN + np.sqrt(VARIANCE) * np.asarray(noise)
    for times in (1, 2, diffusion.UniformTime(5), diffusion.Shifted(3)):
        found = diffusion.sample(
            network, diffusion.DDIM(), schedule=diffusion.FlowMatching(), times=times, initial=noise
        )
        np.testing.assert_allclose(found, exact, rtol=2e-5, atol=2e-6)
    half = diffusion.sample(
        network, diffusion.DDIM(), schedule=diffusion.FlowMatching(), times=[1.0, 0.7, 0.5], initial=noise
    )
    np.testing.assert_allclose(half, flow_map(noise, 1.0, 0.5, None), rtol=2e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"use it with DDIM"):
        diffusion.sample(network, diffusion.UniPC(3), schedule=diffusion.FlowMatching(), times=3, initial=noise)


@pytest.mark.nightly
def test_samples_divide_over_devices(key):
    """Eight devices hold their samples alone and find the same ones; n must be a multiple."""
    mesh = jax.make_mesh((8,), ("data",))
    options = {"schedule": diffusion.EDM(), "times": 6, "shape": (2,), "key": key}
    for solver in (diffusion.UniPC(3), diffusion.DPMSolverPP(2, eta=1.0)):
        divided = diffusion.sample(denoise, solver, n=16, mesh=mesh, **options)
        assert len(divided.sharding.device_set) == 8 and divided.addressable_shards[0].data.shape == (2, 2)
        np.testing.assert_allclose(divided, diffusion.sample(denoise, solver, n=16, **options), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="no multiple of the 8 devices"):
        diffusion.sample(denoise, diffusion.DDIM(), n=12, mesh=mesh, **options)


@pytest.mark.nightly
def test_paths_of_a_gaussian_have_the_curvature_of_their_formula(x64):
    """x_t = m_t + d_t z with d_t = √((1 − t)² v + t²): E|ẋ − chord|² by quadrature; a single point has straight paths."""
    schedule = diffusion.FlowMatching(start=0.999, end=0.001)
    z, mean, variance = np.random.default_rng(0).standard_normal((400, 2)), jnp.asarray(MEAN), jnp.asarray(VARIANCE)

    def in_double(x, sigma, condition):
        return mean + variance / (variance + sigma**2) * (x - mean)

    start = (1 - 0.999) * MEAN + np.sqrt(0.001**2 * VARIANCE + 0.999**2) * z
    options = {"schedule": schedule, "times": diffusion.UniformTime(400, to_zero=False), "initial": start}
    found = diffusion.curvature(diffusion.sample(in_double, diffusion.DPMSolverPP(2), trajectory=True, **options))
    t = np.linspace(0.001, 0.999, 4001)[:, None]
    deviation = np.sqrt((1 - t) ** 2 * VARIANCE + t**2)
    slope = np.gradient(deviation, t[:, 0], axis=0)
    chord = (deviation[-1] - deviation[0]) / (t[-1] - t[0])
    expected = np.trapezoid((slope - chord) ** 2, t[:, 0], axis=0)
    exact = (z**2 * expected).mean(1)  # of the velocities without their means, which are straight
    np.testing.assert_allclose(found, exact, rtol=0.05, atol=2e-3)
    point = diffusion.sample(
        lambda x, sigma, condition: jnp.asarray(MEAN), diffusion.DDIM(), trajectory=True,
        **{**options, "times": diffusion.UniformTime(10, to_zero=False)},
    )  # fmt: skip
    assert float(diffusion.curvature(point).max()) < 1e-20


def spectrum(shape):
    """Variances of a periodic field by wavenumber, and its draw from white noise."""
    k = np.fft.fftfreq(shape[0], 1 / shape[0])[:, None] ** 2 + np.fft.rfftfreq(shape[1], 1 / shape[1]) ** 2
    return (k + 4.0) ** -2.0 / ((k + 4.0) ** -2.0).mean()


def filtered(field, factor):
    return jnp.fft.irfft2(factor * jnp.fft.rfft2(field), field.shape)


@pytest.mark.nightly
@pytest.mark.parametrize("coloured", [False, True], ids=["white", "sigma(k)"])
def test_gaussian_fields_come_back_mode_by_mode(coloured, key):
    """White noise, and noise with a spectrum of its own, σ(k) = s √n(k): the exact denoiser is diagonal, and every wavenumber
    ends with its variance."""
    shape, data = (16, 16), spectrum((16, 16))
    noise_spectrum = np.sqrt(data) if coloured else np.ones_like(data)

    def of_field(x, sigma, condition):
        return filtered(x, data / (data + sigma**2 * noise_spectrum))

    def draw(key, shape):
        return filtered(jax.random.normal(key, shape), np.sqrt(noise_spectrum))

    options = {"schedule": diffusion.EDM(), "times": 200, "shape": shape, "n": 512, "key": key, "noise": draw}
    for solver in (diffusion.UniPC(3), diffusion.DPMSolverPP(2, eta=1.0)):
        x = diffusion.sample(of_field, solver, **options)
        power = (np.abs(np.fft.rfft2(np.asarray(x, np.float64))) ** 2).mean(0) / (16 * 16)
        # 512 samples, so five standard errors of a real mode are 5 √(2/512) = 0.31; the mean over modes is far sharper.
        assert (abs(power / data - 1) < 0.4).all()
        assert abs((power / data).mean() - 1) < 0.02
    assert float(np.abs(np.asarray(x)).max()) < 10


def test_a_centre_that_does_not_fit_is_told(key):
    options = {"schedule": REVERTING, "times": 3, "shape": (2,), "n": 2, "key": key}
    with pytest.raises(ValueError, match=r"centre=…\) has the shape \(3,\)"):
        diffusion.sample(denoise, diffusion.DDIM(), centre=np.ones(3), **options)
    with pytest.raises(ValueError, match=r"MeanReverting reverts to a mean; give it as centre="):
        diffusion.sample(denoise, diffusion.DDIM(), **options)
    with pytest.raises(ValueError, match=r"centre=…\) has the shape \(5,\), samples have \(1,\)"):
        diffusion.sample(
            denoise, diffusion.DDIM(), schedule=REVERTING, times=3, initial=np.ones((3, 1)), centre=np.ones(5)
        )
    with pytest.raises(TypeError, match="a VelocityPrediction mixes"):
        network = diffusion.VelocityPrediction(lambda x, t, c: x, REVERTING)
        diffusion.sample(network, diffusion.DDIM(), centre=CENTRE, **options)
    with pytest.raises(ValueError, match="0 < end < start"):
        diffusion.MeanReverting(start=0.1, end=0.5)


def test_given_times():
    grid = diffusion.GivenTimes(3, at=(1.0, 0.5, 0.2))
    table = diffusion.plan(diffusion.DDIM(), schedule=diffusion.VPLinear(), times=grid)
    assert table.evaluations == 3 and table.end == 0
    np.testing.assert_allclose(table.levels, diffusion.VPLinear().level(np.array([1.0, 0.5, 0.2])))
    with pytest.raises(ValueError, match="3 times, but the solver makes 2"):
        diffusion.plan(
            diffusion.DDIM(), schedule=diffusion.VPLinear(), times=diffusion.GivenTimes(2, at=(1.0, 0.5, 0.2))
        )
    with pytest.raises(ValueError, match="expected times"):
        diffusion.GivenTimes(1)


def test_a_jump_over_the_noisy_end_knows_the_centre(key):
    """For Gaussian data the jump is exact: the same samples as without, after many steps."""
    options = {"schedule": REVERTING, "shape": (2,), "n": 8, "key": key, "centre": CENTRE}
    start, jump = REVERTING.time(-np.log(20.0)), diffusion.Gaussian(MEAN, VARIANCE)
    jumped = diffusion.sample(
        denoise, diffusion.UniPC(3), times=diffusion.LogSNR(60, start=start), teleport=jump, **options
    )
    plain = diffusion.sample(denoise, diffusion.UniPC(3), times=80, **options)
    np.testing.assert_allclose(jumped, plain, atol=5e-3)
    for refused, message in (
        ({"noise": diffusion.StudentNoise(5), "teleport": jump}, "not of StudentNoise"),
        ({"noise": diffusion.StudentNoise(5), "initial": np.ones((2, 2))}, "no noise is drawn"),
    ):
        with pytest.raises(ValueError, match=message):
            given = {"initial"} & refused.keys() and {"shape": None, "n": None}
            diffusion.sample(
                denoise,
                diffusion.DDIM(),
                times=diffusion.LogSNR(3, start=start),
                **{**options, **(given or {}), **refused},
            )


@pytest.mark.parametrize("kind", ["noise", "data", "velocity", "score", "spectrum", "map"])
def test_networks_of_one_schedule_are_sampled_on_another(kind, key):
    """The network is asked at the times of its own schedule, whichever draws the samples; beyond its levels it is not."""
    own, other = diffusion.VPLinear(), diffusion.FlowMatching(start=0.99, end=0.02)

    def network(x, t, condition):
        level = diffusion.Level.of(jnp.exp(-own.log_snr(t)), own)
        return made.predicted(x, denoise(x / level.alpha, level.sigma, None), level)

    def jump(x, t, s, condition):
        a, b = (diffusion.Level.of(jnp.exp(-own.log_snr(at)), own) for at in (t, s))
        moved = jnp.sqrt((VARIANCE + b.sigma**2) / (VARIANCE + a.sigma**2)) * (x / a.alpha - MEAN)
        return b.alpha * (MEAN + moved)

    kinds = {
        "noise": diffusion.NoisePrediction, "data": diffusion.DataPrediction, "velocity": diffusion.VelocityPrediction,
        "score": diffusion.ScorePrediction, "spectrum": diffusion.NoisePrediction,
    }  # fmt: skip
    options = {"schedule": other, "times": diffusion.LogSNR(30, to_zero=False), "shape": (2,), "n": 8, "key": key}
    if kind == "map":
        found = diffusion.sample(diffusion.FlowMap(jump, own), diffusion.DDIM(), **options)
        expected = diffusion.sample(
            denoise, diffusion.UniPC(3), **{**options, "times": diffusion.LogSNR(80, to_zero=False)}
        )
        np.testing.assert_allclose(found, expected, atol=1e-2)
    else:
        made = kinds[kind](network, own)
        denoiser, plain = made, diffusion.as_denoiser(denoise)
        if kind == "spectrum":
            denoiser, plain = diffusion.InSpectrum(made, (0,)), diffusion.InSpectrum(plain, (0,))
        found, expected = (diffusion.sample(d, diffusion.UniPC(3), **options) for d in (denoiser, plain))
        np.testing.assert_allclose(found, expected, atol=2e-3)
    if kind == "noise":
        times = diffusion.UniformTime(30, start=0.999)
        with pytest.raises(ValueError, match=r"asked at the noise level 999, it has 0\.01049 to 152\.2"):
            diffusion.sample(
                made, diffusion.DDIM(), **{**options, "schedule": diffusion.FlowMatching(start=0.999), "times": times}
            )
