"""Guidance beside exact posteriors of Gaussian priors, dense algebra, and what cannot be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm
from scipy.stats import truncnorm

from surrogax.solvers import diffusion as sd
from surrogax.solvers.linear import CG

N, M, STD = 12, 5, 0.2
RNG = np.random.default_rng(0)
FACTOR = RNG.normal(size=(N, N)) / np.sqrt(N)
C = FACTOR @ FACTOR.T + 0.05 * np.eye(N)
PRIOR_MEAN = RNG.normal(size=N)
H = RNG.normal(size=(M, N))
Y = H @ PRIOR_MEAN + RNG.normal(size=M)
TIGHT = CG(rtol=1e-12, max_steps=400)
EDM = sd.EDM()


def gaussian(x, sigma, condition=None, k=None):
    """The denoiser of N(m, C) under the noise of covariance K."""
    noise = sigma**2 * jnp.eye(N, dtype=x.dtype) if k is None else sigma**2 * jnp.asarray(k, x.dtype)
    c = jnp.asarray(C, x.dtype)
    return PRIOR_MEAN.astype(x.dtype) + c @ jnp.linalg.solve(c + noise, x - PRIOR_MEAN.astype(x.dtype))


def linear(x):
    return jnp.asarray(H, x.dtype) @ x


def compiled(guided):
    """x, s ↦ D_y, compiled once for all x and s."""
    run = jax.jit(lambda x, s: guided(x, s))
    return lambda x, s: run(jnp.asarray(x), jnp.asarray(s, float))


def posterior(prior_mean, prior, r, h=H, y=Y):
    """Mean and covariance of x ~ N(prior_mean, prior) given y = h x + e, e ~ N(0, r)."""
    gain = prior @ h.T @ np.linalg.inv(h @ prior @ h.T + r)
    return prior_mean + gain @ (y - h @ prior_mean), prior - gain @ h @ prior


def given_x(x, s, k):
    """Mean and covariance of x₀ given x = x₀ + s K^½ ε."""
    gain = C @ np.linalg.inv(C + s**2 * k)
    return PRIOR_MEAN + gain @ (x - PRIOR_MEAN), C - gain @ C


class Coloured(sd.AbstractColouredNoise):
    factor: jax.Array

    def __call__(self, key, shape):
        return self.factor @ jax.random.normal(key, shape)

    def covariance(self, x):
        return self.factor @ (self.factor.T @ x)


R = 0.04 * (np.eye(M) + 0.5 * np.ones((M, M)))
SEEN = np.array([True, True, False, True, True])
ERRORS = {
    "one std": ({"std": STD}, STD**2 * np.eye(M), np.ones(M, bool)),
    "a std each": ({"std": np.linspace(0.1, 0.5, M)}, np.diag(np.linspace(0.1, 0.5, M) ** 2), np.ones(M, bool)),
    "correlated": ({"covariance": R}, R, np.ones(M, bool)),
    "missing": ({"std": STD, "mask": SEEN}, STD**2 * np.eye(M), SEEN),
    "correlated and missing": ({"covariance": R, "mask": SEEN}, R, SEEN),
}


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("coloured", [False, True])
@pytest.mark.quick("True-correlated and missing")
def test_moment_matching_is_exact_for_gaussian_priors(errors, coloured, x64):
    options, r, seen = ERRORS[errors]
    values = np.where(seen, Y, np.nan)
    factor = np.linalg.cholesky(C + 0.3 * np.eye(N)) if coloured else np.eye(N)
    k = factor @ factor.T
    noise = Coloured(jnp.asarray(factor)) if coloured else None
    guidance = sd.MomentMatched(TIGHT)
    observation = sd.Observation(linear, values, **options)
    guided = compiled(guidance(lambda x, s, c: gaussian(x, s, c, k), observation, noise=noise))
    for s in (5.0, 0.3, 0.01):
        x = PRIOR_MEAN + RNG.normal(size=N) * (1 + s)
        mean, covariance = given_x(x, s, k)
        exact, _ = posterior(mean, covariance, r[np.ix_(seen, seen)], H[seen], Y[seen])
        np.testing.assert_allclose(guided(x, s), exact, rtol=1e-7, atol=1e-9)


@pytest.mark.nightly
def test_observations_in_one_in_a_joint_or_one_after_the_other_are_the_same(x64):
    parts = [sd.Observation(lambda x, i=i: H[i] @ x, Y[i], std=0.1 + 0.1 * i) for i in range(M)]
    whole = sd.Observation(linear, Y, std=0.1 + 0.1 * np.arange(M))
    guidance, x = sd.MomentMatched(TIGHT), jnp.asarray(PRIOR_MEAN + RNG.normal(size=N))
    expected = compiled(guidance(gaussian, whole))(x, 0.7)
    joint = compiled(guidance(gaussian, sd.JointObservation(*parts)))
    np.testing.assert_allclose(joint(x, 0.7), expected, rtol=1e-8)
    chained = gaussian
    for part in (sd.JointObservation(*parts[:2]), sd.JointObservation(*parts[2:])):
        chained = guidance(chained, part)
    np.testing.assert_allclose(compiled(chained)(x, 0.7), expected, rtol=1e-7)
    np.testing.assert_allclose(whole.typical_std, sd.JointObservation(*parts).typical_std, rtol=1e-12)


@pytest.mark.nightly
def test_a_network_that_predicts_noise_is_guided_in_its_schedule(x64):
    schedule = sd.VPLinear()
    network = sd.NoisePrediction(
        lambda x, t, c: (x - schedule.alpha(t) * gaussian(x / schedule.alpha(t), schedule.level(t))) / (
            schedule.alpha(t) * schedule.level(t)
        ), schedule,
    )  # fmt: skip
    observation = sd.Observation(linear, Y, std=STD)
    grid = sd.LogSNR(60)
    found = [
        sd.sample(
            sd.MomentMatched(TIGHT)(denoiser, observation), sd.UniPC(3), schedule=schedule, times=grid, shape=(N,), n=2,
            key=jax.random.key(0),
        )
        for denoiser in (network, gaussian)
    ]  # fmt: skip
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6, atol=1e-6)


@pytest.mark.nightly
def test_samples_have_the_mean_and_covariance_of_the_posterior(key):
    n = 4000
    guided = sd.MomentMatched()(gaussian, sd.Observation(linear, Y, std=STD))
    x = np.asarray(
        sd.sample(guided, sd.UniPC(3), schedule=EDM, times=sd.LogSNR(30), shape=(N,), n=n, key=key), np.float64
    )
    mean, covariance = posterior(PRIOR_MEAN, C, STD**2 * np.eye(M))
    root = np.linalg.inv(np.linalg.cholesky(covariance))
    z = (x - mean) @ root.T
    # White but for Monte Carlo (five standard errors) and the error of 30 steps.
    assert (abs(z.mean(0)) < 5 / np.sqrt(n) + 0.02).all(), z.mean(0)
    assert abs(np.linalg.eigvalsh(z.T @ z / n) - 1).max() < 0.2


FORMULAS = {
    "PiGDM": (sd.PiGDM(1.5, TIGHT), lambda x, s, d, j: d + s**2 * j.T @ _solved(s**2 * 2.25 / (s**2 + 2.25), H @ d)),
    "DMPS": (sd.DMPS(TIGHT), lambda x, s, d, j: d + s**2 * _solved(s**2, H @ x)),
    "DiffPIR": (sd.DiffPIR(4.0, TIGHT), lambda x, s, d, j: d + s**2 / 4 * _solved(s**2 / 4, H @ d)),
    "DPS": (
        sd.DPS(2.0),
        lambda x, s, d, j: d + 2 * s / np.sqrt(s**2 + 1) * j.T @ H.T @ (Y - H @ d) / np.linalg.norm(Y - H @ d),
    ),
    "DPS squared": (
        sd.DPS(2.0, squared=True), lambda x, s, d, j: d + 2 * s / np.sqrt(s**2 + 1) * j.T @ H.T @ (Y - H @ d)
    ),
}  # fmt: skip


def _solved(variance, predicted):
    """Hᵀ (v H Hᵀ + R)⁻¹ (y − predicted)."""
    return H.T @ np.linalg.solve(variance * H @ H.T + STD**2 * np.eye(M), Y - predicted)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.quick("PiGDM")
def test_guidances_are_their_formulas(name, x64):
    guidance, formula = FORMULAS[name]
    guided = compiled(guidance(gaussian, sd.Observation(linear, Y, std=STD)))
    for s in (3.0, 0.2):
        x = PRIOR_MEAN + RNG.normal(size=N)
        mean, _ = given_x(x, s, np.eye(N))
        jacobian = C @ np.linalg.inv(C + s**2 * np.eye(N))
        np.testing.assert_allclose(guided(x, s), formula(x, s, mean, jacobian), rtol=1e-8)


def white(x, sigma, condition=None):
    """The denoiser of N(0, 1)."""
    return x / (1 + sigma**2)


@pytest.mark.nightly
@pytest.mark.parametrize("guidance", [sd.PiGDM(method=TIGHT), sd.DAPS(method=TIGHT), sd.MCG(1e-9, method=TIGHT)])
def test_isotropic_guidances_are_exact_where_data_are_white(guidance, x64):
    observation = sd.Observation(linear, Y, std=STD)
    s, x = 0.5, RNG.normal(size=N)
    mean, covariance = posterior(x / (1 + s**2), s**2 / (1 + s**2) * np.eye(N), STD**2 * np.eye(M))
    guided = guidance(white, observation)
    if isinstance(guidance, sd.MCG):  # its point is projected, whatever the noise level
        expected, _ = posterior(x / (1 + s**2), np.eye(N), STD**2 * np.eye(M))
        np.testing.assert_allclose(guided(jnp.asarray(x), s), expected, rtol=1e-6)
    elif isinstance(guidance, sd.PiGDM):
        np.testing.assert_allclose(guided(jnp.asarray(x), s), mean, rtol=1e-9)
    else:  # draws
        level = sd.Level.of(np.float64(s), EDM)
        v = jnp.asarray(x) * level.scale

        def draw(key):
            return guided.at(v, level._replace(key=key), None)

        z = np.asarray(jax.vmap(draw)(jax.random.split(jax.random.key(0), 4000)))
        white_ = np.linalg.solve(np.linalg.cholesky(covariance), (z - mean).T)
        assert abs(white_.mean(1)).max() < 5 / np.sqrt(4000)
        assert abs(white_ @ white_.T / 4000 - np.eye(N)).max() < 5 * np.sqrt(2 / 4000)


@pytest.mark.nightly
def test_decoupled_annealing_samples_the_posterior_of_white_data(key):
    n = 3000
    guided = sd.DAPS()(white, sd.Observation(linear, Y, std=STD))
    x = np.asarray(sd.sample(guided, sd.Renoised(), schedule=EDM, times=12, shape=(N,), n=n, key=key), np.float64)
    mean, covariance = posterior(np.zeros(N), np.eye(N), STD**2 * np.eye(M))
    z = np.linalg.solve(np.linalg.cholesky(covariance), (x - mean).T)
    assert abs(z.mean(1)).max() < 5 / np.sqrt(n) + 0.01
    assert abs(z.var(1) - 1).max() < 5 * np.sqrt(2 / n) + 0.01


def quadratic(x):
    return linear(x) + 0.1 * linear(x) ** 2


@pytest.mark.nightly
def test_nonlinear_operators_are_linearised_at_the_denoised_sample(x64):
    s, x = 0.5, PRIOR_MEAN + RNG.normal(size=N)
    mean, covariance = given_x(x, s, np.eye(N))
    h = (1 + 0.2 * (H @ mean))[:, None] * H
    y = Y - (H @ mean + 0.1 * (H @ mean) ** 2) + h @ mean
    expected, _ = posterior(mean, covariance, STD**2 * np.eye(M), h, y)
    guided = sd.MomentMatched(TIGHT)(gaussian, sd.Observation(quadratic, Y, std=STD))
    np.testing.assert_allclose(guided(jnp.asarray(x), s), expected, rtol=1e-8)


@pytest.mark.nightly
def test_forward_models_without_derivatives(x64):
    """A sketch of full rank, and differences along all directions, are moment matching; fewer directions are its projection."""

    def black_box(x):
        return jax.pure_callback(
            lambda x: np.asarray(x) @ H.T, jax.ShapeDtypeStruct((M,), x.dtype), x, vmap_method="expand_dims"
        )

    x, s, observation = jnp.asarray(PRIOR_MEAN + RNG.normal(size=N)), 0.5, sd.Observation(black_box, Y, std=STD)
    expected = sd.MomentMatched(TIGHT)(gaussian, sd.Observation(linear, Y, std=STD))(x, s)
    sketched = sd.SketchedMoments(N, key=jax.random.key(0))(gaussian, observation)(x, s)
    np.testing.assert_allclose(sketched, expected, rtol=1e-2, atol=1e-2)  # CG with rtol 1e-3
    differences = sd.Observation(sd.WithoutDerivatives(black_box, np.eye(N)), Y, std=STD)
    np.testing.assert_allclose(sd.MomentMatched(TIGHT)(gaussian, differences)(x, s), expected, rtol=1e-6)
    few = sd.WithoutDerivatives(quadratic, RNG.normal(size=(3, N)), step=1e-4)
    q = np.asarray(few.directions)
    np.testing.assert_allclose(q @ q.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(jax.jacfwd(few)(x), np.asarray(jax.jacfwd(quadratic)(x)) @ q.T @ q, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(jax.jacrev(few)(x), jax.jacfwd(few)(x), rtol=1e-10)
    random = jnp.mean(jnp.stack([jax.jacfwd(sd.WithoutDerivatives(linear, 4000))(x + i) for i in range(2)]), 0)
    assert np.linalg.norm(random - H) < 5 * np.linalg.norm(H) * np.sqrt(N / 8000)


@pytest.mark.nightly
def test_an_ensemble_comes_closer_to_the_observations(key):
    observation = sd.Observation(linear, Y, std=STD)

    def misfit(denoiser):
        x = sd.sample(denoiser, sd.DDIM(), schedule=EDM, times=30, shape=(N,), n=200, key=key)
        return float(jnp.median(jax.vmap(observation.misfit)(x)))

    assert misfit(sd.EnKG(1.0)(gaussian, observation)) < 0.5 * misfit(gaussian)
    with pytest.raises(ValueError, match="one call of `sample`"):
        sd.EnKG()(gaussian, observation)(jnp.zeros(N), 1.0)


@pytest.mark.nightly
def test_an_event_of_a_gaussian_is_exact(x64):
    """C linear: E[x₀ | x, aᵀx₀ > c] is that of a truncated normal distribution."""
    a, c, s = H[0], float(H[0] @ PRIOR_MEAN + 3), 0.4
    x = PRIOR_MEAN + RNG.normal(size=N)
    mean, covariance = given_x(x, s, np.eye(N))
    centre, width = a @ mean, np.sqrt(a @ covariance @ a)
    above = truncnorm.mean((c - centre) / width, np.inf, loc=centre, scale=width)
    exact = mean + covariance @ a / width**2 * (above - centre)
    guided = sd.MomentMatched()(gaussian, sd.Event(lambda x: a @ x - c))
    # The variance has a floor of a thousandth of its bound.
    np.testing.assert_allclose(guided(jnp.asarray(x), s), exact, rtol=1e-2, atol=1e-2)


@pytest.mark.nightly
def test_the_probability_of_a_rare_event(key):
    a = H[0]
    c = float(a @ PRIOR_MEAN + 3 * np.sqrt(a @ C @ a))
    found = sd.event_probability(
        gaussian, sd.Event(lambda x: jnp.asarray(a, x.dtype) @ x - c), schedule=sd.EDM(0.01, 20.0), shape=(N,), n=200,
        times=30, steps=15, key=key,
    )  # fmt: skip
    exact = float(norm.logcdf(-3.0))
    assert found.effective_samples > 50 and found.inside.mean() > 0.5
    assert abs(found.log_probability - exact) < 0.3, (found.log_probability, exact)
    assert found.lower_bound < exact + 0.3


@pytest.mark.nightly
def test_an_event_that_cannot_happen_has_probability_zero(key):
    found = sd.event_probability(
        white,
        sd.Event(lambda x: -1.0 - x[0] ** 2),
        schedule=sd.EDM(0.01, 20.0),
        shape=(2,),
        n=8,
        times=10,
        steps=5,
        key=key,
    )
    assert not found.inside.any() and found.log_probability == -jnp.inf and found.effective_samples == 0


@pytest.mark.nightly
def test_training_free_guidance_is_bayes_rule_without_draws(x64):
    """Of a Gaussian log-likelihood the gradient is Jᵀ Hᵀ R⁻¹ (y − H D); with draws, right on average where D is right."""
    likelihood = sd.LogLikelihood(lambda x: -0.5 * jnp.sum((Y - linear(x)) ** 2) / STD**2)
    s, x = 0.3, PRIOR_MEAN + RNG.normal(size=N)
    mean, _ = given_x(x, s, np.eye(N))
    jacobian = C @ np.linalg.inv(C + s**2 * np.eye(N))
    gradient = s**2 * jacobian.T @ H.T @ (Y - H @ mean) / STD**2
    found = sd.TrainingFree(draws=0)(gaussian, likelihood)(jnp.asarray(x), s)
    np.testing.assert_allclose(found, mean + gradient, rtol=1e-8)
    inner = sd.TrainingFree(0.0, 0.5, draws=0)(gaussian, likelihood)(jnp.asarray(x), s)
    step = 0.5 * s**2 / (1 + s**2) * H.T @ (Y - H @ mean) / STD**2
    np.testing.assert_allclose(inner, mean + step, rtol=1e-8)
    with pytest.raises(ValueError, match="key"):
        sd.TrainingFree()(gaussian, likelihood)(jnp.asarray(x), s)


@pytest.mark.nightly
def test_guided_samples_under_jit_vmap_and_grad(x64):
    start = 80 * jnp.asarray(RNG.normal(size=(2, N)))

    @jax.jit
    def mean(y):
        guided = sd.MomentMatched(TIGHT)(gaussian, sd.Observation(linear, y, std=STD))
        return sd.sample(guided, sd.UniPC(2), schedule=EDM, times=sd.LogSNR(8), initial=start).mean()

    y, step = jnp.asarray(Y), 1e-4
    slope = jax.grad(mean)(y)
    differences = [(mean(y + step * e) - mean(y - step * e)) / (2 * step) for e in jnp.eye(M)]
    np.testing.assert_allclose(slope, differences, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(jax.vmap(mean)(jnp.stack([y, 2 * y]))[1], mean(2 * y), rtol=1e-8)


@pytest.mark.nightly
def test_singular_and_repeated_observations_are_no_trouble(x64):
    """Rows that are zero or repeated: the same as the rows that count, with the errors of both."""
    h = np.concatenate([H[:2], H[:2], np.zeros((1, N))])
    y = np.concatenate([Y[:2], Y[:2], [3.0]])
    x = jnp.asarray(PRIOR_MEAN + RNG.normal(size=N))
    twice = sd.MomentMatched(TIGHT)(gaussian, sd.Observation(lambda x: h @ x, y, std=STD))
    once = sd.MomentMatched(TIGHT)(gaussian, sd.Observation(lambda x: H[:2] @ x, Y[:2], std=STD / np.sqrt(2)))
    np.testing.assert_allclose(twice(x, 0.5), once(x, 0.5), rtol=1e-8)


def test_wrong_observations_say_what_is_wrong():
    nan = np.array([1.0, np.nan])
    for options, words in [
        (({}, [1.0, 2.0]), "std=…"),
        (({"std": 1.0, "covariance": np.eye(2)}, [1.0, 2.0]), "one of them"),
        (({"std": 0.0}, [1.0, 2.0]), "constraint"),
        (({"std": -1.0}, [1.0, 2.0]), "above 0"),
        (({"std": np.ones(3)}, [1.0, 2.0]), "broadcast"),
        (({"std": 1.0}, nan), "mask"),
        (({"std": 1.0, "mask": [False, False]}, nan), "nothing was observed"),
        (({"std": 1.0, "mask": [True]}, nan), "booleans of the shape"),
        (({"covariance": np.eye(3)}, [1.0, 2.0]), r"\(2, 2\)"),
        (({"covariance": [[1.0, 0.5], [0.0, 1.0]]}, [1.0, 2.0]), "symmetric"),
        (({"covariance": -np.eye(2)}, [1.0, 2.0]), "positive definite"),
        (({"std": 1.0}, np.zeros(0)), "one number or more"),
    ]:
        with pytest.raises(ValueError, match=words):
            sd.Observation(lambda x: x[:2], options[1], **options[0])
    with pytest.raises(TypeError, match="Observation"):
        sd.MomentMatched()(gaussian, sd.LogLikelihood(jnp.sum))
    with pytest.raises(TypeError, match="LogLikelihood"):
        sd.TrainingFree()(gaussian, sd.Observation(linear, Y, std=STD))

    with pytest.raises(ValueError, match="no guidance"):
        sd.TrainingFree(0.0)
    with pytest.raises(ValueError, match="directions"):
        sd.WithoutDerivatives(linear, np.zeros((N + 1, N)))


@pytest.mark.nightly
def test_what_goes_wrong_on_the_way_names_who_it_was(key):
    def run(operator, values, guidance=None, solver=None, **others):
        guided = (guidance or sd.MomentMatched())(gaussian, sd.Observation(operator, values, std=STD))
        options = {"schedule": EDM, "times": 4, "shape": (N,), "key": key} | others
        return sd.sample(guided, solver or sd.DDIM(), **options)

    with pytest.raises(ValueError, match="the operator returns the shape"):
        run(linear, Y[:2])
    with pytest.raises(FloatingPointError, match="the forward model of the Observation"):
        run(lambda x: jnp.log(-(x[:2] ** 2) - 1), Y[:2])
    with pytest.raises(FloatingPointError, match="the forward model of the Observation"):
        run(lambda x: jnp.log(-(x[:2] ** 2) - 1), Y[:2], guidance=sd.SketchedMoments(4, key=key))
    with pytest.raises(FloatingPointError, match="the denoiser returned"):
        guided = sd.MomentMatched()(lambda x, s, c: x * jnp.nan, sd.Observation(linear, Y, std=STD))
        sd.sample(guided, sd.DDIM(), schedule=EDM, times=4, shape=(N,), key=key)
    with pytest.raises(ValueError, match="infinite noise"):
        run(linear, Y, schedule=sd.FlowMatching())
    with pytest.raises(ValueError, match="key"):
        run(linear, Y, guidance=sd.DAPS(), shape=None, key=None, initial=jnp.zeros((2, N)))
    with pytest.raises(ValueError, match="two members"):
        run(linear, Y, guidance=sd.EnKG())


def test_the_covariance_of_the_data_guides_as_the_exact_jacobian(x64):
    """Under coloured noise, at a high and a low level."""
    colour = Coloured(jnp.asarray(np.linalg.cholesky(np.eye(N) + 0.5)))
    spokes = np.sqrt(N) * np.linalg.cholesky(C).T
    samples = PRIOR_MEAN + np.concatenate([spokes, -spokes])  # their covariance is C
    guidance = sd.PriorCovariance(samples, noise=colour, method=TIGHT)
    observed = sd.Observation(linear, Y, std=STD)
    k = np.eye(N) + 0.5

    def denoise(x, sigma, condition=None):
        return gaussian(x, sigma, k=k)

    guided = compiled(guidance(denoise, observed, noise=colour))
    # As much information in more observations than those whose covariance with every mode is computed.
    copies = 512 // M + 1
    repeated = sd.Observation(lambda x: jnp.tile(linear(x), copies), np.tile(Y, copies), std=STD * np.sqrt(copies))
    also_guided = compiled(guidance(denoise, repeated, noise=colour))
    for s in (0.1, 10.0):
        x = PRIOR_MEAN + s * np.random.default_rng(1).normal(size=N)
        expected = posterior(*given_x(x, s, k), STD**2 * np.eye(M))[0]
        for each in (guided, also_guided):
            np.testing.assert_allclose(each(x, s), expected, rtol=1e-6, atol=1e-8)
    with pytest.raises(ValueError, match="samples of shape"):
        sd.PriorCovariance(samples[:, :-1])(denoise, observed)(jnp.zeros(N), jnp.asarray(1.0))
    with pytest.warns(UserWarning, match="3 samples have as many independent directions"):
        sd.PriorCovariance(samples[:3])
    for wrong, words in (
        (np.zeros((4, 3)), "all samples"),
        (np.zeros(4), "expected two"),
        (np.full((4, 3), np.nan), "finite"),
    ):
        with pytest.raises(ValueError, match=words):
            sd.PriorCovariance(wrong)
