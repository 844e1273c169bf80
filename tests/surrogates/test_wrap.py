"""`wrap`: networks that know nothing of this library train, evaluate and save like its own."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import surrogax as sx
from surrogax.core.files import StorageError
from surrogax.surrogates.batching import Batch
from surrogax.surrogates.networks.wrap import default_inputs
from surrogax.surrogates.training.runner import _convolves

N = 9


class CNN(nnx.Module):
    """Two periodic convolutions with batch normalisation and dropout between them, on batches `(n, x, c)`."""

    def __init__(self, n_in: int, n_out: int, *, rngs: nnx.Rngs):
        self.first = nnx.Conv(n_in, 4, (3,), padding="CIRCULAR", rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.last = nnx.Conv(4, n_out, (3,), padding="CIRCULAR", rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.tanh(self.norm(self.first(x)))))


class Pointwise(nnx.Module):
    """A stateless module for one sample."""

    def __init__(self, n_in: int, n_out: int, *, rngs: nnx.Rngs):
        self.linear = nnx.Linear(n_in, n_out, rngs=rngs)

    def __call__(self, x):
        return self.linear(x)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = 2 * np.pi * np.arange(N) / N
    a = rng.normal(size=(16, 1)) * np.sin(x) + rng.normal(size=(16, 1)) * np.cos(x)
    c = rng.uniform(1, 2, 16)
    u = 1 + c[:, None] * a - 0.5 * np.roll(a, 1, 1)
    grid = sx.Grid.unit(N, 1, "periodic")
    return sx.from_arrays({"a": np.float32(a)}, {"u": np.float32(u)}, parameters={"c": np.float32(c)}, grid=grid).split(
        train=12, val=4
    )


@pytest.fixture(scope="module")
def task(data):
    return sx.Task.fit(data[0], "a", "u")


def cnn(task, seed: int = 0):
    return sx.wrap(CNN(task.in_channels, task.out_channels, rngs=nnx.Rngs(seed)), task, batched=True)


@pytest.fixture(scope="module")
def trained(data, task):
    train, val = data
    return sx.fit(cnn(task), train, val=val, optimizer=optax.adam(3e-2), epochs=20, batch_size=4, progress=False)


def statistics(surrogate) -> list[np.ndarray]:
    """Running means and variances."""
    return [np.asarray(x) for x in jax.tree.leaves(surrogate.state) if jnp.issubdtype(x.dtype, jnp.floating)]


def test_a_flax_network_learns_and_its_batch_statistics_move(trained, task):
    assert trained.history.val[-1][0] < trained.history.val[0][0] / 2
    before, after = statistics(cnn(task)), statistics(trained.last)
    assert len(before) == len(after) == 2 and [x.shape for x in after] == [(4,), (4,)]
    assert all(not np.allclose(a, b) for a, b in zip(before, after, strict=True))


def test_only_parameters_are_counted_and_trained(task):
    convolutions, norm = (3 * 1 * 4 + 4) + (3 * 4 * 1 + 1), 4 + 4
    assert cnn(task).parameters == convolutions + norm


def test_training_drops_out_and_prediction_is_deterministic(trained, data, task):
    batch = Batch({"a": data[1]["a"]}, np.arange(len(data[1])))
    model = trained.last
    once, state = model.frames(batch, train=True)
    again, _ = eqx.tree_at(lambda m: m.state, model, state).frames(batch, train=True)
    assert not np.allclose(once, again), "the state of the random numbers goes on"
    first = trained.predict(data[1])["u"]
    np.testing.assert_array_equal(first, trained.predict(data[1])["u"])
    np.testing.assert_allclose(
        trained.best({"a": data[1]["a"][0]})["u"], first[0], rtol=1e-5, err_msg="alone and in a batch"
    )


def test_it_keeps_the_contract_on_its_data_and_on_made_up_ones(trained, data):
    sx.check_surrogate(trained, data[1])
    sx.check_surrogate(trained)


def test_it_is_saved_and_read_back_into_a_network_like_it(trained, data, task, tmp_path):
    trained.save(tmp_path / "cnn.sgx")
    again = sx.load(tmp_path / "cnn.sgx", like=cnn(task, seed=5))
    np.testing.assert_array_equal(again.predict(data[1])["u"], trained.predict(data[1])["u"])
    for a, b in zip(statistics(again), statistics(trained.best), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(StorageError, match=r"cnn\.sgx: holds arrays only, not the foreign network .* such as wrap"):
        sx.load(tmp_path / "cnn.sgx")
    other = sx.wrap(Pointwise(1, 1, rngs=nnx.Rngs(0)), task)
    with pytest.raises(StorageError, match=r"cnn\.sgx: holds another structure; only in the file: .*first"):
        sx.load(tmp_path / "cnn.sgx", like=other)


@pytest.mark.nightly
def test_seeds_of_a_function_of_a_key_have_their_own_statistics(data, task):
    train, val = data
    make = lambda key: cnn(task, seed=int(jax.random.randint(key, (), 0, 10**6)))  # noqa: E731
    result = sx.fit(make, train, val=val, optimizer=optax.adam(1e-2), epochs=2, batch_size=4, seeds=2, progress=False)
    a, b = result.lasts
    assert not np.allclose(a.predict(val)["u"], b.predict(val)["u"])
    assert not np.allclose(statistics(a)[0], statistics(b)[0])
    with pytest.raises(ValueError, match=r"CNN does not know how to make new weights; pass a function"):
        sx.fit(cnn(task), train, optimizer=optax.adam(1e-2), epochs=1, seeds=2)


def test_an_equinox_module_with_parameters_as_constant_channels(data):
    train, val = data
    task = sx.Task.fit(train, ("a", "c"), "u")
    convolution = eqx.nn.Conv1d(
        task.in_channels + task.in_params,
        task.out_channels,
        3,
        padding=1,
        padding_mode="CIRCULAR",
        key=jax.random.key(0),
    )
    model = sx.wrap(convolution, task, inputs=lambda inputs: default_inputs(inputs).T)
    with pytest.raises(ValueError, match=r"returned shape \(1, 9\), expected \(\*space, 1\)"):
        model.predict(val)
    model = sx.wrap(eqx.nn.Sequential([convolution, eqx.nn.Lambda(jnp.transpose)]), task,
                    inputs=lambda inputs: default_inputs(inputs).T)  # fmt: skip
    assert model.parameters == 2 * 3 + 1
    result = sx.fit(model, train, val=val, optimizer=optax.adam(3e-2), epochs=20, batch_size=4, progress=False)
    assert result.history.val[-1][0] < result.history.val[0][0]
    sx.check_surrogate(result, val)


def test_a_stateless_flax_module_takes_single_samples(data, task):
    module = Pointwise(1, 1, rngs=nnx.Rngs(0))
    model = sx.wrap(module, task)
    assert model.state is None and not model.network.abilities.batched
    a = data[1]["a"]
    normal = task.normalizers["a"].encode(a[..., None])
    expected = task.normalizers["u"].decode(module(normal))[..., 0]
    np.testing.assert_allclose(model.predict(data[1])["u"], expected, rtol=1e-5, atol=1e-6)


def test_an_output_of_another_size_is_an_error_not_a_broadcast(data, task):
    model = sx.wrap(lambda x: x.mean(0, keepdims=True), task)
    with pytest.raises(ValueError, match=r"predicts shape \(1, 1\), the targets have \(9, 1\)"):
        sx.fit(model, data[0], optimizer=optax.sgd(0.1), epochs=1)


def test_what_cannot_be_wrapped_is_named(task):
    with pytest.raises(TypeError, match=r"wrap: dict is neither a module of flax nor callable"):
        sx.wrap({"weight": jnp.zeros(3)}, task)
    with pytest.raises(ValueError, match="wrap: CNN has a state, which needs batches: pass batched=True"):
        sx.wrap(CNN(1, 1, rngs=nnx.Rngs(0)), task)


class Linen(linen.Module):
    """A convolution, batch normalisation and dropout in Linen, on batches."""

    @linen.compact
    def __call__(self, x, train: bool):
        x = linen.Conv(4, (3,), padding="CIRCULAR")(x)
        x = linen.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        x = linen.Dropout(0.2, deterministic=not train)(linen.tanh(x))
        return linen.Dense(1)(x)


def test_a_linen_module_carries_batch_statistics_and_dropout(data, task):
    module = Linen()
    variables = module.init(jax.random.key(0), jnp.zeros((2, N, 1)), train=False)
    with pytest.raises(ValueError, match=r"no variables; pass module\.bind"):
        sx.wrap(module, task, batched=True)
    with pytest.raises(ValueError, match="has a state, which needs batches"):
        sx.wrap(module.bind(variables), task)
    model = sx.wrap(module.bind(variables), task, batched=True)
    fields = {k: jnp.asarray(v) for k, v in data[0].read().items() if k != "u"}
    batch = Batch(fields, jnp.arange(12))
    expected = module.apply(variables, jax.vmap(task.pack)(fields).fields, train=False)
    np.testing.assert_allclose(
        model.predict(data[0])["u"], jax.vmap(task.decode)(expected, fields)[:, 0, :, 0], rtol=1e-5
    )
    one, state = model.frames(batch, key=jax.random.key(1), train=True)
    other, _ = model.frames(batch, key=jax.random.key(2), train=True)
    assert not np.allclose(one, other), "dropout"
    assert not np.allclose(*(jax.tree.leaves(s)[1] for s in (state, model.state))), "the running variance"
    fitted = sx.fit(model, data[0], optimizer=optax.adam(3e-2), epochs=2, batch_size=4, progress=False)
    assert not np.allclose(*(jax.tree.leaves(s)[1] for s in (fitted.last.state, model.state)))


def unet(task, **options):
    return sx.UNet(task, key=jax.random.key(0), **{"width": 4, "levels": 1, **options})


@pytest.mark.nightly
def test_contract_of_the_unet(data):
    task = sx.Task.fit(data[0], ("a", "c"), "u")
    sx.check_surrogate(unet(task), data[0])


@pytest.mark.nightly
def test_the_unet_carries_statistics_and_dropout_and_shifts_with_periodic_fields(data, task):
    model = unet(task, dropout=0.3)
    fields = {k: jnp.asarray(v) for k, v in data[0].read().items() if k != "u"}
    batch = Batch(fields, jnp.arange(12))
    frames = eqx.filter_jit(lambda model, key, train: model.frames(batch, key=key, train=train))
    (one, state), (other, _) = (frames(model, jax.random.key(i), True) for i in (1, 2))
    assert not np.allclose(one, other) and jax.tree.leaves(state)[0].shape == jax.tree.leaves(model.state)[0].shape
    assert not np.allclose(*(jax.tree.leaves(s)[0] for s in (state, model.state)))
    assert unet(task, norm=None).state is None


def test_models_that_convolve_leave_the_compiled_loop_on_cpus(task):
    """XLA's convolutions are slow inside of it. Ours say that they convolve, others are traced."""
    fno = dict(width=4, modes=2, depth=1, key=jax.random.key(0))
    assert _convolves(cnn(task)) and _convolves(unet(task)) and _convolves(sx.FNO(task, local=("differential",), **fno))
    assert not _convolves(sx.FNO(task, **fno))
    assert not _convolves(sx.wrap(Pointwise(task.in_channels, task.out_channels, rngs=nnx.Rngs(0)), task))


class NextFrame(eqx.Module):
    """A DPOT of foundax, (b, t, x, y, c) to (b, 1, x, y, c) and classes, on the frames of one field as channels."""

    model: eqx.Module

    def __call__(self, x):
        return self.model(jnp.moveaxis(x, -1, 1)[..., None])[0][:, 0]


@pytest.mark.nightly
def test_a_foundation_model_of_foundax_keeps_its_outputs_and_trains():
    """With random weights (needs `pip install foundax`)."""
    foundax = pytest.importorskip("foundax")
    w = np.random.default_rng(0).normal(3, 2, (4, 4, 16, 16)).astype(np.float32)
    data = sx.from_arrays({"w": w}, grid=sx.Grid.unit(16, 2, "periodic"), times=np.arange(4))
    task = sx.Task.fit(data, "w", "w", mode=sx.Autoregressive(history=2))
    dpot = foundax.dpot(
        img_size=16, patch_size=4, embed_dim=16, depth=1, n_blocks=2, modes=3, in_channels=1, out_channels=1,
        in_timesteps=2, out_layer_dim=8, key=jax.random.key(1),
    )  # fmt: skip
    model = sx.wrap(NextFrame(dpot), task, batched=True)
    mean, std = (float(x[0]) for x in (task.normalizers["w"].mean, task.normalizers["w"].std))
    expected = np.asarray(dpot((w[:, :2, ..., None] - mean) / std)[0])[:, 0, ..., 0] * std + mean
    np.testing.assert_allclose(model.predict(data)["w"], expected, rtol=1e-5, atol=1e-5 * abs(expected).max())
    assert model.rollout(data, steps=2)["w"].shape == (4, 2, 16, 16)
    fitted = sx.fit(model, data, optimizer=optax.adam(1e-3), epochs=3, batch_size=4, progress=False)
    assert fitted.history.loss[-1][0] < fitted.history.loss[0][0]
    assert not np.allclose(fitted.last.predict(data)["w"], expected)


def test_warm_start_lists_what_differs_and_copies_the_rest(data, task):
    more = sx.Task.fit(data[0], ("a", "c"), "u")
    trained = sx.FNO(task, width=4, modes=2, depth=1, key=jax.random.key(0))
    model = sx.FNO(more, width=4, modes=2, depth=1, key=jax.random.key(1))
    with pytest.raises(
        ValueError, match=r"1 arrays do not match: lifting\.layers\[0\]\.weight \(3, 4\) here, \(2, 4\) in the trained"
    ):
        sx.warm_start(model, trained)
    started = sx.warm_start(model, trained, reinitialise=("lifting",))
    assert started.task is more
    assert np.array_equal(started.network.lifting.layers[0].bias, model.network.lifting.layers[0].bias)
    assert np.array_equal(started.network.blocks[0].spectral.weight, trained.network.blocks[0].spectral.weight)
    assert np.array_equal(started.network.projection.layers[1].bias, trained.network.projection.layers[1].bias)
    deeper = sx.FNO(task, width=4, modes=2, depth=2, key=jax.random.key(2))
    with pytest.raises(ValueError, match=r"blocks\[1\].* here, missing in the trained"):
        sx.warm_start(deeper, trained)
    sx.warm_start(trained, deeper, reinitialise=["blocks[1]"])
    with pytest.raises(ValueError, match=r"no array lies at \['block'\]"):
        sx.warm_start(deeper, trained, reinitialise=("block",))
