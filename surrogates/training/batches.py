"""The batches of a training run: cut from data on the device, streamed from the host, made by a solver, or none.

A run is divided into rounds: epochs if there are data, else a fixed number of steps. A chunk holds the batches of consecutive
steps within one round; the compiled loop runs one chunk per call.
"""

import abc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree

from ..task.task import Fields, Task
from .devices import SAMPLES, Axis, Devices
from .samples import DeviceData, Samples

# Size of one transfer to the devices: enough to hide its latency, small enough that the memory of one chunk serves the next
# (glibc returns pieces of 32 MiB and more to the system, and a new one costs a third of reading it).
_CHUNK_BYTES = 2**24
_AHEAD = 2  # number of chunks that are read in advance, and of threads that read them


class AbstractChunk(eqx.Module):
    """The batches of consecutive steps, as the compiled loop reads them."""

    @abc.abstractmethod
    def rows(self, key: Array, done: Int[Array, ""], count: int) -> PyTree:
        """What `batch` needs for each of the `count` steps from step `done` on: a pytree of arrays with a leading step axis.

        `key` is that of the training state, from which the order of the samples is drawn.
        """

    @abc.abstractmethod
    def batch(self, row: PyTree) -> Fields | None:
        """The batch of one step, from its row of `rows`: arrays by name with a leading sample axis, or None without data."""

    @abc.abstractmethod
    def misplaced(self) -> Bool[Array, ""]:
        """True if a device holds another sample than the order of the epoch asks for."""


class AbstractBatches(abc.ABC):
    """The source of the batches of a training run.

    **Fields:** `per_round`, number of steps of one round (an epoch if there are data); `per_step`, number of samples of one step.
    """

    per_round: int
    per_step: int

    @abc.abstractmethod
    def chunks(self, done: int, total: int) -> Iterator[tuple[int, AbstractChunk]]:
        """Yield `(count, chunk)` from step `done` to step `total`: the number of steps of a chunk, and the chunk. A chunk ends
        with its round at the latest."""


@dataclass(frozen=True)
class Whole(AbstractBatches):
    """Batches that are all made by one `chunk`: a `Resident`, a `Solved` or a `NoData`."""

    chunk: AbstractChunk
    per_round: int
    per_step: int

    def chunks(self, done: int, total: int) -> Iterator[tuple[int, AbstractChunk]]:
        return ((end - begin, self.chunk) for begin, end in pieces(done, total, self.per_round, self.per_round))


class NoData(AbstractChunk):
    """Training without data: there is no batch, and the objective draws all that it needs."""

    def rows(self, key: Array, done: Int[Array, ""], count: int) -> PyTree:
        return jnp.zeros((count, 0))

    def batch(self, row: PyTree) -> None:
        return None

    def misplaced(self) -> Bool[Array, ""]:
        return jnp.asarray(False)


class Resident(AbstractChunk):
    """Batches that are cut from data on the device, in a new random order in every epoch.

    **Fields:** `data`, all samples; `task`, which names their arrays; `batch_size`; `devices`, over which batches are divided.
    """

    data: DeviceData
    task: Task
    batch_size: int = eqx.field(static=True)
    devices: Devices = eqx.field(static=True)

    @classmethod
    def of(cls, samples: Samples, batch_size: int, devices: Devices) -> "Resident":
        """Read all samples and put them on the devices."""
        data, task = devices.put((DeviceData.load(samples), samples.task))
        return cls(data, task, batch_size, devices)

    def rows(self, key: Array, done: Int[Array, ""], count: int) -> Int[Array, "count batch"]:
        per_round = len(self.data) // self.batch_size
        order = epoch_order(key, done // per_round, len(self.data), self.batch_size)
        return jax.lax.dynamic_slice_in_dim(order, done % per_round, count)

    def batch(self, row: PyTree) -> Fields:
        return self.devices.spread(self.task, self.data.take(row))

    def misplaced(self) -> Bool[Array, ""]:
        return jnp.asarray(False)


class Streamed(AbstractChunk):
    """Batches that were sent from the host to the devices. With several seeds every array has a leading seed axis.

    **Fields:**

    - `fields`: arrays `(steps, batch, …)` by name. Every process has read the samples of its own devices.
    - `numbers` `(steps, batch)`: the numbers of the samples that were sent.
    - `expected` `(steps, batch)`: the sample numbers that the order of the epoch asks for.
    """

    fields: Fields
    numbers: Int[Array, "..."]
    expected: Int[Array, "..."]

    def rows(self, key: Array, done: Int[Array, ""], count: int) -> Fields:
        return self.fields

    def batch(self, row: PyTree) -> Fields:
        return row

    def misplaced(self) -> Bool[Array, ""]:
        return (self.numbers != self.expected).any()


@dataclass(frozen=True)
class Stream(AbstractBatches):
    """Batches that threads (of grain) read in advance on the host, chunk by chunk, and send to the devices.

    The order of the samples is that of `Resident`. The chunk of a step follows from the step's number, so that a run that is
    resumed in the middle of an epoch gives the same bits.

    **Fields:** `samples`; `keys`, the data of the random keys that order them, one row per seed; `batch_size`; `devices`.
    """

    samples: Samples
    keys: np.ndarray
    batch_size: int
    devices: Devices

    @property
    def per_round(self) -> int:
        return len(self.samples) // self.batch_size

    @property
    def per_step(self) -> int:
        return self.batch_size

    @property
    def per_chunk(self) -> int:
        """Number of steps of one chunk."""
        size = self.samples.read(np.zeros(1, int)).values()
        return max(1, _CHUNK_BYTES // (len(self.keys) * self.batch_size * sum(v.nbytes for v in size)))

    def chunks(self, done: int, total: int) -> Iterator[tuple[int, AbstractChunk]]:
        """See `AbstractBatches.chunks`."""
        orders = lru_cache(maxsize=2)(lambda epoch: self._orders(epoch))

        def load(piece: tuple[int, int]):
            begin, end = piece
            first = begin % self.per_round
            return end - begin, self._chunk(orders(begin // self.per_round)[:, first : first + end - begin])

        return _ahead(list(pieces(done, total, self.per_round, self.per_chunk)), load)

    def in_order(self) -> Iterator[tuple[np.ndarray, Streamed]]:
        """Yield `(real, chunk)` until every sample was seen once, in order. `real` `(steps, batch)` is False at the padding of
        the last batch."""
        size, steps = self.batch_size, -(-len(self.samples) // self.batch_size)
        numbers = np.arange(steps * size).reshape(steps, size)
        plain = replace(self, keys=self.keys[:1])

        def load(piece: tuple[int, int]):
            part = numbers[slice(*piece)]
            return part < len(self.samples), plain._chunk(part[None] % len(self.samples))

        return _ahead(list(pieces(0, steps, steps, self.per_chunk)), load)

    def _orders(self, epoch: int) -> np.ndarray:
        order = [epoch_order(jax.random.wrap_key_data(k), epoch, len(self.samples), self.batch_size) for k in self.keys]
        return np.asarray(jnp.stack(order))

    def _chunk(self, numbers: np.ndarray) -> Streamed:
        """The chunk with the samples `numbers` `(seeds, steps, batch)`. With one seed its arrays have no seed axis."""
        leading = ("seed",) if len(numbers) > 1 else ()
        numbers = numbers if leading else numbers[0]
        if self.devices.mesh is None:
            found = self._read(numbers)
            fields, came = jax.device_put((found, numbers))
            return Streamed(fields, came, came)
        axes = (*leading, None, SAMPLES)
        mine = self.devices.sharding(*axes).addressable_devices_indices_map(numbers.shape).values()
        wanted = np.unique(np.concatenate([numbers[index].ravel() for index in mine]))

        def spread(values: np.ndarray, along: tuple[Axis, ...]) -> Array:
            def block(index):
                rows = np.searchsorted(wanted, numbers[index[: numbers.ndim]])
                return values[(rows, *index[numbers.ndim :])]

            shape = numbers.shape + values.shape[1:]
            return jax.make_array_from_callback(shape, self.devices.sharding(*axes[:-1], *along), block)

        fields = {
            name: spread(values, self.devices.batch_axes(self.samples.task, name, values.shape))
            for name, values in self._read(wanted).items()
        }
        return Streamed(fields, spread(wanted, (SAMPLES,)), self.devices.put(numbers))

    def _read(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        found = self.samples.read(numbers.ravel())
        return {name: values.reshape(numbers.shape + values.shape[1:]) for name, values in found.items()}


def pieces(done: int, total: int, per_round: int, per_chunk: int) -> Iterator[tuple[int, int]]:
    """Yield `(first, end)` for every chunk from step `done` to step `total`; `end` is the first step of the next chunk.

    Chunks end with their round and every `per_chunk` steps within a round.
    """
    while done < total:
        round_, first = divmod(done, per_round)
        end = round_ * per_round + min((first // per_chunk + 1) * per_chunk, per_round)
        yield done, min(end, total)
        done = min(end, total)


def epoch_order(key: Array, epoch, size: int, batch_size: int) -> Int[Array, "steps batch"]:
    """The sample numbers of one epoch in random order, `(size // batch_size, batch_size)`. Samples that do not fill a batch are
    left out of the epoch."""
    # Training steps use fold_in(key, step), so the order of an epoch uses another branch of the key.
    key = jax.random.fold_in(jax.random.fold_in(key, 2**31 - 1), epoch)
    steps = size // batch_size
    return jax.random.permutation(key, size)[: steps * batch_size].reshape(steps, batch_size)


def _ahead(items: list, load) -> Iterator:
    """Yield `load(item)` for all items in order; threads compute a few of them in advance."""
    import grain

    options = grain.ReadOptions(num_threads=_AHEAD, prefetch_buffer_size=_AHEAD)
    return iter(grain.MapDataset.source(items).map(load).to_iter_dataset(options))
