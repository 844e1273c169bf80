"""`Runner`: the compiled functions of a training run, which take steps, measure validation errors and keep the best models."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ...solvers.kernels.mesh_axes import PARAMETERS
from ..batching import Batch
from ..networks.abstract_network import AbstractNetwork
from ..networks.network_surrogate import NetworkSurrogate
from ..synthetic_data import synthetic_dataset
from ..trainable import AbstractTrainable
from .batches import AbstractChunk, Resident, Stream, Streamed
from .devices import SAMPLES, SMALL, Devices
from .loop import Loop, TrainState
from .objective import AbstractObjective
from .samples import Samples
from .steps import AbstractStep


@dataclass(frozen=True)
class Validation:
    """The validation samples, on the device (`Resident`) or streamed (`Stream`). `size` is their number."""

    batches: Resident | Stream
    size: int

    @classmethod
    def of(cls, samples: Samples, batch_size: int, devices: Devices, stream: bool) -> "Validation":
        """The validation samples in batches of about `batch_size`, rounded up so that the devices divide it."""
        divisor = devices.size(*SAMPLES)
        batch_size = -(-min(batch_size, len(samples)) // divisor) * divisor
        if stream:
            return cls(Stream(samples, np.zeros((1, 2), np.uint32), batch_size, devices), len(samples))
        return cls(Resident.of(samples, batch_size, devices), len(samples))

    def parts(self) -> Iterator[tuple[np.ndarray, Resident | Streamed, PyTree]]:
        """Yield `(real, batches, rows)` until every validation sample was seen once.

        `real` `(steps, batch)` is False at the padding of the last batch. `batches.batch(row)` makes a batch from each of the
        `rows`.
        """
        if isinstance(self.batches, Stream):
            for real, chunk in self.batches.in_order():
                yield real, chunk, chunk.fields
        else:
            steps = -(-self.size // self.batches.batch_size)
            numbers = np.arange(steps * self.batches.batch_size).reshape(steps, -1)
            yield numbers < self.size, self.batches, numbers % self.size


class Runner:
    """Trains `seeds` models at once (by `vmap`) with compiled functions.

    `apart` says whether every step is a call of its own instead of a round of one compiled loop, in which the seeds take turns.
    XLA's CPU backend runs convolutions inside a loop 4 to 20 times slower than outside of it, and those with a batch of kernels,
    which `vmap` makes of them, up to 2 times slower.
    """

    def __init__(self, loop: Loop, devices: Devices, seeds: int, apart: bool = False):
        self.loop, self.devices, self.seeds, self.apart = loop, devices, seeds, apart

        def many(function: Callable) -> Callable:
            if seeds == 1:
                return function
            return _in_turn(function, seeds) if apart else jax.vmap(function)

        @eqx.filter_jit(donate="all-except-first")
        def train(constants, state: TrainState, count: int):
            loop, chunk, done = constants

            def one(state: TrainState, chunk):
                rows = chunk.rows(state.key, done, count)
                return loop.run(state, rows, chunk.batch, apart and count == 1, devices.keep_parts)

            if isinstance(chunk, Streamed):
                state, losses, metrics = many(one)(state, chunk)
            else:
                state, losses, metrics = many(lambda state: one(state, chunk))(state)
            return state, losses, metrics, chunk.misplaced()

        @eqx.filter_jit
        def errors(loop: Loop, chunk, rows, real, state: TrainState):
            return many(lambda s: _errors(loop, s, chunk.batch, rows, real))(state)

        @eqx.filter_jit
        def keep_better(better, new, old):
            pick = lambda a, b: jnp.where(better.reshape(better.shape + (1,) * (a.ndim - better.ndim)), a, b)  # noqa: E731
            return many(devices.keep_parts)(jax.tree.map(pick, new, old))

        self._train: Any = train
        self._errors, self._keep_better = errors, keep_better

    @classmethod
    def start(
        cls,
        models: Sequence[AbstractTrainable],
        objective: AbstractObjective,
        optimizer: AbstractStep,
        ema: float,
        devices: Devices,
        key: Array,
    ) -> tuple["Runner", TrainState]:
        """A runner for these models, one per seed, and their initial state, both on the devices."""
        loop, seeds = Loop.of(models[0], objective, optimizer, ema), len(models)
        apart = jax.default_backend() == "cpu" and devices.mesh is None and _convolves(models[0])
        keys, leading = jax.random.split(key, seeds), ("seed",) if seeds > 1 else ()

        def first(models: Sequence[AbstractTrainable], keys: Array) -> TrainState:
            states = [loop.init(m, k) for m, k in zip(models, keys, strict=True)]
            return jax.tree.map(lambda *xs: jnp.stack(xs), *states) if seeds > 1 else states[0]

        runner = cls(devices.put(loop), devices, seeds, apart)
        if not devices.divide_parameters:
            return runner, devices.put(first(models, keys), *leading)
        # No device ever holds all of the state.
        arrays, rest = eqx.partition(list(models), eqx.is_array)
        arrays = jax.tree.map(jax.device_put, arrays, devices.parts(arrays))
        make = lambda arrays, keys: first(eqx.combine(arrays, rest), keys)  # noqa: E731
        shapes = jax.eval_shape(make, arrays, keys)
        places = devices.parts(shapes, *leading)
        if all(place.spec == devices.sharding(*leading).spec for place in jax.tree.leaves(places.model)):
            warnings.warn(
                f"fit: the mesh divides parameters over {devices.size(PARAMETERS)} devices, but no array of {SMALL} entries or "
                "more has an axis that this number divides: every device holds all of them",
                stacklevel=4,
            )
        return runner, jax.jit(make, out_shardings=places)(arrays, devices.put(keys))

    def compiled(self, chunk: AbstractChunk, state: TrainState, count: int) -> jax.stages.Compiled:
        """The compiled program of `train`, for inspection."""
        with self.devices.active():
            return self._train.lower((self.loop, chunk, np.int32(0)), state, count).compile().compiled

    def train(
        self, chunk: AbstractChunk, state: TrainState, done: int, count: int
    ) -> tuple[TrainState, np.ndarray, dict[str, np.ndarray]]:
        """Take `count` steps from step `done` on. Returns the new state, and losses and metrics `(seeds, count)`.

        **Raises:** `RuntimeError` if a device was sent the wrong samples.
        """
        if self.apart and count > 1 and not isinstance(chunk, Streamed):
            parts = []
            for step in range(done, done + count):
                state, *found = self.train(chunk, state, step, 1)
                parts.append(found)
            return state, *jax.tree.map(lambda *xs: np.concatenate(xs, 1), *parts)
        with self.devices.active():
            state, losses, metrics, misplaced = self._train((self.loop, chunk, np.int32(done)), state, count)
        losses, metrics, misplaced = self.devices.local((losses, metrics, misplaced))
        if misplaced:
            raise RuntimeError(
                f"training steps {done} to {done + count}: samples are on devices where others belong; the mesh and the "
                "processes disagree about the order of the devices"
            )
        per_seed = jax.tree.map(lambda x: np.asarray(x).reshape(self.seeds, -1), (losses, metrics))
        return state, *per_seed

    def validate(self, validation: Validation, state: TrainState) -> np.ndarray:
        """The objective's validation error, averaged over all validation samples, `(seeds,)`."""
        total = np.zeros(self.seeds)
        for real, chunk, rows in validation.parts():
            with self.devices.active():
                found = self._errors(self.loop, chunk, rows, real, state)
            total += np.asarray(self.devices.local(found), np.float64).reshape(self.seeds)
        return total / validation.size

    def models(self, result: PyTree) -> list[AbstractTrainable]:
        """One model per seed, from `Loop.result` of a state on the devices. Divided parameters stay so in one process; each of
        several processes gets them as NumPy arrays on its host."""
        result = self.devices.gathered(result)
        rows = [result] if self.seeds == 1 else [jax.tree.map(lambda x, i=i: x[i], result) for i in range(self.seeds)]
        loop = self.devices.gathered(self.loop)
        return [loop.model(row) for row in rows]

    def keep_better(self, better: np.ndarray, state: TrainState, best: PyTree) -> PyTree:
        """The new `best`: the result of `state` for the seeds that are `better` `(seeds,)`, the old `best` for the others."""
        return self._keep_better(better if self.seeds > 1 else better[0], self.loop.result(state), best)


def _in_turn(function: Callable, seeds: int) -> Callable:
    """`function` for every entry along the first axes of its arguments, without a loop in the compiled program."""

    def all_of(*each):
        found = [function(*jax.tree.map(lambda x, i=i: x[i], each)) for i in range(seeds)]
        return jax.tree.map(lambda *xs: jnp.stack(xs), *found)

    return all_of


def _convolves(model: AbstractTrainable) -> bool:
    """Whether a model convolves: its networks say so, a foreign one is traced."""
    nodes = jax.tree.leaves(model, is_leaf=lambda x: isinstance(x, AbstractNetwork))
    if any(node.abilities.convolves for node in nodes if isinstance(node, AbstractNetwork)):
        return True
    if not isinstance(model, NetworkSurrogate) or model.network.config.self_contained:
        return False
    data = synthetic_dataset(model.task, 2)
    batch = Batch(data.read(model.task.input_names()), np.arange(2))
    return "conv_general_dilated" in str(eqx.filter_make_jaxpr(lambda m, b: m.frames(b)[0])(model, batch)[0])


def _errors(loop: Loop, state: TrainState, batch: Callable, rows: PyTree, real) -> Float[Array, ""]:
    """Sum of the validation errors of all `real` samples, over the batches made from `rows`."""
    model = loop.model(loop.result(state))

    def one(total, row):
        row, real = row
        errors = loop.objective.validate(model, batch(row))
        return total + jnp.where(real, errors, 0).sum(), None

    return jax.lax.scan(one, jnp.zeros(()), (rows, real))[0]
