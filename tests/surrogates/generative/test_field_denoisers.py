"""Diffusion models of fields: the law of Gaussian fields comes back, at the resolution of training and another one."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax import diffusion
from surrogax.surrogates import generative
from surrogax.surrogates.generative.field_conditions import on_task

LAW = sx.random.GaussianField(2.0, 6.0, 1.0, "periodic", mean_mode=True)


def fields(n: int, points: int, key, law=LAW) -> sx.Dataset:
    grid = sx.Box(x=(0, 1, "periodic")).grid((points,))
    values = jax.vmap(lambda k: law.sample(k, grid))(jax.random.split(key, n))
    return sx.from_arrays(targets={"u": np.asarray(values)}, grid=grid)


def spectrum(values) -> np.ndarray:
    """Mean squared amplitudes of the Fourier modes of functions on (0, 1)."""
    values = np.asarray(values)
    return np.mean(np.abs(np.fft.rfft(values, axis=-1) / values.shape[-1]) ** 2, 0)


@pytest.mark.nightly
def test_matern_fields_have_their_covariance(key):
    """Unit variance, e^(−d/ℓ) for ν = ½ where the box is wide; the product with the covariance is that of draws."""
    law, grid = sx.random.Matern(0.05, 0.5), sx.Box(x=(0, 1, "periodic")).grid((129,))
    matrix = np.asarray(jax.vmap(lambda e: law.covariance(e, grid))(jnp.eye(129)))
    distance = np.abs(np.arange(129) / 129)
    distance = np.minimum(distance, 1 - distance)
    assert abs(matrix[0, 0] - 1) < 0.05  # waves beyond the grid are missing
    np.testing.assert_allclose(matrix[0], np.exp(-distance / 0.05), atol=0.06)
    draws = jax.vmap(lambda k: law.sample(k, grid))(jax.random.split(key, 2000))
    assert np.abs(np.cov(draws.T) - matrix).max() < 0.2
    two = sx.Box.unit(2).grid((33, 33))
    middle = jax.vmap(lambda k: sx.random.Matern(0.1, 1.5).sample(k, two))(jax.random.split(key, 400))
    assert abs(float(jnp.var(middle)) - 1) < 0.1


def test_noise_on_an_interval_is_stationary_and_not_periodic(key):
    """With points on both ends of an axis: e^(−d/ℓ) for ν = ½, every direction has noise, and periodic laws are refused."""
    law, grid = sx.random.Matern(0.1, 0.5), sx.Grid.unit(65)
    matrix = np.asarray(jax.vmap(lambda e: law.covariance(e, grid))(jnp.eye(65)))
    distance = np.abs(np.subtract.outer(*2 * [np.arange(65) / 64]))
    np.testing.assert_allclose(matrix, np.exp(-distance / 0.1), atol=0.1)  # waves beyond the grid are missing
    np.testing.assert_allclose(np.diag(matrix), matrix[0, 0], rtol=1e-5)
    assert np.linalg.eigvalsh(matrix)[0] > 1e-3
    smooth, fine = sx.random.Matern(0.2, 2.5), sx.Grid.unit(193)
    np.testing.assert_allclose(smooth.sample(key, grid), smooth.sample(key, fine)[::3], atol=0.02)
    with pytest.raises(TypeError, match="boundary"):
        sx.random.Matern(0.1, boundary="neuman")
    for periodic in (sx.random.Matern(0.1, boundary="periodic"), sx.random.PeriodicGP(0.2)):
        with pytest.raises(ValueError, match="both ends of an axis"):
            diffusion.FieldNoise(periodic, grid)
        diffusion.FieldNoise(periodic, sx.Grid.unit(16, 1, "periodic"))


def test_noise_of_fields_is_one_function_on_every_grid(key):
    law = sx.random.Matern(0.2, 2.5)
    coarse, fine = (sx.Box(x=(0, 1, "periodic")).grid((n,)) for n in (32, 96))
    few = diffusion.FieldNoise(law, coarse)(key, (32, 2))
    many = diffusion.FieldNoise(law, fine)(key, (96, 2))
    np.testing.assert_allclose(few, many[::3], atol=0.02)
    assert not np.allclose(few[:, 0], few[:, 1], atol=0.5)
    with pytest.raises(ValueError, match="one axis of channels"):
        diffusion.FieldNoise(law, coarse)(key, (31, 2))
    with pytest.raises(TypeError, match="law of Gaussian fields"):
        diffusion.FieldNoise(sx.random.Uniform(), coarse)


def trained(schedule, noise, steps, key, points=32, width=24):
    data = fields(4096, points, jax.random.key(1))
    task = sx.Task.fit(data, targets="u")
    model = sx.Denoiser(
        task, network=sx.FNO.config(width=width, modes=12, depth=3), schedule=schedule, noise=noise, key=key
    )
    rate = optax.cosine_decay_schedule(2e-3, steps)
    return sx.fit(model, data, optimizer=optax.adam(rate), steps=steps, batch_size=128, ema=0.99, progress=False).best


@pytest.mark.nightly
@pytest.mark.parametrize(
    "schedule, noise",
    [
        (diffusion.EDM(), sx.random.Matern(0.1, 0.5)),
        (diffusion.FlowMatching(), sx.random.Matern(0.1, 0.5)),
        (diffusion.EDM(), None),
    ],
    ids=["EDM", "flow", "white"],
)
def test_a_trained_denoiser_draws_the_law_of_a_gaussian_field(schedule, noise, key):
    """The variance of every wave that matters within a fifth; with function-space noise on a finer grid too."""
    model = trained(schedule, noise, 2000, key)
    grids = {32: None} if noise is None else {32: None, 64: sx.Box(x=(0, 1, "periodic")).grid((64,))}
    for points, at in grids.items():
        drawn = model.samples({}, 2000, key=jax.random.key(3), at=at)["u"]
        assert drawn.shape == (2000, points)
        exact = spectrum(fields(8000, points, jax.random.key(4))["u"])[:6]
        ratio = spectrum(drawn)[:6] / exact
        assert (abs(ratio - 1) < 0.2).all(), ratio


@pytest.mark.nightly
def test_losses_have_their_exact_minimum(key):
    """The EDM loss of the exact denoiser of white noise is the variance that is left, whatever the network: weights and
    preconditioning are those of the formula."""
    data = fields(16, 8, key, sx.random.Matern(0.2, 0.5))
    task = sx.Task.fit(data, targets="u")
    model = sx.Denoiser(
        task, network=sx.FNO.config(width=4, modes=3, depth=1), noise=sx.random.Matern(0.1, 0.5), key=key
    )
    batch = {"u": jnp.asarray(data["u"])}
    shares, keys = jnp.full(16, 0.3), jax.random.split(key, 16)
    losses = eqx.filter_jit(lambda m: m.losses(batch, shares, keys, (-0.5, 1.2))[0])(model)
    sigma = float(jnp.exp(-0.5 + 1.2 * jax.scipy.special.ndtri(0.3)))
    grid = data.grid
    noise = diffusion.FieldNoise(sx.random.Matern(0.1, 0.5), grid)

    @eqx.filter_jit
    def expected(model, u, key):
        clean = model.encoded({"u": u})
        noisy = clean + sigma * noise(key, clean.shape)
        return (
            (sigma**2 + 1) / sigma**2 * jnp.mean((model.denoiser_on(grid)(noisy, jnp.asarray(sigma), {}) - clean) ** 2)
        )

    for i in (0, 5):
        np.testing.assert_allclose(losses[i], expected(model, batch["u"][i], keys[i]), rtol=1e-4)


@pytest.mark.nightly
def test_a_conditional_denoiser_is_a_surrogate(key):
    """It keeps the contract, learns, and its samples depend on the input."""
    grid = sx.Box(x=(0, 1, "periodic")).grid((16,))
    law = sx.random.Matern(0.2, 1.5)
    given = jax.vmap(lambda k: law.sample(k, grid))(jax.random.split(key, 64))
    data = sx.from_arrays({"a": given}, {"u": 2 * np.asarray(given) + 1}, grid=grid)
    task = sx.Task.fit(data, inputs="a", targets="u")
    model = sx.Denoiser(
        task, network=sx.FNO.config(width=8, modes=4, depth=2), schedule=diffusion.FlowMatching(), key=key, steps=4
    )
    result = sx.fit(model, data, val=data, optimizer=optax.adam(1e-2), epochs=15, batch_size=32, progress=False)
    assert min(result.history.val) < [0.5 * v for v in result.history.val[0]]
    sx.check_surrogate(result.best)


@pytest.mark.nightly
def test_constraints_on_named_fields(key):
    """In physical units, whatever the normalisation."""
    data = fields(64, 16, key)
    shifted = sx.from_arrays(
        targets={"u": 5 * np.asarray(data["u"]) + 20, "v": -3 * np.asarray(data["u"])}, grid=data.grid
    )
    task = sx.Task.fit(shifted, targets=("u", "v"))
    known = generative.OnField("u", diffusion.KnownValues.at((16,), np.s_[0], 21.5))
    mass = diffusion.Constraint(lambda named: jnp.mean(named["v"]) - 0.7, atol=1e-3)
    both = diffusion.Constraint(
        diffusion.Together(known, diffusion.Equation(mass.h.function)), metric="euclidean", atol=1e-3
    )
    x = jax.random.normal(key, (16, 2))
    for constraint in (diffusion.Constraint(known, metric="euclidean"), mass, both):
        bound = on_task(constraint, task)
        found, worst = bound.met(x)
        named = task.split(task.decode(found, {}))
        assert float(worst) < 1e-3
        if constraint is not mass:
            np.testing.assert_allclose(named["u"][0], 21.5, rtol=1e-5)
        if constraint in (mass, both):
            np.testing.assert_allclose(named["v"].mean(), 0.7, atol=1e-3)
    with pytest.raises(TypeError, match="OnField"):
        on_task(diffusion.Constraint(diffusion.Mass(1.0, np.ones(16))), task)
    with pytest.raises(ValueError, match="the fields of this task"):
        on_task(diffusion.Constraint(generative.OnField("w", diffusion.Mass(1.0, np.ones(16)))), task)


def test_what_is_no_field_model_is_told(key):
    data = fields(8, 16, key)
    task = sx.Task.fit(data, targets="u")
    config = sx.FNO.config(width=4, modes=3, depth=1)
    with pytest.raises(TypeError, match="schedule"):
        sx.Denoiser(task, network=config, schedule=diffusion.VPLinear(), key=key)
    with pytest.raises(TypeError, match="network"):
        sx.Denoiser(task, network="fno", key=key)
    cloud = sx.from_arrays(targets={"u": np.ones((4, 5))}, points=np.random.default_rng(0).random((5, 2)))
    with pytest.raises((ValueError, TypeError), match="grid"):
        sx.Denoiser(sx.Task.fit(cloud, targets="u"), network=config, key=key)
    moving = sx.from_arrays(
        targets={"u": np.random.default_rng(0).random((4, 5, 16))}, grid=data.grid, times=np.arange(5.0)
    )
    stepping = sx.Task.fit(moving, inputs="u", targets="u", mode=sx.Autoregressive())
    with pytest.raises(TypeError, match="Denoiser"):
        sx.Denoiser(stepping, network=config, key=key)


def beside_law(key):
    """A denoiser of two correlated fields on 9 points whose network returns zero, and its data."""
    grid, law = sx.Grid.unit(9), sx.random.Matern(0.3, 1.5)
    u = np.asarray(jax.vmap(lambda k: law.sample(k, grid))(jax.random.split(key, 200)))
    data = sx.from_arrays(targets={"u": u, "w": 3 + np.cumsum(u, 1)}, grid=grid)
    model = sx.Denoiser(
        sx.Task.fit(data, targets=("u", "w")), network=sx.FNO.config(width=4, modes=3, depth=1),
        noise=sx.random.Matern(0.1, 0.5), key=key, gaussian=data,
    )  # fmt: skip
    last = model.network.projection.layers[-1]
    silent = jax.tree.map(jnp.zeros_like, last)
    return eqx.tree_at(lambda m: m.network.projection.layers[-1], model, silent), data


def test_a_silent_network_beside_a_gaussian_law_is_gaussian_regression(key, tmp_path):
    """Its posterior has the mean and the deviations of the exact one; files, other grids and other schedules."""
    model, data = beside_law(key)
    at, seen, std = np.array([[0.25], [0.75]]), np.array([3.5, 2.0]), 0.1
    post = model.posterior(sx.Observe("w", at=at, values=seen, std=std), n=512, steps=12, key=key)
    flat = np.concatenate([data["u"], data["w"]], 1).astype(float)
    mean, c, rows = flat.mean(0), np.cov(flat.T, bias=True), [9 + 2, 9 + 6]
    gain = c[:, rows] @ np.linalg.inv(c[np.ix_(rows, rows)] + std**2 * np.eye(2))
    exact, left = mean + gain @ (seen - mean[rows]), np.sqrt(np.diag(c - gain @ c[rows]))
    found = np.concatenate([post.samples["u"], post.samples["w"]], 1)
    assert (np.abs(found.mean(0) - exact) < 0.25 * left).all()
    np.testing.assert_allclose(found.std(0), left, rtol=0.2)

    model.save(tmp_path / "model.sgx")
    again = sx.load(tmp_path / "model.sgx")
    np.testing.assert_array_equal(again.samples({}, 2, key=key)["u"], model.samples({}, 2, key=key)["u"])
    assert not np.allclose(model.renewed(jax.random.key(5)).network.lifting.layers[0].weight,
                           model.network.lifting.layers[0].weight)  # fmt: skip
    fine = sx.Grid.unit(17)
    with pytest.raises(ValueError, match="with_gaussian"):
        model.samples({}, 2, key=key, at=fine)
    finer = data.subsample(space=1)
    values = {name: np.repeat(np.asarray(finer[name]), 2, 1)[:, :17] for name in ("u", "w")}
    moved = model.with_gaussian(sx.from_arrays(targets=values, grid=fine))
    assert moved.samples({}, 2, key=key, at=fine)["w"].shape == (2, 17)
    task = model.task
    with pytest.raises(ValueError, match="only with schedule=EDM"):
        sx.Denoiser(task, network=sx.FNO.config(width=4, modes=3), schedule=diffusion.FlowMatching(), key=key,
                    gaussian=data)  # fmt: skip
    plain = sx.Denoiser(task, network=sx.FNO.config(width=4, modes=3), key=key)
    with pytest.raises(ValueError, match="without gaussian"):
        plain.with_gaussian(data)


def test_losses_beside_a_gaussian_law(key):
    """Those of a silent network are |G − x₀|² over what is left of Gaussian data, 1 on average; the law is not trained."""
    model, data = beside_law(key)
    batch = {name: jnp.asarray(data[name]) for name in ("u", "w")}
    losses = eqx.filter_jit(
        lambda m, share: m.losses(batch, jnp.full(200, share), jax.random.split(key, 200), (-0.5, 1.2))[0].mean()
    )
    for share in (0.1, 0.5, 0.9):
        assert abs(float(losses(model, share)) - 1) < 0.2
    result = sx.fit(model, data, optimizer=optax.adam(1e-2), epochs=2, batch_size=50, progress=False)
    trained = result.last
    np.testing.assert_array_equal(trained.gaussian_law.modes, model.gaussian_law.modes)
    assert np.abs(trained.network.projection.layers[-1].weight).max() > 1e-3


def test_noise_without_a_constant_part_is_warned_of(key):
    _, data = beside_law(key)
    law = sx.random.GaussianField(2, 3)
    options = {"network": sx.FNO.config(width=4, modes=3, depth=1), "key": key}
    task = sx.Task.fit(data, targets=("u", "w"))
    with pytest.warns(UserWarning, match="has no constant part, but means of samples differ by"):
        sx.Denoiser(task, noise=law, **options).objective(data)
    with pytest.raises(ValueError, match="lies in directions in which the noise has none"):
        sx.Denoiser(task, noise=law, gaussian=data, **options)
    sx.Denoiser(task, noise=dataclasses.replace(law, mean_mode=True), **options).objective(data)
