"""`Refiner`: the published rounds, its contract, and what it does to a biased surrogate."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx


def waves(n: int, frames: int, key) -> sx.Dataset:
    """Fields that move by one point in every frame."""
    grid = sx.Box(x=(0, 1, "periodic")).grid((16,))
    first = jax.vmap(lambda k: sx.random.Matern(0.2, 1.5).sample(k, grid))(jax.random.split(key, n))
    moved = np.stack([np.roll(np.asarray(first), t, -1) for t in range(frames)], 1)
    return sx.from_arrays(targets={"u": moved}, grid=grid, times=0.1 * np.arange(frames))


@pytest.fixture(scope="module")
def setting():
    data = waves(16, 6, jax.random.key(0))
    task = sx.Task.fit(data, inputs="u", targets="u", mode=sx.Autoregressive(increments=True))
    base = sx.Persistence(task)
    model = sx.Refiner(
        base, network=sx.FNO.config(width=16, modes=7, depth=2), refinements=2, smallest=0.1, key=jax.random.key(1)
    )
    return data, task, base, model


def test_the_rounds_are_those_of_the_paper(setting):
    data, task, _, model = setting
    fields, key = {"u": jnp.asarray(data["u"])[0, :1]}, jax.random.key(5)
    drawn = model.samples(fields, 1, key=key)["u"][0]
    own = jax.random.split(key, 1)[0]
    y = jnp.zeros((16, 1))  # persistence: no increment
    mean, std = task.normalizers["Δu"].mean, task.normalizers["Δu"].std
    y = (y - mean) / std
    for k in (1, 2):
        sigma = 0.1 ** (k / 2)
        y = y + sigma * jax.random.normal(jax.random.fold_in(own, k), y.shape)
        y = y - sigma * model.noise_in(y[None], jnp.array([k]), {"u": fields["u"][None]})[0][0]
    np.testing.assert_allclose(drawn, (fields["u"][0][:, None] + y * std + mean)[:, 0], atol=1e-5)


@pytest.mark.nightly
def test_training_finds_noise_and_the_contract_holds(setting):
    data, _, _, model = setting
    result = sx.fit(model, data, val=data, optimizer=optax.adam(1e-2), epochs=80, batch_size=20, progress=False)
    assert min(result.history.val) < [0.8 * v for v in result.history.val[0]]
    before = jax.tree.leaves(model.base)
    assert all(np.array_equal(a, b) for a, b in zip(before, jax.tree.leaves(result.best.base), strict=True))
    sx.check_surrogate(result.best, data)
    several = result.best.ensemble_rollout(data.select(slice(0, 3)), 4, 5, key=jax.random.key(2))["u"]
    assert several.shape == (3, 5, 4, 16) and (several.std(1) > 0).all()
    alone = result.best.ensemble_rollout(data.select(slice(0, 1)), 4, 5, key=jax.random.key(2))["u"]
    np.testing.assert_allclose(several[:1], alone, atol=1e-5)


def test_what_cannot_be_refined_is_told(setting, key):
    data, _, base, _ = setting
    config = sx.FNO.config(width=4, modes=3, depth=1)
    with pytest.raises(TypeError, match="surrogate or a result of fit"):
        sx.Refiner("base", network=config, key=key)
    with pytest.raises(ValueError, match="below 1"):
        sx.Refiner(base, network=config, smallest=2.0, key=key)
    two = sx.Task.fit(data, inputs="u", targets="u", mode=sx.Autoregressive(horizon=2))
    with pytest.raises(ValueError, match="one next frame"):
        sx.Refiner(sx.Persistence(two), network=config, key=key)
