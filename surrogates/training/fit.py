"""`fit`: the one verb that trains or fits every surrogate."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from ...datasets.dataset import Dataset
from ...solvers.pde.symmetry import Dihedral
from ..surrogate import AbstractSurrogate, NetworkSurrogate
from .batches import NoData, Resident, Stream, pieces
from .checkpoint import RunFolder
from .devices import Devices, any_process, assert_same_everywhere, is_first_process
from .history import History
from .loop import Loop
from .losses import Loss, RelativeL2
from .objectives import Objective, Supervised
from .progress_line import ProgressLine
from .result import DirectFit, FitResult
from .run_identity import settings_of
from .runner import Runner, Validation
from .samples import Samples
from .sigterm import Sigterm

_STEPS_PER_ROUND = 500  # without data: optimiser steps between two looks at the clock


@dataclass(frozen=True)
class Unroll:
    """Train an autoregressive surrogate on `steps` frames in a row; see `Supervised`."""

    steps: int = 1
    gradient: str = "full"


def fit(
    model: NetworkSurrogate | DirectFit | Callable[[Array], NetworkSurrogate],
    data: Dataset | None = None,
    *,
    val: Dataset | None = None,
    optimizer: optax.GradientTransformation | None = None,
    loss: Loss = RelativeL2(),  # noqa: B008 (frozen)
    objective: Objective | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 20,
    seeds: int = 1,
    unroll: Unroll = Unroll(),
    symmetry: Dihedral | bool | None = None,
    ema: float = 0.0,
    patience: int | None = None,
    run: str | Path | None = None,
    key: Array | None = None,
    progress: bool = True,
    checkpoint_every: float = 30.0,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    stream: bool | None = None,
) -> FitResult:
    """Train a surrogate, or fit one that needs no optimiser, and return its best and last state.

    The data sit on the device, or are streamed to it; one compiled scan with donated buffers runs an epoch, or a chunk of
    one. The same call on an existing run folder goes on where it stopped, to the same numbers.

    The same script runs on many devices and hosts (`docs/performance.md`): with `mesh` the samples of every batch are
    divided among the devices, with several processes (`jax.distributed.initialize()`) also without it. Batches do not
    depend on the number of devices, and so the loss does not beyond rounding. Every process calls `fit` with the same
    arguments and reads the samples of its own devices; the first one alone logs and prints.

    **Arguments:**

    - `model`: a surrogate from `FNO(task, …)`, `wrap(network, task)`, `PODRegression(task, …)`, …; or a function of a key
      that makes one.
    - `data`, `val`: training and validation data. `best` is chosen by the mean relative L2 error on `val`.
    - `optimizer`: any optax optimiser; schedules count steps. For `optax.lbfgs()` use the whole set as one batch.
    - `loss`: of one sample, in physical units; or `objective` in its place, for training without data.
    - `epochs` passes over the data, or exactly `steps` of the optimiser. Each epoch is a new permutation, in whole batches.
    - `seeds`: train that many from different initial weights and batch orders at once (`vmap`).
    - `unroll`: of autoregressive tasks.
    - `symmetry`: a group, or True for the one that the dataset's problem declares: every sample is seen through a random
      element of it.
    - `ema`: decay of averaged parameters, which then serve as the result; 0.999 is a good value for long runs.
    - `patience`: stop after so many epochs without a better validation error (with several seeds: of any of them).
    - `run`: folder for metrics and checkpoints. SIGTERM saves and exits.
    - `checkpoint_every`: seconds between checkpoints.
    - `mesh`: devices, from `jax.make_mesh`, with axes named "data" (divides the batch), "seed" (divides the seeds) or "space"
      (divides the first axis of space of fields that are too large for one device; networks that declare it, as FNO).
    - `dtype`: what the network computes in, for example "bfloat16"; parameters, states and loss stay float32.
    - `stream`: read batches from `data` and `val` when they are needed, a few ahead in threads, instead of keeping
      everything on the device. By default if they would fill half of its memory or if there are several processes.

    **Raises:** `ValueError` for arguments that do not fit together and for a run folder of another configuration;
    `FloatingPointError` when the loss is no longer finite, after saving the last good state.
    """
    if isinstance(model, DirectFit):
        fitted = model.fitted(_required(data, "data"), val)
        return FitResult((fitted,), (fitted,), History())
    key = jax.random.key(0) if key is None else key
    surrogates = _seeded(model, seeds, jax.random.fold_in(key, 1))
    task = surrogates[0].task
    if objective is None:
        objective = Supervised(loss, _symmetry(symmetry, data), unroll.steps, unroll.gradient, dtype)
        _required(data, "data")
    elif dtype is not None:
        raise ValueError(f"fit(dtype={dtype!r}): an objective of its own says itself what it computes in")
    optimizer = _required(optimizer, "an optimizer, for example optimizer=optax.adam(1e-3)")
    samples = None if data is None else Samples.of(task, data, unroll.steps)
    held_out = None if val is None else Samples.of(task, val)
    if samples is not None:
        batch_size = min(batch_size, len(samples))
    per_round = len(samples) // batch_size if samples is not None else _STEPS_PER_ROUND
    total = _total_steps(epochs, steps, per_round, samples)
    if patience is not None and held_out is None:
        raise ValueError(f"fit(patience={patience}) needs val=…: it watches the validation error")
    devices = Devices.of(mesh, batch_size=None if samples is None else batch_size, seeds=seeds)

    runner, state = Runner.start(surrogates, objective, optimizer, ema, devices, jax.random.fold_in(key, 2))
    settings = settings_of(surrogates[0], state, objective, data, val, batch_size, seeds, ema, unroll, key)
    assert_same_everywhere({**settings, "steps": total, "stream": stream, "run": str(run)}, "fit")

    batches = NoData()
    if samples is not None and _streams(stream, samples, devices):
        order_keys = np.asarray(jax.random.key_data(devices.local(state.key))).reshape(seeds, -1)
        batches = Stream(samples, order_keys, batch_size, devices)
    elif samples is not None:
        batches = Resident.of(samples, batch_size, devices)
    validation = (
        None if held_out is None else Validation.of(held_out, batch_size, devices, _streams(stream, held_out, devices))
    )

    best = jax.tree.map(jnp.array, runner.result(state))
    history = History(seeds=seeds)
    folder = None
    with Sigterm() as terminated:
        if run is not None:
            folder = RunFolder.open(run, settings)
            restored = folder.restore((state, best))
            if restored is not None:
                (state, best), history = restored
        line = ProgressLine(
            -(-total // per_round),
            per_round * seeds * (1 if samples is None else batch_size),
            progress and is_first_process(),
        )
        done = int(np.asarray(devices.local(state.step)).max())

        def finished() -> bool:
            return done >= total or (patience is not None and history.rounds_since_best >= patience)

        last_save = clock = time.monotonic()
        chunks = iter(()) if finished() else _chunks(batches, done, total, per_round)
        for count, chunk in chunks:
            state, losses = runner.train(chunk, state, done, count)
            bad = np.flatnonzero(~np.isfinite(losses).all(0))
            where = done + int(bad[0]) if len(bad) else None
            done += count
            if where is None:
                clock, before = time.monotonic(), clock
                history.advance(losses, clock - before)
            if where is None and (done % per_round == 0 or done == total):
                errors = None
                if validation is not None:
                    errors = runner.validate(validation, state)
                    better = errors < history.best_error
                    if better.any():
                        best = runner.keep_better(better, state, best)
                clock, before = time.monotonic(), clock
                history.close(errors, clock - before)
                line.update(history)
                if folder is not None:
                    folder.log(history)
            stop, due = any_process(terminated.is_set(), time.monotonic() - last_save > checkpoint_every)
            if folder is not None and (where is not None or stop or due or finished()):
                folder.save(done, (state, best), history)
                last_save = time.monotonic()
            if where is not None:
                kept = f"; the last good state is in {folder.path}" if folder is not None else ""
                raise FloatingPointError(
                    f"the training loss or its gradient was not finite at step {where}; parameters of the step before "
                    f"were kept{kept}. Lower the learning rate or clip gradients (optax.clip_by_global_norm(1.0))."
                )
            if stop:
                raise SystemExit(143)
            if finished():
                break
    line.close(history)
    state, best = devices.local((state, best))
    loop = Loop.of(surrogates[0], objective, optimizer, ema)
    lasts = tuple(loop.surrogate(s) for s in _unstack(state, seeds))
    members = lasts
    if validation is not None:
        members = tuple(_with_parameters(loop, s, b) for s, b in zip(lasts, _unstack(best, seeds), strict=True))
    return FitResult(members, lasts, history)


def _chunks(batches, done: int, total: int, per_round: int) -> Iterator:
    """Number of steps and batches of every piece of the training that runs in one call."""
    if isinstance(batches, Stream):
        return batches.chunks(done, total)
    return ((end - begin, batches) for begin, end in pieces(done, total, per_round, per_round))


def _streams(stream: bool | None, samples: Samples, devices: Devices) -> bool:
    """Whether data come from the host as they are needed: as asked for, else if they would fill half of a device or if
    several processes share them."""
    if stream is not None:
        return stream
    return jax.process_count() > 1 or 2 * samples.nbytes > devices.memory


def _with_parameters(loop: Loop, surrogate: NetworkSurrogate, best) -> NetworkSurrogate:
    model, state = best
    model = eqx.combine(model, loop.static)
    return eqx.tree_at(lambda s: s.state, model, state, is_leaf=lambda x: x is None)


def _seeded(model, seeds: int, key: Array) -> list[NetworkSurrogate]:
    """One surrogate per seed: the given one and re-initialised ones, or all from a function of a key."""
    if seeds < 1:
        raise ValueError(f"fit: seeds must be at least 1, got {seeds}")
    if not isinstance(model, NetworkSurrogate):
        if isinstance(model, AbstractSurrogate):
            raise TypeError(f"fit: {type(model).__name__} has nothing to train")
        return [model(k) for k in jax.random.split(key, seeds)]
    if seeds == 1:
        return [model]
    if not hasattr(model.network, "reinit"):
        raise ValueError(
            f"fit(seeds={seeds}): {type(model.network).__name__} does not know how to make new weights; pass a function, "
            "fit(lambda key: wrap(MyNetwork(key), task), …)"
        )
    again = [eqx.tree_at(lambda s: s.network, model, model.network.reinit(k)) for k in jax.random.split(key, seeds - 1)]
    return [model, *again]


def _unstack(state, seeds: int) -> list:
    return [state] if seeds == 1 else [jax.tree.map(lambda x, i=i: x[i], state) for i in range(seeds)]


def _total_steps(epochs: int | None, steps: int | None, per_round: int, samples: Samples | None) -> int:
    if steps is not None and epochs is None:
        return steps
    if epochs is not None and steps is None and samples is not None:
        return epochs * per_round
    raise ValueError("fit needs exactly one of epochs=… and steps=…; without data it counts steps")


def _required(value, what: str):
    if value is None:
        raise ValueError(f"fit needs {what}")
    return value


def _symmetry(symmetry, data: Dataset | None):
    if symmetry is not True:
        return symmetry or None
    if data is None or data.problem is None or data.problem.symmetry is None:
        raise ValueError("fit(symmetry=True): the data's problem declares no symmetry group; pass one, e.g. Dihedral()")
    return data.problem.symmetry
