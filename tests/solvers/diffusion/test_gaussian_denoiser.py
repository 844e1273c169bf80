"""The denoiser of the Gaussian law of samples beside dense algebra, and a network beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers import diffusion as sd

N = 6


class Coloured(sd.AbstractColouredNoise):
    factor: jax.Array

    def __call__(self, key, shape):
        return (self.factor @ jax.random.normal(key, (N,))).reshape(shape)

    def covariance(self, x):
        return (self.factor @ (self.factor.T @ x.ravel())).reshape(x.shape)


def samples(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return 1 + rng.normal(size=(n, N)) @ np.triu(rng.normal(size=(N, N)))


@pytest.mark.parametrize("n", [40, 5], ids=["many samples", "few samples"])
@pytest.mark.parametrize("noise", ["white", "coloured", "in a plane"])
@pytest.mark.filterwarnings("ignore:GaussianDenoiser.*independent directions")
def test_gaussian_denoiser_is_the_wiener_filter(n, noise, x64):
    """m + C (C + s² K)⁻¹ (x − m) of data that lie where there is noise; its limits at no noise and at all noise."""
    factor = np.eye(N) + np.tril(np.ones((N, N)), -1) / 3
    data = samples(n)
    if noise == "in a plane":
        factor[:, 3:] = 0
        data = 1 + (data - 1) @ np.linalg.pinv(factor).T @ factor.T
    k = np.eye(N) if noise == "white" else factor @ factor.T
    coloured = None if noise == "white" else Coloured(jnp.asarray(factor))
    model = sd.GaussianDenoiser(data.reshape(n, 3, 2), noise=coloured)
    mean, c = data.mean(0), np.cov(data.T, bias=True)
    for s in (0.03, 1.0, 30.0):
        x = mean + s * factor @ np.random.default_rng(1).normal(size=N)
        expected = mean + c @ np.linalg.pinv(c + s**2 * k, rcond=1e-12) @ (x - mean)
        np.testing.assert_allclose(model(jnp.asarray(x.reshape(3, 2)), s).ravel(), expected, rtol=1e-7, atol=1e-8)
        left = c - c @ np.linalg.pinv(c + s**2 * k, rcond=1e-12) @ c
        scale = 1 / np.sqrt(1 + s**2)
        spread = np.sqrt(np.diag(left).reshape(3, 2).mean(0))
        np.testing.assert_allclose(model.deviation(scale, s * scale), spread, rtol=1e-6)
    infinite = sd.Level.of(np.asarray(np.inf), sd.EDM())
    np.testing.assert_allclose(model.at(jnp.ones((3, 2)), infinite, None).ravel(), mean, atol=1e-12)


def test_gaussian_denoiser_transforms(x64):
    model = sd.GaussianDenoiser(samples(40).reshape(40, 3, 2))
    x = jnp.asarray(np.random.default_rng(1).normal(size=(4, 3, 2)))
    single = jnp.stack([model(each, 0.5) for each in x])
    np.testing.assert_allclose(jax.jit(jax.vmap(lambda a: model(a, 0.5)))(x), single, rtol=1e-10)
    slope = jax.grad(lambda s: jnp.sum(model(x[0], s) ** 2))(jnp.asarray(0.5))
    step = 1e-5
    ends = [float(jnp.sum(model(x[0], 0.5 + h) ** 2)) for h in (-step, step)]
    np.testing.assert_allclose(slope, (ends[1] - ends[0]) / (2 * step), rtol=1e-6)


def test_a_network_beside_the_law_adds_in_units_of_what_is_left(x64):
    gaussian = sd.GaussianDenoiser(samples(40).reshape(40, 3, 2))
    seen = []

    def network(v, c_noise, condition):
        seen.append((v, c_noise))
        return jnp.ones((3, 2))

    model, x = sd.GaussianPreconditioned(network, gaussian), jnp.ones((3, 2))
    scale = 1 / np.sqrt(5)
    base = gaussian(x, 2.0)
    np.testing.assert_allclose(model(x, 2.0) - base, np.broadcast_to(gaussian.deviation(scale, 2 * scale), (3, 2)))
    np.testing.assert_allclose(model.at(x * scale, sd.Level.of(2.0, sd.EDM()), None), model(x, 2.0), rtol=1e-12)
    np.testing.assert_allclose(seen[0][0], jnp.concatenate([x * scale, base], -1))
    np.testing.assert_allclose(seen[0][1], np.log(2) / 4)


def test_what_is_no_law():
    data = samples(40)
    with pytest.raises(ValueError, match=r"shape \(6,\), here they have \(5,\)"):
        sd.GaussianDenoiser(data)(jnp.ones(5), 1.0)
    with pytest.warns(UserWarning, match="4 samples have as many independent directions"):
        sd.GaussianDenoiser(data[:4])
    with pytest.raises(
        ValueError, match="of the variance of the samples lies in directions in which the noise has none"
    ):
        sd.GaussianDenoiser(data, noise=Coloured(jnp.eye(N)[:, :-1]))
    with pytest.raises(ValueError, match="made with its noise"):
        sd.PriorCovariance(sd.GaussianDenoiser(data), noise=Coloured(jnp.eye(N)))
    observed = sd.Observation(lambda x: x[:1], jnp.ones(1), std=0.1)
    model = sd.GaussianDenoiser(data)
    guided = sd.PriorCovariance(model)(model, observed, noise=Coloured(jnp.eye(N)))
    with pytest.raises(ValueError, match="made for the noise None"):
        guided(jnp.zeros(N), 1.0)
