"""Several devices: the loss of one device on any mesh, one gradient reduction, checkpoints that fit every mesh, bfloat16."""

import collections
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.surrogates.training.batches import Resident
from surrogax.surrogates.training.devices import Devices
from surrogax.surrogates.training.runner import Runner
from surrogax.surrogates.training.samples import Samples
from surrogax.surrogates.training.steps import as_step

N = (16, 12)


def make_data() -> sx.Dataset:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(22, *N)).astype(np.float32)
    u = 0.5 * a + 0.3 * np.roll(a, 1, 1) - 0.2 * np.roll(a, 2, 2) ** 2
    return sx.from_arrays({"a": a}, {"u": u}, grid=sx.Box.unit(2, "periodic").grid(N))


TRAIN, VAL = make_data().split(train=17, val=5)


@pytest.fixture(scope="module")
def task():
    return sx.Task.fit(TRAIN, "a", "u")


def network(task, **options):
    return sx.FNO(task, width=4, modes=(3, 4), depth=2, key=jax.random.key(0), **options)


def pointwise(task):
    """A network that knows nothing of meshes."""
    mlp = eqx.nn.MLP(1, 1, 8, 1, key=jax.random.key(0))
    return sx.wrap(lambda x: jax.vmap(jax.vmap(mlp))(x), task)


def fitted(model, mesh=None, **options) -> sx.FitResult:
    settings = dict(val=VAL, optimizer=optax.adam(1e-2), epochs=2, batch_size=8, progress=False, mesh=mesh)
    return sx.fit(model, TRAIN, **(settings | options))


def mesh_of(**axes: int) -> jax.sharding.Mesh:
    return jax.make_mesh(tuple(axes.values()), tuple(axes))


def assert_same(found: sx.FitResult, expected: sx.FitResult):
    np.testing.assert_allclose(found.history.loss, expected.history.loss, rtol=2e-5)
    np.testing.assert_allclose(found.history.val, expected.history.val, rtol=2e-5)
    prediction = found.predict(VAL)["u"]
    np.testing.assert_allclose(prediction, expected.predict(VAL)["u"], atol=1e-4 * np.abs(prediction).max())


BOTH = dict(data=2, space=4)


@pytest.mark.parametrize(
    "mesh, options",
    [
        pytest.param(dict(data=8), dict(norm="batch"), marks=pytest.mark.nightly),
        pytest.param(dict(space=4), dict(norm="group", padding=0.25), marks=pytest.mark.nightly),
        (BOTH, dict(norm="batch", padding=0.25)),
    ],
    ids=["data", "space", "both"],
)
def test_any_mesh_gives_the_losses_of_one_device(task, mesh, options):
    # Plain descent: Adam divides the rounding errors of gradients that are zero by themselves.
    options = dict(model=network(task, **options), optimizer=optax.sgd(0.1))
    assert_same(fitted(**options, mesh=mesh_of(**mesh)), fitted(**options))


@pytest.mark.nightly
def test_seeds_are_divided_among_devices(task):
    assert_same(fitted(network(task), mesh_of(seed=2, data=4), seeds=2), fitted(network(task), seeds=2))


@pytest.mark.nightly
def test_a_network_that_knows_nothing_of_meshes_is_divided_by_samples(task):
    assert_same(fitted(pointwise(task), mesh_of(data=8)), fitted(pointwise(task)))


@pytest.mark.nightly
def test_streamed_batches_lie_where_resident_ones_do(task):
    mesh = mesh_of(**BOTH)
    assert_same(fitted(network(task), mesh, stream=True), fitted(network(task), mesh, stream=False))


@pytest.mark.nightly
def test_a_run_goes_on_with_another_number_of_devices(task, tmp_path):
    assert_goes_on(network(task), mesh_of(data=8), mesh_of(data=2, space=2), tmp_path)


def assert_goes_on(model, first, last, folder):
    """A run begins on the mesh `first`, goes on on one device and then on the mesh `last`, as if on one device alone."""
    run = dict(run=folder / "run", checkpoint_every=0)
    fitted(model, first, epochs=1, **run)
    fitted(model, epochs=2, **run)
    assert_same(fitted(model, last, epochs=3, **run), fitted(model, epochs=3))


def compiled_step(task, mesh, seeds: int = 1) -> str:
    """The program of a training step of 8 samples."""
    devices = Devices.of(mesh, batch_size=8, seeds=seeds)
    start = ([network(task)] * seeds, sx.Supervised(), as_step(optax.adam(1e-3)), 0.0, devices, jax.random.key(0))
    runner, state = Runner.start(*start)
    return runner.compiled(Resident.of(Samples.of(task, TRAIN), 8, devices), state, 1).as_text()


def collectives(program: str) -> dict[str, int]:
    kinds = r" (all-reduce|all-to-all|all-gather|collective-permute|reduce-scatter)(?:-start)?\("
    return dict(collections.Counter(re.findall(kinds, program)))


@pytest.mark.nightly
def test_a_step_divided_by_samples_has_one_reduction(task):
    """Of the gradient and the loss together; batches are cut where they are needed."""
    assert collectives(compiled_step(task, mesh_of(data=8))) == {"all-reduce": 1}


@pytest.mark.nightly
def test_seeds_on_their_own_devices_exchange_nothing(task):
    assert collectives(compiled_step(task, mesh_of(seed=4), seeds=4)) == {}


def test_a_step_divided_in_space_exchanges_frequencies_four_times_per_convolution(task):
    """To frequencies and back, forward and backward, in two blocks; one reduction of the norms, one of the gradient."""
    assert collectives(compiled_step(task, mesh_of(space=4))) == {"all-to-all": 8, "all-reduce": 2}


@pytest.mark.nightly
def test_bfloat16_computes_in_it_and_keeps_the_states_in_float32(task):
    rounded, exact = fitted(network(task), dtype="bfloat16"), fitted(network(task))
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(eqx.filter(rounded.last.network, eqx.is_inexact_array)))
    np.testing.assert_allclose(rounded.history.loss, exact.history.loss, rtol=2e-2)
    assert np.abs(np.subtract(rounded.history.loss, exact.history.loss)).min() > 0
    text = compiled_step(task, None)
    assert "bf16" not in text


@pytest.mark.parametrize(
    "axes, options, message",
    [
        (dict(model=8), {}, r"axes \['model'\]"),
        (dict(data=8), dict(batch_size=9), "batch_size=9 is no multiple of the mesh's 8 along 'data'"),
        (
            dict(data=2, fsdp=4),
            dict(batch_size=12),
            "batch_size=12 is no multiple of the mesh's 8 along 'data' and 'fsdp'",
        ),
        (dict(space=2, fsdp=4), {}, "divides both 'space' and 'fsdp'; use one of them"),
        (dict(seed=2), dict(seeds=3), "seeds=3 is no multiple"),
        (dict(space=8), dict(batch_size=4), "multiple of 8 frequencies"),
    ],
)
def test_meshes_that_do_not_fit_are_named(task, axes, options, message):
    with pytest.raises(ValueError, match=message):
        fitted(network(task), mesh_of(**axes), **options)


def test_an_objective_of_its_own_says_itself_what_it_computes_in(task):
    with pytest.raises(ValueError, match=r"dtype=…. belongs to the model's own objective"):
        fitted(network(task), objective=sx.Supervised(), dtype="bfloat16")


# Parameters divided over devices ---------------------------------------------------------------------------------------


def wide(task, **options):
    """Most of its parameters are in arrays that eight devices divide."""
    return sx.FNO(task, width=16, modes=(8, 6), depth=2, key=jax.random.key(0), **options)


def shares(tree) -> list[float]:
    """For every device, the share of the entries of a tree's arrays that it holds."""
    arrays = [x for x in jax.tree.leaves(tree) if eqx.is_inexact_array(x)]
    held = collections.Counter()
    for x in arrays:
        for shard in x.addressable_shards:
            held[shard.device] += shard.data.size
    return [held[device] / sum(x.size for x in arrays) for device in jax.devices()]


def test_large_arrays_are_divided_along_their_longest_even_axis():
    devices = Devices.of(mesh_of(fsdp=8), batch_size=8, seeds=1)
    tree = {
        "weights": jnp.zeros((3, 16, 256)),
        "odd": jnp.zeros((81, 81)),
        "small": jnp.zeros(64),
        "count": jnp.zeros(8000, int),
    }
    parts = {name: sharding.spec for name, sharding in devices.parts(tree).items()}
    whole = jax.sharding.PartitionSpec()
    assert parts == {
        "weights": jax.sharding.PartitionSpec(None, None, "fsdp"), "odd": whole, "small": whole, "count": whole,
    }  # fmt: skip
    seeds = Devices.of(mesh_of(seed=2, fsdp=4), batch_size=8, seeds=2).parts(jnp.zeros((2, 4096)), "seed")
    assert seeds.spec == jax.sharding.PartitionSpec("seed", "fsdp")


@pytest.mark.nightly
def test_parameters_that_no_axis_divides_are_told(task):
    devices = Devices.of(mesh_of(fsdp=8), batch_size=8, seeds=1)
    with pytest.warns(UserWarning, match="over 8 devices, but no array of 4096 entries"):
        Runner.start([network(task)], sx.Supervised(), as_step(optax.sgd(1e-3)), 0.0, devices, jax.random.key(0))


@pytest.mark.nightly
def test_every_device_holds_its_part_of_parameters_and_optimiser_state(task):
    devices = Devices.of(mesh_of(fsdp=8), batch_size=8, seeds=1)
    start = ([wide(task)], sx.Supervised(), as_step(optax.adam(1e-3)), 0.999, devices, jax.random.key(0))
    runner, state = Runner.start(*start)
    chunk = Resident.of(Samples.of(task, TRAIN), 8, devices)
    for _ in range(2):
        for part in (state.model, state.opt_state, state.ema):
            np.testing.assert_allclose(shares(part), 1 / 8, atol=0.03)
        state, losses, _ = runner.train(chunk, state, 0, 2)
    assert np.isfinite(losses).all()
    found = collectives(runner.compiled(chunk, state, 1).as_text())
    assert found["all-gather"] >= 2, "layers gather their parameters"


@pytest.mark.nightly
@pytest.mark.parametrize(
    "mesh, options",
    [
        (dict(fsdp=8), {}),
        (dict(data=2, fsdp=4), dict(ema=0.9)),
        (dict(seed=2, fsdp=4), dict(seeds=2)),
        (dict(fsdp=4), dict(stream=True)),
    ],
    ids=["fsdp", "data", "seeds", "streamed"],
)
def test_divided_parameters_give_the_losses_of_one_device(task, mesh, options, tmp_path):
    options = dict(model=wide(task), optimizer=optax.sgd(0.1), **options)
    found = fitted(**options, mesh=mesh_of(**mesh))
    assert_same(found, fitted(**options))
    assert max(shares(found.best)) < 0.4, "the model that is returned stays divided"
    found.save(tmp_path / "fno.sgx")
    loaded = sx.load(tmp_path / "fno.sgx")
    np.testing.assert_allclose(loaded.predict(VAL)["u"], found.predict(VAL)["u"], rtol=1e-4, atol=1e-5)
    assert min(shares(loaded)[:1]) == 1


@pytest.mark.nightly
def test_a_divided_run_goes_on_whole_and_divided_otherwise(task, tmp_path):
    assert_goes_on(wide(task), mesh_of(fsdp=8), mesh_of(data=2, fsdp=2), tmp_path)
