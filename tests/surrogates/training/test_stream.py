"""Streamed training: the numbers of data on the device, from files, of windows of trajectories, from the middle of an epoch."""

import jax
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.datasets.formats.well_writer import write_well
from surrogax.datasets.source import MemorySource
from surrogax.surrogates.training import batches
from surrogax.surrogates.training.batches import Stream, pieces
from surrogax.surrogates.training.devices import Devices
from surrogax.surrogates.training.samples import DeviceData, Samples

N, TIMES = 8, 7


def steady() -> sx.Dataset:
    a = np.random.default_rng(0).normal(size=(14, N)).astype(np.float32)
    return sx.from_arrays({"a": a}, {"u": np.roll(a, 1, 1) + a**2}, grid=sx.Grid.unit(N, 1, "periodic"))


def trajectories() -> sx.Dataset:
    rng = np.random.default_rng(1)
    w = np.cumsum(rng.normal(size=(5, TIMES, N)).astype(np.float32), 1)
    return sx.from_arrays(
        {"w": w, "force": rng.normal(size=(5, N)).astype(np.float32)},
        parameters={"nu": rng.uniform(1, 2, 5)},
        grid=sx.Grid.unit(N, 1, "periodic"),
        times=np.arange(TIMES),
    )


CASES = {
    "steady": (steady, dict(inputs="a", targets="u"), {}),
    "windows": (
        trajectories,
        dict(inputs=("w", "force", "nu"), targets="w", mode=sx.Autoregressive(2)),
        dict(unroll=sx.Unroll(2)),
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    data, roles, options = CASES[request.param]
    train, val = data().split(train=len(data()) - 2, val=2)
    task = sx.Task.fit(train, **roles)
    return task, train, val, options


@pytest.fixture
def single_steps(monkeypatch):
    """Chunks of one batch."""
    monkeypatch.setattr(batches, "_CHUNK_BYTES", 1)


def fitted(case, **options) -> sx.FitResult:
    task, train, val, unroll = case
    model = sx.FNO(task, width=4, modes=2, depth=1, key=jax.random.key(0))
    settings = dict(val=val, optimizer=optax.adam(1e-2), epochs=3, batch_size=4, progress=False)
    return sx.fit(model, train, **(settings | unroll | options))


def assert_same(a: sx.FitResult, b: sx.FitResult):
    """Up to rounding: scans of other lengths are other programs."""
    np.testing.assert_allclose(a.history.loss, b.history.loss, rtol=2e-6)
    np.testing.assert_allclose(a.history.val, b.history.val, rtol=2e-6)
    for x, y in zip(jax.tree.leaves((a.members, a.lasts)), jax.tree.leaves((b.members, b.lasts)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


@pytest.mark.nightly
def test_streamed_batches_are_those_of_data_on_the_device(case, single_steps):
    assert_same(fitted(case, stream=True, seeds=2), fitted(case, stream=False, seeds=2))


@pytest.mark.quick("windows")
def test_a_file_is_streamed_like_memory(case, tmp_path):
    task, train, val, options = case
    stored = {}
    for name, data in {"train": train, "val": val}.items():
        write_well(tmp_path / f"{name}.hdf5", data, name=name)
        stored[name] = sx.open(tmp_path / f"{name}.hdf5")
    from_file = (task, stored["train"], stored["val"], options)
    assert_same(fitted(from_file, stream=True), fitted(case))


@pytest.mark.quick("windows")
def test_a_run_goes_on_from_the_middle_of_an_epoch_bit_for_bit(case, single_steps, tmp_path):
    run = dict(run=tmp_path / "run", epochs=None, stream=True, checkpoint_every=0)
    for steps in (1, 5):
        fitted(case, **(run | dict(steps=steps)))
    again, once = fitted(case, **(run | dict(steps=8))), fitted(case, epochs=None, steps=8, stream=True)
    for x, y in zip(jax.tree.leaves(again.lasts), jax.tree.leaves(once.lasts), strict=True):
        np.testing.assert_array_equal(x, y)


def test_samples_read_by_number_are_those_cut_on_the_device(case):
    task, train, *_ = case
    samples = Samples.of(task, train)
    numbers = np.random.default_rng(0).permutation(len(samples))[:7]
    on_device = DeviceData.load(samples).take(jax.numpy.asarray(numbers))
    for name, values in samples.read(numbers).items():
        np.testing.assert_array_equal(values, on_device[name])


def test_pieces_cover_every_step_once_and_end_with_the_epochs():
    found = list(pieces(2, 23, 10, 4))
    assert found == [(2, 4), (4, 8), (8, 10), (10, 14), (14, 18), (18, 20), (20, 23)]


def test_samples_on_the_wrong_devices_are_an_error(case, monkeypatch):
    place = jax.make_array_from_callback

    def elsewhere(shape, sharding, block):
        """Every device holds the samples of the next one."""
        if sharding.spec != jax.sharding.PartitionSpec(None, "data"):
            return place(shape, sharding, block)

        def next_block(index):
            steps, rows, *rest = index
            width = shape[1] // 4
            start = (rows.indices(shape[1])[0] + width) % shape[1]
            return block((steps, slice(start, start + width), *rest))

        return place(shape, sharding, next_block)

    monkeypatch.setattr(jax, "make_array_from_callback", elsewhere)
    with pytest.raises(RuntimeError, match="on devices where others belong"):
        fitted(case, stream=True, mesh=jax.make_mesh((4,), ("data",)))


def test_values_that_are_not_finite_are_named_when_they_are_read(case):
    task, train, val, options = case
    bad = {name: values.copy() for name, values in train.read().items()}
    target = task.targets[0]
    bad[target][1] = np.nan
    broken = sx.Dataset.of(MemorySource(bad, train.fields, {"": train.grid}, train.times, {}))
    with pytest.raises(ValueError, match=f"'{target}' holds NaN or infinity in 1 of"):
        fitted((task, broken, val, options), stream=True)


def test_a_stream_reads_only_what_a_step_needs(case):
    task, train, *_ = case
    read = []

    class Counting(Samples):
        def read(self, numbers):
            read.extend(np.atleast_1d(numbers))
            return super().read(numbers)

    samples = Counting(**vars(Samples.of(task, train)))
    key = np.asarray(jax.random.key_data(jax.random.key(0)))[None]
    chunks = Stream(samples, key, 4, Devices()).chunks(0, 2)
    read.clear()
    steps = [count for count, _ in chunks]
    assert sum(steps) == 2 and len(read) == 2 * 4
