"""The compiled calls of a training: a run of steps, the validation error, the choice of the best."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..surrogate import NetworkSurrogate
from ..trainable import apply_batch
from .batches import Chunk, Resident, Stream
from .devices import Devices
from .loop import Loop, TrainState
from .losses import RelativeL2
from .objectives import Objective, Supervised
from .samples import Samples


@dataclass(frozen=True)
class Validation:
    """The samples that choose the best parameters, on the device or streamed."""

    batches: Resident | Stream
    size: int

    @classmethod
    def of(cls, samples: Samples, batch_size: int, devices: Devices, stream: bool) -> "Validation":
        divisor = devices.size("data")
        batch_size = -(-min(batch_size, len(samples)) // divisor) * divisor
        if stream:
            return cls(Stream(samples, np.zeros((1, 2), np.uint32), batch_size, devices), len(samples))
        return cls(Resident.of(samples, batch_size, devices), len(samples))

    def parts(self) -> Iterator[tuple[np.ndarray, Resident | Chunk, PyTree]]:
        """All samples once: whether those of every batch are real ones, the batches, and the rows to make them of."""
        if isinstance(self.batches, Stream):
            for real, chunk in self.batches.in_order():
                yield real, chunk, chunk.fields
        else:
            steps = -(-self.size // self.batches.batch_size)
            numbers = np.arange(steps * self.batches.batch_size).reshape(steps, -1)
            yield numbers < self.size, self.batches, numbers % self.size


class Runner:
    """`seeds` trainings side by side, compiled."""

    def __init__(self, loop: Loop, devices: Devices, seeds: int):
        self.loop, self.devices, self.seeds = loop, devices, seeds

        def many(function: Callable, axes: int | tuple[int | None, ...] = 0) -> Callable:
            return function if seeds == 1 else jax.vmap(function, in_axes=axes)

        @eqx.filter_jit(donate="all-except-first")
        def train(constants, state: TrainState, count: int):
            loop, batches, done = constants

            def one(state: TrainState, batches):
                return loop.run(state, batches.rows(state.key, done, count), batches.batch)

            axes = (0, 0 if isinstance(batches, Chunk) else None)
            state, losses = many(one, axes)(state, batches)
            return state, losses, batches.misplaced()

        @eqx.filter_jit
        def errors(loop: Loop, batches, rows, real, state: TrainState):
            return many(lambda s: _errors(loop.surrogate(s), batches.batch, rows, real))(state)

        @eqx.filter_jit
        def keep_better(better, new, old):
            pick = lambda a, b: jnp.where(better.reshape(better.shape + (1,) * (a.ndim - better.ndim)), a, b)  # noqa: E731
            return jax.tree.map(pick, new, old)

        self._train: Any = train
        self._errors, self._keep_better = errors, keep_better

    @classmethod
    def start(
        cls,
        surrogates: Sequence[NetworkSurrogate],
        objective: Objective,
        optimizer,
        ema: float,
        devices: Devices,
        key: Array,
    ) -> tuple["Runner", TrainState]:
        """Trainings of these surrogates, one per seed, and their first state, on the devices."""
        loop, seeds = Loop.of(surrogates[0], objective, optimizer, ema), len(surrogates)
        states = [loop.init(s, k) for s, k in zip(surrogates, jax.random.split(key, seeds), strict=True)]
        if seeds == 1:
            return cls(devices.put(loop), devices, 1), devices.put(states[0])
        stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *states)
        return cls(devices.put(loop), devices, seeds), devices.put(stacked, "seed")

    def compiled(self, batches, state: TrainState, count: int) -> jax.stages.Compiled:
        """The program of `train`, to look into."""
        with self.devices.active():
            return self._train.lower((self.loop, batches, np.int32(0)), state, count).compile().compiled

    def train(self, batches, state: TrainState, done: int, count: int) -> tuple[TrainState, np.ndarray]:
        """`count` steps from step `done` on; losses `(seeds, count)`."""
        with self.devices.active():
            state, losses, misplaced = self._train((self.loop, batches, np.int32(done)), state, count)
        losses, misplaced = self.devices.local((losses, misplaced))
        if misplaced:
            raise RuntimeError(
                f"training steps {done} to {done + count}: samples lie on devices where others belong; the mesh and the "
                "processes disagree about the order of the devices"
            )
        return state, np.asarray(losses).reshape(self.seeds, -1)

    def validate(self, validation: Validation, state: TrainState) -> np.ndarray:
        """Mean over all samples of the relative L2 error in physical units, one step ahead, per seed."""
        total = np.zeros(self.seeds)
        for real, batches, rows in validation.parts():
            with self.devices.active():
                found = self._errors(self.loop, batches, rows, real, state)
            total += np.asarray(self.devices.local(found), np.float64).reshape(self.seeds)
        return total / validation.size

    def result(self, state: TrainState) -> PyTree:
        """What is kept of a state as a result."""
        return (state.ema if self.loop.ema else state.model), state.model_state

    def keep_better(self, better: np.ndarray, state: TrainState, best: PyTree) -> PyTree:
        """The results of seeds that are `better`, of the others `best`."""
        return self._keep_better(better if self.seeds > 1 else better[0], self.result(state), best)


def _errors(surrogate: NetworkSurrogate, batch: Callable, rows: PyTree, real) -> Float[Array, ""]:
    """Sum of the errors of the samples that are `real`."""
    measure = Supervised(RelativeL2())

    def one(total, row):
        row, real = row
        fields = batch(row)
        y, _ = apply_batch(surrogate.network, surrogate.state, jax.vmap(surrogate.task.pack)(fields))
        errors = measure.per_sample(surrogate.task, jax.vmap(surrogate.task.unpack)(y, fields), fields)
        return total + jnp.where(real, errors, 0).sum(), None

    return jax.lax.scan(one, jnp.zeros(()), (rows, real))[0]
