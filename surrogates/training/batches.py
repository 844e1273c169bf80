"""The batches of a training: cut from data on the device, streamed from the host, made by a solver, or none."""

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
from .devices import Devices
from .samples import DeviceData, Samples

_CHUNK_BYTES = 2**26  # of one transfer to the devices: long enough to hide its cost, short beside their memory
_AHEAD = 2  # chunks read before they are needed, and threads that read them


class AbstractChunk(eqx.Module):
    """The batches of some steps in a row, as the compiled loop sees them."""

    @abc.abstractmethod
    def rows(self, key: Array, done: Int[Array, ""], count: int) -> PyTree:
        """Arrays with a leading axis of `count` steps, from step `done` on; one row is what `batch` needs for one step."""

    @abc.abstractmethod
    def batch(self, row: PyTree) -> Fields | None:
        """The batch of one step: arrays with a leading sample axis, or None without data."""

    @abc.abstractmethod
    def misplaced(self) -> Bool[Array, ""]:
        """Whether any sample is on a device where another one belongs."""


class AbstractBatches(abc.ABC):
    """Where the batches of a training come from.

    **Fields:** `per_round`, steps of one epoch (or of one round without data); `per_step`, samples of one step.
    """

    per_round: int
    per_step: int

    @abc.abstractmethod
    def chunks(self, done: int, total: int) -> Iterator[tuple[int, AbstractChunk]]:
        """Number of steps and chunk of every piece of the training from step `done` to `total`; no piece reaches into the
        next round."""


@dataclass(frozen=True)
class Whole(AbstractBatches):
    """Batches that one chunk makes for every step: of data on the device, of a solver, or none."""

    chunk: AbstractChunk
    per_round: int
    per_step: int

    def chunks(self, done: int, total: int) -> Iterator[tuple[int, AbstractChunk]]:
        return ((end - begin, self.chunk) for begin, end in pieces(done, total, self.per_round, self.per_round))


class NoData(AbstractChunk):
    """Training without data: the objective draws what it needs."""

    def rows(self, key: Array, done: Int[Array, ""], count: int) -> PyTree:
        return jnp.zeros((count, 0))

    def batch(self, row: PyTree) -> None:
        return None

    def misplaced(self) -> Bool[Array, ""]:
        return jnp.asarray(False)


class Resident(AbstractChunk):
    """Batches cut from data on the device, in an order drawn there: a new permutation in every epoch."""

    data: DeviceData
    task: Task
    batch_size: int = eqx.field(static=True)
    devices: Devices = eqx.field(static=True)

    @classmethod
    def of(cls, samples: Samples, batch_size: int, devices: Devices) -> "Resident":
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
    """Batches that came from the host; with several seeds every array has an axis for them in front.

    **Fields:**

    - `fields`: arrays `(steps, batch, …)`; every process has read the samples of its own devices.
    - `numbers` `(steps, batch)`: the sample numbers that went with them; `expected`: those that the order asks for.
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
    """Chunks of samples read ahead by threads through grain and sent to the devices.

    The order is that of `Resident` and the chunk of any step is found from its number alone, so a run goes on from the
    middle of an epoch to the same bits.
    """

    samples: Samples
    keys: np.ndarray  # data of the keys, one per seed
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
        """Steps of one chunk."""
        size = self.samples.read(np.zeros(1, int)).values()
        return max(1, _CHUNK_BYTES // (len(self.keys) * self.batch_size * sum(v.nbytes for v in size)))

    def chunks(self, done: int, total: int) -> Iterator[tuple[int, AbstractChunk]]:
        """Number of steps and batches from step `done` to `total`; no chunk reaches into the next epoch."""
        orders = lru_cache(maxsize=2)(lambda epoch: self._orders(epoch))

        def load(piece: tuple[int, int]):
            begin, end = piece
            first = begin % self.per_round
            return end - begin, self._chunk(orders(begin // self.per_round)[:, first : first + end - begin])

        return _ahead(list(pieces(done, total, self.per_round, self.per_chunk)), load)

    def in_order(self) -> Iterator[tuple[np.ndarray, Streamed]]:
        """Yield every sample once, in order: `(real, chunk)`, with `real` `(steps, batch)` False at the padding of the last
        batch."""
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
        """`numbers` `(seeds, steps, batch)`; one seed has no axis of its own."""
        leading = ("seed",) if len(numbers) > 1 else ()
        numbers = numbers if leading else numbers[0]
        if self.devices.mesh is None:
            found = self._read(numbers)
            fields, came = jax.device_put((found, numbers))
            return Streamed(fields, came, came)
        axes = (*leading, None, "data")
        mine = self.devices.sharding(*axes).addressable_devices_indices_map(numbers.shape).values()
        wanted = np.unique(np.concatenate([numbers[index].ravel() for index in mine]))

        def spread(values: np.ndarray, along: tuple[str | None, ...]) -> Array:
            def block(index):
                rows = np.searchsorted(wanted, numbers[index[: numbers.ndim]])
                return values[(rows, *index[numbers.ndim :])]

            shape = numbers.shape + values.shape[1:]
            return jax.make_array_from_callback(shape, self.devices.sharding(*axes[:-1], *along), block)

        fields = {
            name: spread(values, self.devices.batch_axes(self.samples.task, name, values.shape))
            for name, values in self._read(wanted).items()
        }
        return Streamed(fields, spread(wanted, ("data",)), self.devices.put(numbers))

    def _read(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        found = self.samples.read(numbers.ravel())
        return {name: values.reshape(numbers.shape + values.shape[1:]) for name, values in found.items()}


def pieces(done: int, total: int, per_round: int, per_chunk: int) -> Iterator[tuple[int, int]]:
    """First and last step of every chunk: cut at the ends of epochs and every `per_chunk` steps within them."""
    while done < total:
        round_, first = divmod(done, per_round)
        end = round_ * per_round + min((first // per_chunk + 1) * per_chunk, per_round)
        yield done, min(end, total)
        done = min(end, total)


def epoch_order(key: Array, epoch, size: int, batch_size: int) -> Int[Array, "steps batch"]:
    """Sample numbers of one epoch in random order, whole batches only: (size // batch_size, batch_size)."""
    # Parameter steps use fold_in(key, step); the order of an epoch comes from another branch of the key.
    key = jax.random.fold_in(jax.random.fold_in(key, 2**31 - 1), epoch)
    steps = size // batch_size
    return jax.random.permutation(key, size)[: steps * batch_size].reshape(steps, batch_size)


def _ahead(items: list, load) -> Iterator:
    """`load(item)` for all items in order, a few ahead in threads."""
    import grain

    options = grain.ReadOptions(num_threads=_AHEAD, prefetch_buffer_size=_AHEAD)
    return iter(grain.MapDataset.source(items).map(load).to_iter_dataset(options))
