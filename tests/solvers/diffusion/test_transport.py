"""Interpolants and light bridges between Gaussians, whose velocities, scores, plans and drifts are known; the training bound."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers import diffusion

MEANS = np.array([[-1.0, 0.5], [2.0, -0.5]])
VARIANCES = np.array([[0.25, 1.0], [4.0, 0.09]])
N = 3000


def exact(interpolant):
    """Velocity and score of an interpolant between the two Gaussians, independent ends: x_t has the variance v = a² S₀ + b² S₁ +
    g² and the velocity ṁ + ½ (v̇/v) (x − m)."""

    def law(t):
        a, b, g = interpolant.coefficients(t)
        return a * MEANS[0] + b * MEANS[1], a**2 * VARIANCES[0] + b**2 * VARIANCES[1] + g**2

    def velocity(x, t, condition):
        (mean, variance), (slope, growth) = jax.jvp(law, (t,), (jnp.ones_like(t),))
        return slope + growth / (2 * variance) * (x - mean)

    def score(x, t, condition):
        mean, variance = law(t)
        return -(x - mean) / variance

    return velocity, score


def starts(seed=0):
    return MEANS[0] + np.sqrt(VARIANCES[0]) * np.random.default_rng(seed).standard_normal((N, 2))


def check_end(x, slack=0.0):
    x = np.asarray(x, np.float64)
    assert (abs(x.mean(0) - MEANS[1]) < 5 * np.sqrt(VARIANCES[1] / N) + slack).all(), x.mean(0)
    assert (abs(x.var(0) / VARIANCES[1] - 1) < 5 * np.sqrt(2 / N) + 5 * slack).all(), x.var(0)


@pytest.mark.parametrize(
    "kind",
    [
        diffusion.Linear(),
        pytest.param(diffusion.Linear(noise=0.0), marks=pytest.mark.nightly),
        pytest.param(diffusion.Trigonometric(), marks=pytest.mark.nightly),
    ],
)
def test_the_ode_carries_one_gaussian_into_the_other(kind, x64):
    velocity, _ = exact(kind)
    options = {"start": 1e-4, "end": 1 - 1e-4} if kind.noise else {}
    moved = diffusion.transport(velocity, starts(), steps=200, **options)
    check_end(moved, slack=0.01)
    ends = {"start": options.get("end", 1.0), "end": options.get("start", 0.0)}
    back = diffusion.transport(velocity, moved, steps=200, **ends)
    np.testing.assert_allclose(back, starts(), atol=5e-2)


@pytest.mark.nightly
def test_the_sde_has_the_same_marginals(key, x64):
    velocity, score = exact(diffusion.Linear())
    options = {"score": score, "diffusion": 0.05, "key": key, "steps": 400}
    # The steps must be short beside the time in which the last variance shrinks to 0.09.
    check_end(diffusion.transport(velocity, starts(), start=1e-4, end=1 - 1e-4, **options), slack=0.03)
    few, many = (diffusion.transport(velocity, starts()[:n], start=0.01, end=0.9, **options) for n in (3, 5))
    np.testing.assert_allclose(few, many[:3], rtol=1e-5, atol=1e-6)


def test_the_ode_has_order_two(x64):
    velocity, _ = exact(diffusion.Trigonometric())
    reference = diffusion.transport(velocity, starts()[:50], steps=2000)
    coarse, fine = (np.median(abs(diffusion.transport(velocity, starts()[:50], steps=n) - reference)) for n in (40, 80))
    assert 1.8 < np.log2(coarse / fine) < 2.25


def test_one_euler_step_of_a_straight_path_and_derivatives(key):
    """A network that has learnt straight paths needs one evaluation; parameters are trained through the ODE."""
    x = jnp.asarray(starts()[:4], jnp.float32)
    np.testing.assert_allclose(diffusion.transport(lambda x, t, c: c, x, steps=1, condition=2.0), x + 2, rtol=1e-6)

    def end(gain):
        return diffusion.transport(lambda x, t, c: gain * x * t, x, steps=10).sum()

    slope = jax.jit(jax.grad(end))(0.3)
    np.testing.assert_allclose(slope, (end(0.31) - end(0.29)) / 0.02, rtol=1e-2)


def test_the_loss_of_a_velocity_is_least_at_the_exact_one(key, x64):
    """|v|² − 2 v·ẋ: with v = b + d the mean exceeds its least value by |d|²."""
    interpolant, rng = diffusion.Linear(), np.random.default_rng(0)
    velocity, _ = exact(interpolant)
    n = 40_000
    x0, x1 = (m + np.sqrt(v) * rng.standard_normal((n, 2)) for m, v in zip(MEANS, VARIANCES, strict=True))
    t = rng.uniform(0.05, 0.95, n)
    x, target = jax.vmap(interpolant.between)(x0, x1, rng.standard_normal((n, 2)), t)
    v = np.asarray(jax.vmap(lambda x, t: velocity(x, t, None))(x, t))
    d = np.array([0.3, -0.2])
    excess = ((v + d) ** 2 - 2 * (v + d) * target - v**2 + 2 * v * target).sum(1)
    assert abs(excess.mean() - (d**2).sum()) < 5 * excess.std() / np.sqrt(n)


def bridge_between(epsilon):
    """The bridge between the two Gaussians: one component, S with S₁ = S² S₀ + ε S, r = m₁ − S m₀."""
    scale = (-epsilon + np.sqrt(epsilon**2 + 4 * VARIANCES[0] * VARIANCES[1])) / (2 * VARIANCES[0])
    made = diffusion.LightBridge(2, 1, epsilon, key=jax.random.key(0))
    found = (jnp.zeros(1), jnp.asarray((MEANS[1] - scale * MEANS[0])[None]), jnp.asarray(np.log(scale)[None]))
    return eqx.tree_at(lambda b: (b.log_weights, b.centres, b.log_scales), made, found)


@pytest.mark.nightly
@pytest.mark.parametrize("epsilon", [0.1, 2.0])
def test_the_bridge_between_gaussians_is_the_closed_one(epsilon, key, x64):
    """Its plan and its SDE end at the second Gaussian, with the covariance of the closed form, and its loss is least there."""
    bridge, x0 = bridge_between(epsilon), starts()
    plan = np.asarray(bridge.sample(x0, key))
    check_end(plan)
    covariance = ((plan - plan.mean(0)) * (x0 - x0.mean(0))).mean(0)
    scale = np.exp(np.asarray(bridge.log_scales[0]))
    np.testing.assert_allclose(
        covariance, scale * VARIANCES[0], atol=6 * np.sqrt((VARIANCES[0] * VARIANCES[1]).max() / N)
    )
    score = lambda x, t, condition: jnp.zeros_like(x)  # noqa: E731
    # The SDE of the smaller entropy: the other one needs shorter steps.
    if epsilon == 0.1:
        ends = diffusion.transport(bridge.drift, x0, steps=1000, score=score, diffusion=epsilon / 2, key=key, end=0.999)
        check_end(ends, slack=0.03)
    # Exact gradient of the loss, with moments in place of samples: quadrature by Gauss-Hermite per entry.
    nodes, weights = np.polynomial.hermite_e.hermegauss(30)
    grid = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    measure = np.outer(weights, weights).ravel() / (2 * np.pi)
    sides = [jnp.asarray(m + np.sqrt(v) * grid) for m, v in zip(MEANS, VARIANCES, strict=True)]

    def loss(bridge):
        norm = jax.vmap(lambda x: jax.nn.logsumexp(bridge.log_shares(x)))(sides[0]) @ measure
        return norm - jax.vmap(bridge.log_potential)(sides[1]) @ measure

    gradient = eqx.filter_grad(loss)(bridge)
    for leaf in (gradient.centres, gradient.log_scales):
        np.testing.assert_allclose(leaf, 0, atol=1e-8)


@pytest.mark.nightly
def test_the_drift_of_several_components_is_the_gradient_of_its_integral(key, x64):
    """By quadrature over x₁ in one dimension."""
    bridge = diffusion.LightBridge(1, 3, 0.7, key=key)
    bridge = eqx.tree_at(lambda b: b.log_scales, bridge, jnp.log(jnp.array([[0.5], [1.0], [0.2]])))
    nodes = jnp.linspace(-15, 15, 20_001)

    def log_integral(x, t):
        spread = bridge.epsilon * (1 - t)
        values = -((nodes - x) ** 2) / (2 * spread) + nodes**2 / (2 * bridge.epsilon)
        values += jax.vmap(lambda y: bridge.log_potential(y[None]))(nodes)
        return jax.nn.logsumexp(values)

    for x, t in ((0.3, 0.2), (-1.0, 0.7)):
        expected = bridge.epsilon * jax.grad(log_integral)(x, t)
        np.testing.assert_allclose(bridge.drift(jnp.array([x]), t)[0], expected, rtol=1e-6)


@pytest.mark.nightly
def test_the_training_bound_is_tight_in_the_mean(key, x64):
    """For Gaussian data and the exact denoiser its mean is that of log p; a wrong denoiser has a lower one."""
    variance, schedule = np.array([4.0, 0.25]), diffusion.VPLinear()
    data = np.array([1.0, -0.5]) + np.sqrt(variance) * np.random.default_rng(0).standard_normal((2000, 2))

    def denoiser(scale):
        return lambda x, s, c: (
            np.array([1.0, -0.5]) + variance * scale / (variance * scale + s**2) * (x - np.array([1.0, -0.5]))
        )

    level = float(schedule.level(np.float64(schedule.end)))
    bound, lower = (
        np.asarray(diffusion.likelihood_bound(denoiser(s), data, schedule=schedule, draws=64, key=key)) for s in (1, 3)
    )
    density = -0.5 * np.log(2 * np.pi * np.e * (variance + level**2)).sum()
    assert abs(bound.mean() - density) < 5 * bound.std() / np.sqrt(len(data)) + 0.01
    assert lower.mean() < bound.mean() - 0.05
    slope = jax.grad(lambda s: diffusion.likelihood_bound(denoiser(s), data[:50], schedule=schedule, key=key).mean())
    assert float(slope(3.0)) < 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: diffusion.transport(lambda x, t, c: x, np.ones(0)), "samples"),
        (lambda: diffusion.transport(lambda x, t, c: x, np.ones((2, 1)), start=1.0), "two different times"),
        (lambda: diffusion.transport(lambda x, t, c: x, np.ones((2, 1)), diffusion=1.0), "the SDE needs"),
        (lambda: diffusion.LightBridge(2, 1, 0.0, key=jax.random.key(0)), "above 0"),
        (lambda: bridge_between(0.1).sample(np.ones((3, 5)), jax.random.key(0)), r"samples \(n, 2\)"),
        (
            lambda: diffusion.likelihood_bound(
                lambda x, s, c: x, np.ones((2, 1)), schedule=diffusion.FlowMatching(), key=jax.random.key(0)
            ),
            "infinite log-SNR",
        ),
    ],
)
def test_what_has_no_meaning_is_told(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_transport_refuses_what_would_broadcast_or_be_ignored():
    x = np.zeros((3, 2))
    with pytest.raises(ValueError, match=r"has the shape \(1,\) for a sample of shape \(2,\)"):
        diffusion.transport(lambda x, t, c: x[:1], x, steps=2)
    with pytest.raises(ValueError, match="the ODE none of them"):
        diffusion.transport(lambda x, t, c: x, x, score=lambda x, t, c: x)


def test_shells_count_axes_from_either_end():
    shells = diffusion.wavenumber_shells((5, 6, 2), (0, 1))
    np.testing.assert_array_equal(diffusion.wavenumber_shells((5, 6, 2), (-3, -2)), shells)
    with pytest.raises(ValueError, match="has 3 axes"):
        diffusion.wavenumber_shells((5, 6, 2), (3,))
