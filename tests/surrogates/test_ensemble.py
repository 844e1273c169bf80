"""`Ensemble`: mean, spread and samples of its members against NumPy, and what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx

FACTORS = (0.5, 1.0, 2.5)


class Times(eqx.Module):
    """A factor times the field of its input."""

    factor: jax.Array

    def __call__(self, x):
        return self.factor * x


@pytest.fixture(scope="module")
def data():
    a = np.random.default_rng(0).normal(1, 1, (5, 6)).astype(np.float32)
    return sx.from_arrays({"a": a}, {"u": a}, grid=sx.Grid.unit(6, 1))


@pytest.fixture(scope="module")
def task(data):
    return sx.Task.fit(data, "a", "u")


@pytest.fixture(scope="module")
def ensemble(task):
    return sx.Ensemble(tuple(sx.wrap(Times(jnp.asarray(f)), task) for f in FACTORS))


def predictions(ensemble, data) -> np.ndarray:
    return np.stack([member.predict(data)["u"] for member in ensemble.members]).astype(np.float64)


def test_mean_and_standard_deviation_are_those_of_numpy(ensemble, data):
    every = predictions(ensemble, data)
    np.testing.assert_allclose(ensemble.predict(data, batch_size=2)["u"], every.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ensemble.predict_std(data)["u"], every.std(0, ddof=1), rtol=1e-5, atol=1e-6)
    one = {"a": jnp.asarray(data["a"][2])}
    np.testing.assert_allclose(ensemble(one)["u"], every.mean(0)[2], rtol=1e-5, atol=1e-6)
    assert ensemble.parameters == 3


@pytest.mark.parametrize("n", [1, 3, 4, 9])
def test_samples_are_members_each_as_often_as_the_others(ensemble, data, n):
    every, drawn = predictions(ensemble, data), ensemble.predict_samples(data, n, key=jax.random.key(0))["u"]
    assert drawn.shape == (5, n, 6)
    distance = np.abs(drawn[:, :, None] - np.moveaxis(every, 0, 1)[:, None]).max(-1)
    np.testing.assert_allclose(distance.min(-1), 0, atol=1e-5)
    chosen = distance.argmin(-1)
    counts = np.stack([(chosen == m).sum(1) for m in range(3)])
    assert counts.max() - counts.min() <= 1 and (counts.sum(0) == n).all()
    if n == 9:
        assert len({tuple(row) for row in chosen.tolist()}) > 1, "another order for another sample"
        again = ensemble.predict_samples(data, n, key=jax.random.key(1))["u"]
        assert (again != drawn).any()


def test_it_keeps_the_contract(ensemble, data):
    sx.check_surrogate(ensemble, data)


def test_it_can_what_all_members_can(ensemble, data, task):
    can = ensemble.capabilities
    assert can.has_std and can.has_samples and can.needs_input and not can.any_points and not can.autoregressive
    mixed = sx.Ensemble((ensemble.members[0], sx.MeanField(task)))
    assert mixed.capabilities.needs_input and not mixed.capabilities.self_contained
    expected = np.stack([m.predict(data)["u"] for m in mixed.members]).mean(0)
    np.testing.assert_allclose(mixed.predict(data)["u"], expected, rtol=1e-5, atol=1e-6)
    assert sx.Ensemble((sx.MeanField(task),) * 2).capabilities.needs_input is False


def test_all_seeds_of_a_fit_are_an_ensemble(data, task):
    model = sx.FNO(task, width=4, modes=2, depth=1, key=jax.random.key(0))
    fit = sx.fit(model, data, optimizer=optax.adam(1e-2), epochs=1, batch_size=5, seeds=3, progress=False)
    assert fit.ensemble.members == fit.members and fit.ensemble.capabilities.resolution_free
    every = predictions(fit.ensemble, data)
    assert every.std(0, ddof=1).max() > 1e-3
    np.testing.assert_allclose(fit.ensemble.predict_std(data)["u"], every.std(0, ddof=1), rtol=1e-3, atol=1e-5)


def test_an_ensemble_rolls_out_the_mean(data):
    w = np.random.default_rng(1).normal(1, 1, (3, 5, 6)).astype(np.float32)
    timed = sx.from_arrays({"w": w}, grid=data.grid, times=np.arange(5))
    task = sx.Task.fit(timed, "w", "w", mode=sx.Autoregressive())
    members = tuple(sx.wrap(Times(jnp.asarray(f)), task) for f in (0.5, 1.5))
    mean, std = (np.asarray(x) for x in (task.normalizers["w"].mean, task.normalizers["w"].std))
    expected, last = [], w[:, 0]
    for _ in range(3):
        last = np.mean([f * (last - mean) / std * std + mean for f in (0.5, 1.5)], 0)
        expected.append(last)
    np.testing.assert_allclose(sx.Ensemble(members).rollout(timed, 3)["w"], np.stack(expected, 1), rtol=1e-4, atol=1e-5)


def test_what_is_no_ensemble_is_named(ensemble, data, task):
    with pytest.raises(ValueError, match="needs two members or more, got 1"):
        sx.Ensemble(ensemble.members[:1])
    other = sx.Task.fit(data, "u", "a")
    with pytest.raises(ValueError, match=r"the members of an Ensemble need one task, got Task.a → u.* and Task.u → a"):
        sx.Ensemble((ensemble.members[0], sx.wrap(Times(jnp.asarray(1.0)), other)))
    with pytest.raises(TypeError, match="NetworkSurrogate has no standard deviation"):
        ensemble.members[0].predict_std(data)
    with pytest.raises(TypeError, match="NetworkSurrogate draws no samples"):
        ensemble.members[0].predict_samples(data, 2, key=jax.random.key(0))


def test_members_fitted_about_other_means_keep_their_own():
    grid, rng = sx.Box(x=(0, 1, "periodic")).grid(8), np.random.default_rng(0)
    a, big = rng.normal(size=(7, 8)), 1e6 + rng.normal(size=(7, 8))
    task = lambda u: sx.Task.fit(sx.from_arrays({"a": u}, {"u": u + 0}, grid=grid), "a", "u")  # noqa: E731
    members = sx.MeanField(task(big)), sx.MeanField(task(a)), sx.MeanField(task(big + 1))
    for ensemble in (sx.Ensemble(members), sx.Ensemble(members[::-1]), sx.Ensemble(members[1:])):
        each = [member.predict({"a": big})["u"] for member in ensemble.members]
        np.testing.assert_allclose(ensemble.predict({"a": big})["u"], np.mean(each, 0), rtol=1e-6)
        np.testing.assert_allclose(ensemble({"a": big[0]})["u"], np.mean(each, 0)[0], rtol=1e-6)
